"""Runs a project in one process.

Invariant: parts start from the inside out (store, dispatcher, HTTP) and stop from the outside in (no more intake, the sends and
the batch under way are finished, the store is closed), whichever of them fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import html
import json
import os
import signal
from collections.abc import Callable, Mapping

from channels.recording import Mailbox
from engine.bootstrap.doors import Doors
from engine.bootstrap.taking_deploys import take_deploys
from engine.clock import Clock, SystemClock
from engine.collector import CollectorNeeds
from engine.collector.intake.key_use import FILE as KEY_USE_FILE
from engine.collector.intake.key_use import KeyUses
from engine.collector.listening import url_of
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.sending.compose import Composer
from engine.dispatch.sending.dispatcher import Dispatcher
from engine.dispatch.templates.render import Rendered
from engine.dispatch.templates.template_set import TemplateSet
from engine.errors import SettingsError
from engine.operations.deploy import publish
from engine.operations.embedded import RUNNING_FILE
from engine.project.channels import channel_names, open_channels
from engine.project.opening import Project
from engine.project.parts import dispatch_options, local_mailbox, open_callbacks, open_runtime
from engine.runtimes.embedded import handovers
from engine.telemetry import Action, Metrics, get_log
from engine.watches import running as companions
from engine.watches.running import WatchNeeds, beside_collector, beside_journal

_log = get_log("service")


class DeployedRenderer:
    """The templates as the composer asks for them. `templates` may be replaced by those of a deploy."""

    def __init__(self, templates: TemplateSet) -> None:
        self.templates = templates

    def render(self, channel: str, name: str, locale: str, *, context: Mapping[str, object]) -> Rendered:
        return self.templates.find(channel, name, locale=locale).render(context)


def page_of(content: Rendered) -> str:
    """A message as a page for the browser: its HTML, or its text where the channel has no other."""
    return content.html or f"<!doctype html><meta charset=utf-8><pre>{html.escape(content.text)}</pre>"


class Service:
    """Everything `anlass run` runs, in one process and one event loop: store, evaluator, timers, dispatcher, HTTP."""

    def __init__(
        self,
        project: Project,
        *,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
        hold: bool = False,
        accept_loss: bool = False,
    ) -> None:
        """Builds the parts; nothing is opened before `start`. A demo in compressed time passes its own clock.

        `hold`: the store is a copy, of which nothing is to happen before somebody says so. `accept_loss`: it starts though its
        key or its database is gone.
        """
        self.project = project
        self._clock = clock or SystemClock()
        self.metrics = metrics or Metrics()
        self.runtime = open_runtime(
            project, clock=self._clock, metrics=self.metrics, hold=hold, accept_loss=accept_loss
        )
        self.mailbox: Mailbox | None = None
        self.url = ""
        """Where the collector listens, once it is started."""
        self.operators_url = ""
        """Where mailbox, metrics and health are."""
        self._exit = contextlib.AsyncExitStack()
        self._dispatching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when events are taken. Raises an AnlassError, with nothing left open, when a part cannot start."""
        async with contextlib.AsyncExitStack() as stack:
            await self.runtime.start()
            stack.push_async_callback(self.runtime.stop)
            await publish(self.runtime, self.project)
            self.mailbox = local_mailbox(self.project.settings)
            stack.callback(self.mailbox.close)
            doors = Doors(self.project.settings)
            stack.callback(doors.close)
            self.url, self.operators_url = url_of(doors.public), url_of(doors.operators)
            signer = TokenSigner(*self.project.settings.link_secrets())
            base_url = self.project.settings.collector.public_url or self.url
            renderer = DeployedRenderer(self.project.templates)
            composer = Composer(renderer, SignedLinks(base_url, signer))
            dispatcher = Dispatcher(
                self.runtime,
                open_channels(self.project.settings, channel_names(self.project.catalog), self.mailbox),
                composer=composer,
                clock=self._clock,
                metrics=self.metrics,
                options=dispatch_options(self.project.settings),
            )
            self._dispatching = asyncio.create_task(dispatcher.run(), name="anlass-dispatcher")
            stack.push_async_callback(_stop_dispatching, dispatcher, self._dispatching)
            switch = functools.partial(self._switch, dispatcher, renderer)
            deploys = asyncio.create_task(take_deploys(self.runtime, lambda: self.project, switch=switch))
            stack.push_async_callback(_cancel, deploys)
            parts = CollectorNeeds(
                runtime=self.runtime,
                clock=self._clock,
                metrics=self.metrics,
                signer=signer,
                mailbox=self.mailbox,
                content=lambda message: page_of(composer.content(message)),
                render=renderer.render,
                callbacks=open_callbacks(self.project.settings),
                key_uses=KeyUses(self.project.var / KEY_USE_FILE, self._clock),
                pause_after=self.project.settings.bounces.pause_after,
            )
            await doors.serve(stack, self.project.settings, parts)
            around = WatchNeeds(
                settings=self.project.settings, runtime=self.runtime, clock=self._clock, metrics=self.metrics
            )
            await stack.enter_async_context(companions.running([*beside_collector(around), *beside_journal(around)]))
            running = self.project.var / RUNNING_FILE
            addresses = {"collector": self.url, "operators": self.operators_url}
            running.write_text(json.dumps({**addresses, "pid": os.getpid()}), "utf-8")
            stack.callback(running.unlink, missing_ok=True)
            self._exit = stack.pop_all()
        _log.info(Action.STARTED, url=self.url, operators=self.operators_url)

    async def _switch(
        self, dispatcher: Dispatcher, renderer: DeployedRenderer, project: Project, handed: handovers.DeployHandover
    ) -> None:
        """Puts a deploy in force: its channels first, then catalog and templates at once, between two records."""
        assert self.mailbox is not None, "not started"
        known = set(channel_names(self.project.catalog))
        new = [name for name in channel_names(project.catalog) if name not in known]
        try:
            await dispatcher.add(open_channels(project.settings, new, self.mailbox))
        except ValueError as error:
            raise SettingsError(str(error), mend="Change the settings of that channel.") from error
        # `deploy` is never suspended: nothing is evaluated or rendered between this line and the end.
        await self.runtime.deploy(
            project.catalog, sources=project.sources, versions=handed.versions, handover=handed.number
        )
        renderer.templates = project.templates
        self.project = project

    async def stop(self) -> None:
        """Takes nothing more in, finishes the sends under way (up to ten seconds) and the batch, closes. Idempotent."""
        stack, self._exit = self._exit, contextlib.AsyncExitStack()
        await stack.aclose()
        _log.info(Action.STOPPED)

    async def wait_until(self, told: asyncio.Event) -> None:
        """Returns when `told` is set; raises when a part ended by itself, SettingsError when a channel cannot be opened."""
        assert self._dispatching is not None, "not started"
        waiting = asyncio.create_task(told.wait())
        try:
            await asyncio.wait({waiting, self._dispatching}, return_when=asyncio.FIRST_COMPLETED)
            if self._dispatching.done() and not told.is_set():
                try:
                    self._dispatching.result()
                except ValueError as error:  # how an adapter says, when it is opened, that it cannot use its settings
                    raise SettingsError(str(error), mend="Change the settings of that channel.") from error
                raise AssertionError("the dispatcher ended")
        finally:
            waiting.cancel()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _stop_dispatching(dispatcher: Dispatcher, running: asyncio.Task[None]) -> None:
    """Finishes the sends under way. A dispatcher that ended by itself has none, and would not hear that it shall stop."""
    if not running.done():
        await dispatcher.stop()


def run_forever(
    project: Project, *, announce: Callable[[Service], None], hold: bool = False, accept_loss: bool = False
) -> None:
    """Runs the project until SIGTERM or SIGINT; `announce` is called when events are taken. A second signal ends it at once."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(project, announce, hold=hold, accept_loss=accept_loss))


async def _serve(project: Project, announce: Callable[[Service], None], *, hold: bool, accept_loss: bool) -> None:
    told = told_to_stop()
    service = Service(project, hold=hold, accept_loss=accept_loss)
    await service.start()
    try:
        announce(service)
        await service.wait_until(told)
    finally:
        await service.stop()


def told_to_stop() -> asyncio.Event:
    """Set by SIGTERM or SIGINT; the second of its kind ends the process at once."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        told.set()
        signal.signal(number, signal.SIG_DFL)
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return told


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Uvloop where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
