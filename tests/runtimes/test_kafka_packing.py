"""Packs: cut in order, and committed only once their owner is done with them; a rebalance waits for nobody's work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from engine.runtimes.kafka.group.app import AppSettings, build_app
from engine.runtimes.kafka.group.host import Host
from engine.runtimes.kafka.group.packing import PACK_RECORDS_MAX, PackingScheduler
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.progress import committed
from engine.runtimes.kafka.topics import Outgoing
from tests.services.kafka import create_topics

SECONDS_MAX = 40.0
PARTITIONS = 2


class Fetched:
    """As aiokafka gives them, as far as packs look."""

    def __init__(self, tp: TP, offset: int) -> None:
        self.topic, self.partition, self.offset = tp.topic, tp.partition, offset
        self.timestamp, self.timestamp_type = offset, 0


@given(st.dictionaries(st.integers(0, 3), st.lists(st.integers(1, 3), max_size=1_300), max_size=4))
def test_packs_hold_everything_in_order_and_partitions_take_turns(steps: dict[int, list[int]]) -> None:
    """Whatever holes the offsets have; a pack has the offset and time of its last record."""
    fetched: dict[TP, list[Any]] = {}
    for number, gaps in steps.items():
        offset, tp = 0, TP("in", number)
        fetched[tp] = [Fetched(tp, offset := offset + gap) for gap in gaps]
    scheduler: Any = PackingScheduler
    packs = list(scheduler().iterate(fetched))
    for tp, records in fetched.items():
        mine = [pack for at, pack in packs if at == tp]
        assert [each for pack in mine for each in pack.value] == records
        assert all(0 < len(pack.value) <= PACK_RECORDS_MAX for pack in mine)
        assert all((pack.offset, pack.timestamp) == (pack.value[-1].offset,) * 2 for pack in mine)
    turns = [at for at, _ in packs]
    assert len(set(turns[: len([each for each in fetched.values() if each])])) == len(
        [e for e in fetched.values() if e]
    )


class Slow:
    """An owner that is done with a pack only when the test says so."""

    def __init__(self) -> None:
        self.packs: list[tuple[list[int], Callable[[], object]]] = []
        self._released = asyncio.Event()

    @property
    def waiting_records(self) -> int:
        return sum(len(offsets) for offsets, _ in self.packs)

    def feed(self, records: Sequence[Incoming], done: Callable[[], object]) -> None:
        self.packs.append(([each.offset for each in records], done))

    async def run(self) -> None:
        await self._released.wait()

    def assigned_again(self) -> None:
        pass

    def scrub(self) -> None:
        pass

    def release(self) -> None:
        self._released.set()

    def close(self) -> None:
        pass


class Member:
    """A process of the group."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.owners: dict[int, Slow] = {}
        self.host = Host(self._own, lambda _: Slow())
        self._settings = AppSettings(
            bootstrap=bootstrap,
            group=f"{prefix}group",
            source=f"{prefix}in",
            changelog=f"{prefix}rows",
            partitions=PARTITIONS,
            standbys=0,
            session_timeout_seconds=6.0,
            heartbeat_seconds=0.5,
            commit_interval_seconds=0.1,
            folder=folder,
        )
        self.app: Any = None

    def _own(self, partition: int) -> Slow:
        self.owners[partition] = Slow()
        return self.owners[partition]

    async def start(self) -> None:
        self.app = build_app(self._settings, self.host)
        await self.app.start()

    async def stop(self) -> None:
        if self.app is not None:
            app, self.app = self.app, None
            await app.stop()
            await self.host.close()


@pytest.fixture
async def members(kafka: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Callable[[], Member]]:
    """Builds members of one group, and stops them."""
    create_topics(kafka, {f"{topic_prefix}in": PARTITIONS, f"{topic_prefix}rows": PARTITIONS})
    made: list[Member] = []

    def one() -> Member:
        made.append(Member(kafka, topic_prefix, tmp_path))
        return made[-1]

    yield one
    for each in made:
        await each.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not condition():
            await asyncio.sleep(0.05)


async def put(bootstrap: str, prefix: str, count: int) -> None:
    outlet = Outlet(bootstrap, client="test")
    await outlet.start()
    await outlet.send(
        [Outgoing(f"{prefix}in", number, None, b"x") for number in range(PARTITIONS) for _ in range(count)]
    )
    await outlet.stop()


async def test_only_what_an_owner_is_done_with_is_committed(
    members: Callable[[], Member], kafka: str, topic_prefix: str
) -> None:
    """Pack after pack, up to its last record; what is left over comes again to the next process, from exactly there."""
    await put(kafka, topic_prefix, 2 * PACK_RECORDS_MAX + 10)
    first = members()
    await first.start()
    await until(
        lambda: all(sum(len(p) for p, _ in each.packs) == 1_010 for each in first.owners.values()) and first.owners
    )

    async def stands_at() -> dict[int, int]:
        await asyncio.sleep(1.5)
        return await asyncio.to_thread(committed, kafka, f"{topic_prefix}group", topic=f"{topic_prefix}in")

    assert not any((await stands_at()).values()), "something was committed that nobody did"
    offsets, done = first.owners[0].packs[0]
    done()
    assert (await stands_at()).get(0) == offsets[-1] + 1
    first.owners[1].packs[0][1]()
    first.owners[1].packs[1][1]()
    assert (await stands_at()).get(1) == first.owners[1].packs[1][0][-1] + 1
    await first.stop()
    second = members()
    await second.start()
    await until(lambda: len(second.owners) == PARTITIONS and all(each.packs for each in second.owners.values()))
    assert second.owners[0].packs[0][0][0] == offsets[-1] + 1
    assert second.owners[1].packs[0][0][0] == first.owners[1].packs[1][0][-1] + 1


async def test_a_rebalance_does_not_wait_for_owners_that_cannot_go_on(
    members: Callable[[], Member], kafka: str, topic_prefix: str
) -> None:
    """One that restores, or waits for a catalog or for room on its disk, holds packs for minutes; others must still join."""
    await put(kafka, topic_prefix, 10)
    first, second = members(), members()
    await first.start()
    await until(lambda: len(first.owners) == PARTITIONS and all(each.packs for each in first.owners.values()))
    began = asyncio.get_running_loop().time()
    await second.start()
    await until(lambda: len(second.host.owners) == 1 and len(first.host.owners) == 1)
    assert asyncio.get_running_loop().time() - began < 15
    [partition] = second.host.owners
    await until(lambda: second.owners[partition].packs)
    assert second.owners[partition].packs[0][0][0] == 0
    [kept] = first.host.owners
    await until(
        lambda: len(first.owners[kept].packs) > 1
    )  # it comes again, and an owner leaves out what it has applied
    assert first.owners[kept].packs[-1][0][0] == 0


async def test_a_pack_of_the_generation_before_commits_nothing_when_it_is_done_late(
    members: Callable[[], Member], kafka: str, topic_prefix: str
) -> None:
    """The next generation reads the same records in other packs. A late word about half of one must not count for all of it.

    A process that died right then would have committed what nobody did, and 90 messages were lost that way.
    """
    await put(kafka, topic_prefix, 10)
    first, second = members(), members()
    await first.start()
    await until(lambda: len(first.owners) == PARTITIONS and all(each.packs for each in first.owners.values()))
    for owner in first.owners.values():
        owner.packs[0][1]()

    async def stands_at() -> dict[int, int]:
        return await asyncio.to_thread(committed, kafka, f"{topic_prefix}group", topic=f"{topic_prefix}in")

    await until_async(stands_at, {0: 10, 1: 10})
    await put(kafka, topic_prefix, 5)
    await until(lambda: all(len(each.packs) == 2 for each in first.owners.values()))
    await put(kafka, topic_prefix, 20)
    await second.start()
    await until(lambda: len(second.host.owners) == 1 and len(first.host.owners) == 1)
    [kept] = first.host.owners
    packs = first.owners[kept].packs
    await until(lambda: packs[-1][0][0] == 10 and packs[-1][0][-1] == 34)
    packs[1][1]()  # the old one, 10 to 14
    await asyncio.sleep(1.0)
    assert (await stands_at())[kept] <= 15
    packs[-1][1]()
    await until_async(stands_at, {kept: 35})


async def until_async(ask: Callable[[], Awaitable[dict[int, int]]], wanted: dict[int, int]) -> None:
    """Returns when the answer holds all that is wanted."""
    async with asyncio.timeout(SECONDS_MAX):
        while not wanted.items() <= (await ask()).items():
            await asyncio.sleep(0.2)
