"""What stands on the topics, read to their ends. Invariant: nothing of the runtime reads here but its codecs."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.core.effect import Decision
from engine.runtimes.kafka.topics import JournalLine, decision_of, decode_journal


async def read_topic(bootstrap: str, topic: str, partitions: int) -> list[Any]:
    """Every record of a topic, partition after partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    found: list[Any] = []
    try:
        for number in range(partitions):
            place = TopicPartition(topic, number)
            consumer.assign([place])
            end = (await consumer.end_offsets([place]))[place]
            await consumer.seek_to_beginning(place)
            while await consumer.position(place) < end:
                found.extend((await consumer.getmany(place, timeout_ms=200)).get(place, []))
    finally:
        await consumer.stop()
    return found


async def journal_of(bootstrap: str, topic: str, partitions: int) -> dict[str, list[Decision]]:
    """Customer → decisions in their order; a line that was written again must say the same."""
    lines: dict[tuple[int, int, int], JournalLine] = {}
    for record in await read_topic(bootstrap, topic, partitions):
        line = decode_journal(record.value)
        assert isinstance(line, JournalLine), "nobody was erased"
        identity = (record.partition, line.offset, line.index)
        assert lines.setdefault(identity, line) == line, f"{identity} was decided twice, differently"
    by_customer: dict[str, list[Decision]] = {}
    for identity in sorted(lines):
        by_customer.setdefault(lines[identity].customer, []).append(decision_of(lines[identity]))
    return by_customer
