"""Segment's HTTP API: single records and batches.

Invariant: of a batch every good record is stored and every bad one is kept as a dead letter with its reason, before the one
answer is given; a batch of bad records only is refused as a whole and keeps nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
from aiohttp import web

from engine.collector import answers
from engine.collector.intake import values
from engine.collector.intake.body import read_body
from engine.collector.intake.gate import Gate, Pass, StateOf
from engine.collector.intake.parse import Envelope, decode
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
        self,
        desk: Desk,
        gate: Gate,
        now_ms: NowMs,
        *,
        base_url: str = "",
        catalog: Callable[[], Catalog] | None = None,
    ) -> None:
        """`base_url` is where the settings say that the collector is reached; "" when they do not. `catalog` gives the
        definitions in force; without it names of consent are left to the evaluator.
        """
        self._desk = desk
        self._gate = gate
        self._now_ms = now_ms
        self._base_url = base_url
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
            by = self._gate.let_in(request, lambda: decode(raw, _keyed).write_key)
            await by.look_up([raw], self._desk.state_of)
            await self._desk.append(by.read(raw, self._envelope(kind)), by)
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
        by = self._gate.let_in(request, lambda: body.write_key or request.query.get("writeKey"))
        if len(body.batch) > BATCH_EVENTS_MAX:
            raise BadRecord("too_many_events", f"A batch holds at most {BATCH_EVENTS_MAX} events.")
        sent_ms = values.instant(body.sent_at, "sentAt")
        if body.context is not None and not isinstance(body.context, dict):
            raise BadRecord("invalid_context", "context must be an object.", where="context")
        if body.context and values.suspicious(raw):
            values.check_json(body.context, "context")
        envelope = self._envelope(context=body.context, sent_ms=sent_ms)
        await by.look_up((memoryview(item) for item in body.batch), self._desk.state_of)
        return await self._desk.take(body.batch, by, origin=request.path, parse=lambda item: by.read(item, envelope))

    async def settings(self, request: web.Request) -> web.StreamResponse:
        """What analytics.js asks for before it sends: which integrations to load. There is this one."""
        if not self._gate.knows(request.match_info["key"]):
            raise self._gate.refused()
        scheme, _, host = (self._base_url or _own_url(request)).partition("://")
        api = {"apiKey": request.match_info["key"], "apiHost": f"{host}/v1", "protocol": scheme}
        body = msgspec.json.encode({"integrations": {"Segment.io": api}, "plan": {}, "edgeFunction": {}})
        return web.Response(body=body, content_type=answers.JSON)


def _own_url(request: web.Request) -> str:
    """Where this connection came in: unlike `Host`, nobody outside can say it."""
    name = request.transport.get_extra_info("sockname") if request.transport is not None else None
    host, port = name[:2] if isinstance(name, tuple) else ("127.0.0.1", 0)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _new_id() -> str:
    """An id for a record that came without one: it cannot be recognised when it comes again."""
    return secrets.token_hex(16)


class Desk:
    """Where records go: onto the log, those that cannot be used among the dead letters; all are counted by key."""

    def __init__(self, intake: Intake, *, state_of: StateOf, counts: Counts) -> None:
        """`state_of` finds a customer; `counts` is told what came and what was refused."""
        self._intake = intake
        self._counts = counts
        self.state_of = state_of

    async def append(self, records: list[Record], by: Pass) -> None:
        """Stores records."""
        await self._intake.append(records)
        self._counts.came(len(records), by.name)

    async def take(
        self, items: list[msgspec.Raw], by: Pass, *, origin: str, parse: Callable[[memoryview], list[Record]]
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
            return _refused(bad)
        if records:
            await self.append(records, by)
        if bad:
            at_ms = records[0].at_ms
            who = f" (key {by.name})" if by.name else ""
            letters = [
                _letter(origin, f"batch[{place}]: {error.code}: {error}{who}", bytes(items[place]), at_ms)
                for place, error in bad
            ]
            await self._intake.dead_letter(letters)
            for _, refused in bad:
                self._counts.refused(refused.code)
        return answers.success()


class Counts(Protocol):
    """Who is told of what came."""

    def came(self, records: int, key: str) -> None:
        """So many records, with this key."""

    def refused(self, code: str) -> None:
        """One record of a batch was not taken."""


def _refused(bad: list[tuple[int, BadRecord]]) -> web.Response:
    first = bad[0][1]
    shown = [{"index": place, "code": error.code, "message": str(error)} for place, error in bad[:REFUSALS_SHOWN_MAX]]
    where = f"batch[0].{first.where}" if first.where else "batch[0]"
    status = 403 if all(error.code in answers.FORBIDDEN for _, error in bad) else 400
    said = f"No record of the batch can be used. {first}"
    return answers.refusal(status, first.code, said, where=where, errors=shown)


def _letter(origin: str, reason: str, body: bytes, at_ms: int) -> DeadLetter:
    return DeadLetter(at_ms=at_ms, origin=f"http:{origin}", reason=reason, body=body, customer=_whose(body))


def _whose(body: bytes) -> str:
    """Whose record it seems to be, so that erasing the customer finds the letter; "" when it does not say."""
    try:
        owner = decode(body, _owner)
        return values.identifier(owner.user_id, "userId") or values.identifier(owner.anonymous_id, "anonymousId")
    except BadRecord:
        return ""
