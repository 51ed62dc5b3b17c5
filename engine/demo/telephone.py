"""A stand-in of Twilio's API on this machine: takes texts and calls, lists them, reports on them, and goes wrong when asked to.

Invariant: what it took is in `taken`, whatever it answered; nothing leaves this machine. Reports and answers of people are signed
as Twilio signs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import web
from twilio.request_validator import RequestValidator

from channels.phone import gsm
from channels.phone.opt_out import wish_of

ACCOUNT_SID: Final = "AC" + "0" * 31 + "1"
AUTH_TOKEN: Final = "a token of the stand-in"  # noqa: S105 - of nobody
REPORT_SECONDS_MAX: Final = 10.0
_NUMBER: Final = re.compile(r"(whatsapp:)?\+[1-9][0-9]{6,14}")
_PAGE: Final = 50
_DELIVERED: Final = ("queued", "sent", "delivered")
_ANSWERED: Final = ("initiated", "ringing", "completed")


class Mood(msgspec.Struct, frozen=True, kw_only=True):
    """How one request is treated. By default it is taken, answered 201 and reported as delivered."""

    status: int = 201
    code: int = 0
    """Twilio's error code, in a refusal or in the last report."""
    taken: bool = True
    """Whether the message is sent all the same."""
    delay_seconds: float = 0.0
    silent: bool = False
    """The connection is closed without an answer."""
    garbled: bool = False
    """The answer is not JSON."""
    retry_after: str = ""
    reports: tuple[str, ...] | None = None
    """Statuses, in the order in which they are reported; None: as usual."""
    report_times: int = 1


FINE: Final = Mood()
UNREACHABLE: Final = Mood(reports=("queued", "sent", "undelivered"), code=30003)


class PhoneMessage(msgspec.Struct, kw_only=True):
    """A text or a call; `kind` is `messages` or `calls`, `form` what was asked for."""

    sid: str
    kind: str
    to: str
    sender: str
    text: str
    form: dict[str, str]
    created_ms: int
    status: str = "queued"
    code: int = 0


class Telephone:
    """The server. Set `mood_of` to decide by the request, or append to `moods` what befalls the next ones."""

    def __init__(self, *, now_ms: Callable[[], int], token: str = AUTH_TOKEN, sid: str = ACCOUNT_SID) -> None:
        """`now_ms` is the time that resources get, UTC milliseconds."""
        self.taken: list[PhoneMessage] = []
        self.requests = 0
        self.moods: deque[Mood] = deque()
        self.mood_of: Callable[[Mapping[str, str]], Mood] = lambda _form: FINE
        self.opted_out: set[str] = set()
        self.on_text: Callable[[PhoneMessage], None] | None = None
        self.answers: list[tuple[int, str]] = []
        """What our reports were answered: status and body."""
        self.inbound_url = ""
        """Where answers of people go."""
        self.base_url = ""
        self._sid = sid
        self._sids = 0
        self._login = aiohttp.encode_basic_auth(sid, token)
        self._now_ms = now_ms
        self._validator = RequestValidator(token)
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._reports: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> str:
        """Listens on this machine; returns the base URL."""
        app = web.Application()
        account = f"/2010-04-01/Accounts/{self._sid}"
        for kind in ("messages", "calls"):
            path = f"{account}/{kind.capitalize()}.json"
            app.router.add_post(path, self._create(kind))
            app.router.add_get(path, self._list(kind))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        port = self._runner.addresses[0][1]
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REPORT_SECONDS_MAX))
        self.base_url = f"http://127.0.0.1:{port}"
        return self.base_url

    async def stop(self) -> None:
        """Ends reports under way, and hangs up. Idempotent."""
        for task in list(self._reports):
            task.cancel()
        await asyncio.gather(*self._reports, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def quiet(self) -> None:
        """Returns when everything was reported."""
        while self._reports:
            await asyncio.gather(*self._reports, return_exceptions=True)

    async def says(self, number: str, text: str, *, to: str = "+4930123456", sid: str = "") -> tuple[int, str]:
        """Somebody writes to us; returns the status and the body (TwiML) of the answer. Keeps who opts out, as Twilio does."""
        wish = wish_of(text)
        if wish == "stop":
            self.opted_out.add(number)
        elif wish == "start":
            self.opted_out.discard(number)
        form = {
            "MessageSid": sid or self._next_sid("SM"), "AccountSid": self._sid, "From": number, "To": to, "Body": text,
            "NumMedia": "0", "ApiVersion": "2010-04-01",
        }  # fmt: skip
        return await self.post(self.inbound_url, form)

    async def post(self, url: str, form: Mapping[str, str]) -> tuple[int, str]:
        """Posts a form with Twilio's signature."""
        assert self._session is not None, "not started"
        signed = {"X-Twilio-Signature": self._validator.compute_signature(url, dict(form))}
        async with self._session.post(url, data=dict(form), headers=signed) as answer:
            return answer.status, await answer.text()

    # ---------------------------------------------------------------------------------------------------------- requests

    def _next_sid(self, prefix: str) -> str:
        self._sids += 1
        return f"{prefix}{self._sids:032x}"

    def _create(self, kind: str) -> Callable[[web.Request], Any]:
        async def create(request: web.Request) -> web.StreamResponse:
            self.requests += 1
            form = {name: str(value) for name, value in (await request.post()).items()}
            refusal = self._refusal(request, form)
            if refusal is not None:
                return refusal
            mood = self.moods.popleft() if self.moods else self.mood_of(form)
            taken = self._take(kind, form) if mood.taken else None
            if mood.delay_seconds:
                await asyncio.sleep(mood.delay_seconds)
            if taken is not None:
                self._report(taken, mood)
            if mood.silent:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            if mood.garbled:
                return web.Response(status=201, body=b"<html>")
            if mood.status >= 400 or taken is None:  # noqa: PLR2004 - what HTTP calls an error
                return _error(mood.status, mood.code, mood.retry_after)
            return web.json_response(self._shown(taken), status=201)

        return create

    def _refusal(self, request: web.Request, form: Mapping[str, str]) -> web.Response | None:
        """What Twilio refuses whatever our mood is."""
        if request.headers.get("Authorization") != self._login:
            return _error(401, 20003)
        if not _NUMBER.fullmatch(form.get("To", "")):
            return _error(400, 21211)
        if not form.get("From") and not form.get("MessagingServiceSid"):
            return _error(400, 21603)
        if not any(form.get(name) for name in ("Body", "ContentSid", "Twiml")):
            return _error(400, 21602)
        return _error(400, 21610) if form["To"] in self.opted_out else None

    def _take(self, kind: str, form: dict[str, str]) -> PhoneMessage:
        taken = PhoneMessage(
            sid=self._next_sid("SM" if kind == "messages" else "CA"), kind=kind, to=form["To"], sender=form.get("From", ""),
            text=form.get("Body", "") or form.get("Twiml", ""), form=form, created_ms=self._now_ms(),
        )  # fmt: skip
        self.taken.append(taken)
        if self.on_text is not None:
            self.on_text(taken)
        return taken

    def _list(self, kind: str) -> Callable[[web.Request], Any]:
        async def listing(request: web.Request) -> web.StreamResponse:
            self.requests += 1
            if request.headers.get("Authorization") != self._login:
                return _error(401, 20003)
            asked = request.query
            found = [
                self._shown(one)
                for one in reversed(self.taken)
                if one.kind == kind
                and asked.get("To", one.to) == one.to
                and asked.get("From", one.sender) == one.sender
                and ("DateSent>" not in asked or one.status != "queued")
            ]
            page: dict[str, Any] = {
                kind: found[:_PAGE], "page": 0, "page_size": _PAGE, "next_page_uri": None, "uri": request.path_qs,
                "first_page_uri": request.path_qs, "previous_page_uri": None, "start": 0, "end": len(found[:_PAGE]),
            }  # fmt: skip
            return web.json_response(page)

        return listing

    def _shown(self, one: PhoneMessage) -> dict[str, Any]:
        """The resource as Twilio shows it."""
        created = email.utils.formatdate(one.created_ms // 1_000, usegmt=True).replace("GMT", "+0000")
        shown: dict[str, Any] = {
            "sid": one.sid, "account_sid": self._sid, "to": one.to, "from": one.sender or "+4930123456", "status": one.status,
            "direction": "outbound-api", "date_created": created, "date_updated": created, "price": None, "price_unit": "USD",
            "api_version": "2010-04-01", "uri": f"/2010-04-01/Accounts/{self._sid}/{one.kind.capitalize()}/{one.sid}.json",
        }  # fmt: skip
        if one.kind == "messages":
            shown |= {
                "body": one.text, "num_segments": str(gsm.size_of(one.text).segments), "num_media": "0",
                "date_sent": created if one.status != "queued" else None, "error_code": one.code or None,
                "error_message": None, "messaging_service_sid": one.form.get("MessagingServiceSid"), "subresource_uris": {},
            }  # fmt: skip
        return shown

    # ----------------------------------------------------------------------------------------------------------- reports

    def _report(self, taken: PhoneMessage, mood: Mood) -> None:
        reports = mood.reports if mood.reports is not None else _DELIVERED if taken.kind == "messages" else _ANSWERED
        task = asyncio.create_task(self._reporting(taken, mood, reports))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _reporting(self, taken: PhoneMessage, mood: Mood, reports: tuple[str, ...]) -> None:
        name = "Message" if taken.kind == "messages" else "Call"
        url = taken.form.get("StatusCallback", "")
        for number, status in enumerate(reports):
            last = number == len(reports) - 1
            if last:
                taken.code = mood.code if mood.status < 400 else 0  # noqa: PLR2004
            taken.status = status
            form = {
                f"{name}Sid": taken.sid, f"{name}Status": status, "AccountSid": self._sid, "To": taken.to,
                "From": taken.sender, "ApiVersion": "2010-04-01",
            }  # fmt: skip
            if last and taken.code:
                form["ErrorCode"] = str(taken.code)
            for _ in range(mood.report_times if url else 0):
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    self.answers.append(await self.post(url, form))


def _error(status: int, code: int, retry_after: str = "") -> web.Response:
    body = {"code": code or status, "message": f"stand-in: {code or status}", "more_info": "", "status": status}
    headers = {"Retry-After": retry_after} if retry_after else {}
    return web.Response(status=status, text=json.dumps(body), content_type="application/json", headers=headers)
