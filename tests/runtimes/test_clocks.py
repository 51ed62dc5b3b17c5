"""Clocks are compared with the brokers' before a timer fires."""

from __future__ import annotations

import uuid

import pytest

from engine.clock import ManualClock, SystemClock
from engine.runtimes.kafka import admin
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.topics import Topics
from engine.runtimes.kafka.worker.clocks import ClockCheck
from engine.telemetry import Metrics


@pytest.mark.parametrize(
    ("ahead_ms", "fires", "said"),
    [(0, True, False), (5_000, True, True), (3_600_000, False, True), (-60_000, True, True)],
)
async def test_timers_wait_while_the_clock_is_far_ahead(kafka: str, ahead_ms: int, fires: bool, said: bool) -> None:
    """Two seconds are said, thirty ahead stop the timers; behind they fire late, which does no harm."""
    topics = Topics(f"t{uuid.uuid4().hex[:8]}.")
    admin.ensure_topics(kafka, topics, partitions=1, replication=1)
    outlet, metrics = Outlet(kafka, client="test"), Metrics()
    await outlet.start()
    check = ClockCheck(outlet, topics, ManualClock(SystemClock().now_ms() + ahead_ms), metrics=metrics)
    assert await check.may_fire(0) is fires
    assert bool(check.sentence()) is said
    await outlet.stop()
