"""Dispatching from Kafka with a real broker: from a decided message to the provider, over processes that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.core.customer import CustomerState
from engine.runtimes.kafka.topics import Outgoing, Suppressed, encode_suppressed
from tests.runtimes.dispatch_stage import Process, Provider, address_key, decide
from tests.runtimes.ledger_stage import Stage, customer_on

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def stage(kafka: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """Topics of its own, and real time."""
    made = Stage(kafka, topic_prefix, tmp_path)
    made.clock = SystemClock()
    yield made
    await made.stop()


@pytest.fixture
async def start(stage: Stage) -> AsyncIterator[Start]:
    """Starts processes; what a provider has is told apart by process."""
    started: list[Process] = []

    async def begin(name: str, *partitions: int, provider: Provider | None = None, **options: int) -> Process:
        process = Process(stage, name, provider or Provider())
        started.append(process)
        return await process.start(*partitions, **options)

    yield begin
    for process in started:
        process.provider.open_door.set()
        await process.stop()


async def test_a_decided_message_reaches_the_provider_once_and_is_settled(stage: Stage, start: Start) -> None:
    """Thirty customers on two partitions: thirty sends, thirty times `sent`, nothing more after a restart."""
    one = await start("a", 0, 1)
    names = [f"m{number}" for number in range(30)]
    await decide(stage, one.outlet, *names)
    await one.until(lambda: {one.status(name) for name in names} == {"sent"})
    assert sorted(one.provider.sent) == sorted(names)
    await one.stop()
    two = await start("b", 0, 1)
    await decide(stage, two.outlet, "after", offset=1)
    await two.until(lambda: two.status("after") == "sent")
    assert two.provider.sent == ["after"]


async def test_a_message_waits_for_the_copy_of_its_customers_state(stage: Stage, start: Start) -> None:
    """Without the state the policy cannot be asked; it must not be taken for an unknown customer."""
    one = await start("a", 0, 1)
    await decide(stage, one.outlet, "m1", offset=5, states=False)
    await one.until(lambda: one.status("m1") == "pending")
    await asyncio.sleep(0.3)
    assert one.provider.sent == []
    state = CustomerState(id="c-m1", traits={"email": "m1@example.com"})
    for number in (0, 1):
        await stage.write_states(state, applied=5, number=number)
    await one.until(lambda: one.status("m1") == "sent")


async def test_the_policy_is_asked_again_with_the_newest_state(stage: Stage, start: Start) -> None:
    """Somebody who may not be written to any more is not; an address that another customer's mail bounced from neither."""
    one = await start("a")
    key = address_key("email", " Gone@Example.com")
    await one.outlet.send(
        [Outgoing(stage.topics.suppressions, 0, key, encode_suppressed(Suppressed("email", "bounced", 1)))]
    )
    await one.stop()
    two = await start("b", 0, 1)
    await decide(stage, two.outlet, "m1", "m2", address="gone@example.com", states=True)
    await decide(stage, two.outlet, "m3", offset=1)
    await decide(
        stage, two.outlet, "m4", offset=2, workflow="order", states=False, customer=customer_on(0, salt="nobody")
    )
    for number in (0, 1):
        await stage.write_states(applied=2, number=number)
    await two.until(lambda: two.status("m3") == "sent" and two.status("m4") == "suppressed")
    await two.until(lambda: two.status("m1") == two.status("m2") == "suppressed")
    assert two.provider.sent == ["m3"]
    assert two.outbox.status("m4").code == "no_address"  # type: ignore[union-attr]
