"""A partition's changelog and its copy on disk, and the order in which they are written.

Invariant: a batch is on the changelog (rows, what it sends, how far the input is applied: one append, whole or not at all)
before it is on disk, and on disk before anything of it is visible elsewhere. Whoever takes the partition over reads the
changelog to its end, sends again what the last batch sends, and evaluates only what comes after.

Two owners at once (one was thought dead) write the same for the same input. Each finds what the other wrote by the gap in the
offsets, and reads it: who is behind goes on from there (`Fenced`), and rows that came too late are written again as they were.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from engine.errors import LimitExceeded, SettingsError, StorageError
from engine.runtimes.kafka.connect import METADATA_AGE_MS
from engine.runtimes.kafka.leaving import stopped
from engine.runtimes.kafka.outlet import Outlet, Row
from engine.runtimes.kafka.store import Change, DamagedCopy, RowStore
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    Checkpoint,
    encode_checkpoint,
    unpack_prefix,
)

POSITION_HEADER = "p"
POLL_MS = 200
POLL_RECORDS_MAX = 2_000
FETCH_BYTES = 4 << 20
"""What is asked for at once, for each partition that is restored; a larger batch comes whole."""
MENDED_ROWS = 100
"""Rows of an old owner that are written over at once: few enough for one batch, however large they are."""

Replayed = tuple[bytes, bytes | None, int]
"""Key, row or None, position."""


class Fenced(StorageError):
    """Another process owns the partition, and is further."""


class Place(msgspec.Struct, frozen=True):
    """A partition of a changelog."""

    bootstrap: str
    topic: str
    partition: int


class Changelog:
    """Reads and writes one partition. `store` must be open."""

    def __init__(self, place: Place, store: RowStore, outlet: Outlet) -> None:
        self._place = place
        self._store = store
        self._outlet = outlet
        self.checkpoint = Checkpoint()
        self.applied_until = -1
        """Offset of the changelog's last record that is in the store."""
        self._behind = False
        """Whether the changelog may hold something of ours that the store does not have."""

    def beside(self, topic: str) -> Place:
        """The same partition of another topic."""
        return Place(self._place.bootstrap, topic, self._place.partition)

    async def check_input(self, topic: str) -> None:
        """Raises SettingsError when more was applied than the topic has: it was made anew, and its records would be passed over.

        Raises StorageError when Kafka does not say.
        """
        async with reader(self.beside(topic)) as consumer:
            _, end = await bounds(consumer, TopicPartition(topic, self._place.partition))
        if self.checkpoint.applied >= end:
            raise SettingsError(
                f"{topic}[{self._place.partition}] ends at {end}, but {self._place.topic} says that records up to"
                f" {self.checkpoint.applied} were applied: the topic was deleted and made anew.",
                mend="Restore it from a backup, or begin with another [kafka] prefix: new records would be passed over.",
            )

    async def restore(self, *, progress: Callable[[int, int], None] | None = None) -> int:
        """Reads what the store does not have yet; returns how many records that were. `progress` hears (done, all).

        Raises StorageError when the changelog cannot be read or the store not be written.
        """
        count = 0
        while True:
            async with reader(self._place) as consumer:
                try:
                    count += await self._read_up(consumer, progress)
                    self.checkpoint = self._store.checkpoint
                except DamagedCopy:
                    self._store.destroy()
                    self._store.open()
                    continue
            self._behind = False
            if not self._store.stale:
                return count
            await self._mend_stale()

    async def _read_up(self, consumer: AIOKafkaConsumer, progress: Callable[[int, int], None] | None) -> int:
        tp, offset, end = await self._seek(consumer)
        first, count = offset, 0
        while offset < end:
            records, offset = await some(consumer, tp, offset)
            if records:
                self._store.replay([_replayed(each) for each in records], offset=offset - 1)
                count += len(records)
                if progress is not None:
                    progress(offset - first, end - first)
                await asyncio.sleep(0)
        self.applied_until = max(offset, end) - 1
        return count

    async def _seek(self, consumer: AIOKafkaConsumer) -> tuple[TopicPartition, int, int]:
        """Where the store does not know further, and where the changelog ends."""
        tp = TopicPartition(self._place.topic, self._place.partition)
        begin, end = await bounds(consumer, tp)
        offset = self._store.offset + 1
        if offset > end:  # the changelog was made anew: the copy tells of another one
            self._store.destroy()
            self._store.open()
            offset = 0
        offset = max(offset, begin)
        consumer.seek(tp, offset)
        return tp, offset, end

    async def _mend_stale(self) -> None:
        """Writes our rows again after those of an old owner, so that compaction keeps ours; reading on then finds them so."""
        keys = sorted(self._store.stale - {CHECKPOINT_KEY})
        checkpoint: Row = (CHECKPOINT_KEY, encode_checkpoint(self.checkpoint), ())
        await self._outlet.append(self._place.topic, self._place.partition, [checkpoint])
        for start in range(0, len(keys), MENDED_ROWS):
            some = keys[start : start + MENDED_ROWS]
            rows = self._store.rows(some)
            again: list[Row] = [
                (key, rows.get(key), () if key in rows else _gone(self._store.position(key))) for key in some
            ]
            await self._outlet.append(self._place.topic, self._place.partition, again)

    async def follow(self, *, applied: Callable[[int], None] | None = None) -> None:
        """Keeps the store up with an owner elsewhere, until cancelled; `applied` hears how far the input is applied."""
        while True:
            try:
                await self._follow(applied)
            except StorageError:
                await asyncio.sleep(1)

    async def _follow(self, applied: Callable[[int], None] | None) -> None:
        async with reader(self._place) as consumer:
            tp, offset, _ = await self._seek(consumer)
            while True:
                records, offset = await some(consumer, tp, offset)
                if not records:
                    continue
                self._store.replay([_replayed(each) for each in records], offset=offset - 1)
                self.applied_until = offset - 1
                self.checkpoint = self._store.checkpoint
                if applied is not None:
                    applied(self.checkpoint.applied)

    async def commit(self, changes: Sequence[Change], checkpoint: Checkpoint) -> None:
        """Steps 1 and 2 of a batch. Raises LimitExceeded (nothing was written); StorageError: ask again, what is on the changelog
        already is not written twice; Fenced: another process is further, and the store now has what it wrote.
        """
        body = encode_checkpoint(checkpoint)
        rows: list[Row] = [(CHECKPOINT_KEY, body, ()), *map(row_of, changes)]
        while True:
            if not self._behind:
                self._behind = True  # until we know what became of it
                try:
                    first = await self._outlet.append(self._place.topic, self._place.partition, rows)
                except LimitExceeded:
                    self._behind = False
                    raise
                if first == self.applied_until + 1:
                    self._store.write(changes, body, offset=first + len(rows) - 1)
                    self._behind = False
                    self.applied_until = first + len(rows) - 1
                    self.checkpoint = checkpoint
                    return
            await self.restore()  # somebody else wrote here, or an earlier attempt of ours
            if self.checkpoint == checkpoint:
                return
            if self.checkpoint.applied >= checkpoint.applied:
                raise Fenced(f"Another process owns {self._place.topic}[{self._place.partition}].")

    async def _between(self, start: int, end: int) -> list[Replayed]:
        found: list[Replayed] = []
        async with reader(self._place) as consumer:
            tp = TopicPartition(self._place.topic, self._place.partition)
            consumer.seek(tp, start)
            while start < end:
                records, start = await some(consumer, tp, start)
                found.extend(_replayed(each) for each in records if each.offset < end)
        return found


def row_of(change: Change) -> Row:
    """A change as it stands on the changelog."""
    return (change.key, change.row, () if change.row is not None else _gone(change.position))


def _gone(position: int) -> Sequence[tuple[str, bytes]]:
    return ((POSITION_HEADER, position.to_bytes(8, "big")),)


def _replayed(record: Any) -> Replayed:
    key, value, headers = record.key, record.value, record.headers
    if key == CHECKPOINT_KEY:
        return key, value, 0
    if value is not None:
        return key, value, unpack_prefix(value)[0]
    position = next((int.from_bytes(body, "big") for name, body in headers if name == POSITION_HEADER), 0)
    return key, None, position


@contextlib.asynccontextmanager
async def reader(place: Place) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of one partition, in no group. Raises StorageError for whatever Kafka says inside the block."""
    consumer = AIOKafkaConsumer(
        metadata_max_age_ms=METADATA_AGE_MS,
        bootstrap_servers=place.bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=POLL_MS,
        max_poll_records=POLL_RECORDS_MAX,
    )
    try:
        await consumer.start()
        consumer.assign([TopicPartition(place.topic, place.partition)])
        yield consumer
    except KafkaError as error:
        raise StorageError(f"{place.topic}[{place.partition}] cannot be read: {error!r}") from error
    finally:
        await stopped(consumer)


async def bounds(consumer: AIOKafkaConsumer, tp: TopicPartition) -> tuple[int, int]:
    """The first offset that Kafka has, and the one after the last."""
    begin = (await consumer.beginning_offsets([tp]))[tp]
    end = (await consumer.end_offsets([tp]))[tp]
    return begin, end


async def some(consumer: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> tuple[list[Any], int]:
    """Records and the position after them; compaction leaves holes, so the position may move without records."""
    found = await consumer.getmany(tp, timeout_ms=POLL_MS)
    records = found.get(tp, [])
    position = await consumer.position(tp)
    return records, max(offset, position)


async def records(bootstrap: str, topic: str, partition: int) -> AsyncIterator[tuple[int, list[Any]]]:
    """(first offset that the partition has, some of its records), until its present end."""
    async with reader(Place(bootstrap, topic, partition)) as consumer:
        tp = TopicPartition(topic, partition)
        begin, end = await bounds(consumer, tp)
        consumer.seek(tp, begin)
        offset = begin
        yield begin, []
        while offset < end:
            found, offset = await some(consumer, tp, offset)
            yield begin, found
