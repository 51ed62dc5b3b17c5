"""The role that sends: takes decided messages from Kafka, asks the policy again, renders, calls the channels.

Invariant: as in `roles`; and no message leaves before definitions, states and suppressed addresses are known.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools

from channels.recording import Mailbox
from engine.bootstrap.current import Current
from engine.bootstrap.doors import bind_status
from engine.bootstrap.lag import LagGauge
from engine.bootstrap.roles.role import WATCH_SECONDS, ended
from engine.bootstrap.status import Status, StatusServer
from engine.clock import Clock, SystemClock
from engine.collector.listening import url_of
from engine.core.catalog import Catalog
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.sending.compose import Composer
from engine.dispatch.sending.dispatcher import Dispatcher
from engine.errors import SettingsError
from engine.operations.holding import begin_hold, say_held
from engine.project.channels import channel_names, open_channels
from engine.project.cluster import Cluster, InstanceFolder
from engine.project.parts import dispatch_options, forget_customer, local_mailbox
from engine.runtimes.kafka.dispatcher.role import Postroom, PostroomSettings
from engine.telemetry import Action, Metrics, get_log

_log = get_log("role")


class DispatcherRole:
    """`anlass dispatcher`: sends what the workers decided, from the partitions that Faust gives it."""

    def __init__(
        self, cluster: Cluster, *, clock: Clock | None = None, metrics: Metrics | None = None, hold: bool = False
    ) -> None:
        """`hold`: the topics are a copy, of which nothing is to leave before somebody says so."""
        self._hold = hold
        self._cluster = cluster
        self._clock = clock or SystemClock()
        self.metrics = metrics or Metrics()
        self.url = self.operators_url = ""
        self._current = Current(cluster.definitions(), cluster.announcement("dispatcher"), on_change=self._take)
        self._postroom: Postroom | None = None
        self._dispatcher: Dispatcher | None = None
        self._mailbox: Mailbox | None = None
        self._known: set[str] = set()
        self._defined = asyncio.Event()
        self._dispatching: asyncio.Task[None] | None = None
        topics = cluster.topics
        self._lag = LagGauge(
            self.metrics,
            bootstrap=cluster.bootstrap,
            group=topics.group("dispatcher"),
            topic=topics.dispatches,
            kind="dispatches",
        )
        self._exit = contextlib.AsyncExitStack()

    async def start(self) -> None:
        cluster, settings = self._cluster, self._cluster.settings
        async with contextlib.AsyncExitStack() as stack:
            sock = bind_status(settings, "dispatcher")
            stack.callback(sock.close)
            slot: InstanceFolder = cluster.folder("dispatcher")
            stack.callback(slot.release)
            self._mailbox = local_mailbox(settings)
            stack.callback(self._mailbox.close)
            room = PostroomSettings(
                **cluster.membership(slot.path),
                address_key=cluster.address_key,
                on_forget=functools.partial(forget_customer, settings),
            )
            postroom = self._postroom = Postroom(
                room, catalog=lambda: self._current.catalog, clock=self._clock, metrics=self.metrics
            )
            links = SignedLinks(settings.collector.base_url, TokenSigner(*settings.link_secrets()))
            dispatcher = self._dispatcher = Dispatcher(
                postroom.outbox,
                {},
                composer=Composer(self._current, links),
                clock=self._clock,
                metrics=self.metrics,
                options=dispatch_options(settings),
            )
            postroom.outbox.on_share = dispatcher.set_share
            if self._hold:
                postroom.outbox.hold_until(await begin_hold(cluster))
            status = StatusServer(
                Status(
                    metrics=self.metrics,
                    clock=self._clock,
                    readiness=self._readiness,
                    measure=self._measure,
                    degraded=postroom.degraded,
                ),
                hosts=cluster.settings.console.hosts,
            )
            stack.push_async_callback(status.stop)
            await status.start(sock)
            self.url = self.operators_url = url_of(sock)
            stack.push_async_callback(self._current.stop)
            await self._current.start()
            stack.push_async_callback(postroom.stop)
            await postroom.start()
            self._dispatching = asyncio.create_task(self._dispatch(dispatcher), name="anlass-dispatcher")
            stack.push_async_callback(self._end)
            self._lag.mine = lambda: list(postroom.host.owners)
            watching = asyncio.create_task(self._watch(postroom), name="anlass-watch")
            stack.push_async_callback(ended, watching)
            self._exit = stack.pop_all()
        _log.info(Action.STARTED, role="dispatcher", url=self.url)

    async def _dispatch(self, dispatcher: Dispatcher) -> None:
        await self._defined.wait()  # without definitions every message would look like one for no channel
        await dispatcher.run()

    async def _take(self, catalog: Catalog) -> None:
        """Opens the channels that a deploy needs, before it is in force here."""
        assert self._mailbox is not None, "not started"
        assert self._dispatcher is not None
        new = [name for name in channel_names(catalog) if name not in self._known]
        try:
            await self._dispatcher.add(open_channels(self._cluster.settings, new, self._mailbox))
        except ValueError as error:
            raise SettingsError(str(error), mend="Change the settings of that channel.") from error
        self._known.update(new)
        asyncio.get_running_loop().call_soon(self._defined.set)  # `Current` shows the catalog right after this

    async def _end(self) -> None:
        """Finishes the sends under way, and their answers."""
        task = self._dispatching
        if task is None or self._dispatcher is None:
            return
        if not task.done() and self._defined.is_set():
            await self._dispatcher.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        stack, self._exit = self._exit, contextlib.AsyncExitStack()
        await stack.aclose()
        _log.info(Action.STOPPED, role="dispatcher")

    def trouble(self) -> BaseException | None:
        task = self._dispatching
        if task is not None and task.done() and not task.cancelled() and task.exception() is not None:
            return task.exception()
        return self._postroom.trouble() if self._postroom is not None else None

    def _readiness(self) -> str:
        if not self._current.catalog.id:
            return "nothing is deployed yet"
        return (self._postroom.readiness() or self._lag.standing()) if self._postroom is not None else "it starts"

    async def _watch(self, postroom: Postroom) -> None:
        """Says what is not well, whether anybody looks or not."""
        watching = asyncio.create_task(self._lag.watch(), name="anlass-lag-watch")
        try:
            while True:
                say_held(self.metrics.health, postroom.outbox.catalog.holding.since_ms)
                await asyncio.sleep(WATCH_SECONDS)
        finally:
            await ended(watching)

    async def _measure(self) -> None:
        assert self._postroom is not None, "not started"
        self._postroom.measure()
        await self._lag.measure()
