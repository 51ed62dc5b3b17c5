"""The adapter before the suite that Anlass ships, with a stand-in of its service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from anlass_example import create
from anlass.testing import Conformance, Fault, Received, Stage

STATUS = {Fault.BUSY: 429, Fault.REFUSED: 422, Fault.NO_SUCH_ADDRESS: 404, Fault.DENIED: 401}


class TestExample(Conformance):
    """All that the contract promises."""

    faults = frozenset({*STATUS, Fault.LOST, Fault.SILENT})

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        taken: list[Received] = []
        playing = Fault.NONE
        let_go = asyncio.Event()

        async def play(fault: Fault) -> None:
            nonlocal playing
            playing = fault

        async def take(request: web.Request) -> web.Response:
            body = await request.read()
            if playing is Fault.LOST and request.transport is not None:
                request.transport.close()
            elif playing is Fault.SILENT:
                await let_go.wait()
            elif playing is Fault.NONE:
                said = json.loads(body)
                taken.append(Received(id=said["id"], to=said["to"], text=said["text"], raw=body))
            return web.Response(status=STATUS.get(playing, 200))

        application = web.Application()
        application.router.add_post("/", take)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        settings = {"url": url, "api_key": "key", "allow_hosts": ["127.0.0.1"], "timeout_seconds": 1}
        yield Stage(channel=create(settings), received=lambda: list(taken), play=play)
        let_go.set()
        await runner.cleanup()
