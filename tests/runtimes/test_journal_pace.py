"""The journal's database counts each workflow's pace, and knows which are paused and why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.clock import ManualClock
from engine.runtimes.base import Pace
from engine.runtimes.journal import Database, DatabaseReader, Projection
from tests.runtimes.journal_records import T0, entry, line, message, removed, stretch


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty one of each kind."""
    url = f"sqlite:///{tmp_path}/journal.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
    opened = Database(url, clock=ManualClock(T0))
    await opened.open()
    yield opened
    await opened.close()


async def test_the_pace_of_workflows_is_counted_and_counted_back(database: Database) -> None:
    """Decided, sent, bounced and complained about by five minutes; what an erasure removes is not counted any more."""
    projection = Projection(database)
    sent = message("ana")
    lines = [
        line("ana", 1, kind="send", detail={"answer": "queued", "message": sent.id}),
        line("ben", 2, kind="send", detail={"answer": "queued"}),
        line("ben", 3, kind="send", detail={"answer": "suppressed"}),
        line("ben", 400_000, kind="outcome", detail={"outcome": "bounced"}),
        line("", 5, kind="paused", workflow="welcome", detail={"reason": "bounces: 3 within 1h"}),
    ]
    await projection.apply([stretch("journal", lines), stretch("ledger", [entry(sent, 1, offset=1, status="sent")])])
    reader = DatabaseReader(database)
    start = T0 - T0 % 300_000
    asked: dict[str, Any] = {"since_ms": start, "until_ms": start + 3_600_000, "span_ms": 3_600_000}
    assert await reader.pace(**asked) == [Pace(workflow="welcome", from_ms=start, queued=2, sent=1, bounced=1)]
    assert [each.queued for each in await reader.pace(**{**asked, "span_ms": 300_000})] == [2, 0]
    assert await reader.pace(**asked, workflow="other") == []
    (said,) = await reader.pauses()
    assert (said.workflow, said.paused, said.cause, said.reason) == ("welcome", True, "bounces", "bounces: 3 within 1h")
    await projection.apply([stretch("journal", [removed("ana", 9)], start=5)])
    assert await reader.pace(**asked) == [Pace(workflow="welcome", from_ms=start, queued=1, bounced=1)]
    assert await reader.pauses() == [said]
