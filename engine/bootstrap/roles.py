"""The roles that meet on Kafka: each is one process, of which there may be many.

Invariant: a role that starts has looked at the topics first, and one that stops has finished what it took.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from engine.bootstrap.cluster import Cluster, InstanceFolder
from engine.bootstrap.doors import bind_status
from engine.bootstrap.holding import begin_hold, say_held
from engine.bootstrap.lag import LagGauge
from engine.bootstrap.listening import url_of
from engine.bootstrap.service import loop_factory, told_to_stop
from engine.bootstrap.status import Status, StatusServer
from engine.clock import Clock, SystemClock
from engine.collector.foreign import parse_foreign
from engine.errors import ServiceUnreachable, StorageError
from engine.runtimes.kafka.worker import Worker, WorkerSettings
from engine.telemetry import Action, Metrics, get_log
from engine.tracing import open_tracing

WATCH_SECONDS = 1.0
_log = get_log("role")


class Role(Protocol):
    """One process's part."""

    url: str
    """Where it is called: the collector by shops and customers, the others by operators only. Known once it is started."""
    operators_url: str
    """Where it answers /healthz, /readyz and /metrics."""
    metrics: Metrics

    async def start(self) -> None:
        """Returns when it works, or is about to. Raises an AnlassError, with nothing left open."""

    async def stop(self) -> None:
        """Finishes what it took, and closes. Idempotent."""

    def trouble(self) -> BaseException | None:
        """What ended it from the inside; None while it works."""


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


async def ended(task: asyncio.Task[None]) -> None:
    """Ends what runs beside a role."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def run_role(role: Callable[[], Role], *, announce: Callable[[Role], None], name: str = "") -> None:
    """Runs a role until SIGTERM or SIGINT; a second signal ends it at once. Raises what ended it from the inside.

    `name` is what its spans are said to come from.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(role, announce, name))


async def _serve(build: Callable[[], Role], announce: Callable[[Role], None], name: str) -> None:
    told = told_to_stop()
    role = build()
    tracing = role.metrics.tracing = open_tracing(name)
    try:
        await role.start()
    except StorageError as error:  # the brokers were there when the topics were looked at, and went away since
        raise ServiceUnreachable(
            error.message, mend="Start it again when Kafka answers; it goes on where it was."
        ) from error
    try:
        announce(role)
        while not told.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await told.wait()
            trouble = role.trouble()
            if trouble is not None:
                raise StorageError(
                    f"The engine ended by itself: {type(trouble).__name__}: {trouble}",
                    mend="Start it again; it goes on where it was. If it ends again, report it with the log.",
                ) from trouble
    finally:
        await role.stop()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
