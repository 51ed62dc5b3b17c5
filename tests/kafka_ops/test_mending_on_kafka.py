"""`anlass check --database` on a cluster: it finds rows that cannot be read, and their owners take what mends them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.core.record import Event, Identify
from engine.runtimes.kafka.intake.intake import KafkaIntake
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.topics import PREFIX_BYTES, Topics, pack_row, partition_of, unpack_prefix
from tests.fleet.topics_read import journal_of, read_topic
from tests.kafka_ops.conftest import PARTITIONS
from tests.kafka_ops.role_process import RoleProcess, command


class _Shop:
    """The topics, and what is put on them."""

    def __init__(self, env: dict[str, str]) -> None:
        self.broker, self.topics = env["ANLASS_KAFKA"], Topics(env["ANLASS_KAFKA__PREFIX"])

    async def append(self, *ticks: tuple[str, str]) -> None:
        """(customer, id of an event)."""
        intake = KafkaIntake(self.broker, self.topics, partitions=PARTITIONS)
        await intake.start()
        now_ms = int(time.time() * 1_000)
        for customer, number in ticks:
            known = Identify(customer=customer, at_ms=now_ms, id=f"i{number}", traits={"n": number}, time_ms=now_ms)
            tick = Event(customer=customer, at_ms=now_ms, id=number, name="Tick", time_ms=now_ms)
            await intake.append([known, tick])
        await intake.stop()

    async def entered(self, customer: str, count: int) -> None:
        """Waits until the journal says that the customer's events were evaluated; never more than so many."""
        deadline = time.monotonic() + 40
        while True:
            journal = await journal_of(self.broker, self.topics.journal, PARTITIONS)
            kinds = [line.kind for line in journal.get(customer, [])]
            found = kinds.count("entered")
            assert found <= count, kinds
            if found == count:
                return
            assert time.monotonic() < deadline, f"{customer}: {found} of {count}"
            await asyncio.sleep(0.2)

    async def damage(self, customer: str) -> None:
        """As a disk or a mistake of ours would."""
        key = customer.encode()
        stood = await read_topic(self.broker, self.topics.states, PARTITIONS)
        row = next(each.value for each in reversed(stood) if each.key == key)
        position, due_ms = unpack_prefix(row)
        body = pack_row(position, due_ms, row[PREFIX_BYTES : PREFIX_BYTES + 5])
        outlet = Outlet(self.broker, client="test")
        await outlet.start()
        await outlet.append(self.topics.states, partition_of(key, PARTITIONS), [(key, body, ())])
        await outlet.stop()


@pytest.mark.timeout(150)
async def test_a_state_that_cannot_be_read_is_found_and_mended_beside_a_running_worker(
    env: dict[str, str], project: Path, role: Callable[..., RoleProcess]
) -> None:
    """The customer waits, the other goes on; afterwards what waited is evaluated once, and every row can be read."""
    shop = _Shop(env)
    worker = role("worker")
    await worker.ready()
    await shop.append(("ann", "a1"), ("bob", "b1"))
    await shop.entered("ann", 1)
    await shop.entered("bob", 1)
    assert await worker.stop() == 0
    await shop.damage("ann")
    worker = role("worker")
    await worker.ready()
    await shop.append(("ann", "a2"), ("bob", "b2"))
    await shop.entered("bob", 2)
    await shop.entered("ann", 1)
    found = await asyncio.to_thread(command, "check", "--database", "--json", folder=project, env=env)
    assert found.returncode == 1, found.stdout + found.stderr
    [line] = map(json.loads, found.stdout.splitlines())
    assert (line["table"], line["customer"], line["set_aside"]) == ("states", "ann", True)
    mended = await asyncio.to_thread(command, "check", "--database", "--mend", folder=project, env=env)
    assert (mended.returncode, "1 of 1 rows mended" in mended.stdout) == (0, True), mended.stdout + mended.stderr
    await shop.entered("ann", 2)
    again = await asyncio.to_thread(command, "check", "--database", folder=project, env=env)
    assert (again.returncode, again.stdout.strip()) == (0, "Every row can be read."), again.stdout + again.stderr
    await worker.ready()
    assert '"degraded": []' in await asyncio.to_thread(worker._get, "/readyz")
