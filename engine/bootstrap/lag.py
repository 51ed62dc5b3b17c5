"""How far a role's group is behind on a topic, asked of the brokers when somebody looks at the metrics.

Invariant: nobody waits for it longer than `ANSWER_SECONDS_MAX`: while the brokers are away the page of metrics must come all
the more, with what was known last.
"""

from __future__ import annotations

import asyncio

from engine.errors import AnlassError
from engine.runtimes.kafka import progress
from engine.telemetry import Metrics

ANSWER_SECONDS_MAX = 2.0


class LagGauge:
    """Sets `anlass_lag_records` for one topic; `kind` is the topic's name without the prefix."""

    def __init__(self, metrics: Metrics, *, bootstrap: str, group: str, topic: str, kind: str) -> None:
        self._metrics = metrics
        self._where = (bootstrap, group, topic)
        self._kind = kind
        self._asking: asyncio.Task[None] | None = None

    async def measure(self) -> None:
        """Asks, unless the last question is not answered yet."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="anlass-lag")
        await asyncio.wait({self._asking}, timeout=ANSWER_SECONDS_MAX)

    async def _ask(self) -> None:
        bootstrap, group, topic = self._where
        try:
            behind = await asyncio.to_thread(progress.lag, bootstrap, group, topic=topic)
        except AnlassError:
            return
        for partition, records in behind.items():
            self._metrics.lag_records.labels(self._kind, str(partition)).set(records)
