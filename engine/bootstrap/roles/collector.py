"""The role that takes events in over HTTP.

Invariant: as of every role: topics are looked at first, and what was taken is finished before the end.
"""

from __future__ import annotations

import contextlib

from engine.bootstrap.current import Current
from engine.bootstrap.doors import Doors
from engine.bootstrap.service import page_of
from engine.clock import Clock, SystemClock
from engine.collector import CollectorNeeds
from engine.collector.intake.key_use import FILE as KEY_USE_FILE
from engine.collector.intake.key_use import KeyUses
from engine.collector.listening import url_of
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.sending.compose import Composer
from engine.project.cluster import Cluster
from engine.project.parts import local_mailbox, open_callbacks
from engine.runtimes.journal import Database, DatabaseReader
from engine.runtimes.kafka.front import KafkaFront
from engine.runtimes.kafka.intake.intake import IntakeOptions, KafkaIntake
from engine.telemetry import Action, Metrics, get_log
from engine.watches import running
from engine.watches.running import WatchNeeds, beside_collector

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
            intake = await open_intake(self._cluster, stack, self.metrics)
            mailbox = local_mailbox(settings)
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
            await stack.enter_async_context(running.running(beside_collector(around)))
            self._exit = stack.pop_all()
        _log.info(Action.STARTED, role="collector", url=self.url, operators=self.operators_url)

    async def stop(self) -> None:
        stack, self._exit = self._exit, contextlib.AsyncExitStack()
        await stack.aclose()
        _log.info(Action.STOPPED, role="collector")

    def trouble(self) -> BaseException | None:
        return None  # it serves or it does not; what it leans on comes back by itself


async def open_intake(cluster: Cluster, stack: contextlib.AsyncExitStack, metrics: Metrics) -> KafkaIntake:
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
