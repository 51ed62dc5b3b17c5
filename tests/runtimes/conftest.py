"""An embedded runtime in a folder of its own, on a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.clock import ManualClock
from engine.runtimes.embedded import EmbeddedOptions, EmbeddedRuntime
from tests.conformance.shop import T0, catalog

Open = Callable[..., Awaitable[EmbeddedRuntime]]


@pytest.fixture
def var(tmp_path: Path) -> Path:
    """Where the store is kept."""
    return tmp_path / "var"


@pytest.fixture
def clock() -> ManualClock:
    """Stands at T0."""
    return ManualClock(T0)


@pytest.fixture
async def open_runtime(var: Path, clock: ManualClock) -> AsyncIterator[Open]:
    """Opens runtimes on the same folder; closes what is still open."""
    opened: list[EmbeddedRuntime] = []

    async def open_one(**more: Any) -> EmbeddedRuntime:
        options = more.pop("options", EmbeddedOptions(inbox_poll_seconds=0.01))
        runtime = EmbeddedRuntime(var, more.pop("catalog", catalog()), clock=clock, options=options, **more)
        await runtime.start()
        opened.append(runtime)
        return runtime

    yield open_one
    for runtime in opened:
        await runtime.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty journal's database, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    found: str = request.getfixturevalue("postgres")
    return found
