"""The small HTTP server of a role that has none of its own: alive, ready, measured.

Invariant: `/readyz` says 200 only while the role can do its work, and otherwise why not; `/healthz` only that the loop turns.
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

    def __init__(
        self,
        metrics: Metrics,
        readiness: Readiness,
        *,
        measure: Callable[[], Awaitable[None]],
        degraded: Callable[[], list[str]] = list,
    ) -> None:
        """`degraded`: what an operator has to mend, although the role works."""
        self._degraded = degraded
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
        reason = self._readiness()
        if reason:
            return web.json_response({"status": "not ready", "reason": reason}, status=503)
        said = self._degraded()
        return web.json_response({"status": "degraded", "degraded": said} if said else {"status": "ready"})

    async def _page(self, _request: web.Request) -> web.Response:
        await self._measure()
        return web.Response(
            body=self._metrics.expose(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )
