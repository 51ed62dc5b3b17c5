"""What other producers write to `touchpoints`: Segment's JSON, single or as a batch, and CloudEvents (Kafka protocol binding).

Invariant: pure and total, as `parse`. The same record, delivered again, gives the same records with the same ids, or the same
BadRecord; a batch is taken as a whole or not at all, because a record of Kafka has one fate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from engine.collector.intake import values
from engine.collector.intake.cloudevents import ATTRIBUTES, BATCHED, STRUCTURED, binary, structured
from engine.collector.intake.parse import Envelope, decode, parse_item
from engine.collector.intake.segment import BATCH_EVENTS_MAX
from engine.core.record import Record
from engine.errors import BadRecord
from engine.runtimes.kafka.topics import ORIGIN

PREFIX = "ce_"
"""Of headers that are attributes of a CloudEvent."""


class _Shape(msgspec.Struct, rename="camel"):
    """What tells the kinds of objects apart, and what a batch says about all its records."""

    specversion: Any = msgspec.field(name="specversion", default=None)
    batch: list[msgspec.Raw] | None = None
    context: Any = None
    sent_at: Any = None


_shape = msgspec.json.Decoder(_Shape)


def _parse_foreign(key: bytes | None, value: bytes, headers: Mapping[str, str], at_ms: int) -> list[Record]:
    """The records that a value holds. Raises BadRecord, and nothing else, whatever the bytes are.

    `at_ms` is the broker's time of the record, UTC. `key` is whose record it is when it names nobody. A record without an id gets
    one from its bytes and the place that the header `anlass-origin` tells; where that is missing, from its bytes and `at_ms`, so
    that two which are the same to the byte and came within one millisecond are one.
    """
    given = {name.lower(): text for name, text in headers.items()}
    content_type = given.get("content-type", "").partition(";")[0].strip().lower()
    customer = _customer(key)
    place = given.get(ORIGIN, str(at_ms))
    if content_type == BATCHED:
        raise BadRecord(
            "unsupported_media_type",
            "Kafka's binding of CloudEvents has no batches.",
            mend="Write each event by itself.",
        )
    if content_type == STRUCTURED:
        return [structured(value, received_ms=at_ms, customer=customer)]
    if any(f"{PREFIX}{name}" in given for name in ("specversion", "id", "type")):
        said = {name: given[f"{PREFIX}{name}"] for name in ATTRIBUTES if f"{PREFIX}{name}" in given}
        if "content-type" in given:
            said["datacontenttype"] = given["content-type"]
        return [binary(said, value, received_ms=at_ms, customer=customer)]
    shape: _Shape = decode(value, _shape)
    if shape.specversion is not None:
        return [structured(value, received_ms=at_ms, customer=customer)]
    if shape.batch is None:
        return parse_item(value, Envelope(received_ms=at_ms, new_id=_ids(value, place, 0), customer=customer))
    return _batch(shape, value, at_ms=at_ms, place=place, customer=customer)


parse_foreign: Callable[[bytes | None, bytes, Mapping[str, str], int], list[Record]] = _parse_foreign
"""As the worker calls it: once for each foreign record, by position."""


def _batch(shape: _Shape, value: bytes, *, at_ms: int, place: str, customer: str) -> list[Record]:
    items = shape.batch
    assert items is not None, "asked before"
    if len(items) > BATCH_EVENTS_MAX:
        raise BadRecord("too_many_events", f"A batch holds at most {BATCH_EVENTS_MAX} events.")
    sent_ms = values.instant(shape.sent_at, "sentAt")
    if shape.context is not None and not isinstance(shape.context, dict):
        raise BadRecord("invalid_context", "context must be an object.", where="context")
    if shape.context and values.suspicious(value):
        values.check_json(shape.context, "context")
    records: list[Record] = []
    for at, item in enumerate(items):
        envelope = Envelope(
            received_ms=at_ms,
            new_id=_ids(value, place, at),
            context=shape.context,
            sent_ms=sent_ms,
            customer=customer,
        )
        try:
            records += parse_item(memoryview(item), envelope)
        except BadRecord as error:
            where = f"batch[{at}].{error.where}" if error.where else f"batch[{at}]"
            raise BadRecord(error.code, f"{where}: {error.message}", where=where, mend=error.mend) from None
    return records


def _ids(value: bytes, place: str, index: int) -> Callable[[], str]:
    """Makes the id of a record that came without one; hashed only when it is asked for."""
    return lambda: (
        "in-" + hashlib.sha256(b"%b:%d:%b" % (place.encode("utf-8", "replace"), index, value)).hexdigest()[:40]
    )


def _customer(key: bytes | None) -> str:
    """Whose record it is according to its key; "" when the key is not an id."""
    try:
        return values.identifier((key or b"").decode(), "key")
    except (UnicodeDecodeError, BadRecord):
        return ""
