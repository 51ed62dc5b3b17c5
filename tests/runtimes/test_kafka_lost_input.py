"""What was deleted behind the runtime's back is said, not passed over."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from kafka import TopicPartition
from msgspec.structs import replace

from engine.clock import ManualClock
from engine.collector.intake.foreign import parse_foreign
from engine.core.record import Event
from engine.errors import SettingsError
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.partition.arrival import Incoming, read_arrival
from engine.runtimes.kafka.partition.changelog import Changelog, ChangelogPartition
from engine.runtimes.kafka.partition.missing import take_unbroken
from engine.runtimes.kafka.partition.store import Change, RowStore
from engine.runtimes.kafka.topics import Checkpoint, Topics, encode_checkpoint, encode_input, pack_row
from tests.conformance.shop import T0, catalog
from tests.runtimes.kafka_partitions import here
from tests.runtimes.kafka_stage import Stage, defined, event, identify, make_topics
from tests.services.kafka import admin, create_topics

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
        changelog = Changelog(ChangelogPartition(kafka, topics.states, 0), store, outlet)
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


async def test_records_that_were_not_handed_over_are_read(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """Whatever lost them on their way: a hole before a pack and one within it are filled from the topic, in order."""
    [topics] = make_topics(kafka, [topic_prefix], with_definitions=True)
    async with defined(kafka, topics, [catalog()]) as definitions:
        stage = Stage(kafka, topics, clock=ManualClock(T0), definitions=definitions)
        await stage.start()
        try:
            orders = [event("a", n, "Order Completed") for n in range(5)]
            await stage.put(identify("a"), *orders)
            log = await stage.log()
            acting = await stage.open(tmp_path / "0")
            acting.owner.feed(log[:1], lambda: acting.done.append(0))
            acting.owner.feed([log[2], log[5]], lambda: acting.done.append(5))
            acting.fed = len(log)
            await stage.settle(acting)
            assert acting.done == [0, 5]
            messages = (await stage.read()).messages.values()
            causes = [each.context["enrollment"]["event"]["id"] for each in messages]
            assert causes == [each.id for each in orders]
        finally:
            await stage.close()


async def test_holes_that_hold_nothing_are_passed_over(kafka: str, topic_prefix: str) -> None:
    """The end of a producer's transaction takes an offset, and is not a record."""
    topic = f"{topic_prefix}in"
    create_topics(kafka, {topic: 1})
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic_prefix}t")
    async with producer:
        for value in (b"1", b"2", b"3"):
            async with producer.transaction():
                await producer.send_and_wait(topic, value)
    taken: list[Incoming] = []

    async def take(records: Sequence[Incoming]) -> None:
        taken.extend(records)

    handed = [Incoming(0, 1, None, b"1"), Incoming(4, 1, None, b"3")]
    await take_unbroken(ChangelogPartition(kafka, topic, 0), handed, applied=-1, take=take)
    assert [(each.offset, each.value) for each in taken] == [(0, b"1"), (2, b"2"), (4, b"3")]


async def test_what_kafka_has_no_more_is_said(
    kafka: str, topic_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records that were removed by age cannot be read; the line says how many, and the rest is taken."""
    topic = f"{topic_prefix}in"
    create_topics(kafka, {topic: 1})
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    async with producer:
        for value in (b"0", b"1", b"2", b"3"):
            await producer.send_and_wait(topic, value)
    with admin(kafka) as client:
        client.delete_records({TopicPartition(topic, 0): 2})
    taken: list[int] = []

    async def take(records: Sequence[Incoming]) -> None:
        taken.extend(each.offset for each in records)

    capsys.readouterr()
    await take_unbroken(ChangelogPartition(kafka, topic, 0), [Incoming(3, 1, None, b"3")], applied=-1, take=take)
    assert taken == [2, 3]
    said = capsys.readouterr()
    [line] = [line for line in (said.out + said.err).splitlines() if "records_missed" in line]
    assert "count=2" in line
