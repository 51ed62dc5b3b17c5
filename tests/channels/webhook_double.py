"""A receiver of webhooks that checks signatures with the reference library, and misbehaves on demand."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


class WebhookDouble:
    """Listens on 127.0.0.1 from `start`. `status` is answered to everything; `taken` is what was answered with 2xx."""

    def __init__(self, secret: str = SECRET) -> None:
        self.secret = secret
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body: bytes = b"ok"
        self.lose = self.hang = self.endless = False
        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._let_go = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        application = web.Application(client_max_size=10**7)
        application.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._let_go = asyncio.Event()

    async def stop(self) -> None:
        self._let_go.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = (request.path, dict(request.headers), body)
        self.calls.append(call)
        Webhook(self.secret).verify(body, dict(request.headers), json_parse=False)
        if self.lose:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if self.hang:
            await self._let_go.wait()
        if self.endless:
            response = web.StreamResponse(status=self.status)
            await response.prepare(request)
            while not self._let_go.is_set():
                await response.write(b"x" * 65_536)
            return response
        if self.status < 300:
            self.taken.append(call)
        return web.Response(status=self.status, headers=self.headers, body=self.body)

    def bodies(self) -> list[dict[str, Any]]:
        """What was taken, read."""
        return [json.loads(body) for _, _, body in self.taken]
