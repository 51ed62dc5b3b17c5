"""The role that writes down what became of everything, and watches it.

Invariant: as of every role: topics are looked at first, and what was taken is finished before the end.
"""

from __future__ import annotations

import asyncio
import contextlib

from engine.bootstrap.current import DefinitionFollower
from engine.bootstrap.doors import bind_status
from engine.bootstrap.roles.collector import open_intake
from engine.bootstrap.status import Status, StatusServer
from engine.clock import Clock, SystemClock
from engine.collector.listening import url_of
from engine.project.cluster import Cluster
from engine.runtimes.journal import Database, DatabaseReader
from engine.runtimes.journal.sink import Sink, SinkOptions
from engine.runtimes.kafka.front import KafkaFront
from engine.telemetry import Action, Metrics, get_log
from engine.watches import running
from engine.watches.running import WatchNeeds, beside_journal

_log = get_log("role")


class SinkRole:
    """`anlass sink`: writes journal, ledger, states and dead letters into the database."""

    def __init__(self, cluster: Cluster, *, clock: Clock | None = None, metrics: Metrics | None = None) -> None:
        self._cluster = cluster
        self._clock = clock or SystemClock()
        self.metrics = metrics or Metrics()
        self.url = self.operators_url = ""
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._exit = contextlib.AsyncExitStack()

    async def start(self) -> None:
        settings, kafka = self._cluster.settings, self._cluster.settings.kafka
        async with contextlib.AsyncExitStack() as stack:
            sock = bind_status(settings, "sink")
            stack.callback(sock.close)
            database = Database(settings.journal_url, project=settings.project, clock=self._clock)
            stack.push_async_callback(database.close)
            sink = Sink(
                database,
                self._cluster.topics,
                bootstrap=self._cluster.bootstrap,
                metrics=self.metrics,
                clock=self._clock,
                options=SinkOptions(
                    journal_days=settings.database.journal_days,
                    retention=lambda: current.catalog.policy.retention,
                    session_timeout_seconds=kafka.session_timeout_seconds,
                    instance=kafka.instance,
                ),
            )
            status = StatusServer(
                Status(metrics=self.metrics, clock=self._clock, readiness=self._readiness), hosts=settings.console.hosts
            )
            stack.push_async_callback(status.stop)
            await status.start(sock)
            self.url = self.operators_url = url_of(sock)
            await database.open()
            current = DefinitionFollower(self._cluster.definitions(), self._cluster.announcement("sink"))
            stack.push_async_callback(current.stop)
            await current.start()
            intake = await open_intake(self._cluster, stack, self.metrics)
            self._task = asyncio.create_task(sink.run(self._stop), name="anlass-sink")
            stack.push_async_callback(self._end)
            reader = DatabaseReader(database, clock=self._clock)
            front = KafkaFront(intake, reader, catalog=lambda: current.catalog)
            around = WatchNeeds(settings=settings, runtime=front, clock=self._clock, metrics=self.metrics)
            await stack.enter_async_context(running.running(beside_journal(around)))
            self._exit = stack.pop_all()
        _log.info(Action.STARTED, role="sink", url=self.url)

    async def _end(self) -> None:
        self._stop.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self) -> None:
        stack, self._exit = self._exit, contextlib.AsyncExitStack()
        await stack.aclose()
        _log.info(Action.STOPPED, role="sink")

    def trouble(self) -> BaseException | None:
        task = self._task
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    def _readiness(self) -> str:
        return "" if self._task is not None and not self._task.done() else "it does not work"
