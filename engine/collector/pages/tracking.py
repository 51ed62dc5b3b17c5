"""What tracked links lead through: `GET /c/TOKEN` redirects to where the stored message says, `GET /o/TOKEN` is the pixel.

Invariant: the address of a redirect comes from the ledger, never from the request. What is recorded is an outcome, of somebody
who agrees to it now; without that, and whenever nothing can be recorded, the redirect works just the same.
"""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict

from aiohttp import web

from engine.clock import Clock
from engine.collector.pages.machines import is_machine
from engine.collector.pages.page import page
from engine.collector.pages.texts import TEXTS, language
from engine.core.consent import tracking
from engine.core.message import Message
from engine.core.record import Outcome
from engine.dispatch.links.tokens import TokenSigner
from engine.errors import AnlassError, NotFound, StorageError
from engine.runtimes.base import Front, MessageStatus
from engine.telemetry import Action, get_log

RECORD_SECONDS_MAX = 2.0
"""Nobody waits longer for a page because we want to write something down."""
TOLD_MAX = 20_000
MERGES_MAX = 5
_PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}
_OUTCOMES = {True: "opened", False: "clicked"}
_log = get_log("collector")


class TracePages:
    """The handlers of clicks and opens."""

    def __init__(self, runtime: Front, signer: TokenSigner, clock: Clock) -> None:
        self._runtime = runtime
        self._signer = signer
        self._clock = clock
        # What was recorded here already: who reloads a hundred times writes one record.
        self._told: OrderedDict[str, None] = OrderedDict()

    def routes(self) -> list[web.RouteDef]:
        """Both paths; HEAD is answered like GET."""
        return [web.get("/c/{token}", self.click), web.get("/o/{token}", self.open)]

    async def click(self, request: web.Request) -> web.StreamResponse:
        """A redirect to the link as it stood in the message when that left."""
        try:
            trail = self._signer.read_trail("click", request.match_info["token"])
            status = await self._runtime.message(trail.message)
        except NotFound:
            return _notice(request, "broken", 404)
        except StorageError:
            return _notice(request, "later", 503)
        target = None if status is None else status.links.get(trail.link)
        if status is None or target is None:
            return _notice(request, "broken", 404)
        await self._record(request, status, trail.link, url=target)
        return web.Response(status=302, headers={**_HEADERS, "Location": target})

    async def open(self, request: web.Request) -> web.StreamResponse:
        """A picture that nobody sees, whatever becomes of the rest."""
        code = 200
        try:
            trail = self._signer.read_trail("open", request.match_info["token"])
            status = await self._runtime.message(trail.message)
            if status is not None and trail.link == tracking.OPEN and status.message.tracked:
                await self._record(request, status, trail.link)
        except NotFound:
            code = 404
        except StorageError as error:
            _log.info(Action.BATCH_FAILED, cause=error)
        return web.Response(status=code, body=_PIXEL, content_type="image/gif", headers=_HEADERS)

    async def _record(self, request: web.Request, status: MessageStatus, link: str, *, url: str = "") -> None:
        """Writes down what happened, once, if the customer agrees to it. Never keeps anybody from their page."""
        message, now_ms = status.message, self._clock.now_ms()
        machine = is_machine(request.method, request.headers, sent_ago_ms=now_ms - status.updated_ms)
        outcome = _OUTCOMES[link == tracking.OPEN]
        told = f"{outcome}:{message.id}:{link}{':machine' if machine else ''}"
        if told in self._told:
            self._told.move_to_end(told)
            return
        detail: dict[str, object] = {"link": link}
        if url:
            detail["url"] = url
        if machine:
            detail["machine"] = True
        record = Outcome(
            customer=message.customer, at_ms=now_ms, id=told, time_ms=now_ms, outcome=outcome, message=message.id,
            detail=detail,
        )  # fmt: skip
        try:
            async with asyncio.timeout(RECORD_SECONDS_MAX):
                if not await self._agrees(message):
                    return
                await self._runtime.append([record])
        except (AnlassError, TimeoutError) as error:
            _log.info(Action.BATCH_FAILED, message=message.id, cause=error)
            return
        self._told[told] = None
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)

    async def _agrees(self, message: Message) -> bool:
        """Whether whoever has the message now agrees to tracking; the evaluator asks once more."""
        customer = message.customer
        for _ in range(MERGES_MAX):
            state = await self._runtime.state(customer)
            if state is None:
                return False
            if not state.merged_into:
                policy = self._runtime.catalog.policy
                return tracking.consented(state, policy, channel=message.channel, address=message.address)
            customer = state.merged_into
        return False


def _notice(request: web.Request, key: str, status: int) -> web.Response:
    lang = language(request.headers.get("Accept-Language", ""))
    texts = TEXTS[lang]
    return page("notice", status=status, lang=lang, title=texts[f"{key}_title"], text=texts[f"{key}_text"])
