"""Segment's HTTP API: single records and batches.

Invariant: of a batch every good record is stored and every bad one is kept as a dead letter with its reason, before the one
answer is given; a batch of bad records only is refused as a whole and keeps nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from engine.collector import answers, values
from engine.collector.body import Gate, read_body
from engine.collector.parse import Envelope, decode, parse_item
from engine.core.catalog import Catalog
from engine.core.record import Record
from engine.errors import BadRecord
from engine.runtimes.base import DeadLetter, Intake

BATCH_EVENTS_MAX = 2_500
REFUSALS_SHOWN_MAX = 20
SHORT = {"t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
NowMs = Callable[[], int]


class _Keyed(msgspec.Struct, rename="camel"):
    """The only thing that is read of a record before it is known who sent it."""

    write_key: Any = None


class _Batch(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    write_key: Any = None
    context: Any = None
    sent_at: Any = None


class _Owner(msgspec.Struct, rename="camel"):
    user_id: Any = None
    anonymous_id: Any = None


_owner = msgspec.json.Decoder(_Owner)
_keyed = msgspec.json.Decoder(_Keyed)
_batch = msgspec.json.Decoder(_Batch)


class SegmentApi:
    """The handlers. `now_ms` is the clock's."""

    def __init__(
        self, intake: Intake, gate: Gate, now_ms: NowMs, *, catalog: Callable[[], Catalog] | None = None
    ) -> None:
        """`catalog` gives the definitions in force; without it names of consent are left to the evaluator."""
        self._intake = intake
        self._gate = gate
        self._now_ms = now_ms
        self._catalog = catalog

    def routes(self) -> list[web.RouteDef]:
        """All paths of the API, long and short."""
        found = []
        for short, kind in SHORT.items():
            handler = self._single(kind)
            found += [web.post(f"/v1/{kind}", handler), web.post(f"/v1/{short}", handler)]
        found += [web.post(path, self.batch) for path in ("/v1/batch", "/v1/b", "/beacon/v1/batch")]
        found += [web.get("/v1/projects/{key}/settings", self.settings)]
        return found

    def _single(self, kind: str) -> Handler:
        async def single(request: web.Request) -> web.StreamResponse:
            raw = await read_body(request)
            if not self._gate.admits(request) and not self._gate.knows(decode(raw, _keyed).write_key):
                raise self._gate.refused()
            await self._intake.append(parse_item(raw, self._envelope(kind)))
            return answers.success()

        return single

    def _envelope(self, kind: str = "", *, context: Any = None, sent_ms: int | None = None) -> Envelope:
        catalog = self._catalog() if self._catalog is not None else None
        return Envelope(
            received_ms=self._now_ms(), kind=kind, new_id=_new_id, context=context, sent_ms=sent_ms,
            catalog=catalog if catalog is not None and catalog.id else None,  # nothing is deployed yet
        )  # fmt: skip

    async def batch(self, request: web.Request) -> web.StreamResponse:
        """Many records at once."""
        raw = await read_body(request)
        body: _Batch = decode(raw, _batch)
        if not self._gate.admits(request) and not self._gate.knows(body.write_key):
            raise self._gate.refused()
        if len(body.batch) > BATCH_EVENTS_MAX:
            raise BadRecord("too_many_events", f"A batch holds at most {BATCH_EVENTS_MAX} events.")
        sent_ms = values.instant(body.sent_at, "sentAt")
        if body.context is not None and not isinstance(body.context, dict):
            raise BadRecord("invalid_context", "context must be an object.", where="context")
        if body.context and values.suspicious(raw):
            values.check_json(body.context, "context")
        envelope = self._envelope(context=body.context, sent_ms=sent_ms)
        return await take(self._intake, body.batch, origin=request.path, parse=lambda item: parse_item(item, envelope))

    async def settings(self, request: web.Request) -> web.StreamResponse:
        """What analytics.js asks for before it sends: which integrations to load. There is this one."""
        if not self._gate.knows(request.match_info["key"]):
            raise self._gate.refused()
        integrations = {"Segment.io": {"apiKey": request.match_info["key"], "apiHost": f"{request.host}/v1"}}
        body = msgspec.json.encode({"integrations": integrations, "plan": {}, "edgeFunction": {}})
        return web.Response(body=body, content_type=answers.JSON, headers=answers.CORS)


def _new_id() -> str:
    """An id for a record that came without one: it cannot be recognised when it comes again."""
    return secrets.token_hex(16)


async def take(
    intake: Intake, items: list[msgspec.Raw], *, origin: str, parse: Callable[[memoryview], list[Record]]
) -> web.Response:
    """Stores a batch; see the module's invariant."""
    records: list[Record] = []
    bad: list[tuple[int, BadRecord]] = []
    for place, item in enumerate(items):
        try:
            records += parse(memoryview(item))
        except BadRecord as error:
            bad.append((place, error))
    if bad and len(bad) == len(items):
        first = bad[0][1]
        shown = [
            {"index": place, "code": error.code, "message": str(error)} for place, error in bad[:REFUSALS_SHOWN_MAX]
        ]
        where = f"batch[0].{first.where}" if first.where else "batch[0]"
        return answers.refusal(
            400, first.code, f"No record of the batch can be used. {first}", where=where, errors=shown
        )
    if records:
        await intake.append(records)
    if bad:
        at_ms = records[0].at_ms
        await intake.dead_letter([_letter(origin, place, error, bytes(items[place]), at_ms) for place, error in bad])
    return answers.success()


def _letter(origin: str, place: int, error: BadRecord, body: bytes, at_ms: int) -> DeadLetter:
    reason = f"batch[{place}]: {error.code}: {error}"
    return DeadLetter(at_ms=at_ms, origin=f"http:{origin}", reason=reason, body=body, customer=_whose(body))


def _whose(body: bytes) -> str:
    """Whose record it seems to be, so that erasing the customer finds the letter; "" when it does not say."""
    try:
        owner = decode(body, _owner)
        return values.identifier(owner.user_id, "userId") or values.identifier(owner.anonymous_id, "anonymousId")
    except BadRecord:
        return ""
