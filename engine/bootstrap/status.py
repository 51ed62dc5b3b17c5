"""The operators' port of a role on Kafka that has no public one: alive, ready, measured.

Invariant: `/readyz` says 200 only while the role can do its work, and otherwise why not; what else is not well is named beside.
`/healthz` says only that the loop turns.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterable

import msgspec
from aiohttp import web

from engine.bootstrap.doors import operators_keeper, serve
from engine.clock import Clock
from engine.collector import Views, build_operators
from engine.runtimes.unreadable import say_set_aside
from engine.telemetry import Metrics

Readiness = Callable[[], str]
"""Why the role is not ready; empty when it is."""


async def _nothing() -> None:
    """For a role that sets its gauges as it goes."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What a role says of itself. `measure` is awaited before each page of metrics."""

    metrics: Metrics
    clock: Clock
    readiness: Readiness
    measure: Callable[[], Awaitable[None]] = _nothing
    degraded: Callable[[], list[str]] = list
    """What an operator has to mend, although the role works."""


class StatusServer:
    """Serves until `stop`; `hosts` as in `[console]`."""

    def __init__(self, status: Status, *, hosts: Iterable[str] = ()) -> None:
        self._status = status
        self._hosts = tuple(hosts)
        self._exit = contextlib.AsyncExitStack()

    async def start(self, sock: socket.socket) -> None:
        """Answers on this socket from now on."""
        status = self._status
        views = Views(metrics=status.metrics, clock=status.clock, ready=self._ready, measure=status.measure)
        await serve(
            self._exit,
            build_operators(views, hosts=self._hosts),
            sock,
            keeper=operators_keeper(status.metrics, status.clock),
        )

    async def stop(self) -> None:
        """Idempotent."""
        stack, self._exit = self._exit, contextlib.AsyncExitStack()
        await stack.aclose()

    async def _ready(self) -> web.Response:
        health = self._status.metrics.health
        say_set_aside(health, self._status.degraded())
        reason, degraded = self._status.readiness(), health.shown
        if reason:
            return web.json_response({"status": "not ready", "reason": reason, "degraded": degraded}, status=503)
        return web.json_response({"status": "degraded" if degraded else "ready", "degraded": degraded})
