"""CloudEvents 1.0 over HTTP: structured, binary and batched, read strictly.

The identity is `source` and `id` together; `type` names the event; `subject`, else `data.userId`, is the customer.
Invariant: one CloudEvent gives one Event or BadRecord; the same `source` and `id` always give the same record id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from engine.collector import answers
from engine.collector.intake import values
from engine.collector.intake.body import read_body
from engine.collector.intake.gate import Gate
from engine.collector.intake.parse import EVENT_BYTES_MAX, decode
from engine.collector.intake.segment import BATCH_EVENTS_MAX, Desk, NowMs
from engine.core.record import Event
from engine.errors import BadRecord

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time")
"""Beside `datacontenttype`, which every transport has a place of its own for."""
_UNKEPT = frozenset({"userId", "anonymousId"})


class _CloudEvent(msgspec.Struct):
    """The attributes that are read; extensions are allowed by the specification and not needed here."""

    specversion: Any = None
    id: Any = None
    source: Any = None
    type: Any = None
    subject: Any = None
    time: Any = None
    datacontenttype: Any = None
    data: Any = None
    data_base64: Any = None


_decoder = msgspec.json.Decoder(_CloudEvent)
_any = msgspec.json.Decoder(Any)
_batch = msgspec.json.Decoder(list[msgspec.Raw])


class CloudEventsApi:
    """The handler of `POST /events`."""

    def __init__(self, desk: Desk, gate: Gate, now_ms: NowMs) -> None:
        self._desk = desk
        self._gate = gate
        self._now_ms = now_ms

    def routes(self) -> list[web.RouteDef]:
        """Its one path."""
        return [web.post("/events", self.events)]

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Takes one event, or a batch of them."""
        raw = await read_body(request)
        by = self._gate.let_in(request)
        by.only_server("CloudEvents")
        received_ms = self._now_ms()
        content_type = request.content_type.lower()
        if content_type == BATCHED:
            items: list[msgspec.Raw] = decode(raw, _batch)
            if len(items) > BATCH_EVENTS_MAX:
                raise BadRecord("too_many_events", f"A batch holds at most {BATCH_EVENTS_MAX} events.")
            return await self._desk.take(
                items,
                by,
                origin=request.path,
                parse=lambda item: by.stamped([structured(item, received_ms=received_ms)]),
            )
        if content_type == STRUCTURED:
            event = structured(raw, received_ms=received_ms)
        elif "ce-specversion" in request.headers:
            event = _binary(request, raw, received_ms)
        else:
            raise BadRecord(
                "unsupported_media_type",
                f"This is not a CloudEvent: the Content-Type is not {STRUCTURED} or {BATCHED}, and there are no ce- headers.",
            )
        await self._desk.append(by.stamped([event]), by)
        return answers.success()


def structured(raw: bytes | memoryview, *, received_ms: int, customer: str = "") -> Event:
    """One event in the JSON format; `customer` is whose it is when it names nobody. Raises BadRecord."""
    _check_size(raw)
    return _event(decode(raw, _decoder), received_ms, walk=values.suspicious(raw), customer=customer)


def binary(attributes: Mapping[str, str], raw: bytes, *, received_ms: int, customer: str = "") -> Event:
    """One event whose attributes came beside its data, `datacontenttype` among them. Raises BadRecord."""
    _check_size(raw)
    event = _CloudEvent(**{name: attributes[name] for name in ATTRIBUTES if name in attributes})
    if raw:
        event.datacontenttype = attributes.get("datacontenttype", "application/json")
        _check_json_type(event.datacontenttype)
        event.data = decode(raw, _any)
    return _event(event, received_ms, walk=values.suspicious(raw), customer=customer)


def _check_size(raw: bytes | memoryview) -> None:
    if len(raw) > EVENT_BYTES_MAX:
        raise BadRecord("event_too_large", f"The event is larger than {EVENT_BYTES_MAX} bytes.")


def _binary(request: web.Request, raw: bytes, received_ms: int) -> Event:
    said = {name: request.headers.get(f"ce-{name}") for name in ATTRIBUTES}
    try:
        given = {name: unquote(value, errors="strict") for name, value in said.items() if value is not None}
        for value in given.values():
            value.encode()  # a header may hold bytes that are not text
    except UnicodeError:
        raise BadRecord("invalid_header", "A ce- header is not percent-encoded UTF-8.") from None
    if "Content-Type" in request.headers:
        given["datacontenttype"] = request.headers["Content-Type"]
    return binary(given, raw, received_ms=received_ms)


def _check_json_type(content_type: object) -> None:
    if content_type is None:
        return
    plain = content_type.partition(";")[0].strip().lower() if isinstance(content_type, str) else ""
    if plain != "application/json" and not plain.endswith("+json"):
        raise BadRecord("unsupported_media_type", "The data must be JSON.", where="datacontenttype")


def _event(event: _CloudEvent, received_ms: int, *, walk: bool, customer: str) -> Event:
    if event.specversion != "1.0":
        raise BadRecord("invalid_specversion", "specversion must be 1.0.", where="specversion")
    for attribute in ("id", "source"):
        value = getattr(event, attribute)
        if not isinstance(value, str) or not value or len(value) > EVENT_BYTES_MAX:
            raise BadRecord("missing_attribute", f"{attribute} must be text that is not empty.", where=attribute)
    if event.data_base64 is not None:
        raise BadRecord("unsupported_media_type", "data_base64 is not taken; send JSON in data.", where="data_base64")
    _check_json_type(event.datacontenttype)
    data = {} if event.data is None else event.data
    if not isinstance(data, dict):
        raise BadRecord("invalid_data", "data must be an object.", where="data")
    if walk:
        values.check_json(data, "data")
    values.check_numbers(data, "data")
    customer = (
        values.identifier(event.subject, "subject")
        or values.identifier(data.get("userId"), "data.userId")
        or values.identifier(data.get("anonymousId"), "data.anonymousId")
        or customer
    )
    if not customer:
        raise BadRecord("missing_user", "subject and data.userId are both missing.", where="subject")
    if isinstance(event.time, int):
        raise BadRecord("invalid_time", "time must be text such as 2026-03-27T09:00:00Z.", where="time")
    time_ms = values.instant(event.time, "time")
    if time_ms is not None:
        values.check_happened(time_ms, "time", received_ms)
    return Event(
        customer=customer,
        at_ms=received_ms,
        id=identity(event.source, event.id),
        name=values.event_name(event.type, "type"),
        time_ms=values.happened_ms(original_ms=time_ms, sent_ms=None, received_ms=received_ms),
        properties={name: value for name, value in data.items() if name not in _UNKEPT},
    )


def identity(source: str, id: str) -> str:
    """One id for `source` and `id`; a hash, so that no two pairs meet whatever characters they hold."""
    return "ce-" + hashlib.sha256(msgspec.json.encode([source, id])).hexdigest()[:40]
