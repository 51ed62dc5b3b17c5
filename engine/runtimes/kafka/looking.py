"""Reads a partition for somebody who asks beside the roles: operators, mostly.

Invariant: it only reads, in no group; whatever Kafka says against it is one sentence about what was to be read.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from engine.errors import ServiceUnreachable
from engine.runtimes.kafka.connect import METADATA_AGE_MS
from engine.runtimes.kafka.leaving import stopped

FETCH_MS = 500


@contextlib.asynccontextmanager
async def looking(bootstrap: str, tp: TopicPartition, *, client: str, what: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of one partition. Raises ServiceUnreachable that names `what`, for whatever Kafka says inside the block."""
    consumer = AIOKafkaConsumer(
        metadata_max_age_ms=METADATA_AGE_MS, bootstrap_servers=bootstrap, enable_auto_commit=False, client_id=client
    )
    try:
        await consumer.start()
        consumer.assign([tp])
        yield consumer
    except KafkaError as error:
        raise ServiceUnreachable(
            f"Could not read {what} from Kafka: {error}.", mend="Check that a broker is running there."
        ) from error
    finally:
        await stopped(consumer)


async def between(consumer: AIOKafkaConsumer, tp: TopicPartition, *, since: int, until: int) -> list[Any]:
    """The records from one offset up to and without the other; compaction leaves holes."""
    consumer.seek(tp, since)
    found: list[Any] = []
    while await consumer.position(tp) < until:
        records = (await consumer.getmany(tp, timeout_ms=FETCH_MS)).get(tp, [])
        found += [each for each in records if each.offset < until]
    return found


async def whole(bootstrap: str, topic: str, *, client: str, what: str) -> list[Any]:
    """All records of a topic of one partition, in their order. Raises ServiceUnreachable."""
    tp = TopicPartition(topic, 0)
    async with looking(bootstrap, tp, client=client, what=what) as consumer:
        begin, end = (await consumer.beginning_offsets([tp]))[tp], (await consumer.end_offsets([tp]))[tp]
        return await between(consumer, tp, since=begin, until=end)
