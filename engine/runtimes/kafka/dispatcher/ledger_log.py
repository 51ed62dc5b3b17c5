"""The changelog of a partition of the ledger: taken over by one owner after the other, each of which knows that it is the last.

Invariant: when `commit` returns, no other process had taken the partition over before these rows were appended. A batch of
a former owner that lies behind a takeover is void: it hears so (`Fenced`) before anybody acts on it, and the rows are mended.

A worker's partition may have two owners for a moment, because both decide the same. Two dispatchers would both send. So the
owner first appends a row of its own (`OWNER_KEY`, with a number that only grows), and reads up to that row. What a former owner
wrote before it counts; whoever commits afterwards finds a gap in the offsets, reads it, and knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from engine.errors import LimitExceeded, StorageError
from engine.runtimes.kafka.intake.outlet import Outlet, Row
from engine.runtimes.kafka.partition.changelog import POSITION_HEADER, Changelog, ChangelogPartition, Fenced
from engine.runtimes.kafka.partition.store import Change, RowStore
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    OWNER_KEY,
    PREFIX_BYTES,
    Checkpoint,
    encode_checkpoint,
    pack_row,
    unpack_prefix,
)
from engine.telemetry import Action, get_log

OWNER_SHIFT = 40
"""A position is the owner's number and, below it, a count: so a row of a later owner beats each of a former one."""
TAKEOVER_PAUSE_SECONDS = 0.05
_log = get_log("ledger-log")


class LedgerStore(RowStore):
    """A partition's rows. A batch that failed half-way is mended by a later one, whose checkpoint may have applied less."""

    last_checkpoint_counts = True


class LedgerLog(Changelog):
    """Reads and writes one partition. `take_over` first."""

    def __init__(self, place: ChangelogPartition, store: LedgerStore, outlet: Outlet) -> None:
        super().__init__(place, store, outlet)
        self.owner = 0
        """Number of this ownership; 0: we do not own the partition."""
        self._count = 0
        self._unmended: set[bytes] = set()

    def next_position(self) -> int:
        """For the next row that changes."""
        assert self.owner, "the partition was not taken over"
        self._count += 1
        return (self.owner << OWNER_SHIFT) + self._count

    async def take_over(self, *, progress: Callable[[int, int], None] | None = None) -> int:
        """Reads the changelog to its end and makes this process the owner; returns how many records were read."""
        count = 0
        while True:
            count += await self.restore(progress=progress)
            row = self._store.rows([OWNER_KEY]).get(OWNER_KEY)
            owner = (unpack_prefix(row)[0] >> OWNER_SHIFT if row else 0) + 1
            position = owner << OWNER_SHIFT
            change = Change(OWNER_KEY, pack_row(position, 0, b""), position, 0, 0)
            first = await self._outlet.append(self._place.topic, self._place.partition, [_row_of(change)])
            start = self.applied_until + 1
            if first < start:
                raise StorageError(f"Kafka did not say where a row for {self._place.topic} lies.")
            missed = await self._between(start, first) if first > start else []
            if all(key != OWNER_KEY or unpack_prefix(row or b"")[0] < position for key, row, _ in missed):
                break
            await asyncio.sleep(TAKEOVER_PAUSE_SECONDS)  # another one was as quick
        if missed:  # the former owner wrote until the moment when it lost the partition
            self._store.replay(missed, offset=first - 1)
            self.checkpoint = self._store.checkpoint
        self._store.write([change], encode_checkpoint(self.checkpoint), offset=first)
        self.applied_until = first
        self.owner, self._count, self._unmended = owner, 0, set()
        return count + len(missed)

    async def commit(self, changes: Sequence[Change], checkpoint: Checkpoint) -> None:
        """Writes a batch: changelog, then disk. Raises Fenced when another process owns the partition by now; LimitExceeded
        (nothing was written); StorageError, and then what may have come onto the changelog is undone by the next commit.
        """
        assert self.owner, "the partition was not taken over"
        mended = self._again(self._unmended - {change.key for change in changes})
        body = encode_checkpoint(checkpoint)
        rows: list[Row] = [(CHECKPOINT_KEY, body, ()), *map(_row_of, (*changes, *mended))]
        expected = self.applied_until + 1
        try:
            first = await self._outlet.append(self._place.topic, self._place.partition, rows)
        except LimitExceeded:
            if not mended:
                raise
            self._unmended = (
                set()
            )  # too much at once; what a former owner wrote about messages we have not touched does no harm
            await self.commit(changes, checkpoint)
            return
        foreign = await self._examine(expected, first) if first != expected else None
        last = first + len(rows) - 1
        self._store.write([*changes, *mended], body, offset=last)
        self.applied_until, self.checkpoint, self._unmended = last, checkpoint, foreign or set()
        if foreign is not None:
            await self._mend()

    async def _mend(self) -> None:
        """Writes our rows over those of somebody else. If that fails the next commit does it: this one is done."""
        try:
            await self.commit([], self.checkpoint)
        except Fenced:
            raise
        except StorageError as error:
            _log.error(Action.BATCH_FAILED, partition=self._place.partition, cause=error)

    async def _examine(self, start: int, end: int) -> set[bytes]:
        """Keys of the rows that somebody else wrote there, or an attempt of ours that failed half-way. Raises Fenced."""
        if end < start:
            raise StorageError(f"Kafka did not say where a batch for {self._place.topic} lies.")
        keys = set()
        for key, _, position in await self._between(start, end):
            if key == OWNER_KEY and position >> OWNER_SHIFT >= self.owner:
                raise Fenced(f"Another process owns {self._place.topic}[{self._place.partition}].")
            if key not in (CHECKPOINT_KEY, OWNER_KEY):
                keys.add(key)
        return keys

    def _again(self, keys: set[bytes]) -> list[Change]:
        """Our rows as they are, with newer positions."""
        rows = self._store.rows(sorted(keys))
        changes = []
        for key in sorted(keys):
            row, position = rows.get(key), self.next_position()
            if row is None:
                changes.append(Change(key, None, position, 0, 0))
            else:
                due_ms = unpack_prefix(row)[1]
                again = pack_row(position, due_ms, row[PREFIX_BYTES:])
                changes.append(Change(key, again, position, due_ms, due_ms))
        return changes


def _row_of(change: Change) -> Row:
    gone = () if change.row is not None else ((POSITION_HEADER, change.position.to_bytes(8, "big")),)
    return (change.key, change.row, gone)
