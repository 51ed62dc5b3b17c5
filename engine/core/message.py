"""A decided message, complete enough to be rendered and sent without asking the catalog of that moment or the state.

Invariant: one enrollment, step and occurrence gives one id, always the same.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

CONTRACT = "contract"
"""What a message rests on whose purpose needs no consent."""


def message_id(enrollment: str, step: str, occurrence: int | str) -> str:
    """The id of a message: 32 hex digits, the same whenever the same decision is taken again."""
    return hashlib.sha256(f"{enrollment}:{step}:{occurrence}".encode()).hexdigest()[:32]


class Message(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """One decided message, before rendering.

    `id` is sha256(enrollment id, step id, occurrence)[:32]. `context` holds what `names` needs: `customer`, `event`,
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
        "customer": {**context.get("customer", {}), "id": message.customer},
        "event": _shown(context["event"]) if "event" in context else cause,
        "enrollment": {**enrollment, "event": cause},
        "data": context.get("data", {}),
        "now": context.get("now", ""),
        "variant": message.variant,
    }


def _shown(event: dict[str, Any]) -> dict[str, Any]:
    return {**event.get("properties", {}), **event}
