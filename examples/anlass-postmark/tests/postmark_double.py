"""A stand-in of Postmark's API: it checks the token and the shape of what comes, and fails on demand."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from aiohttp import web

TOKEN = "server-token-of-the-tests"
KNOWN = {"From", "To", "Subject", "TextBody", "HtmlBody", "ReplyTo", "Headers", "Metadata", "MessageStream"}


class PostmarkDouble:
    """`fail` is (status, Postmark's code), answered to everything; `taken` is what was accepted."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.fail: tuple[int, int] | None = None
        self.lose = self.hang = False
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._let_go = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._let_go = asyncio.Event()
        application = web.Application()
        application.router.add_post("/email", self._email)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        self._let_go.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _email(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Postmark-Server-Token") != TOKEN:
            return self._answer(401, 10)
        mail = await request.json()
        if set(mail) - KNOWN or not re.search(r"[^@<>\s]+@[^@<>\s]+", mail.get("To", "")) or not mail.get("From"):
            return self._answer(422, 300)
        if self.lose:
            assert request.transport is not None
            request.transport.close()
        if self.hang:
            await self._let_go.wait()
        if self.fail is not None:
            return self._answer(*self.fail)
        self.taken.append(mail)
        return web.json_response({"ErrorCode": 0, "Message": "OK", "MessageID": f"pm-{len(self.taken)}"})

    def _answer(self, status: int, code: int) -> web.Response:
        return web.json_response({"ErrorCode": code, "Message": "as the test wants it"}, status=status)
