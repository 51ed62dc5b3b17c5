"""Everything that stands on the topics of a round, read back after it.

Invariant: each topic is read from its beginning to its end; nothing is interpreted here.
"""

from __future__ import annotations

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.runtimes.kafka.topics import Topics


class Found(msgspec.Struct, frozen=True, gc=False):
    """A record as it stands in Kafka; `at_ms` is its timestamp."""

    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


Topic = dict[int, list[Found]]
"""Partition → its records in order of offsets."""


class Logs(msgspec.Struct):
    """The topics of a round."""

    touchpoints: Topic
    dispatches: Topic
    journal: Topic
    dead_letters: Topic
    states: Topic
    ledger: Topic


async def read_logs(bootstrap: str, topics: Topics, *, partitions: int) -> Logs:
    """Reads what the workers read and wrote."""
    names = (topics.touchpoints, topics.dispatches, topics.journal, topics.dead_letters, topics.states, topics.ledger)
    return Logs(*[await read_topic(bootstrap, name, partitions) for name in names])


async def read_topic(bootstrap: str, topic: str, partitions: int) -> Topic:
    """Partition → everything on it now."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest",
        max_partition_fetch_bytes=16 << 20,
    )  # fmt: skip
    places = [TopicPartition(topic, number) for number in range(partitions)]
    found: Topic = {number: [] for number in range(partitions)}
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for place, records in (await consumer.getmany(timeout_ms=500)).items():
                found[place.partition] += [
                    Found(each.partition, each.offset, each.timestamp, each.key, each.value, tuple(each.headers))
                    for each in records
                    if each.offset < ends[place]
                ]
    finally:
        await consumer.stop()
    return found
