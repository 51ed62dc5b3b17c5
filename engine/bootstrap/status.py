"""The small HTTP server of a role that has none of its own: alive, ready, measured.

Invariant: `/readyz` says 200 only while the role can do its work, and otherwise why not; what else is not well is named beside.
`/healthz` says only that the loop turns.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from engine.telemetry import Metrics

Readiness = Callable[[], str]
"""Why the role is not ready; empty when it is."""


class StatusServer:
    """Serves until `stop`. `measure` is awaited before each page of metrics."""

    def __init__(self, metrics: Metrics, readiness: Readiness, *, measure: Callable[[], Awaitable[None]]) -> None:
        self._metrics = metrics
        self._readiness = readiness
        self._measure = measure
        self._runner: web.AppRunner | None = None

    async def start(self, sock: socket.socket) -> None:
        """Answers on this socket from now on."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._page)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        """Idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        reason, degraded = self._readiness(), self._metrics.health.shown
        if reason:
            return web.json_response({"status": "not ready", "reason": reason, "degraded": degraded}, status=503)
        return web.json_response({"status": "degraded" if degraded else "ready", "degraded": degraded})

    async def _page(self, _request: web.Request) -> web.Response:
        await self._measure()
        return web.Response(
            body=self._metrics.expose(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )
