"""Takes what an owner is handed, and reads by itself what it was not handed.

Invariant: between what was applied and what is applied next no record is left out that Kafka still has, whatever lost it on its
way to us. What Kafka has removed by age is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from aiokafka import TopicPartition

from engine.errors import StorageError
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.partition.changelog import ChangelogPartition, bounds, reader, some
from engine.telemetry import Action, get_log

RETRY_SECONDS = 0.5
Take = Callable[[Sequence[Incoming]], Awaitable[None]]
_log = get_log("missing")


async def take_unbroken(place: ChangelogPartition, records: Sequence[Incoming], *, applied: int, take: Take) -> None:
    """Takes the records (in order of offsets), and before each hole in them what lies there.

    `applied`: offset of the last record that was taken before. Holes are not loss by themselves: a producer with transactions
    makes them.
    """
    expected, begun = applied + 1, 0
    for index, each in enumerate(records):
        if each.offset > expected:
            if index > begun:
                await take(records[begun:index])
            begun = index
            async for found in _read(place, expected, each.offset):
                await take(found)
        expected = max(expected, each.offset + 1)
    await take(records[begun:])


async def _read(place: ChangelogPartition, start: int, end: int) -> AsyncIterator[list[Incoming]]:
    """What the partition has from `start` on, before `end`; asks until the broker answers."""
    while start < end:
        try:
            async with reader(place) as consumer:
                tp = TopicPartition(place.topic, place.partition)
                begin, _ = await bounds(consumer, tp)
                if begin > start:
                    gone = min(begin, end) - start
                    _log.error(Action.RECORDS_MISSED, topic=place.topic, partition=place.partition, count=gone)
                    start = begin
                consumer.seek(tp, start)
                while start < end:
                    found, start = await some(consumer, tp, start)
                    if wanted := [_incoming(each) for each in found if each.offset < end]:
                        _log.warning(
                            Action.RECORDS_RECOVERED, topic=place.topic, partition=place.partition, count=len(wanted)
                        )
                        yield wanted
        except StorageError as error:
            _log.error(Action.BATCH_FAILED, topic=place.topic, partition=place.partition, cause=error)
            await asyncio.sleep(RETRY_SECONDS)


def _incoming(record: Any) -> Incoming:
    return Incoming(record.offset, record.timestamp, record.key, record.value, tuple(record.headers))
