"""Providers' callbacks: `POST /callbacks/PROVIDER/SOURCE`. Reports become outcomes, answers of people become consent records.

Invariant: nothing is written before the provider's reader found the signature good, and the answer is given after what was
written is durable. What is signed and cannot be used is kept as a dead letter; a report that comes again changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from channels.callbacks import CallbackReader, CallbackRequest, Forged, Heard, Report, UnreadableCallback
from engine.clock import Clock
from engine.collector import answers
from engine.collector.callbacks import from_people
from engine.collector.callbacks.reports import PATIENCE_SECONDS, Reports
from engine.collector.intake.body import read_body
from engine.core.record import Record
from engine.runtimes.base import DeadLetter, Front, MessageStatus
from engine.telemetry import Action, get_log

BODY_BYTES_MAX = 2_000_000
"""Some services send the events of half a minute at once."""
_log = get_log("collector")


class CallbackApi:
    """The handlers. `public_url` is what providers call, and sign, when a proxy stands in front."""

    def __init__(
        self,
        runtime: Front,
        readers: Mapping[str, CallbackReader],
        clock: Clock,
        *,
        reports: Reports,
        public_url: str,
    ) -> None:
        self._runtime = runtime
        self._readers = readers
        self._clock = clock
        self._reports = reports
        self._public_url = public_url.rstrip("/")

    def routes(self) -> list[web.RouteDef]:
        """One path for all providers; who is not configured gets a 404 that says so."""
        return [web.post("/callbacks/{provider}/{source}", self.take)]

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Reads, believes or refuses, writes, answers."""
        provider, source = request.match_info["provider"], request.match_info["source"]
        reader = self._readers.get(provider)
        if reader is None:
            return answers.refusal(404, "not_configured", f"Callbacks of {provider!r} are not configured here.")
        now_ms = self._clock.now_ms()
        asked = CallbackRequest(
            url=f"{self._public_url or request.url.origin()}{request.rel_url.raw_path_qs}",
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await read_body(request, bytes_max=BODY_BYTES_MAX),
            query=request.query,
            source=source,
            now_ms=now_ms,
        )
        try:
            blocking = getattr(reader, "blocking", False)
            heard = await asyncio.to_thread(reader.read, asked) if blocking else reader.read(asked)
        except Forged as error:
            _log.debug(Action.REQUEST_REFUSED, provider=provider, reason=error.reason)
            return answers.refusal(403, "forged", f"This callback could not be verified: {error.reason}.")
        except UnreadableCallback as error:
            letter = self._letter(provider, error.reason, asked.body, now_ms=now_ms)
            await self._runtime.dead_letter([letter])
            _log.info(Action.RECORD_DEAD_LETTERED, provider=provider, reason=error.reason)
            return web.Response(status=200)
        await self._keep(provider, heard, asked)
        return web.Response(body=heard.body, content_type=heard.content_type)

    async def _keep(self, provider: str, heard: Heard, asked: CallbackRequest) -> None:
        """Makes everything durable that was said."""
        records: list[Record] = []
        letters: list[DeadLetter] = []
        patience_seconds = PATIENCE_SECONDS
        for report in heard.reports:
            about = await self._message_of(report, patience_seconds=patience_seconds)
            if about is not None:
                records += await self._reports.records(report, about)
            else:
                patience_seconds = 0.0  # a request with a thousand strangers shall not take an hour
                reason = f"no message is known that this report ({report.outcome}) is about"
                letters.append(self._letter(provider, reason, asked.body, now_ms=asked.now_ms))
        letters += [self._letter(provider, reason, asked.body, now_ms=asked.now_ms) for reason in heard.unreadable[:1]]
        for each in heard.inbound:
            found = await from_people.records_of(self._runtime, each, now_ms=asked.now_ms)
            records += found
            if not found and not await from_people.is_known(self._runtime, each):
                letters.append(self._letter(provider, from_people.STRANGER, asked.body, now_ms=asked.now_ms))
        if records:
            await self._runtime.append(records)
        if letters:
            await self._runtime.dead_letter(letters[:1])  # the request is kept once, whatever number of reports it had

    async def _message_of(self, report: Report, *, patience_seconds: float) -> MessageStatus | None:
        return await self._reports.message_of(
            report.message, provider_id=report.provider_id, patience_seconds=patience_seconds
        )

    def _letter(self, provider: str, reason: str, body: bytes, *, now_ms: int) -> DeadLetter:
        return DeadLetter(at_ms=now_ms, origin=f"callback:{provider}", reason=reason, body=body)
