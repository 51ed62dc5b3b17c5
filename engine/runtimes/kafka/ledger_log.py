"""The changelog of a partition of the ledger: taken over by one owner after the other, each of which knows that it is the last.

Invariant: when `commit` returns, no other process had taken the partition over before these rows were appended. A batch of
a former owner that lies behind a takeover is void: it hears so (`Fenced`) before anybody acts on it, and the rows are mended.

A worker's partition may have two owners for a moment, because both decide the same. Two dispatchers would both send. So the
owner first appends a row of its own (`OWNER_KEY`, with a number that only grows) and begins only if nothing came between that
row and what it had read. Whoever commits afterwards finds a gap in the offsets, reads it, and knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from engine.errors import StorageError
from engine.runtimes.kafka.changelog import Changelog, Fenced, Place, row_of
from engine.runtimes.kafka.outlet import Outlet, Row
from engine.runtimes.kafka.store import Change, RowStore
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    OWNER_KEY,
    PREFIX_BYTES,
    Checkpoint,
    encode_checkpoint,
    pack_row,
    unpack_prefix,
)

OWNER_SHIFT = 40
"""A position is the owner's number and, below it, a count: so a row of a later owner beats each of a former one."""
TAKEOVER_PAUSE_SECONDS = 0.05


class LedgerStore(RowStore):
    """A partition's rows. A batch that failed half-way is mended by a later one, whose checkpoint may have applied less."""

    last_checkpoint_counts = True


class LedgerLog(Changelog):
    """Reads and writes one partition. `take_over` first."""

    def __init__(self, place: Place, store: LedgerStore, outlet: Outlet) -> None:
        super().__init__(place, store, outlet)
        self.owner = 0
        """Number of this ownership; 0: we do not own the partition."""
        self._count = 0

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
            first = await self._outlet.append(self._place.topic, self._place.partition, [(OWNER_KEY, change.row, ())])
            if first == self.applied_until + 1:
                break
            await asyncio.sleep(TAKEOVER_PAUSE_SECONDS)  # somebody wrote meanwhile: what that was counts
        self._store.write([change], encode_checkpoint(self.checkpoint), offset=first)
        self.applied_until = first
        self.owner, self._count = owner, 0
        return count

    async def commit(self, changes: Sequence[Change], checkpoint: Checkpoint) -> None:
        """As in `Changelog`. Raises Fenced when another process owns the partition by now."""
        assert self.owner, "the partition was not taken over"
        body = encode_checkpoint(checkpoint)
        rows: list[Row] = [(CHECKPOINT_KEY, body, ()), *map(row_of, changes)]
        expected = self.applied_until + 1
        first = await self._outlet.append(self._place.topic, self._place.partition, rows)
        if first != expected:
            await self._examine(expected, first)
        self._store.write(changes, body, offset=first + len(rows) - 1)
        self.applied_until = first + len(rows) - 1
        self.checkpoint = checkpoint
        if first != expected:
            await self._mend(expected, first)

    async def _examine(self, start: int, end: int) -> None:
        if end <= start:
            raise StorageError(f"Kafka did not say where a batch for {self._place.topic} lies.")
        for key, _, position in await self._between(start, end):
            if key == OWNER_KEY and position >> OWNER_SHIFT >= self.owner:
                raise Fenced(f"Another process owns {self._place.topic}[{self._place.partition}].")

    async def _mend(self, start: int, end: int) -> None:
        """Writes our rows again, newer than those of a former owner. Its commit looks for gaps as any other does."""
        foreign = {key for key, _, _ in await self._between(start, end)} - {CHECKPOINT_KEY, OWNER_KEY}
        rows = self._store.rows(sorted(foreign))
        changes = []
        for key in sorted(foreign):
            row, position = rows.get(key), self.next_position()
            if row is None:
                changes.append(Change(key, None, position, 0, 0))
            else:
                due_ms = unpack_prefix(row)[1]
                changes.append(Change(key, pack_row(position, due_ms, row[PREFIX_BYTES:]), position, due_ms, due_ms))
        await self.commit(changes, self.checkpoint)
