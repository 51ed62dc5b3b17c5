"""Puts the collector together: one aiohttp application with all its routes.

Invariant: whatever a request does, it gets an answer from `answers`; no exception of ours reaches a client.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from channels.callbacks import CallbackReader
from channels.recording import Mailbox
from engine.clock import Clock
from engine.collector import answers
from engine.collector.callbacks.providers import CallbackApi
from engine.collector.callbacks.reports import PAUSE_AFTER, Reports
from engine.collector.client import Proxies
from engine.collector.intake.body import BODY_BYTES_MAX
from engine.collector.intake.cloudevents import CloudEventsApi
from engine.collector.intake.cors import Cors
from engine.collector.intake.gate import Gate
from engine.collector.intake.key_use import KeyUses
from engine.collector.intake.keyless import INTAKE, Keyless
from engine.collector.intake.segment import Desk, Handler, SegmentApi
from engine.collector.intake.traced import TracedIntake
from engine.collector.operators import Views
from engine.collector.pages.archive import ArchivePages, Render
from engine.collector.pages.links import LinkPages
from engine.collector.pages.tracking import TracePages
from engine.collector.refusals import Refusals, route_of
from engine.core.message import Message
from engine.dispatch.links.tokens import TokenSigner
from engine.errors import Backlog
from engine.runtimes.base import Front
from engine.runtimes.unreadable import say_set_aside
from engine.settings import CollectorSection
from engine.telemetry import Metrics

_silent = logging.getLogger("engine.collector.http")
_silent.disabled = True
# Bodies are decompressed by `body`. What is not HTTP at all aiohttp answers with 400; logging a traceback for each is not for
# a stranger to decide.
_HANDLER = {"auto_decompress": False, "logger": _silent}


class CollectorNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """What the collector works with. `mailbox` is for the operators' port. `content` renders a message as HTML, for `/view`."""

    runtime: Front
    clock: Clock
    metrics: Metrics
    signer: TokenSigner
    mailbox: Mailbox | None = None
    content: Callable[[Message], str] | None = None
    render: Render | None = None
    """The templates in force; None: there is no `/archive`."""
    callbacks: Mapping[str, CallbackReader] = {}
    """Provider → who reads its callbacks, which come to `/callbacks/PROVIDER/SOURCE`."""
    key_uses: KeyUses | None = None
    """Where the last use of each key is kept."""
    pause_after: int = PAUSE_AFTER
    """Refusals for our own fault, of so many customers' messages within an hour, that pause a workflow."""


def build_collector(settings: CollectorSection, parts: CollectorNeeds) -> web.Application:
    """The application, to be run at `settings.bind` (which is 127.0.0.1 when there are no write keys)."""
    refusals = Refusals(parts.metrics, parts.clock)
    middlewares = [refusals.middleware]
    if settings.keyless:
        middlewares.append(Keyless().middleware)
    middlewares.append(Cors(settings).middleware)
    middlewares.append(_Watch(settings, parts).middleware)
    app = web.Application(middlewares=middlewares, client_max_size=BODY_BYTES_MAX, handler_args=_HANDLER)
    gate = Gate(settings, uses=parts.key_uses)
    if parts.key_uses is not None:
        app.on_cleanup.append(functools.partial(_flush, parts.key_uses))
    tracing = parts.metrics.tracing
    intake = parts.runtime if tracing is None else TracedIntake(parts.runtime, tracing, parts.clock)
    desk = Desk(intake, state_of=parts.runtime.state, counts=refusals)
    in_force = functools.partial(getattr, parts.runtime, "catalog")
    public = settings.public_url.rstrip("/")
    app.add_routes(SegmentApi(desk, gate, parts.clock.now_ms, base_url=public, catalog=in_force).routes())
    app.add_routes(CloudEventsApi(desk, gate, parts.clock.now_ms).routes())
    links = LinkPages(
        parts.runtime,
        parts.signer,
        parts.clock,
        content=parts.content,
        public_url=settings.public_url,
        proxies=Proxies(settings.trusted_proxies),
    )
    app.add_routes(links.routes())
    app.add_routes(TracePages(parts.runtime, parts.signer, parts.clock).routes())
    reports = Reports(parts.runtime, parts.clock, parts.metrics, pause_after=parts.pause_after)
    callbacks = CallbackApi(
        parts.runtime, parts.callbacks, parts.clock, reports=reports, public_url=settings.public_url
    )
    app.add_routes(callbacks.routes())
    if parts.render is not None:
        app.add_routes(ArchivePages(parts.runtime, parts.clock, render=parts.render).routes())
    app.add_routes([web.get("/healthz", _healthz)])
    return app


def operators_views(settings: CollectorSection, parts: CollectorNeeds) -> Views:
    """What the operators' port shows of a collector."""

    async def measure() -> None:
        parts.metrics.backlog_records.set(parts.runtime.backlog)

    async def ready() -> web.Response:
        """Whether events would be taken now, as intake itself would answer; what else is not well is named beside a 200."""
        said: Callable[[], list[str]] = getattr(parts.runtime, "degraded", list)  # a collector on Kafka has no rows
        say_set_aside(parts.metrics.health, said())
        backlog, degraded = parts.runtime.backlog, parts.metrics.health.shown
        if backlog > settings.backlog_max:
            words = f"{backlog} records wait to be evaluated."
            return answers.refusal(503, "backlog", words, backlog=backlog, degraded=degraded)
        refused = await parts.runtime.probe()
        if refused:
            return answers.refusal(503, "not_ready", refused, backlog=backlog, degraded=degraded)
        shown = {"status": "degraded" if degraded else "ok", "backlog": backlog, "degraded": degraded}
        return web.Response(body=msgspec.json.encode(shown), content_type=answers.JSON)

    return Views(metrics=parts.metrics, clock=parts.clock, ready=ready, measure=measure, mailbox=parts.mailbox)


async def _flush(uses: KeyUses, _application: web.Application) -> None:
    uses.flush()


async def _healthz(_request: web.Request) -> web.StreamResponse:
    """The process lives. Whatever there is to know beyond that is on the operators' port."""
    return web.Response(text="ok")


class _Watch:
    """Looks after every request: errors, backlog, preflights, measuring."""

    def __init__(self, settings: CollectorSection, parts: CollectorNeeds) -> None:
        self._backlog_max = settings.backlog_max
        self._runtime = parts.runtime
        self._clock = parts.clock
        self._metrics = parts.metrics
        # aiohttp marks a middleware with an attribute, which a bound method cannot have.
        self.middleware = web.middleware(functools.partial(self._handle))

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.path
        if not path.startswith(INTAKE):
            return await self._guarded(request, handler)
        start = self._clock.monotonic()
        answer = await self._guarded(request, handler, intake=True)
        self._metrics.intake_seconds.observe(self._clock.monotonic() - start)
        return answer

    async def _guarded(self, request: web.Request, handler: Handler, *, intake: bool = False) -> web.StreamResponse:
        backlog = self._runtime.backlog
        if intake and backlog > self._backlog_max and request.method == "POST":
            waiting = Backlog(f"{backlog} records wait to be evaluated.", mend="Send them again later.")
            return answers.answer_to(waiting, request.path)
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - the one place where everything becomes an answer
            return answers.answer_to(error, route_of(request))
