"""A runtime whose intake is Kafka's: what the collector appends goes to a real broker and comes back from there.

Invariant: the memory runtime behind it sees only what was read from the topics, as the bytes say it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.clock import ManualClock
from engine.core.catalog import Catalog
from engine.core.record import Record
from engine.runtimes.base import DeadLetter
from engine.runtimes.kafka.intake.intake import IntakeOptions, KafkaIntake
from engine.runtimes.kafka.topics import AT, ORIGIN, REASON, Deployed, Mended, Shard, Topics, decode_input, headers_of
from engine.runtimes.memory_ports import MemoryRuntime


class ThroughKafka(MemoryRuntime):
    """One partition, so that the log has one order that tests can compare."""

    def __init__(self, catalog: Catalog, clock: ManualClock, *, bootstrap: str, topics: Topics) -> None:
        super().__init__(catalog, clock=clock)
        self.intake = KafkaIntake(
            bootstrap, topics, partitions=1, options=IntakeOptions(answer_seconds_max=5, stop_seconds_max=5)
        )
        self._places = [TopicPartition(topics.touchpoints, 0), TopicPartition(topics.dead_letters, 0)]
        self._consumers = [AIOKafkaConsumer(bootstrap_servers=bootstrap, fetch_max_wait_ms=50) for _ in self._places]
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.intake.start()
        for consumer, place in zip(self._consumers, self._places, strict=True):
            await consumer.start()
            consumer.assign([place])
            await consumer.seek_to_end(place)
            await consumer.position(place)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.intake.stop()
        for consumer in self._consumers:
            await consumer.stop()

    @property
    def backlog(self) -> int:
        return self.intake.backlog

    async def append(self, records: Sequence[Record]) -> None:
        async with self._turn:
            await self.intake.append(records)
            found = [decode_input(each.value) for each in await self._read(0, len(records))]
            await super().append([each for each in found if not isinstance(each, Deployed | Shard | Mended)])

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        async with self._turn:
            await self.intake.dead_letter(letters)
            await super().dead_letter([_letter(each) for each in await self._read(1, len(letters))])

    async def _read(self, which: int, count: int) -> list[Any]:
        found: list[Any] = []
        async with asyncio.timeout(10):
            while len(found) < count:
                some = await self._consumers[which].getmany(timeout_ms=1_000, max_records=count - len(found))
                found += [each for records in some.values() for each in records]
        return found


def _letter(record: Any) -> DeadLetter:
    headers = headers_of(record.headers)
    return DeadLetter(
        at_ms=int(headers[AT]),
        origin=headers[ORIGIN],
        reason=headers[REASON],
        body=record.value,
        customer=(record.key or b"").decode(),
    )
