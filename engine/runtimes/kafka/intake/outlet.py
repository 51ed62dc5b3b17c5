"""What leaves a process for Kafka: whole batches, acknowledged by all replicas that are in sync.

Invariant: `append` writes a batch whole or not at all, and returns where it lies; `send` returns when everything is acknowledged.
The producer is idempotent: a retry after a lost answer is not a second copy. While the broker is away, calls wait. After a batch
that failed for good the broker would refuse whatever the same producer sends to that partition (its numbers have a gap): then
the next call has a new one, and may write what the old one has written already.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from engine.errors import LimitExceeded, StorageError
from engine.runtimes.kafka.connect import METADATA_AGE_MS
from engine.runtimes.kafka.topics import BATCH_BYTES_MAX, Outgoing
from engine.telemetry import Action, Metrics, get_log

STOP_SECONDS_MAX = 10.0
METADATA_PAUSE_SECONDS = 0.5
METADATA_AT_ONCE = 20
"""So many questions are asked without a pause: a producer asks once for each topic that is new to it."""

Row = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]
"""Key, value, headers."""


class Outlet:
    """One producer for everything that a role writes. Needs an event loop to be made."""

    def __init__(self, bootstrap: str, *, client: str, metrics: Metrics | None = None) -> None:
        self._bootstrap = bootstrap
        self._client = client
        self._produce_seconds = metrics.produce_seconds if metrics is not None else None
        self._producer: AIOKafkaProducer | None = None
        self._renewing = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._log = get_log("outlet")

    async def start(self) -> None:
        """Raises StorageError when no broker answers."""
        self._producer = await self._connected()

    async def stop(self) -> None:
        """Waits for what is under way, for a bounded time. Idempotent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)
        if self._closing:
            await asyncio.wait(set(self._closing))

    async def _connected(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            metadata_max_age_ms=METADATA_AGE_MS,
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
            _unhurried(producer.client)
        except KafkaError as error:
            await producer.stop()
            raise StorageError(f"Kafka at {self._bootstrap} does not answer: {error}") from error
        return producer

    async def _renew(self, broken: AIOKafkaProducer) -> None:
        """A new producer in place of a broken one; when there is none to be had, the next failure tries again."""
        async with self._renewing:
            if self._producer is not broken:
                return
            try:
                producer = await self._connected()
            except StorageError as error:
                self._log.error(Action.BATCH_FAILED, cause=error)
                return
            if self._producer is not broken:  # we were stopped meanwhile
                await producer.stop()
                return
            self._producer = producer
            closing = asyncio.create_task(_close(broken))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def append(self, topic: str, partition: int, rows: Sequence[Row]) -> int:
        """Writes the rows as one batch; returns the offset of the first. Raises LimitExceeded when they are too many bytes,
        StorageError when the broker refuses them.
        """
        batch = self._batch()
        for key, value, headers in rows:
            # The builder takes a first record of any size.
            full = batch.append(timestamp=None, key=key, value=value, headers=list(headers)) is None
            if full or batch.size() > BATCH_BYTES_MAX:
                raise LimitExceeded(f"A batch is too large for {topic}.", limit=BATCH_BYTES_MAX)
        return await self._written(batch, topic, partition)

    async def send(self, outgoing: Sequence[Outgoing]) -> dict[tuple[str, int], int]:
        """Writes records to wherever they go, each partition in order; returns the last offset of each.

        Raises StorageError, when nothing of it is under way any more; LimitExceeded for a record that its topic does not take.
        """
        lanes: dict[tuple[str, int], list[Outgoing]] = {}
        for each in outgoing:
            lanes.setdefault((each.topic, each.partition), []).append(each)
        ways = [self._lane(topic, number, lane) for (topic, number), lane in lanes.items()]
        ends: dict[tuple[str, int], int] = {}
        for where, end in zip(lanes, await asyncio.gather(*ways, return_exceptions=True), strict=True):
            if isinstance(end, BaseException):
                raise end
            ends[where] = end
        return ends

    async def broker_ms(self, topic: str, partition: int, value: bytes) -> int:
        """Writes a record; returns when that was by the broker's clock, 0 when it does not say. Raises StorageError."""
        batch = self._batch()
        batch.append(timestamp=None, key=None, value=value, headers=[])
        return (await self._answer(batch, topic, partition)).timestamp or 0

    async def _lane(self, topic: str, partition: int, lane: list[Outgoing]) -> int:
        batch = self._batch()
        for each in lane:
            if batch.append(timestamp=None, key=each.key, value=each.value, headers=list(each.headers)) is None:
                await self._written(batch, topic, partition)
                batch = self._batch()
                batch.append(timestamp=None, key=each.key, value=each.value, headers=list(each.headers))
        return await self._written(batch, topic, partition) + int(batch.record_count()) - 1

    def _batch(self) -> BatchBuilder:
        if self._producer is None:
            raise StorageError("The connection to Kafka is closed.")
        return self._producer.create_batch()

    async def _written(self, batch: BatchBuilder, topic: str, partition: int) -> int:
        return int((await self._answer(batch, topic, partition)).offset)

    async def _answer(self, batch: BatchBuilder, topic: str, partition: int) -> Any:
        producer = self._producer
        if producer is None:
            raise StorageError("The connection to Kafka is closed.")
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            answer = await (await producer.send_batch(batch, topic, partition=partition))
        except MessageSizeTooLargeError as error:
            await self._renew(producer)
            size = batch.size()
            raise LimitExceeded(f"{topic} does not take a batch of {size} bytes: {error!r}", limit=size) from error
        except KafkaTimeoutError as error:  # it was not even begun
            raise StorageError(f"Kafka does not take batches for {topic}[{partition}] now.") from error
        except KafkaError as error:
            await self._renew(producer)
            raise StorageError(f"Kafka refused a batch for {topic}[{partition}]: {error!r}") from error
        if answer.offset < 0:  # it was there already, and the broker has forgotten where
            raise StorageError(f"Kafka did not say where a batch for {topic}[{partition}] lies.")
        if self._produce_seconds is not None:
            self._produce_seconds.observe(clock() - started)
        return answer


def _unhurried(client: Any) -> None:
    """Lets the client ask for the brokers' metadata only so often. For a topic that is gone it would ask, and complain, as fast
    as they answer.
    """
    ask, loop = client.force_metadata_update, asyncio.get_running_loop()
    next_at = loop.time() - METADATA_AT_ONCE * METADATA_PAUSE_SECONDS

    async def later(seconds: float) -> object:
        await asyncio.sleep(seconds)
        return await ask()

    def force() -> Any:
        nonlocal next_at
        now = loop.time()
        next_at = max(next_at, now - METADATA_AT_ONCE * METADATA_PAUSE_SECONDS) + METADATA_PAUSE_SECONDS
        wait_seconds = next_at - now
        return ask() if wait_seconds <= 0 else asyncio.ensure_future(later(min(wait_seconds, METADATA_PAUSE_SECONDS)))

    client.force_metadata_update = force


async def _close(producer: AIOKafkaProducer) -> None:
    """The client waits for its batches for ever while the broker is away: not longer than this."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await producer.stop()
