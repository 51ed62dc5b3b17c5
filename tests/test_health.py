"""What is not well: named, measured, cleared; and how a role finds out that it stands."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from engine.bootstrap.lag import STANDING_SECONDS, LagGauge
from engine.health import Condition, Health
from engine.runtimes.embedded import EmbeddedRuntime
from engine.runtimes.kafka.progress import GroupStanding
from engine.telemetry import Metrics
from tests.conformance.shop import catalog
from tests.conformance.test_contract import event


def test_states_are_named_by_part_until_they_are_cleared() -> None:
    """The newest sentence of a part stays; clearing what is not there is nothing."""
    health, told = Health(), []
    health.on_change = lambda name, count: told.append((str(name), count))
    health.report(Condition.MAIL_PAUSED, "email is paused", part="email:")
    health.report(Condition.MAIL_PAUSED, "email is paused until four", part="email:")
    health.report(Condition.MAIL_PAUSED, "sms is paused", part="sms:")
    health.clear(Condition.HELD)
    assert health.degraded == [("mail_paused", "email is paused until four"), ("mail_paused", "sms is paused")]
    health.clear(Condition.MAIL_PAUSED, part="email:")
    assert health.shown == [{"reason": "mail_paused", "message": "sms is paused"}]
    health.clear(Condition.MAIL_PAUSED)
    assert (health.degraded, told[-1]) == ([], ("mail_paused", 0))


class _FullDisk(sqlite3.Connection):
    """Writes nothing while `full`."""

    full = False

    def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
        if _FullDisk.full and sql.lstrip().startswith(("INSERT", "UPDATE", "--")):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return super().execute(sql, *rest)


async def test_a_full_disk_is_not_ready_and_ready_again_when_there_is_room(tmp_path: Path) -> None:
    """The probe writes what a record would; it is asked at most once a second."""
    runtime = EmbeddedRuntime(tmp_path / "var", catalog(), connection=_FullDisk)
    assert await runtime.probe() == "The engine is not running."
    await runtime.start()
    try:
        assert await runtime.probe() == ""
        _FullDisk.full = True
        runtime._probe._asked_at = float("-inf")
        assert "no room" in await runtime.probe()
        _FullDisk.full = False
        assert "no room" in await runtime.probe(), "a second has not passed"
        runtime._probe._asked_at = float("-inf")
        assert await runtime.probe() == ""
        await runtime.append([event("a", "Order Completed")])
    finally:
        _FullDisk.full = False
        await runtime.stop()


def test_a_partition_stands_when_records_wait_and_nothing_is_finished() -> None:
    """Not one that has nothing to do, moves, or is another's; a topic that is gone is named."""
    metrics = Metrics()
    gauge = LagGauge(metrics, bootstrap="nowhere:1", group="g", topic="anlass.touchpoints", kind="touchpoints")
    gauge.mine = lambda: {0, 1, 2}
    late = -STANDING_SECONDS - 1  # as long ago as it takes
    now = time.monotonic()
    gauge.took({number: GroupStanding(5, 9 if number else 5) for number in range(4)}, now + late)
    assert gauge.standing() == "records of touchpoints wait on partition 1, 2, and nothing moves"
    gauge.took({0: GroupStanding(5, 8), 1: GroupStanding(6, 20), 2: GroupStanding(5, 9), 3: GroupStanding(5, 9)}, now)
    assert gauge.standing() == "records of touchpoints wait on partition 2, and nothing moves"
    assert metrics.health.has(Condition.STANDING)
    gauge.took({}, now)
    assert metrics.health.has(Condition.TOPIC_GONE)
    gauge.took({number: GroupStanding(9, 9) for number in range(4)}, now)
    assert metrics.health.degraded == []
