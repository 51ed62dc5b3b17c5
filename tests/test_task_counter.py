"""The gauges of open and overdue tasks, counted from the journal page by page."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from engine.clock import ManualClock
from engine.core.record import Erase, Event
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import Settings
from engine.telemetry import Metrics
from engine.watches.tasks import TaskCounter
from engine.watches.watch import WatchNeeds
from tests.conformance.shop import T0, catalog


async def test_open_and_overdue_tasks_are_counted(tmp_path: Path) -> None:
    """Each line is read once; what is done or handed on meanwhile counts at the next look, what is forgotten after an hour."""
    clock = ManualClock(T0)
    runtime = MemoryRuntime(catalog(), clock=clock)
    await runtime.start()
    registry = CollectorRegistry()
    counter = TaskCounter(
        WatchNeeds(settings=Settings(project=tmp_path), runtime=runtime, clock=clock, metrics=Metrics(registry))
    )

    async def counted() -> tuple[float | None, ...]:
        await runtime.idle()
        await counter.look()
        return tuple(registry.get_sample_value("anlass_tasks", {"status": status}) for status in ("open", "overdue"))

    def event(name: str, task: str, **more: str) -> Event:
        return Event(
            customer=f"c-{task}", at_ms=T0, id=f"{name}{task}", name=name, time_ms=T0, properties={"task": task, **more}
        )

    assert await counted() == (0, 0)
    opened = [event("Task Opened", f"t{number}", title="x", due="2026-03-28T10:00:00Z") for number in range(1_200)]
    await runtime.append([*opened, event("Task Opened", "dateless", title="y")])
    assert await counted() == (1_201, 0)
    clock.move_to(T0 + 10 * 86_400_000)
    await runtime.append([event("Task Completed", "t0"), event("Task Completed", "t1")])
    assert await counted() == (1_199, 1_198)
    await runtime.append([Erase(customer="c-t2", at_ms=T0, id="x")])
    counter._looks = 0
    assert await counted() == (1_198, 1_197)
    await runtime.stop()
