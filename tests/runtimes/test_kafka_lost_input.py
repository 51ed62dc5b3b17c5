"""What was deleted behind the runtime's back is said, not passed over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.clock import ManualClock
from engine.collector.foreign import parse_foreign
from engine.core.record import Event
from engine.errors import SettingsError, StorageError
from engine.runtimes.kafka.arrival import Incoming, read_arrival
from engine.runtimes.kafka.changelog import Changelog, Place
from engine.runtimes.kafka.outlet import Outlet
from engine.runtimes.kafka.store import Change, RowStore
from engine.runtimes.kafka.topics import Checkpoint, Topics, encode_checkpoint, encode_input, pack_row
from tests.conformance.shop import T0, catalog
from tests.runtimes.kafka_partitions import here
from tests.runtimes.kafka_stage import Stage, defined, make_topics
from tests.services.kafka import create_topics

DAY = 86_400


async def test_an_input_topic_that_was_made_anew_is_refused(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """More was applied than the topic has: whatever comes now has offsets that would be passed over."""
    topics = Topics(topic_prefix)
    create_topics(kafka, {topics.touchpoints: 1, topics.states: 1})
    store = RowStore(tmp_path / "0")
    store.open()
    outlet = Outlet(kafka, client="test")
    await outlet.start()
    try:
        changelog = Changelog(Place(kafka, topics.states, 0), store, outlet)
        await changelog.restore()
        await changelog.check_input(topics.touchpoints)
        await changelog.commit([], Checkpoint(applied=41))
        with pytest.raises(SettingsError, match="made anew"):
            await changelog.check_input(topics.touchpoints)
    finally:
        await outlet.stop()
        store.close()


def test_a_copy_that_lay_idle_for_days_is_made_anew(tmp_path: Path) -> None:
    """A compacted changelog has forgotten by then what was removed meanwhile; a copy of today is kept."""
    store = RowStore(tmp_path / "0")
    store.open()
    store.write([Change(b"a", pack_row(1, 0, b"x"), 1, 0, 0)], encode_checkpoint(Checkpoint(applied=1)), offset=2)
    store.close()
    store.open()
    assert store.rows([b"a"])
    store.close()
    for path in (tmp_path / "0").glob("*"):
        os.utime(path, (time.time() - 4 * DAY,) * 2)
    store.open()
    assert not store.rows([b"a"])
    assert store.offset == -1
    store.close()


def test_a_record_without_an_id_gets_one_from_its_place() -> None:
    """Two of them that are alike to the byte, in the same millisecond, are two; the same one read again is one."""
    at = replace(here(0, 1), parse=parse_foreign)
    value = b'{"type": "track", "userId": "a", "event": "Order Completed"}'

    def id_of(offset: int) -> str:
        arrival = read_arrival(at, Incoming(offset, 5, b"a", value))
        [record] = arrival.inputs
        assert isinstance(record, Event)
        assert encode_input(record)
        return record.id

    assert id_of(1) != id_of(2)
    assert id_of(1) == id_of(1)


async def test_records_that_were_not_handed_over_end_the_owner(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """A fetch that loses a record must not look like one that had none: the next process reads it again."""
    [topics] = make_topics(kafka, [topic_prefix], with_definitions=True)
    async with defined(kafka, topics, [catalog()]) as definitions:
        stage = Stage(kafka, topics, clock=ManualClock(T0), definitions=definitions)
        await stage.start()
        try:
            await stage.put(*(Event(customer="a", at_ms=T0, id=f"e{n}", name="Other", time_ms=T0) for n in range(4)))
            log = await stage.log()
            acting = await stage.open(tmp_path / "0")
            done: list[int] = []
            acting.owner.feed(log[:1], lambda: done.append(0))
            acting.owner.feed(log[2:], lambda: done.append(2))
            with pytest.raises(StorageError, match="1 to 1 were not handed to us"):
                await asyncio.wait_for(acting.task, 30)
            assert 2 not in done
            with contextlib.suppress(StorageError):
                await stage.close_owner(acting)
            acting.owner.close()
            await acting.outlet.stop()
            again = await stage.open(tmp_path / "0")
            await stage.settle(again)
            assert again.owner.applied == 3
        finally:
            await stage.close()
