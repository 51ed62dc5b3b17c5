"""How far a role's group is behind on a topic, asked of the brokers; and whether it moves at all.

Invariant: nobody waits for it longer than `ANSWER_SECONDS_MAX`: while the brokers are away the page of metrics must come all
the more, with what was known last. A partition stands when records wait and nothing was finished for `STANDING_SECONDS`; brokers
that have not answered for as long (frozen, or cut off) count as standing, because nobody can say that anything moves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection

from engine.errors import AnlassError
from engine.health import Condition
from engine.runtimes.kafka import progress
from engine.telemetry import Metrics

ANSWER_SECONDS_MAX = 2.0
LOOK_SECONDS = 5.0
STANDING_SECONDS = 20.0


class LagGauge:
    """Sets `anlass_lag_records` for one topic; `kind` is the topic's name without the prefix."""

    def __init__(self, metrics: Metrics, *, bootstrap: str, group: str, topic: str, kind: str) -> None:
        self._metrics = metrics
        self._where = (bootstrap, group, topic)
        self._kind = kind
        self._asking: asyncio.Task[None] | None = None
        self._answered = time.monotonic()
        self._moved: dict[int, tuple[int, float]] = {}  # partition → committed offset, and since when it is the same
        self.behind: dict[int, int] = {}
        """Partition → records not finished, at the last look."""
        self.mine: Callable[[], Collection[int]] = lambda: ()
        """The partitions that this process works on."""

    async def measure(self) -> None:
        """Asks, unless the last question is not answered yet."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="anlass-lag")
        await asyncio.wait({self._asking}, timeout=ANSWER_SECONDS_MAX)
        self.standing()

    async def watch(self) -> None:
        """Asks every few seconds until cancelled, so that what stands is known without anybody looking at the metrics."""
        while True:
            await self.measure()
            await asyncio.sleep(LOOK_SECONDS)

    def standing(self) -> str:
        """Which of our partitions stand, as a sentence; "" when all move, or have nothing to do. Reported as it is said."""
        health, said = self._metrics.health, self._standing()
        if said:
            health.report(Condition.STANDING, f"{said[0].upper()}{said[1:]}.", part=self._kind)
        else:
            health.clear(Condition.STANDING, part=self._kind)
        return said

    def _standing(self) -> str:
        now = time.monotonic()
        if (silent := now - self._answered) > STANDING_SECONDS:
            return f"the brokers have not answered for {silent:.0f} s, and nothing of {self._kind} moves"
        found = [
            str(number)
            for number in sorted(self.mine())
            if self.behind.get(number, 0) and now - self._moved[number][1] > STANDING_SECONDS
        ]
        return f"records of {self._kind} wait on partition {', '.join(found)}, and nothing moves" if found else ""

    async def _ask(self) -> None:
        bootstrap, group, topic = self._where
        try:
            found = await asyncio.to_thread(progress.positions, bootstrap, group, topic=topic)
        except AnlassError:
            return
        self.took(found, time.monotonic())

    def took(self, found: dict[int, progress.GroupStanding], now: float) -> None:
        """Notes an answer."""
        self._answered = max(self._answered, now)
        health = self._metrics.health
        if found:
            health.clear(Condition.TOPIC_GONE, part=self._kind)
        else:
            health.report(Condition.TOPIC_GONE, f"The topic {self._where[2]} is not there.", part=self._kind)
        for partition, where in found.items():
            self._metrics.lag_records.labels(self._kind, str(partition)).set(where.behind)
            known = self._moved.get(partition)
            if known is None or known[0] != where.committed or not self.behind.get(partition):
                self._moved[partition] = (where.committed, now)  # what has only just begun to wait does not stand
            self.behind[partition] = where.behind
        self.standing()
