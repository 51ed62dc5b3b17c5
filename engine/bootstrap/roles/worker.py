"""The role that evaluates: the partitions of `touchpoints` that Faust gives it.

Invariant: as of every role: topics are looked at first, and what was taken is finished before the end.
"""

from __future__ import annotations

import asyncio
import contextlib

from engine.bootstrap.doors import bind_status
from engine.bootstrap.lag import LagGauge
from engine.bootstrap.roles.role import WATCH_SECONDS, ended
from engine.bootstrap.status import Status, StatusServer
from engine.clock import Clock, SystemClock
from engine.collector.intake.foreign import parse_foreign
from engine.collector.listening import url_of
from engine.operations.holding import begin_hold, say_held
from engine.project.cluster import Cluster, InstanceFolder
from engine.runtimes.kafka.worker.role import Worker, WorkerSettings
from engine.telemetry import Action, Metrics, get_log

_log = get_log("role")


class WorkerRole:
    """`anlass worker`: evaluates the partitions that Faust gives it."""

    def __init__(
        self, cluster: Cluster, *, clock: Clock | None = None, metrics: Metrics | None = None, hold: bool = False
    ) -> None:
        """`hold`: the topics are a copy, of which nothing is to happen before somebody says so."""
        self._hold = hold
        self._cluster = cluster
        self._clock = clock or SystemClock()
        self.metrics = metrics or Metrics()
        self.url = self.operators_url = ""
        self.worker: Worker | None = None
        topics = cluster.topics
        self._lag = LagGauge(
            self.metrics,
            bootstrap=cluster.bootstrap,
            group=topics.group("worker"),
            topic=topics.touchpoints,
            kind="touchpoints",
        )
        self._exit = contextlib.AsyncExitStack()

    async def start(self) -> None:
        cluster = self._cluster
        async with contextlib.AsyncExitStack() as stack:
            sock = bind_status(cluster.settings, "worker")
            stack.callback(sock.close)
            slot: InstanceFolder = cluster.folder("worker")
            stack.callback(slot.release)
            settings = WorkerSettings(
                **cluster.membership(slot.path),
                parse=parse_foreign,
                alias=cluster.alias,
                address_key=cluster.address_key,
                held_until=await begin_hold(cluster) if self._hold else {},
                check_clock=isinstance(self._clock, SystemClock),
            )
            self.worker = Worker(settings, cluster.definitions(), clock=self._clock, metrics=self.metrics)
            stack.push_async_callback(self.worker.stop)
            status = StatusServer(
                Status(
                    metrics=self.metrics,
                    clock=self._clock,
                    readiness=self._readiness,
                    measure=self._measure,
                    degraded=self.worker.degraded,
                ),
                hosts=cluster.settings.console.hosts,
            )
            stack.push_async_callback(status.stop)
            await status.start(sock)
            self.url = self.operators_url = url_of(sock)
            await self.worker.start()
            owners = self.worker.host
            self._lag.mine = lambda: list(owners.owners)
            watching = asyncio.create_task(self._watch(), name="anlass-watch")
            stack.push_async_callback(ended, watching)
            self._exit = stack.pop_all()
        _log.info(Action.STARTED, role="worker", url=self.url)

    async def stop(self) -> None:
        stack, self._exit = self._exit, contextlib.AsyncExitStack()
        await stack.aclose()
        _log.info(Action.STOPPED, role="worker")

    def trouble(self) -> BaseException | None:
        return self.worker.trouble() if self.worker is not None else None

    def _readiness(self) -> str:
        assert self.worker is not None, "not started"
        return self.worker.readiness() or self._lag.standing()

    async def _watch(self) -> None:
        """Says what is not well, whether anybody looks or not."""
        assert self.worker is not None, "not started"
        watching = asyncio.create_task(self._lag.watch(), name="anlass-lag-watch")
        try:
            while True:
                say_held(
                    self.metrics.health, max((each.held_ms for each in self.worker.host.owners.values()), default=0)
                )
                await asyncio.sleep(WATCH_SECONDS)
        finally:
            await ended(watching)

    async def _measure(self) -> None:
        """Asks the broker how far behind we are: only when somebody looks."""
        assert self.worker is not None, "not started"
        self.worker.measure()
        await self._lag.measure()
