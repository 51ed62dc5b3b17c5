"""How a consumer is stopped by a task that may be cancelled at any moment.

Invariant: a cancellation that comes meanwhile is raised once the consumer has stopped. aiokafka waits for its own tasks and
ignores that they were cancelled, and with it that we were: a task that reads for ever would go on reading, and whoever waits for
its end (a partition that is let go, a role that stops) would wait for ever as well.
"""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer

STOP_SECONDS_MAX = 10.0
"""So long a cancellation waits for the consumer to stop."""


async def stopped(consumer: AIOKafkaConsumer) -> None:
    """Stops it."""
    stopping = asyncio.create_task(consumer.stop(), name="anlass-consumer-stop")
    try:
        await asyncio.shield(stopping)
    except asyncio.CancelledError:
        await asyncio.wait({stopping}, timeout=STOP_SECONDS_MAX)
        raise
