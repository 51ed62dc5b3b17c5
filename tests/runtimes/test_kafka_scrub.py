"""What was erased does not stay in files of rows; and rewriting them is not all that a large project does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from engine.runtimes.kafka.group.host import Host
from engine.runtimes.kafka.partition.store import Change, RowStore
from engine.runtimes.kafka.topics import pack_row


def test_only_what_was_erased_has_the_files_rewritten(tmp_path: Path) -> None:
    """Messages that are removed by their age go every few seconds in a project that is old enough."""
    store = RowStore(tmp_path / "0")
    store.open()
    rows = [Change(key, pack_row(number, 0, b"body"), number, 0, 0) for number, key in enumerate((b"a", b"b"))]
    store.write(rows, b"", offset=1)
    store.write([Change(b"a", None, 2, 0, 0, aged=True)], b"", offset=2)
    assert not store.scrub()
    store.write([Change(b"b", None, 3, 0, 0)], b"", offset=3)
    assert store.scrub()
    assert not store.scrub(), "once"
    assert store.walk(b"", 10) == []
    store.close()


class _Slow:
    """Stands for an owner of many rows."""

    waiting_records = 0

    def __init__(self) -> None:
        self.rounds = 0
        self._released = asyncio.Event()

    def assigned_again(self) -> None:
        pass

    def feed(self, records: object, done: object) -> None:
        raise AssertionError("nothing is fed here")

    async def run(self) -> None:
        await self._released.wait()

    def scrub(self) -> None:
        self.rounds += 1
        time.sleep(0.05)

    def release(self) -> None:
        self._released.set()

    def close(self) -> None:
        pass


async def test_large_files_are_rewritten_a_twentieth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody who takes over partitions waits for it all the time."""
    monkeypatch.setattr("engine.runtimes.kafka.group.host.SCRUB_SECONDS", 0.01)
    owner = _Slow()
    host = Host(lambda _number: owner, lambda _number: owner)
    await host.assign({0}, set())
    await asyncio.sleep(0.6)
    await host.close()
    assert owner.rounds == 1
