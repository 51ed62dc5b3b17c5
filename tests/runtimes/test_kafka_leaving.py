"""Who is cancelled while a consumer stops is cancelled, at whatever moment it comes.

Invariant: the broker is real.
"""

from __future__ import annotations

import asyncio

from aiokafka import TopicPartition

from engine.runtimes.kafka.changelog import Place, bounds, reader
from tests.services.kafka import create_topics

MOMENTS = 12
SECONDS_MAX = 3.0


async def test_a_cancellation_while_a_consumer_stops_is_not_lost(kafka: str, topic_prefix: str) -> None:
    """A copy that was let go just when it had read all there was went on to follow, and held up the release for ever."""
    place = Place(kafka, f"{topic_prefix}rows", 0)
    await asyncio.to_thread(create_topics, kafka, {place.topic: 1})

    async def restore_and_follow(read: asyncio.Event) -> None:
        async with reader(place) as consumer:
            await bounds(consumer, TopicPartition(place.topic, 0))
            await asyncio.sleep(0.05)  # its own tasks wait by then
            read.set()
        await asyncio.Event().wait()

    for moment in range(MOMENTS):
        read = asyncio.Event()
        task = asyncio.create_task(restore_and_follow(read))
        await read.wait()
        for _ in range(moment):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=SECONDS_MAX)
        went_on = not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not went_on, f"moment {moment}"
