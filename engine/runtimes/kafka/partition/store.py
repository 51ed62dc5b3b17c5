"""A partition's rows on this machine's disk (RocksDB): a copy of its changelog, with an index by due time.

Invariant: one write batch holds rows, index, checkpoint and the changelog's offset, so that the copy is always the changelog up
to an offset. What is lost with the disk is read again from the changelog; nothing is only here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch

from engine.errors import StorageError
from engine.runtimes.kafka.topics import CHECKPOINT_KEY, Checkpoint, decode_checkpoint, unpack_prefix
from engine.runtimes.unreadable import UnreadableRow, readable
from engine.telemetry import Action, get_log

ROW, DUE, META = b"r", b"t", b"m"
DUE_END = b"u"
OFFSET_KEY = META + b"offset"
CHECKPOINT_ROW = META + b"checkpoint"
WRITE_BUFFER_BYTES = 8 << 20
FILE_BYTES = 16 << 20
CACHE_BYTES = 32 << 20
IDLE_SECONDS_MAX = 3 * 86_400
"""Well within the week for which a changelog keeps what was removed (`delete.retention.ms`)."""
GONE_MAX = 10_000
"""How many removals are remembered: a late row of an old owner comes soon after, or never."""

_log = get_log("rows")
_U64 = struct.Struct(">Q")
_cache: list[Cache] = []


class Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row that changes. `row` None: it is removed, as of `position`. `old_due_ms` is what the index holds (0: nothing).

    `aged`: it is removed by its age, so that its bytes may stay in a file until that is rewritten anyway.
    """

    key: bytes
    row: bytes | None
    position: int
    due_ms: int
    old_due_ms: int
    aged: bool = False


class DamagedCopy(StorageError):
    """The copy on this disk is no use; the changelog has all of it."""


class RowStore:
    """One partition's rows. Not safe for use by two threads at once; RocksDB itself refuses a second process."""

    last_checkpoint_counts = False
    """Whether the changelog's last checkpoint is the one that counts, or the one that has applied most."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._db: Rdict | None = None
        self._broken = False
        self._gone: dict[bytes, int] = {}  # removed of late: an older row, read afterwards, must not bring it back
        self._due_from_ms = 0  # nothing is due before: what was removed there need not be passed again
        self._has_remains = False
        """Whether something was removed that still stands in a file."""
        self.stale: set[bytes] = set()
        """Keys whose last record on the changelog, as far as it was read, is older than what is here."""

    def open(self) -> None:
        """Raises StorageError when the folder cannot be used. A copy that lay idle for long is made anew: a compacted changelog
        does not tell any more what was removed meanwhile.
        """
        if self._idle_seconds() > IDLE_SECONDS_MAX:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._connect()
        self._gone.clear()
        self.stale.clear()
        self._due_from_ms = 0

    def _idle_seconds(self) -> float:
        """Since a file of the copy was last written, by the clock of the file system."""
        written = [path.stat().st_mtime for path in self._folder.glob("*")]
        if not written:
            return 0.0
        with tempfile.TemporaryFile(dir=self._folder.parent) as now:
            return os.fstat(now.fileno()).st_mtime - max(written)

    def _connect(self) -> None:
        with _translated():
            self._db = Rdict(str(self._folder), _options())
        self._broken = False

    def close(self) -> None:
        """Idempotent."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def destroy(self) -> None:
        """Removes the copy from the disk; it is made anew from the changelog."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def db(self) -> Rdict:
        """The open database. Raises StorageError when it broke and cannot be opened again yet."""
        if self._broken:
            with contextlib.suppress(Exception):  # what could be written, was
                self.close()
            self._connect()
            self._due_from_ms = 0
        assert self._db is not None, "the store is not open"
        return self._db

    def scrub(self) -> bool:
        """Rewrites the files so that nothing of what was removed is left in them; whether there was anything to do.

        Takes as long as copying the rows: for another thread. Raises StorageError.
        """
        if not self._has_remains or self._db is None:
            return False
        self._has_remains = False
        with _translated():
            self.db.flush()
            self.db.compact_range(None, None)
        return True

    @property
    def offset(self) -> int:
        """Offset of the last changelog record that is in here; -1: none."""
        body = self.db.get(OFFSET_KEY)
        return -1 if body is None else int.from_bytes(body, "big")

    @property
    def checkpoint(self) -> Checkpoint:
        """Where the partition stands."""
        body = self.db.get(CHECKPOINT_ROW)
        try:
            return Checkpoint() if body is None else readable(decode_checkpoint, body)
        except UnreadableRow as error:
            raise DamagedCopy(f"The copy in {self._folder} does not say where it stands: {error}") from error

    def rows(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The rows of those keys that there are."""
        if not keys:
            return {}
        found: Any = self.db.get([ROW + key for key in keys])
        return {key: row for key, row in zip(keys, found, strict=True) if row is not None}

    def walk(self, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """The next (key, row) after a key, in key order; `after` empty: from the beginning."""
        return [
            (key[1:], row)
            for key, row in _scan(self.db, ROW + after + b"\0" if after else ROW, before=b"s", limit=limit)
        ]

    def due(self, now_ms: int, limit: int) -> list[tuple[int, bytes]]:
        """(due_ms, key) of what is due at `now_ms`, earliest first."""
        start, end = DUE + _U64.pack(self._due_from_ms), DUE + _U64.pack(now_ms + 1)
        found = [
            (_U64.unpack_from(key, 1)[0], key[1 + _U64.size :])
            for key, _ in _scan(self.db, start, before=end, limit=limit)
        ]
        self._due_from_ms = max(self._due_from_ms, found[0][0] if found else now_ms + 1)
        return found

    def walk_due(self, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """The next (place, key) of the index by due time after a place, earliest first; `after` empty: from the beginning."""
        start = DUE + after + b"\0" if after else DUE
        return [(place[1:], place[1 + _U64.size :]) for place, _ in _scan(self.db, start, before=DUE_END, limit=limit)]

    @property
    def next_due_ms(self) -> int:
        """When something is next due; 0: never."""
        found = self.due(_MAX_MS, 1)
        return found[0][0] if found else 0

    def write(self, changes: Iterable[Change], checkpoint: bytes, *, offset: int) -> None:
        """Writes what the changelog has up to `offset`. Raises StorageError (a full disk, say): nothing was written."""
        batch = WriteBatch(raw_mode=True)
        for change in changes:
            self._put(batch, change)
        batch.put(CHECKPOINT_ROW, checkpoint)
        batch.put(OFFSET_KEY, _U64.pack(offset))
        self._commit(batch)
        self.stale.clear()

    def replay(self, records: Sequence[tuple[bytes, bytes | None, int]], *, offset: int) -> None:
        """Takes over changelog records `(key, row or None, position)` in their order, the last one at `offset`.

        A row for an older position than the one that is here comes from an owner who had lost the partition: it is left out.
        As long as it is the last of its key on the changelog (`stale`), compaction would keep it and not ours: then the offset
        stays, so that whoever opens this copy next finds it again.
        """
        newest: dict[bytes, tuple[int, bytes | None]] = {}
        checkpoint = b""
        known = self.rows([key for key, _, _ in records if key != CHECKPOINT_KEY])
        for key, row, position in records:
            if key == CHECKPOINT_KEY:
                checkpoint = self._counts(checkpoint, row)
                continue
            seen = newest[key][0] if key in newest else unpack_prefix(known[key])[0] if key in known else -1
            if position >= max(seen, self._gone.get(key, -1)):
                newest[key] = (position, row)
                self.stale.discard(key)
            elif not self.last_checkpoint_counts:
                self.stale.add(key)
        batch = WriteBatch(raw_mode=True)
        for key, (position, row) in newest.items():
            old = known.get(key)
            due_ms = unpack_prefix(row)[1] if row else 0
            self._put(batch, Change(key, row, position, due_ms, unpack_prefix(old)[1] if old else 0))
        if checkpoint:
            batch.put(CHECKPOINT_ROW, checkpoint)
        if not self.stale:
            batch.put(OFFSET_KEY, _U64.pack(offset))
        self._commit(batch)

    def _commit(self, batch: WriteBatch) -> None:
        try:
            with _translated():
                self.db.write(batch)
        except StorageError:
            self._broken = True  # after a failed write RocksDB takes no other, also when there is room again
            raise

    def position(self, key: bytes) -> int:
        """What a key's row or its removal stands for; -1: nothing is known of it."""
        row = self.db.get(ROW + key)
        return self._gone.get(key, -1) if row is None else unpack_prefix(row)[0]

    def _counts(self, chosen: bytes, other: bytes | None) -> bytes:
        """The one of two checkpoints that counts; `chosen` empty: that of the store."""
        if not other or not _is_checkpoint(other):
            return chosen
        if self.last_checkpoint_counts:
            return other
        if decode_checkpoint(other).applied >= (decode_checkpoint(chosen) if chosen else self.checkpoint).applied:
            self.stale.discard(CHECKPOINT_KEY)
            return other
        self.stale.add(CHECKPOINT_KEY)
        return chosen

    def _put(self, batch: WriteBatch, change: Change) -> None:
        if change.row is None:
            batch.delete(ROW + change.key)
            self._has_remains = self._has_remains or not change.aged
            self._gone.pop(change.key, None)
            self._gone[change.key] = change.position
            if len(self._gone) > GONE_MAX:
                self._gone.pop(next(iter(self._gone)))
        else:
            batch.put(ROW + change.key, change.row)
        if change.old_due_ms and change.old_due_ms != change.due_ms:
            batch.delete(DUE + _U64.pack(change.old_due_ms) + change.key)
        if change.due_ms and change.old_due_ms != change.due_ms:
            batch.put(DUE + _U64.pack(change.due_ms) + change.key, b"")
            self._due_from_ms = min(self._due_from_ms, change.due_ms)


def _is_checkpoint(body: bytes) -> bool:
    """One that cannot be read does not count: the one before it does, and what was applied since is applied again."""
    try:
        readable(decode_checkpoint, body)
    except UnreadableRow as error:
        _log.error(Action.ROW_SKIPPED, table="checkpoint", reason=str(error))
        return False
    return True


_MAX_MS = (1 << 62) - 1


def _scan(db: Rdict, start: bytes, *, before: bytes, limit: int) -> list[tuple[bytes, bytes]]:
    """Pairs from `start` on. The iterator ends here: one that lives on would keep the database open."""
    found: list[tuple[bytes, bytes]] = []
    iterator = db.iter()
    iterator.seek(start)
    while iterator.valid() and len(found) < limit:
        key = iterator.key()
        if key >= before:
            break
        found.append((key, iterator.value()))
        iterator.next()
    del iterator
    return found


def _options() -> Options:
    if not _cache:
        _cache.append(Cache(CACHE_BYTES))  # one for all partitions of a process
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 - the library's own signature
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_target_file_size_base(FILE_BYTES)
    options.set_keep_log_file_num(2)
    options.set_max_open_files(64)
    table = BlockBasedOptions()
    table.set_block_cache(_cache[0])
    options.set_block_based_table_factory(table)
    return options


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """RocksDB's errors as ours."""
    try:
        yield
    except Exception as error:  # the library raises plain Exception
        if "lock" in str(error).lower():
            raise StorageError(
                f"Another process uses this partition's copy: {error}",
                mend="Give each worker a folder of its own (`--var`, or `[project] var`).",
            ) from error
        raise StorageError(f"The partition's copy on disk cannot be used: {error}") from error
