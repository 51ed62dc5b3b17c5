"""The roles at the edges of a cluster: the collector takes events in, the sink writes down what became of them.

Invariant: as in `roles`: topics are looked at first, and what was taken is finished before the end.
"""

from __future__ import annotations

import asyncio
import contextlib

from engine.bootstrap import companions
from engine.bootstrap.cluster import Cluster
from engine.bootstrap.companions import WatchNeeds, beside_collector, beside_journal
from engine.bootstrap.current import Current, DefinitionFollower
from engine.bootstrap.doors import Doors, bind_status
from engine.bootstrap.listening import url_of
from engine.bootstrap.parts import open_callbacks, open_mailbox
from engine.bootstrap.service import page_of
from engine.bootstrap.status import Status, StatusServer
from engine.clock import Clock, SystemClock
from engine.collector import CollectorNeeds
from engine.collector.key_use import FILE as KEY_USE_FILE
from engine.collector.key_use import KeyUses
from engine.dispatch.compose import Composer
from engine.dispatch.tokens import SignedLinks, TokenSigner
from engine.runtimes.journal import Database, DatabaseReader
from engine.runtimes.kafka.front import KafkaFront
from engine.runtimes.kafka.intake import IntakeOptions, KafkaIntake
from engine.runtimes.kafka.sink import Sink, SinkOptions
from engine.telemetry import Action, Metrics, get_log

_log = get_log("role")


class CollectorRole:
    """`anlass collector`: HTTP in, Kafka out; pages ask the journal's database."""

    def __init__(self, cluster: Cluster, *, clock: Clock | None = None, metrics: Metrics | None = None) -> None:
        self._cluster = cluster
        self._clock = clock or SystemClock()
        self.metrics = metrics or Metrics()
        self.url = self.operators_url = ""
        self._exit = contextlib.AsyncExitStack()

    async def start(self) -> None:
        settings = self._cluster.settings
        async with contextlib.AsyncExitStack() as stack:
            doors = Doors(settings, many=True)
            stack.callback(doors.close)
            self.url, self.operators_url = url_of(doors.public), url_of(doors.operators)
            database = Database(settings.journal_url, project=settings.project, clock=self._clock)
            stack.push_async_callback(database.close)
            await database.open()
            current = Current(self._cluster.definitions(), self._cluster.announcement("collector"))
            stack.push_async_callback(current.stop)
            await current.start()
            intake = await _intake(self._cluster, stack, self.metrics)
            mailbox = open_mailbox(settings.database_path.parent)
            stack.callback(mailbox.close)
            signer = TokenSigner(*settings.link_secrets())
            links = SignedLinks(settings.collector.public_url or self.url, signer)

            composer = Composer(current, links)
            reader = DatabaseReader(database, clock=self._clock)
            parts = CollectorNeeds(
                runtime=KafkaFront(intake, reader, catalog=lambda: current.catalog),
                clock=self._clock,
                metrics=self.metrics,
                signer=signer,
                mailbox=mailbox,
                content=lambda message: page_of(composer.content(message)),
                render=current.render,
                callbacks=open_callbacks(settings),
                key_uses=KeyUses(settings.database_path.parent / KEY_USE_FILE, self._clock),
                pause_after=settings.bounces.pause_after,
            )
            await doors.serve(stack, settings, parts)
            around = WatchNeeds(settings=settings, runtime=parts.runtime, clock=self._clock, metrics=self.metrics)
            await stack.enter_async_context(companions.running(beside_collector(around)))
            self._exit = stack.pop_all()
        _log.info(Action.STARTED, role="collector", url=self.url, operators=self.operators_url)

    async def stop(self) -> None:
        stack, self._exit = self._exit, contextlib.AsyncExitStack()
        await stack.aclose()
        _log.info(Action.STOPPED, role="collector")

    def trouble(self) -> BaseException | None:
        return None  # it serves or it does not; what it leans on comes back by itself


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
            intake = await _intake(self._cluster, stack, self.metrics)
            self._task = asyncio.create_task(sink.run(self._stop), name="anlass-sink")
            stack.push_async_callback(self._end)
            reader = DatabaseReader(database, clock=self._clock)
            front = KafkaFront(intake, reader, catalog=lambda: current.catalog)
            around = WatchNeeds(settings=settings, runtime=front, clock=self._clock, metrics=self.metrics)
            await stack.enter_async_context(companions.running(beside_journal(around)))
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


async def _intake(cluster: Cluster, stack: contextlib.AsyncExitStack, metrics: Metrics) -> KafkaIntake:
    """A producer of records, stopped with the stack."""
    intake = KafkaIntake(
        cluster.bootstrap,
        cluster.topics,
        partitions=cluster.partitions,
        options=IntakeOptions(backlog_max=cluster.settings.collector.backlog_max),
        metrics=metrics,
    )
    stack.push_async_callback(intake.stop)
    await intake.start()
    return intake
