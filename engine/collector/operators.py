"""The operators' port: the local mailbox, metrics, and whether a process works.

Invariant: none of it is on the public port; and it answers only under this machine's own addresses, or under names that the
settings list, so that no web page reaches it by a name that somebody pointed here.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable

import msgspec
from aiohttp import hdrs, web

from channels.recording import Mailbox
from engine.clock import Clock
from engine.collector import answers
from engine.collector.hosts import as_address, host_of, is_loopback, passed_on
from engine.collector.intake.segment import Handler
from engine.collector.pages.mailbox import MailboxPages
from engine.collector.refusals import Refusals, route_of
from engine.telemetry import Metrics


async def _nothing() -> None:
    """What is measured as it happens."""


class Views(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to be looked at. `ready` answers `/readyz`; `measure` is awaited before each page of metrics."""

    metrics: Metrics
    clock: Clock
    ready: Callable[[], Awaitable[web.Response]]
    measure: Callable[[], Awaitable[None]] = _nothing
    mailbox: Mailbox | None = None


def build_operators(views: Views, *, hosts: Iterable[str] = ()) -> web.Application:
    """The application for the operators' port; `hosts` are the names under which it may be called from elsewhere."""
    pages = _Pages(views)
    guard = _Guard(hosts)
    app = web.Application(middlewares=[Refusals(views.metrics, views.clock).middleware, guard.middleware])
    app.add_routes(
        [
            web.get("/healthz", pages.healthz),
            web.get("/readyz", pages.readyz),
            web.get("/metrics", pages.metrics),
        ]
    )
    if views.mailbox is not None:
        app.add_routes(MailboxPages(views.mailbox).routes())
    return app


class _Pages:
    """The monitoring's questions."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def healthz(self, _request: web.Request) -> web.StreamResponse:
        """The process lives."""
        return web.Response(body=b'{"status": "ok"}', content_type=answers.JSON)

    async def readyz(self, _request: web.Request) -> web.StreamResponse:
        """It does its work now."""
        return await self._views.ready()

    async def metrics(self, _request: web.Request) -> web.StreamResponse:
        """Prometheus' text format."""
        await self._views.measure()
        body = self._views.metrics.expose()
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


class _Guard:
    """Turns away who calls by a foreign name; and gives every error an answer."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = frozenset(name.lower().removesuffix(".") for name in hosts)
        # aiohttp marks a middleware with an attribute, which a bound method cannot have.
        self.middleware = web.middleware(functools.partial(self._handle))

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer: web.StreamResponse
        if not self._admits(request):
            answer = answers.refusal(
                403,
                "foreign_host",
                "The operators' port answers only at the machine itself, and to the names in [console] hosts. "
                "Open an SSH tunnel to it, or add the name to ANLASS_CONSOLE__HOSTS.",
            )
        else:
            try:
                answer = await handler(request)
            except Exception as error:  # noqa: BLE001 - the one place where everything becomes an answer
                answer = answers.answer_to(error, route_of(request))
        answer.headers.popall(hdrs.ACCESS_CONTROL_ALLOW_ORIGIN, None)
        return answer

    def _admits(self, request: web.Request) -> bool:
        name = host_of(request)
        if name in self._hosts:
            return True
        if passed_on(request):
            return False
        # Where the settings let it listen on the network, an address is as good as a name: nobody can point it elsewhere.
        return is_loopback(name) or (as_address(name) is not None and not _at_loopback(request))


def _at_loopback(request: web.Request) -> bool:
    """Whether the connection came to a loopback address."""
    name = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return not isinstance(name, tuple) or is_loopback(str(name[0]))
