"""Counts the tasks that are open and overdue, for the metrics.

Invariant: it only reads, each journal line once; what was forgotten meanwhile is found by reading anew every hour.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.core.journey.task import KINDS, FollowUp, gather
from engine.runtimes.base import Query

if TYPE_CHECKING:
    from engine.watches.watch import WatchNeeds

POLL_SECONDS = 30.0
PAGE = 1_000
ANEW_EVERY = 120
"""Looks between two readings from the beginning: whoever was erased is then no task any more."""


class TaskCounter:
    """One look every thirty seconds."""

    name = "tasks"

    def __init__(self, around: WatchNeeds) -> None:
        self._runtime = around.runtime
        self._clock = around.clock
        self._metrics = around.metrics
        self._tasks: dict[str, FollowUp] = {}
        self._after = dict.fromkeys(KINDS.values(), 0)
        self._looks = 0

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> None:
        """Reads what is new and sets the two gauges."""
        if self._looks % ANEW_EVERY == 0:
            self._tasks, self._after = {}, dict.fromkeys(KINDS.values(), 0)
        self._looks += 1
        for kind in KINDS.values():
            while True:
                query = Query(kinds=(kind,), after_seq=self._after[kind], limit=PAGE, oldest_first=True)
                lines = await self._runtime.decisions(query)
                if not lines:
                    break
                self._after[kind] = lines[-1][0]
                self._tasks = gather(lines, self._tasks)
        now_ms = self._clock.now_ms()
        overdue = sum(task.is_overdue(now_ms) for task in self._tasks.values())
        is_open = sum(not task.done_ms for task in self._tasks.values())
        self._metrics.tasks.labels("open").set(is_open)
        self._metrics.tasks.labels("overdue").set(overdue)
