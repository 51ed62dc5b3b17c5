"""A partition's rows on disk: rows and index agree, whatever of the changelog is read, in whatever order it was written."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.runtimes.kafka.partition.store import Change, RowStore
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    Checkpoint,
    decode_checkpoint,
    encode_checkpoint,
    pack_row,
    unpack_prefix,
)
from tests.properties import examples

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
KEYS = (b"a", b"b", b"c")
Record = tuple[bytes, bytes | None, int]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RowStore]:
    """Open and empty."""
    one = RowStore(tmp_path / "rows")
    one.open()
    yield one
    one.close()


def change(key: bytes, position: int, *, due_ms: int = 0, old_due_ms: int = 0) -> Change:
    return Change(key, pack_row(position, due_ms, b"body"), position, due_ms, old_due_ms)


def checkpoint(applied: int) -> bytes:
    return encode_checkpoint(Checkpoint(applied=applied))


def check_index(store: RowStore) -> None:
    rows = sorted((unpack_prefix(row)[1], key) for key, row in store.walk(b"", 1_000))
    assert store.due(1 << 61, 1_000) == [each for each in rows if each[0]]


def test_what_was_written_is_there_after_opening_it_again(store: RowStore) -> None:
    """Rows, index, checkpoint and offset, all from one write."""
    store.write([change(b"b", 1, due_ms=20), change(b"a", 2, due_ms=10)], checkpoint(2), offset=2)
    store.write([change(b"b", 3, due_ms=5, old_due_ms=20)], checkpoint(3), offset=4)
    store.close()
    store.open()
    assert store.offset == 4
    assert store.checkpoint == Checkpoint(applied=3)
    assert [key for key, _ in store.walk(b"", 9)] == [b"a", b"b"]
    assert store.due(10, 9) == [(5, b"b"), (10, b"a")]
    assert store.due(9, 9) == [(5, b"b")]
    assert store.next_due_ms == 5


def test_a_walk_goes_on_after_a_key(store: RowStore) -> None:
    """In key order, without rows of the index or the checkpoint, also from a key that is gone."""
    store.write([change(bytes([65 + number]), 0, due_ms=7) for number in range(5)], checkpoint(0), offset=5)
    assert [key for key, _ in store.walk(b"", 2)] == [b"A", b"B"]
    assert [key for key, _ in store.walk(b"B", 2)] == [b"C", b"D"]
    assert [key for key, _ in store.walk(b"AA", 9)] == [b"B", b"C", b"D", b"E"]
    assert store.walk(b"E", 9) == []


def test_the_index_follows_what_comes_earlier_and_what_goes(store: RowStore) -> None:
    """The lower bound that spares passing over what was removed never hides what is due."""
    store.write([change(b"a", 0, due_ms=100)], checkpoint(0), offset=1)
    assert store.next_due_ms == 100
    store.write([change(b"b", 1, due_ms=50)], checkpoint(1), offset=3)
    assert store.next_due_ms == 50
    assert store.due(49, 9) == []
    store.write([Change(b"b", None, 2, 0, 50)], checkpoint(2), offset=5)
    assert store.next_due_ms == 100
    assert store.due(1_000, 9) == [(100, b"a")]
    store.write([Change(b"a", None, 3, 0, 100)], checkpoint(3), offset=7)
    assert store.next_due_ms == 0
    store.write([change(b"c", 4, due_ms=1)], checkpoint(4), offset=9)
    assert store.due(1, 9) == [(1, b"c")]


def test_an_older_row_is_left_out_and_remembered_until_it_is_written_over(store: RowStore) -> None:
    """Compaction would keep it: the offset stays until a record of the changelog says what the row is."""
    newer, older = pack_row(9, 5, b"newer"), pack_row(4, 1, b"older")
    store.replay([(CHECKPOINT_KEY, checkpoint(9), 0), (b"a", newer, 9)], offset=1)
    store.replay([(CHECKPOINT_KEY, checkpoint(4), 0), (b"a", older, 4)], offset=3)
    assert store.rows([b"a"]) == {b"a": newer}
    assert store.checkpoint.applied == 9
    assert store.stale == {b"a", CHECKPOINT_KEY}
    assert store.offset == 1
    store.replay([(CHECKPOINT_KEY, checkpoint(9), 0), (b"a", newer, 9)], offset=5)
    assert not store.stale
    assert store.offset == 5
    check_index(store)


def test_a_removed_row_does_not_come_back(store: RowStore) -> None:
    """Neither in the same reading nor in the next, nor after it was removed by a write; a newer one does."""
    older = pack_row(3, 0, b"older")
    store.replay([(b"a", pack_row(1, 8, b""), 1), (b"a", None, 5), (b"a", older, 3)], offset=2)
    store.replay([(b"a", older, 3)], offset=3)
    store.write([change(b"b", 6, due_ms=7)], checkpoint(6), offset=4)
    store.write([Change(b"b", None, 7, 0, 7)], checkpoint(7), offset=5)
    store.replay([(b"b", older, 3)], offset=6)
    assert store.walk(b"", 9) == []
    assert store.position(b"b") == 7
    store.replay([(b"b", pack_row(8, 2, b""), 8)], offset=7)
    assert store.due(9, 9) == [(2, b"b")]


@st.composite
def changelogs(draw: st.DrawFn) -> list[list[Record]]:
    """What one owner or several wrote: each a part of the same history, in batches; later ones may begin earlier."""
    history: list[Record] = []
    for position in range(draw(st.integers(1, 12))):
        key = draw(st.sampled_from(KEYS))
        due_ms = draw(st.integers(0, 5))
        row = pack_row(position, due_ms, b"%d" % position) if draw(st.integers(0, 4)) else None
        history.append((key, row, position))
    batches: list[list[Record]] = []
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, len(history) - 1))
        last = draw(st.integers(first, len(history) - 1))
        size = draw(st.integers(1, 4))
        part = history[first : last + 1]
        for start in range(0, len(part), size):
            some = part[start : start + size]
            batches.append([(CHECKPOINT_KEY, checkpoint(some[-1][2]), 0), *some])
    return batches


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.too_slow])
@given(changelogs(), st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 5))
def test_whatever_is_read_the_newest_position_of_each_key_is_kept(
    batches: list[list[Record]], cuts: list[int], reopened: int
) -> None:
    """However the changelog is cut while it is read, with the copy opened again in between where nothing was removed."""
    records = [each for batch in batches for each in batch]
    expected: dict[bytes, Record] = {}
    applied = -1
    for key, row, position in records:
        if key == CHECKPOINT_KEY:
            applied = max(applied, decode_checkpoint(row or b"").applied)
        elif key not in expected or position >= expected[key][2]:
            expected[key] = (key, row, position)
    removed = any(row is None for _, row, _ in records)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        store = RowStore(Path(folder))
        store.open()
        at = turn = 0
        while at < len(records):
            size = cuts[turn % len(cuts)]
            turn += 1
            store.replay(records[at : at + size], offset=min(at + size, len(records)) - 1)
            at += size
            check_index(store)
            if turn == reopened and not removed:
                store.close()
                store.open()
                at = store.offset + 1
        rows = dict(store.walk(b"", 99))
        assert rows == {key: row for key, (_, row, _) in expected.items() if row is not None}
        last = {key: position for key, _, position in records if key != CHECKPOINT_KEY}
        assert {key for key in last if last[key] < expected[key][2]} == store.stale - {CHECKPOINT_KEY}
        assert store.checkpoint.applied == applied
        store.close()


FULL = """
import resource, signal, sys
from pathlib import Path
from engine.errors import StorageError
from engine.runtimes.kafka.partition.store import Change, RowStore
from engine.runtimes.kafka.topics import Checkpoint, encode_checkpoint, pack_row
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = RowStore(Path(sys.argv[1]))
store.open()
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

def write(number):
    change = Change(b"k%05d" % number, pack_row(number, number + 1, b"x" * 4_000), number, number + 1, 0)
    store.write([change], encode_checkpoint(Checkpoint(applied=number)), offset=number)

resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
refused, number = 0, 0
while refused < 3:
    try:
        write(number)
        number += 1
    except StorageError:
        refused += 1
    assert number < 5_000, "the disk never was full"
assert store.checkpoint.applied == number - 1, (store.checkpoint.applied, number)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
for _ in range(200):
    try:
        write(number)
        break
    except StorageError as error:
        last = error
else:
    raise last
number += 1
store.close()
store.open()
assert store.checkpoint.applied == number - 1
assert len(store.walk(b"", 10_000)) == number
assert len(store.due(1 << 60, 10_000)) == number
print("went on", number)
"""


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """RocksDB itself cannot write a file any further: each batch is refused whole, and later taken."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "rows")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.stdout.startswith("went on"), done.stderr
