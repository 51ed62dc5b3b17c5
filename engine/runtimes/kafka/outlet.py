"""What leaves a process for Kafka: whole batches, acknowledged by all replicas that are in sync.

Invariant: `append` writes a batch whole or not at all, and returns where it lies; `send` returns when everything is acknowledged.
The producer is idempotent: a retry after a lost answer is not a second copy. While the broker is away, calls wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from engine.errors import LimitExceeded, StorageError
from engine.runtimes.kafka.topics import BATCH_BYTES_MAX, Outgoing
from engine.telemetry import Metrics

Row = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]
"""Key, value, headers."""


class Outlet:
    """One producer for everything that a role writes. Needs an event loop to be made."""

    def __init__(self, bootstrap: str, *, client: str, metrics: Metrics | None = None) -> None:
        self._bootstrap = bootstrap
        self._client = client
        self._produce_seconds = metrics.produce_seconds if metrics is not None else None
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Raises StorageError when no broker answers."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client,
            enable_idempotence=True,
            acks="all",
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=2 * BATCH_BYTES_MAX,
            retry_backoff_ms=50,
        )
        try:
            await producer.start()
        except KafkaError as error:
            await producer.stop()
            raise StorageError(f"Kafka at {self._bootstrap} does not answer: {error}") from error
        self._producer = producer

    async def stop(self) -> None:
        """Idempotent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def append(self, topic: str, partition: int, rows: Sequence[Row]) -> int:
        """Writes the rows as one batch; returns the offset of the first. Raises LimitExceeded when they are too many bytes,
        StorageError when the broker refuses them.
        """
        batch = self._batch()
        for key, value, headers in rows:
            if batch.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
                raise LimitExceeded("A batch is too large for its changelog.", limit=BATCH_BYTES_MAX)
        offset: int = await self._written(batch, topic, partition)
        return offset

    async def send(self, outgoing: Sequence[Outgoing]) -> dict[tuple[str, int], int]:
        """Writes records to wherever they go, each partition in order; returns the last offset of each."""
        lanes: dict[tuple[str, int], list[Outgoing]] = {}
        for each in outgoing:
            lanes.setdefault((each.topic, each.partition), []).append(each)
        ends = await asyncio.gather(*(self._lane(topic, number, lane) for (topic, number), lane in lanes.items()))
        return dict(zip(lanes, ends, strict=True))

    async def _lane(self, topic: str, partition: int, lane: list[Outgoing]) -> int:
        end = -1
        batch = self._batch()
        for each in lane:
            if batch.append(timestamp=None, key=each.key, value=each.value, headers=list(each.headers)) is None:
                end = await self._written(batch, topic, partition) + batch.record_count() - 1
                batch = self._batch()
                batch.append(timestamp=None, key=each.key, value=each.value, headers=list(each.headers))
        return int(await self._written(batch, topic, partition)) + batch.record_count() - 1 if lane else end

    def _batch(self) -> BatchBuilder:
        if self._producer is None:
            raise StorageError("The connection to Kafka is closed.")
        return self._producer.create_batch()

    async def _written(self, batch: BatchBuilder, topic: str, partition: int) -> Any:
        assert self._producer is not None
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            answer = await (await self._producer.send_batch(batch, topic, partition=partition))
        except KafkaError as error:
            raise StorageError(f"Kafka refused a batch for {topic}[{partition}]: {error!r}") from error
        if self._produce_seconds is not None:
            self._produce_seconds.observe(clock() - started)
        return answer.offset
