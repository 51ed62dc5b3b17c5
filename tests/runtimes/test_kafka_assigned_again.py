"""A partition that is ours after a rebalance as before, and was another's in between: a frozen process that comes back.

Invariant: the broker is real; both owners have folders of their own, as two machines have.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.clock import ManualClock
from engine.core.record import Event, Identify
from engine.runtimes.kafka.group.host import Host
from tests.conformance.shop import T0, catalog
from tests.runtimes.kafka_stage import Stage, defined, make_topics


@pytest.fixture
async def stage(kafka: str, topic_prefix: str) -> AsyncIterator[Stage]:
    """One partition with definitions."""
    async with contextlib.AsyncExitStack() as stack:
        [topics] = make_topics(kafka, [topic_prefix], with_definitions=True)
        definitions = await stack.enter_async_context(defined(kafka, topics, [catalog()]))
        made = Stage(kafka, topics, clock=ManualClock(T0), definitions=definitions)
        await made.start()
        stack.push_async_callback(made.close)
        yield made


def _order(number: int) -> Event:
    return Event(customer="a", at_ms=T0, id=f"a-{number}", name="Order Completed", time_ms=T0)


async def test_what_another_owner_applied_meanwhile_is_known_before_anything_else_is(
    stage: Stage, tmp_path: Path
) -> None:
    """Frozen, it misses the address that its successor takes in and commits; the next order is confirmed to that address."""
    frozen = await stage.open(tmp_path / "frozen")
    await stage.put(Event(customer="b", at_ms=T0, id="b-1", name="Product Added", time_ms=T0))
    await stage.settle(frozen)
    successor = await stage.open(tmp_path / "successor")
    address = Identify(customer="a", at_ms=T0, id="i", time_ms=T0, traits={"email": "a@example.com"})
    await stage.put(address)
    await stage.settle(successor)
    await stage.close_owner(successor)
    frozen.owner.assigned_again()
    frozen.fed = successor.fed  # what was committed is not read again
    await stage.put(_order(1))
    await stage.settle(frozen)
    messages = (await stage.read()).messages
    assert [(each.customer, each.address, each.step) for each in messages.values()] == [
        ("a", "a@example.com", "confirm")
    ]


class _Kept:
    """Stands for an owner; counts how often it is told."""

    waiting_records = 0

    def __init__(self) -> None:
        self.told = 0
        self._released = asyncio.Event()

    def assigned_again(self) -> None:
        self.told += 1

    def feed(self, records: object, done: object) -> None:
        raise AssertionError("nothing is fed here")

    async def run(self) -> None:
        await self._released.wait()

    def scrub(self) -> None:
        pass

    def release(self) -> None:
        self._released.set()

    def close(self) -> None:
        pass


async def test_who_keeps_a_partition_is_told_of_each_rebalance() -> None:
    """Whoever is new restores anyway; only who stays has to be told."""
    owners = [_Kept() for _ in range(2)]
    host = Host(lambda number: owners[number], lambda _number: _Kept())
    await host.assign({0}, set())
    assert owners[0].told == 0
    await host.assign({0, 1}, set())
    assert [each.told for each in owners] == [1, 0]
    await host.close()
