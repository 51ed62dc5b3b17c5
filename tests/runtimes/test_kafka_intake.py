"""The Kafka intake on a real broker: what is acknowledged is there, in order; what cannot be taken is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from engine.clock import ManualClock
from engine.core.record import Event, Identify, Pause, Record
from engine.errors import Backlog, BadRecord, LimitExceeded, ServiceUnreachable, StorageError
from engine.runtimes.base import DeadLetter
from engine.runtimes.embedded import EmbeddedRuntime
from engine.runtimes.kafka.admin import ensure_topics
from engine.runtimes.kafka.intake.intake import IntakeOptions, KafkaIntake
from engine.runtimes.kafka.topics import (
    RECORD_BYTES_MAX,
    Topics,
    decode_input,
    headers_of,
    is_ours,
    partition_of,
)
from tests.collector.conftest import T0, catalog
from tests.services.kafka import create_topics
from tests.services.ports import free_ports

PARTITIONS = 4


@pytest.fixture
def topics(kafka: str, topic_prefix: str) -> Topics:
    """Topics of this test's own."""
    topics = Topics(prefix=topic_prefix)
    ensure_topics(kafka, topics, partitions=PARTITIONS, replication=1)
    return topics


@pytest.fixture
async def intake(kafka: str, topics: Topics) -> AsyncIterator[KafkaIntake]:
    """Started, with short patience."""
    one = KafkaIntake(kafka, topics, partitions=PARTITIONS, options=IntakeOptions(answer_seconds_max=10))
    await one.start()
    yield one
    await one.stop()


def event(customer: str, number: int, **properties: Any) -> Event:
    """One of a customer's events, in order."""
    return Event(
        customer=customer,
        at_ms=T0,
        id=f"{customer}-{number}",
        name="E",
        time_ms=T0,
        properties={"n": number, **properties},
    )


async def read(bootstrap: str, topic: str, count: int) -> list[Any]:
    """At least `count` records of a topic from its beginning, and what else comes within a moment; each partition in order."""
    async with (
        asyncio.timeout(30),
        AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer,
    ):
        found: list[Any] = []
        while True:
            some = await consumer.getmany(timeout_ms=300)
            if not some and len(found) >= count:
                return found
            found += [each for records in some.values() for each in records]


async def test_a_customers_records_keep_their_order_and_lie_where_java_would_put_them(
    kafka: str, topics: Topics, intake: KafkaIntake
) -> None:
    """Fifty requests at once, and a thousand one after the other: each customer's partition is that of the key, in order."""
    customers = [f"kundin-{number}-ä" for number in range(50)]

    async def shop(customer: str) -> None:
        for number in range(20):
            await intake.append([event(customer, number)])

    await asyncio.gather(*(shop(customer) for customer in customers))
    found = await read(kafka, topics.touchpoints, 1_000)
    assert len(found) == 1_000
    assert intake.backlog == 0
    numbers: dict[str, list[int]] = {}
    for each in found:
        record = decode_input(each.value)
        assert isinstance(record, Event)
        assert is_ours(each.value)
        assert not each.headers  # what has headers is read as somebody else's
        assert each.key == record.customer.encode()
        assert each.partition == partition_of(each.key, PARTITIONS)
        numbers.setdefault(record.customer, []).append(record.properties["n"])
    assert numbers == {customer: list(range(20)) for customer in customers}


async def test_one_request_for_many_customers_is_all_there(kafka: str, topics: Topics, intake: KafkaIntake) -> None:
    """5,000 records over all partitions, larger together than one batch may be: back unchanged when the call returns."""
    records: list[Record] = [event(f"c{number % 700}", number, text="x" * 400) for number in range(5_000)]
    await intake.append(records)
    assert intake.backlog == 0
    found = [decode_input(each.value) for each in await read(kafka, topics.touchpoints, 5_000)]
    by_id = {record.id: record for record in found if isinstance(record, Event)}
    assert [by_id[record.id] for record in records if isinstance(record, Event)] == records
    assert len(found) == 5_000


async def test_a_pause_goes_to_every_partition(kafka: str, topics: Topics, intake: KafkaIntake) -> None:
    """It has no customer: each owner of a partition has to hear it, at its place among the records."""
    pause = Pause(customer="", at_ms=T0, id="p", workflow="news")
    await intake.append([event("c1", 1), pause, event("c1", 2)])
    found = await read(kafka, topics.touchpoints, PARTITIONS + 2)
    told = [each.partition for each in found if each.key is None and decode_input(each.value) == pause]
    assert sorted(told) == list(range(PARTITIONS))
    mine = [decode_input(each.value) for each in found if each.partition == partition_of(b"c1", PARTITIONS)]
    assert mine == [event("c1", 1), pause, event("c1", 2)]


async def test_dead_letters_keep_bytes_reason_and_origin(kafka: str, topics: Topics, intake: KafkaIntake) -> None:
    """Also bytes that are not text, and a letter of nobody."""
    letters = [
        DeadLetter(at_ms=T0, origin="http:/v1/batch", reason="batch[1]: odd ü", body=b"\xff\x00", customer="c1"),
        DeadLetter(at_ms=T0, origin="http:/v1/batch", reason="why", body=b"{}"),
    ]
    await intake.dead_letter(letters)
    found = {each.key: each for each in await read(kafka, topics.dead_letters, 2)}
    assert {key: each.value for key, each in found.items()} == {b"c1": b"\xff\x00", None: b"{}"}
    assert headers_of(found[b"c1"].headers) == {
        "anlass-reason": "batch[1]: odd ü",
        "anlass-origin": "http:/v1/batch",
        "anlass-at": str(T0),
    }


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (event("", 1), "bad_customer"),
        (event("c\0", 1), "bad_customer"),
        (event("c" * 513, 1), "bad_customer"),
        (event("c1", 1, large=2**64), "not_storable"),
        (event("c1", 1, text="\ud800"), "not_storable"),
        (event("c1", 1, odd=object()), "not_storable"),
        (event("\ud800", 1), "not_storable"),
    ],
)
async def test_both_intakes_refuse_the_same_records(
    intake: KafkaIntake, topics: Topics, kafka: str, record: Record, code: str, tmp_path: Any
) -> None:
    """With the same code and place, and nothing of the request is written."""
    embedded = EmbeddedRuntime(tmp_path, catalog(), clock=ManualClock(T0))
    await embedded.start()
    for one in (intake, embedded):
        with pytest.raises(BadRecord) as caught:
            await one.append([event("c1", 0), record])
        assert caught.value.code == code
        assert "records[1]" in (caught.value.where or "")
    await embedded.stop()
    assert await read(kafka, topics.touchpoints, 0) == []


async def test_a_record_over_the_limit_is_refused_and_one_below_it_passes(
    kafka: str, topics: Topics, intake: KafkaIntake
) -> None:
    """10 MB do not reach the broker; one that is just small enough does."""
    with pytest.raises(BadRecord) as caught:
        await intake.append([event("c1", 1, text="x" * 10_000_000)])
    assert caught.value.code == "event_too_large"
    await intake.append([event("c1", 2, text="x" * (RECORD_BYTES_MAX - 300))])
    assert len(await read(kafka, topics.touchpoints, 1)) == 1


async def test_bounds_are_429_and_take_nothing(kafka: str, topics: Topics) -> None:
    """Too many records waiting, too many bytes waiting, too many at once."""
    options = IntakeOptions(append_records_max=10, backlog_max=5, buffer_bytes_max=2_000)
    intake = KafkaIntake(kafka, topics, partitions=PARTITIONS, options=options)
    await intake.start()
    with pytest.raises(LimitExceeded, match="11 records"):
        await intake.append([event("c1", number) for number in range(11)])
    with pytest.raises(Backlog):
        await intake.append([event("c1", number) for number in range(6)])
    with pytest.raises(Backlog, match="bytes wait"):
        await intake.append([event("c1", 1, text="x" * 2_000)])
    first = asyncio.create_task(intake.append([event("c1", number) for number in range(4)]))
    await asyncio.sleep(0)
    with pytest.raises(Backlog, match="4 records wait"):
        await intake.append([event("c2", 1), event("c2", 2)])
    await first
    await intake.append([event("c2", 1)])
    await intake.stop()
    assert len(await read(kafka, topics.touchpoints, 5)) == 5


async def test_a_caller_who_goes_away_takes_nobody_with_it(kafka: str, topics: Topics, intake: KafkaIntake) -> None:
    """A cancelled request leaves no count behind, and those around it are served."""
    calls = [asyncio.create_task(intake.append([event(f"c{number}", 1)])) for number in range(20)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results[1::2] == [None] * 10
    await intake.append([event("last", 1)])
    assert intake.backlog == 0
    found = {each.key for each in await read(kafka, topics.touchpoints, 11)}
    assert {f"c{number}".encode() for number in range(1, 20, 2)} <= found


async def test_stopped_means_503_and_all_that_was_taken_is_there(kafka: str, topics: Topics) -> None:
    """What waits at the stop is still written; what comes after is refused; stopping twice is harmless."""
    intake = KafkaIntake(kafka, topics, partitions=PARTITIONS)
    with pytest.raises(StorageError):
        await intake.append([event("c1", 1)])
    await intake.start()
    calls = [asyncio.create_task(intake.append([event(f"c{number}", 1)])) for number in range(100)]
    await asyncio.sleep(0)
    await intake.stop()
    assert await asyncio.gather(*calls) == [None] * 100
    with pytest.raises(StorageError):
        await intake.append([event("c1", 2)])
    with pytest.raises(StorageError):
        await intake.dead_letter([DeadLetter(at_ms=T0, origin="o", reason="r", body=b"x")])
    await intake.stop()
    assert len(await read(kafka, topics.touchpoints, 100)) == 100


async def test_no_broker_at_the_start_is_status_3(topic_prefix: str) -> None:
    """As for every service that is needed."""
    intake = KafkaIntake(f"127.0.0.1:{free_ports(1)[0]}", Topics(prefix=topic_prefix), partitions=1)
    with pytest.raises(ServiceUnreachable, match="ANLASS_KAFKA") as caught:
        await intake.start()
    assert caught.value.status == 3
    await intake.stop()


async def test_a_refused_batch_is_an_error_and_the_next_one_passes(kafka: str, topic_prefix: str) -> None:
    """A topic whose limit was set below our records: Kafka refuses for good, which would break an idempotent producer's
    numbering; a new connection takes the next record.
    """
    topics = Topics(prefix=topic_prefix)
    create_topics(kafka, {topics.touchpoints: PARTITIONS}, max_message_bytes="2000")
    intake = KafkaIntake(kafka, topics, partitions=PARTITIONS)
    await intake.start()
    for number in range(3):
        with pytest.raises(StorageError, match="did not take the records"):
            await intake.append([event("c1", number, text="x" * 3_000)])
        await intake.append([event("c1", number), Identify(customer="c1", at_ms=T0, id="i", time_ms=T0, traits={})])
    assert intake.backlog == 0
    await intake.stop()
    assert len(await read(kafka, topics.touchpoints, 6)) == 6
