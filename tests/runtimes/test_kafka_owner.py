"""Owners on a real broker that die around any write, fire timers, and meet each other: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ConfigResource
from msgspec.structs import replace

from engine.clock import ManualClock
from engine.core.customer import decode_state
from engine.core.record import Erase, Pause, Record
from engine.errors import StorageError
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.partition.changelog import Changelog, ChangelogPartition
from engine.runtimes.kafka.partition.store import RowStore
from engine.runtimes.kafka.topics import CHECKPOINT_KEY, PREFIX_BYTES, REASON, Checkpoint, headers_of
from engine.runtimes.kafka.worker.owner import OwnerOptions
from tests.conformance.shop import T0, catalog
from tests.runtimes.kafka_stage import Acting, Crash, Faults, Stage, defined, event, identify, make_topics
from tests.services.kafka import admin, create_topics

HOUR = 3_600_000
Make = Callable[..., Awaitable[Stage]]


@pytest.fixture
async def make(kafka: str, topic_prefix: str) -> AsyncIterator[Make]:
    """Builds stages on topics of their own, all with the same definitions."""
    async with contextlib.AsyncExitStack() as stack:
        [common] = make_topics(kafka, [topic_prefix], with_definitions=True)
        definitions = await stack.enter_async_context(defined(kafka, common, [catalog()]))

        async def one(topics: Any = common) -> Stage:
            stage = Stage(kafka, topics, clock=ManualClock(T0), definitions=definitions)
            await stage.start()
            stack.push_async_callback(stage.close)
            return stage

        yield one


def clock_of(stage: Stage) -> ManualClock:
    assert isinstance(stage.clock, ManualClock)
    return stage.clock


# ----------------------------------------------------------------------------------------------------------- crashes

STEPS: list[list[Record | bytes] | int] = [
    [identify("a"), event("a", 1), identify("b"), event("b", 1, "Order Completed")],
    [b"poison", b"a:Order Completed\nc:Product Added", Erase(customer="b", at_ms=T0, id="x")],
    HOUR,
    [Pause(customer="", at_ms=T0, id="p", workflow="cart"), event("d", 1), event("a", 3)],
]


async def play(stage: Stage, folder: Path, *, faults: Faults | None = None, from_start: bool = False) -> Any:
    """Everything, with a crash where `faults` says; returns what is left to be read."""
    acting = await stage.open(folder, faults=faults)
    committed = 0
    for step in STEPS:
        if isinstance(step, int):
            clock_of(stage).advance(step)
        else:
            await stage.put(*step)
        try:
            await stage.settle(acting)
        except Crash:
            committed = max([committed, *acting.done])
            await stage.close_owner(acting)
            acting = await stage.open(folder)
            acting.fed = 0 if from_start else committed
            await stage.settle(acting)
        committed = max([committed, *acting.done])
    seen = acting.outlet.faults.seen
    await stage.close_owner(acting)
    return await outcome(stage, folder), seen


async def outcome(stage: Stage, folder: Path) -> dict[str, Any]:
    """Everything that must not depend on crashes. Offsets may: a timer can be on the log twice."""
    read = await stage.read()
    rows = await stage.from_scratch(folder / "scratch")
    compacted = await stage.from_scratch(folder / "scratch", compacted=True)
    assert rows == compacted, "compaction would keep other rows"
    rows.pop(CHECKPOINT_KEY)
    mine = RowStore(folder)
    mine.open()
    assert dict(mine.walk(b"", 1_000)) == rows, "the copy on disk is not what the changelog says"
    mine.close()
    return {
        "states": {key: replace(decode_state(row[PREFIX_BYTES:]), position=0) for key, row in rows.items()},
        "journal": {name: read.decisions(name) for name in "abcd"},
        "messages": read.messages,
        "removed": {each.customer for each in read.removed},
        "dead": {(each.value, headers_of(each.headers)[REASON]) for each in read.dead},
    }


@pytest.mark.parametrize(("after", "from_start"), [(False, True), (True, False)])
async def test_a_crash_around_any_write_changes_nothing(
    make: Make, kafka: str, topic_prefix: str, tmp_path: Path, after: bool, from_start: bool
) -> None:
    """Before or after each append, write to disk and send; fed again from what was committed, or from the beginning."""
    expected, writes = await play(await make(), tmp_path / "whole")
    assert len(expected["dead"]) == 1
    assert len(expected["messages"]) >= 2
    assert writes > 10
    stages = make_topics(kafka, [f"{topic_prefix}{number}." for number in range(writes)])
    for number, topics in enumerate(stages):
        folder = tmp_path / str(number)
        found, _ = await play(await make(topics), folder, faults=Faults(number, after=after), from_start=from_start)
        assert found == expected, f"a crash around write {number}"


# ------------------------------------------------------------------------------------------------------------ timers


async def test_two_thousand_timers_due_at_once_fire_once_each(make: Make, tmp_path: Path) -> None:
    """In rounds, on the log; although the owner dies while it fires them, each customer gets one message."""
    stage = await make()
    stage.pack_records = 500
    acting = await stage.open(tmp_path / "rows")
    names = [f"c{number}" for number in range(2_000)]
    for start in range(0, 2_000, 500):
        await stage.put(*(each for name in names[start : start + 500] for each in (identify(name), event(name, 1))))
    await stage.settle(acting)
    clock_of(stage).advance(HOUR)
    acting.outlet.faults.at = acting.outlet.faults.seen + 9
    with pytest.raises(Crash):
        await stage.settle(acting)
    committed = max(acting.done)
    await stage.close_owner(acting)
    acting = await stage.open(tmp_path / "rows")
    acting.fed = committed
    await stage.settle(acting)
    read = await stage.read()
    assert sorted(each.customer for each in read.messages.values()) == sorted(names)
    assert len(read.messages) == 2_000


class Wandering(ManualClock):
    """May be set back, as a machine's clock may."""

    def set(self, now_ms: int) -> None:
        self._now_ms = now_ms


async def test_a_clock_that_jumps_back_fires_nothing_twice_and_nothing_early(make: Make, tmp_path: Path) -> None:
    """What was fired stays done; what was not waits for its time by the clock as it is now."""
    stage = await make()
    stage.clock = clock = Wandering(T0)
    acting = await stage.open(tmp_path / "rows")
    await stage.put(identify("a"), event("a", 1))
    await stage.settle(acting)
    clock.advance(HOUR)
    await stage.settle(acting)
    clock.set(T0 - 10 * HOUR)
    await stage.put(identify("b"), replace(event("b", 1), at_ms=T0, time_ms=T0))
    await stage.settle(acting)
    assert {each.customer for each in (await stage.read()).messages.values()} == {"a"}
    clock.move_to(T0 + HOUR)
    await stage.settle(acting)
    read = await stage.read()
    assert sorted(each.customer for each in read.messages.values()) == ["a", "b"]
    timers = [each for each in await stage.log() if (each.value or b"").startswith(b'["timer"')]
    assert len(timers) == 2


# ------------------------------------------------------------------------------------------------------- two owners


async def test_two_owners_at_once_agree(make: Make, kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """Both are fed everything, in packs of different sizes, and write into one changelog: what is read is as from one."""
    [topics] = make_topics(kafka, [f"{topic_prefix}alone."])
    expected, _ = await play(await make(topics), tmp_path / "alone")
    stage = await make()
    owners = []
    for size in (1, 3):
        stage.options = OwnerOptions(batch_records_max=size)
        owners.append(await stage.open(tmp_path / str(size)))
    for step in STEPS:
        if isinstance(step, int):
            clock_of(stage).advance(step)
        else:
            await stage.put(*step)
        await stage.settle(*owners)
    for each in owners:
        await stage.close_owner(each)
    again = await stage.open(tmp_path / "3")
    again.fed = len(await stage.log())
    await stage.settle(again)
    await stage.close_owner(again)
    assert await outcome(stage, tmp_path / "3") == expected


async def test_a_late_write_of_an_old_owner_is_written_over(
    make: Make, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """The zombie's batch arrives last, and the zombie dies at once: whoever restores next mends the changelog for good."""
    stage = await make()
    stage.pack_records = 2
    gate = asyncio.Event()
    gate.set()
    zombie = await stage.open(tmp_path / "zombie", gate=gate)
    await stage.put(identify("a"), event("a", 1))
    await stage.settle(zombie)
    gate.clear()
    await stage.put(event("b", 1), Erase(customer="a", at_ms=T0, id="x"))
    await stage.feed(zombie)
    await asyncio.sleep(0.05)  # it has planned its batch, and hangs before the changelog
    owner = await stage.open(tmp_path / "owner")
    await stage.put(event("b", 2, "Order Completed"), event("c", 1))
    await stage.settle(owner)
    await stage.close_owner(owner)
    right = await stage.from_scratch(tmp_path / "scratch")
    zombie.outlet.faults.at, zombie.outlet.faults.after = zombie.outlet.faults.seen, True
    gate.set()
    with pytest.raises(Crash):
        await zombie.task
    assert await stage.from_scratch(tmp_path / "scratch") == right
    assert await stage.from_scratch(tmp_path / "scratch", compacted=True) != right, "there is nothing to mend"
    again = await stage.open(tmp_path / "owner")
    await stage.settle(again)
    assert await stage.from_scratch(tmp_path / "scratch") == right
    assert await stage.from_scratch(tmp_path / "scratch", compacted=True) == right


async def test_an_overtaken_owner_goes_on_from_where_the_other_is(make: Make, tmp_path: Path) -> None:
    """It reads what the other wrote, decides nothing of that again, and is not stuck: records after that are applied."""
    stage = await make()
    gate = asyncio.Event()
    gate.set()
    slow = await stage.open(tmp_path / "slow", gate=gate)
    await stage.put(identify("a"))
    await stage.settle(slow)
    gate.clear()
    await stage.put(event("a", 1), event("b", 1))
    await stage.feed(slow)
    await asyncio.sleep(0.05)
    quick = await stage.open(tmp_path / "quick")
    await stage.put(event("a", 2, "Order Completed"), event("c", 1))
    await stage.settle(quick)
    gate.set()
    await stage.settle(slow)
    await stage.put(event("d", 1))
    await stage.settle(slow)
    await stage.settle(quick)
    assert dict(slow.store.walk(b"", 100)) == dict(quick.store.walk(b"", 100))
    read = await stage.read()
    assert [each.kind for each in read.decisions("d")].count("entered") == 1
    rows = await stage.from_scratch(tmp_path / "scratch", compacted=True)
    assert rows == await stage.from_scratch(tmp_path / "scratch")
    assert rows.keys() - {CHECKPOINT_KEY} == {b"a", b"b", b"c", b"d"}


# ------------------------------------------------------------------------------------------------- copies and disks


async def test_a_copy_that_was_deleted_is_read_again(make: Make, tmp_path: Path) -> None:
    """From the changelog alone, with timers."""
    stage = await make()
    acting = await stage.open(tmp_path / "rows")
    await stage.put(identify("a"), event("a", 1), event("b", 1))
    await stage.settle(acting)
    rows, due = acting.store.walk(b"", 10), acting.store.due(1 << 60, 10)
    await stage.close_owner(acting)
    acting.store.destroy()
    again = await stage.open(tmp_path / "rows")
    again.fed = 3
    await stage.settle(again)
    assert (again.store.walk(b"", 10), again.store.due(1 << 60, 10)) == (rows, due)


async def test_a_changelog_that_was_made_anew_is_not_mixed_with_an_old_copy(
    make: Make, kafka: str, tmp_path: Path
) -> None:
    """The copy tells of another changelog: it is thrown away, and what is read from then on is in the new one."""
    stage = await make()
    acting = await stage.open(tmp_path / "rows")
    await stage.put(identify("a"), event("a", 1), event("b", 1))
    await stage.settle(acting)
    await stage.close_owner(acting)

    def anew() -> None:
        with admin(kafka) as client:
            client.delete_topics([stage.topics.states])
        for _ in range(100):
            with contextlib.suppress(Exception):
                create_topics(kafka, {stage.topics.states: 1})
                return

    await asyncio.to_thread(anew)
    again = await stage.open(tmp_path / "rows")
    await stage.put(event("c", 1))
    await stage.settle(again)
    assert [key for key, _ in again.store.walk(b"", 10)] == [b"a", b"b", b"c"]
    assert (await stage.from_scratch(tmp_path / "scratch")).keys() == {b"a", b"b", b"c", CHECKPOINT_KEY}


def test_a_copy_that_another_process_uses_is_said_so(tmp_path: Path) -> None:
    """With what to do about it."""
    one, two = RowStore(tmp_path / "rows"), RowStore(tmp_path / "rows")
    one.open()
    with pytest.raises(StorageError, match="Another process") as refused:
        two.open()
    assert refused.value.mend is not None
    assert "--var" in refused.value.mend
    one.close()
    two.open()
    two.close()


async def test_a_full_disk_loses_nothing_and_fills_no_changelog(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk refuses, the batch is on the changelog once; when there is room, it goes on from there."""
    stage = await make()
    acting: Acting = await stage.open(tmp_path / "rows")
    await stage.put(identify("a"))
    await stage.settle(acting)

    def full(*_: object, **__: object) -> None:
        raise StorageError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(acting.store, "write", full)
        patch.setattr(acting.store, "replay", full)
        await stage.put(event("a", 1), event("b", 1))
        await stage.feed(acting)
        await asyncio.sleep(2.5)
        assert acting.done == [1]
    await stage.settle(acting)
    assert acting.done[-1] == 3
    keys = [key for key, _, _ in await stage.changelog()]
    assert keys.count(b"b") == 1, "appended again and again"
    assert {each.customer for each in (await stage.read()).lines.values()} == {"a", "b"}


async def test_an_owner_that_waits_for_definitions_lets_go_at_once(make: Make, tmp_path: Path) -> None:
    """Nothing was begun, so there is nothing to wait for."""
    stage = await make()
    stage.definitions.in_force = ""
    acting = await stage.open(tmp_path / "rows")
    await acting.owner.restored.wait()
    acting.owner.release()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(acting.task, 1)


async def test_a_batch_that_the_changelog_does_not_take_is_divided(make: Make, kafka: str, tmp_path: Path) -> None:
    """A refusal for good breaks a producer's numbering: the next batches go through a new one, and nothing is lost."""
    stage = await make()
    stage.pack_records = 100

    def limit() -> None:
        with admin(kafka) as client:
            client.alter_configs([ConfigResource("TOPIC", stage.topics.states, {"max.message.bytes": "6000"})])

    await asyncio.to_thread(limit)
    acting = await stage.open(tmp_path / "rows")
    names = [f"c{number}" for number in range(40)]
    await stage.put(*(event(name, 1) for name in names))
    await stage.settle(acting)
    read = await stage.read()
    assert all([each.kind for each in read.decisions(name)].count("entered") == 1 for name in names)
    assert not read.dead
    assert {key for key, _ in acting.store.walk(b"", 100)} == {name.encode() for name in names}


async def test_an_owner_whose_catalog_is_not_there_waits_for_it(make: Make, kafka: str, tmp_path: Path) -> None:
    """It decides nothing by another one, and does not end: as soon as the catalog can be had, it goes on."""
    stage = await make()
    store = RowStore(tmp_path / "rows")
    store.open()
    outlet = Outlet(kafka, client="test")
    await outlet.start()
    changelog = Changelog(ChangelogPartition(kafka, stage.topics.states, 0), store, outlet)
    await changelog.restore()
    await changelog.commit([], Checkpoint(catalog="shop-later"))
    store.close()
    acting = await stage.open(tmp_path / "rows")
    await stage.put(event("a", 1))
    await stage.feed(acting)
    await asyncio.sleep(1.5)
    assert not acting.task.done()
    assert not acting.done
    stage.definitions.catalogs["shop-later"] = catalog(id="shop-later")
    await stage.settle(acting)
    assert acting.owner.catalog_id == "shop-later"
    await outlet.stop()
