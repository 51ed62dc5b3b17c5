"""What the app does when one rebalance meets another, or a broker that does not answer: it goes on.

Invariant: app and recovery are the real ones, without a broker; what is put in their place is what Faust's consumer would do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from engine.errors import StorageError
from engine.runtimes.kafka.group import app as module
from engine.runtimes.kafka.group.app import AppSettings, build_app, start_app
from engine.runtimes.kafka.group.host import Host
from engine.telemetry import Metrics

SECONDS_MAX = 10.0


def _nobody(_partition: int) -> Any:
    raise AssertionError("nothing is assigned here")


async def _nothing() -> None:
    pass


@pytest.fixture
async def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Any]:
    """An app whose consumer has one partition, and whose recovery runs; neither is connected to anything."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    settings = AppSettings(
        bootstrap="127.0.0.1:1", group="g", source="in", changelog="rows", partitions=1, folder=tmp_path
    )
    made: Any = build_app(settings, Host(_nobody, _nobody), metrics=Metrics())
    monkeypatch.setattr(made.consumer, "assignment", lambda: {TP("in", 0)})
    monkeypatch.setattr(made.consumer, "resume_partitions", lambda _partitions: None)
    monkeypatch.setattr(made._fetcher, "maybe_start", _nothing)
    await made.tables.recovery.start()
    yield made
    await made.tables.recovery.stop()


async def test_a_rebalance_during_another_does_not_end_the_worker(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the offsets of one generation are asked for, the next one comes: Faust raises, and the recovery begins anew."""
    asked: list[int] = []
    seeking, recovery = asyncio.Event(), app.tables.recovery

    async def seek() -> None:
        asked.append(recovery._generation_id)
        seeking.set()
        if len(asked) == 1:
            await asyncio.Event().wait()

    monkeypatch.setattr(app.consumer, "perform_seek", seek)
    await recovery.on_rebalance(set(), set(), set(), app.consumer_generation_id)
    await asyncio.wait_for(seeking.wait(), SECONDS_MAX)
    await recovery.on_rebalance(set(), set(), set(), app.consumer_generation_id)
    await asyncio.wait_for(_until(lambda: recovery.completed.is_set() or recovery.crashed), SECONDS_MAX)
    assert not recovery.crashed
    assert len(asked) == 2


async def test_a_broker_that_does_not_answer_is_asked_again(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The committed offsets cannot be had while the coordinator is away; the worker waits for it."""
    asked: list[int] = []

    async def seek() -> None:
        asked.append(1)
        if len(asked) < 3:
            raise KafkaConnectionError

    recovery = app.tables.recovery
    monkeypatch.setattr(app.consumer, "perform_seek", seek)
    await recovery.on_rebalance(set(), set(), set(), app.consumer_generation_id)
    await asyncio.wait_for(_until(lambda: recovery.completed.is_set() or recovery.crashed), SECONDS_MAX)
    assert not recovery.crashed
    assert len(asked) == 3


async def _until(done: Any) -> None:
    while not done():
        await asyncio.sleep(0.01)


async def test_it_makes_folders_only_where_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust by itself makes `GROUP-data` wherever the process was started: in an operator's home, or where nobody may write."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    settings = AppSettings(
        bootstrap="127.0.0.1:1", group="g", source="in", changelog="rows", partitions=1, folder=tmp_path
    )
    made: Any = build_app(settings, Host(_nobody, _nobody), metrics=Metrics())
    made._create_directories()
    assert not list(here.iterdir())
    assert (tmp_path / "faust").is_dir()


async def test_brokers_that_go_away_during_the_start_are_an_error_that_says_so(tmp_path: Path) -> None:
    """The role was let in a moment ago; it ends with a sentence, and not with the client's exception."""
    settings = AppSettings(
        bootstrap="127.0.0.1:1", group="g", source="in", changelog="rows", partitions=1, folder=tmp_path
    )
    made: Any = build_app(settings, Host(_nobody, _nobody), metrics=Metrics())
    with pytest.raises(StorageError, match="does not answer"):
        await start_app(made, settings.bootstrap)
    await made.stop()


async def test_where_nothing_is_committed_reading_begins_at_the_beginning(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fetched and thrown away in a rebalance is read again, also before the group's first commit."""
    new, old, sought = TP("in", 0), TP("in", 1), {}

    class Thread:
        async def seek_to_committed(self) -> dict[TP, int | None]:
            return {new: None, old: 7}

        async def earliest_offsets(self, *partitions: TP) -> dict[TP, int]:
            return dict.fromkeys(partitions, 3)

        def seek(self, partition: TP, offset: int) -> None:
            sought[partition] = offset

    monkeypatch.setattr(app.consumer, "_thread", Thread())
    assert await app.consumer.seek_to_committed() == {new: None, old: 7}
    assert sought == {new: 3}
