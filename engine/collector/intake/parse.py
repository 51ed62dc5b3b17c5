"""From one Segment record to records of the log.

Invariant: pure and total. The same bytes at the same time give the same records, or BadRecord with a code, the place and
the reason; nothing else is raised, and what cannot be used is refused, never dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from engine.collector.intake import values
from engine.core.catalog import Catalog
from engine.core.consent.changes import CONSENT_TRAITS, PROOF_TRAIT
from engine.core.consent.may_send import BASES
from engine.core.consent.names import unknown_channel, unknown_purpose
from engine.core.consent.proof import PROOF_CHARS_MAX, PROOF_KEYS
from engine.core.journey.outcome import RANK
from engine.core.record import Event, Identify, Merge, Outcome, Record
from engine.errors import BadRecord

EVENT_BYTES_MAX = 32_768
CONTEXT_KEPT = ("campaign", "groupId", "locale", "referrer", "timezone")
"""What of `context` becomes `event.context`. The rest is about the device, or personal (`ip`, `userAgent`, `traits`)."""
CONSENT_NAMES_MAX = 50
OUTCOMES = frozenset(RANK) - {""}
TYPES = ("track", "identify", "page", "screen", "group", "alias", "outcome")
PROOF_TIMES = ("requested_at", "confirmed_at")
WITHDRAWN = "consent_withdraw"
"""The trait whose names are not looked up here: what the policy had once can still be objected to."""
_NOBODY = (None, "")
_NAMED_BY_US = {"page": "Page Viewed", "screen": "Screen Viewed", "group": "Group Joined"}


class _Item(msgspec.Struct, rename="camel"):
    """A record as Segment's clients write it. Fields are loose here so that a wrong one is refused with its own sentence."""

    type: Any = None
    message_id: Any = None
    user_id: Any = None
    anonymous_id: Any = None
    previous_id: Any = None
    group_id: Any = None
    event: Any = None
    name: Any = None
    category: Any = None
    properties: Any = None
    traits: Any = None
    context: Any = None
    timestamp: Any = None
    original_timestamp: Any = None
    sent_at: Any = None
    message: Any = None
    of: Any = None
    workflow: Any = None
    outcome: Any = None


class _Facts(NamedTuple):
    """What every record has."""

    kind: str
    id: str
    at_ms: int
    time_ms: int
    catalog: Catalog | None = None


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a record besides its bytes.

    `received_ms` None: there is no receipt (a file in virtual time), so `timestamp` is needed and is the record's own time.
    `kind` is the type that the path says; "" leaves it to the record. `new_id` makes an id for a record without `messageId`;
    without it the id is the hash of the bytes. `context` and `sent_ms` are those of the batch. `customer` is whose record it is
    when it names nobody. `catalog` are the definitions in force, where they are known: names of consent are looked up in
    its policy.
    """

    received_ms: int | None
    kind: str = ""
    new_id: Callable[[], str] | None = None
    context: Any = None
    sent_ms: int | None = None
    customer: str = ""
    catalog: Catalog | None = None


_decoder = msgspec.json.Decoder(_Item)


def parse_line(raw: bytes, *, received_ms: int | None = None, new_id: Callable[[], str] | None = None) -> list[Record]:
    """The records of one line of an events file (`interfaces.md`), raising BadRecord. See `Envelope` for the arguments."""
    return parse_item(raw, Envelope(received_ms=received_ms, new_id=new_id))


def parse_item(raw: bytes | memoryview, envelope: Envelope) -> list[Record]:
    """The records of one JSON object: usually one; two for an `identify` that names the anonymous id too."""
    if len(raw) > EVENT_BYTES_MAX:
        raise BadRecord(
            "event_too_large", f"The event is larger than {EVENT_BYTES_MAX} bytes.", mend="Send less in it."
        )
    item = decode(raw, _decoder)
    kind = envelope.kind or item.type
    if kind not in TYPES:
        raise BadRecord("invalid_type", f"type must be one of {', '.join(TYPES)}.", where="type")
    item.context = _merged_context(envelope.context, item.context)
    if envelope.customer and kind != "alias" and item.user_id in _NOBODY and item.anonymous_id in _NOBODY:
        item.user_id = envelope.customer
    if values.suspicious(raw):
        for field in ("properties", "traits", "context"):
            values.check_json(getattr(item, field), field)
    for field in ("properties", "traits", "context"):
        value = getattr(item, field)
        if value:
            values.check_numbers(value, field)
    at_ms, time_ms = _times(item, envelope)
    record_id = values.message_id(item.message_id)
    if not record_id:
        record_id = envelope.new_id() if envelope.new_id else hashlib.sha256(raw).hexdigest()[:32]
    build = _BUILDERS.get(kind, _event)
    return build(item, _Facts(kind, record_id, at_ms, time_ms, envelope.catalog))


def decode(raw: bytes | memoryview, decoder: msgspec.json.Decoder[Any]) -> Any:
    """The decoded JSON. Raises BadRecord for bytes that are none."""
    try:
        return decoder.decode(raw)
    except RecursionError:
        raise BadRecord("too_deep", f"The JSON is nested deeper than {values.DEPTH_MAX} levels.") from None
    except msgspec.ValidationError as error:
        raise BadRecord("invalid_record", f"The record is not understood: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRecord("invalid_json", f"The body is not valid JSON: {error}.") from None


def _merged_context(batch: Any, own: Any) -> dict[str, Any]:
    for context in (batch, own):
        if context is not None and not isinstance(context, dict):
            raise BadRecord("invalid_context", "context must be an object.", where="context")
    return {**batch, **own} if batch and own else own or batch or {}


def _times(item: _Item, envelope: Envelope) -> tuple[int, int]:
    """(the record's own time, when it happened)."""
    original_ms = values.instant(item.original_timestamp, "originalTimestamp")
    timestamp_ms = values.instant(item.timestamp, "timestamp")
    sent_ms = envelope.sent_ms if item.sent_at is None else values.instant(item.sent_at, "sentAt")
    if envelope.received_ms is not None:
        received_ms = envelope.received_ms
        where = "timestamp" if original_ms is None else "originalTimestamp"
        happened_ms = timestamp_ms if original_ms is None else original_ms
        if happened_ms is not None:
            by_our_clock = happened_ms if sent_ms is None else received_ms - (sent_ms - happened_ms)
            values.check_happened(by_our_clock, where, received_ms)
        return received_ms, values.happened_ms(original_ms=happened_ms, sent_ms=sent_ms, received_ms=received_ms)
    if timestamp_ms is None:
        raise BadRecord(
            "missing_time", "timestamp is missing.", where="timestamp", mend="Write one, as in 2026-03-27T09:00:00Z."
        )
    values.check_happened(timestamp_ms, "timestamp", None)
    return timestamp_ms, timestamp_ms


def _object(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRecord(f"invalid_{where}", f"{where} must be an object.", where=where)
    return value


def _customer(item: _Item) -> str:
    customer = values.identifier(item.user_id, "userId") or values.identifier(item.anonymous_id, "anonymousId")
    if not customer:
        raise BadRecord(
            "missing_user", "userId and anonymousId are both missing.", where="userId", mend="Say whose event it is."
        )
    return customer


def _event(item: _Item, facts: _Facts) -> list[Record]:
    properties = _object(item.properties, "properties")
    if facts.kind == "track":
        name = values.event_name(item.event, "event")
    else:
        name = _NAMED_BY_US[facts.kind]
        about = {"name": item.name, "category": item.category}
        if facts.kind == "group":
            group = values.identifier(item.group_id, "groupId")
            if not group:
                raise BadRecord("missing_group", "groupId is missing.", where="groupId")
            about = {"group_id": group, "traits": _object(item.traits, "traits")}
        for key, value in about.items():
            if value is not None and not (facts.kind == "group" or isinstance(value, str)):
                raise BadRecord("invalid_name", f"{key} must be text.", where=key)
            if value is not None:
                properties.setdefault(key, value)
    kept = {key: item.context[key] for key in CONTEXT_KEPT if key in item.context}
    if kept:
        properties.setdefault("context", kept)
    return [
        Event(
            customer=_customer(item),
            at_ms=facts.at_ms,
            id=facts.id,
            name=name,
            time_ms=facts.time_ms,
            properties=properties,
        )
    ]


def _identify(item: _Item, facts: _Facts) -> list[Record]:
    customer = _customer(item)
    traits = _object(item.traits if item.traits is not None else item.context.get("traits"), "traits")
    for trait in CONSENT_TRAITS:
        if trait in traits:
            _check_consent(traits[trait], f"traits.{trait}")
            if facts.catalog is not None and trait != WITHDRAWN:
                _check_names(traits[trait], f"traits.{trait}", facts.catalog)
    if PROOF_TRAIT in traits:
        _check_proof(traits[PROOF_TRAIT], f"traits.{PROOF_TRAIT}", facts.at_ms)
    records: list[Record] = []
    anonymous = values.identifier(item.anonymous_id, "anonymousId")
    if anonymous and anonymous != customer:
        records.append(Merge(customer=anonymous, at_ms=facts.at_ms, id=facts.id, into=customer))
    records.append(Identify(customer=customer, at_ms=facts.at_ms, id=facts.id, time_ms=facts.time_ms, traits=traits))
    return records


def _check_consent(consent: Any, where: str) -> None:
    """Refuses consent that nobody could act upon: it must not look given and then not be there."""
    sound = isinstance(consent, dict) and len(consent) <= CONSENT_NAMES_MAX
    sound = sound and all(
        isinstance(channels, list)
        and len(channels) <= CONSENT_NAMES_MAX
        and all(isinstance(channel, str) and channel for channel in channels)
        for channels in consent.values()
    )
    if not sound:
        raise BadRecord(
            "invalid_consent", f"{where} must name channels for each purpose.", where=where,
            mend='Write it as {"marketing": ["email"]}.',
        )  # fmt: skip


def _check_names(consent: dict[str, list[str]], where: str, catalog: Catalog) -> None:
    """Refuses purposes and channels that nobody defined: a misspelt one would look given and never serve."""
    for purpose, channels in consent.items():
        reason = unknown_purpose(catalog, purpose)
        if reason:
            raise BadRecord("unknown_purpose", f"{where}: `{purpose[:60]}`: {reason}.".replace("?.", "?"), where=where)
        for channel in channels:
            reason = unknown_channel(catalog, channel)
            if reason:
                raise BadRecord(
                    "unknown_channel", f"{where}.{purpose}: `{channel[:60]}`: {reason}.".replace("?.", "?"), where=where
                )


def _check_proof(proof: Any, where: str, now_ms: int) -> None:
    """Refuses a proof of which something would not be kept: nobody notices before it is needed."""
    if not isinstance(proof, dict):
        raise BadRecord("invalid_consent", f"{where} must be an object.", where=where)
    for name, text in proof.items():
        if name not in PROOF_KEYS:
            known = ", ".join(sorted(PROOF_KEYS))
            raise BadRecord("invalid_consent", f"{where}.{name} is not known; {where} may have {known}.", where=where)
        if not isinstance(text, str) or len(text) > PROOF_CHARS_MAX:
            raise BadRecord(
                "invalid_consent", f"{where}.{name} must be text of {PROOF_CHARS_MAX} characters.", where=where
            )
    for name in PROOF_TIMES:
        at_ms = values.instant(proof.get(name), f"{where}.{name}")
        if at_ms is not None:
            values.check_happened(at_ms, f"{where}.{name}", now_ms)
    if proof.get("basis", BASES[0]) not in BASES:
        raise BadRecord("invalid_consent", f"{where}.basis must be one of {', '.join(BASES)}.", where=where)


def _alias(item: _Item, facts: _Facts) -> list[Record]:
    into = values.identifier(item.user_id, "userId")
    previous = values.identifier(item.previous_id, "previousId") or values.identifier(item.anonymous_id, "anonymousId")
    if not into or not previous:
        raise BadRecord(
            "missing_user", "alias needs userId and previousId.", where="userId" if not into else "previousId"
        )
    if into == previous:
        raise BadRecord("same_user", "userId and previousId are the same.", where="previousId")
    return [Merge(customer=previous, at_ms=facts.at_ms, id=facts.id, into=into)]


def _outcome(item: _Item, facts: _Facts) -> list[Record]:
    if not isinstance(item.outcome, str) or item.outcome not in OUTCOMES:
        raise BadRecord("invalid_outcome", f"outcome must be one of {', '.join(sorted(OUTCOMES))}.", where="outcome")
    message, step, workflow = (
        values.identifier(value, where)
        for value, where in ((item.message, "message"), (item.of, "of"), (item.workflow, "workflow"))
    )
    if not message and not (step and workflow):
        raise BadRecord(
            "missing_message", "An outcome names its message, or workflow and of (the step).", where="message"
        )
    return [
        Outcome(
            customer=_customer(item),
            at_ms=facts.at_ms,
            id=facts.id,
            time_ms=facts.time_ms,
            outcome=item.outcome,
            message=message,
            workflow=workflow,
            step=step,
            detail=_object(item.properties, "properties"),
        )
    ]


_BUILDERS: dict[str, Callable[..., list[Record]]] = {"identify": _identify, "alias": _alias, "outcome": _outcome}
