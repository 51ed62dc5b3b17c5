"""A decided message, complete enough to be rendered and sent without asking the catalog of that moment or the state.

Invariant: one enrollment, step and occurrence gives one id, always the same; of a customer who was forgotten and comes back it is
another one than before (`salt_of`).
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

CONTRACT = "contract"
"""What a message rests on whose purpose needs no consent."""
ID_CHARS = 32
MARK_CHARS = 8
SALT_CHARS = 16


def salt_of(customer: str, at_ms: int, first: str) -> str:
    """What the ids of a customer's messages are salted with: made of their first sight (its time and its record's id)."""
    return hashlib.sha256(f"{customer}\x1f{at_ms}\x1f{first}".encode("utf-8", "surrogatepass")).hexdigest()[:SALT_CHARS]


def message_id(enrollment: str, step: str, occurrence: int | str, *, salt: str = "") -> str:
    """The id of a message: 32 hex digits, the same whenever the same decision is taken again.

    It begins with the mark of the salt, so that `is_of` can tell without the message whose it is.
    """
    text = f"{enrollment}:{step}:{occurrence}"
    if not salt:  # of a customer known since before there were salts
        return hashlib.sha256(text.encode()).hexdigest()[:ID_CHARS]
    return _mark(salt) + hashlib.sha256(f"{salt}:{text}".encode()).hexdigest()[: ID_CHARS - MARK_CHARS]


def is_of(salts: tuple[str, ...], message: str) -> bool:
    """Whether the message was decided for the customer whose salts these are, and not for who had the id before an erasure.

    Where one of them is empty, or there is none, nothing speaks against it.
    """
    return not salts or any(not salt or message.startswith(_mark(salt)) for salt in salts)


def _mark(salt: str) -> str:
    return hashlib.sha256(f"mark:{salt}".encode()).hexdigest()[:MARK_CHARS]


class Message(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """One decided message, before rendering.

    `id` is `message_id(enrollment id, step id, occurrence)`. `context` holds what `names` needs: `customer`, `segments`, `event`,
    `enrollment`, `data`, `now` (JSON values; times as RFC 3339). `due_ms` is when it ought to leave, `deadline_ms` (0: none)
    the moment after which it is too late. Higher `priority` leaves first.
    """

    id: str
    customer: str
    enrollment: str
    workflow: str
    version: str
    step: str
    channel: str
    address: str
    template: str
    purpose: str
    decided_ms: int
    due_ms: int
    deadline_ms: int = 0
    priority: int = 0
    locale: str = ""
    sender: str = ""
    context: dict[str, Any] = {}
    more_channels: tuple[str, ...] = ()
    """Channels left to try when an outcome of `fallback_on` arrives."""
    fallback_on: tuple[str, ...] = ()
    quiet_hours: str = ""
    consent: str = ""
    """What it rests on: `contract`, or `consent since T, record ID`, `existing customer, record ID` of the consent ledger."""
    issue: str = ""
    """Of which broadcast it is a part, such as `2026-12-01-0900`."""
    subjects: tuple[str, ...] = ()
    """The variants of its subject that are tested against each other; the first is the fallback."""
    variant: str = ""
    """The one it has; empty while it waits for a winner, and where nothing is tested."""
    tracked: bool = False
    """Whether the customer had agreed to tracking when it was decided; asked again when it leaves."""
    consented_ms: int = 0
    """Of a broadcast: since when the customer had consented when it was decided; the oldest of one address gets it."""


def is_bulk(message: Message) -> bool:
    """Whether it goes in the second lane: what rests on a contract (an order's confirmation, a password) leaves first."""
    return message.consent != CONTRACT


def names(message: Message) -> dict[str, Any]:
    """What the template sees: `customer`, `event`, `enrollment`, `data`, `now`; and `variant`, which chooses the subject.

    `event` stands for the trigger event where no other led here. An event shows its properties beside `name`, `id` and
    `time`; a property of one of these names (Segment's products have a `name`) is under `event.properties`.
    """
    context = message.context
    enrollment = context.get("enrollment", {})
    cause = _shown(enrollment.get("event", {}))
    return {
        "customer": {**context.get("customer", {}), "id": message.customer, "segments": context.get("segments", [])},
        "event": _shown(context["event"]) if "event" in context else cause,
        "enrollment": {**enrollment, "event": cause},
        "data": context.get("data", {}),
        "now": context.get("now", ""),
        "variant": message.variant,
    }


def _shown(event: dict[str, Any]) -> dict[str, Any]:
    return {**event.get("properties", {}), **event}
