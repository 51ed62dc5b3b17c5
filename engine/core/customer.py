"""The state of one customer: everything the evaluator knows, and everything that is pending for them.

Invariant: the state is a value. The evaluator makes a new one; nobody changes one in place. Whatever will happen
without a further event (a wait, a held message, a segment window, a date) has its due time in here, and `next_due_ms`
is the earliest of them, so that a runtime keeps one timer per customer (ADR 0007).
Stored as msgpack arrays: fields are added at the end with a default, never moved or removed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.core.facts.aggregate import EventStats
from engine.core.journey.enrollment import Cause, Enrollment
from engine.core.message import Message

EVALUATOR_VERSION = 1
"""Stored with every state; raised when the meaning of a stored field or of a step changes (ADR 0005)."""


HEARD_MAX = 10
"""Events that a state remembers for a merge: the newest that an exit rule, a goal or a wait names."""
UNTIL_RESUMED_MS = 1 << 62
"""The end of a hold that no timer ends: a paused broadcast goes on when somebody says so."""


class Granted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Consent of one purpose and channel: `status` is `requested`, `granted` or `withdrawn`, since `at_ms`.

    It is about `address` (normalised; "": none was known) and rests on `record` of the consent ledger. `proven_ms` is when the
    owner of the address last said yes themselves, or the shop proved it: later objections at the address stand, earlier end.
    """

    status: str
    at_ms: int
    source: str = ""
    address: str = ""
    record: str = ""
    basis: str = "consent"
    proven_ms: int = 0
    since_ms: int = 0
    """Since when it stands without a break; `at_ms` moves whenever a shop repeats it. 0: `at_ms` is all that is known."""


class Sent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message that was queued, remembered for outcomes. `outcome` is the furthest one known."""

    id: str
    enrollment: str
    workflow: str
    step: str
    channel: str
    address: str
    purpose: str
    at_ms: int
    version: str = ""
    outcome: str = ""
    issue: str = ""
    variant: str = ""
    seen: tuple[str, ...] = ()
    """Of a tracked message: the links that were clicked, `open`, and each with `m:` where a machine did it."""


class Held(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message that waits for quiet hours or a cap to pass, and when it is to be asked about again."""

    message: Message
    until_ms: int
    reason: str


class Entries(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How often and when last a customer entered a workflow; by key for workflows with a `key` (newest kept)."""

    count: int
    last_ms: int
    keys: dict[str, tuple[int, int]] = {}


class HeardEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event that an exit rule, a goal or a wait names, remembered for runs that a merge may bring; when it was applied."""

    cause: Cause
    at_ms: int


class GoalWatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An enrollment that ended before its goal was reached, watched until `until_ms`."""

    enrollment: Enrollment
    until_ms: int


class AddressChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A wish to have another e-mail address (`engine.core.facts.moving`). `id` is the asking event's; 0 means: not yet."""

    id: str
    address: str
    asked_ms: int
    confirmed_ms: int = 0
    """When the new address said yes."""
    agreed_ms: int = 0
    """When the old one did."""
    due_ms: int = 0
    """When it takes effect, once the new address said yes."""
    ended: str = ""
    """`done`, `stopped` or `overtaken`; empty while it is open."""


class Opened(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An access link that was used: the message it stood in, and which visit had it."""

    message: str
    visit: str
    at_ms: int


class CustomerState(msgspec.Struct, array_like=True, kw_only=True, gc=False):
    """One customer. See the module's invariant; all times are UTC milliseconds.

    Not frozen only because the evaluator assembles its own shallow copy attribute by attribute.
    """

    id: str
    version: int = EVALUATOR_VERSION
    position: int = 0
    """Log position of the last applied record; kept by the runtime."""
    first_seen_ms: int = 0
    traits: dict[str, Any] = {}
    trait_times: dict[str, int] = {}
    consent: dict[str, dict[str, Granted]] = {}
    suppressed: dict[str, str] = {}
    """`channel:address` → why nothing more goes there."""
    soft_bounces: dict[str, list[int]] = {}
    segments: dict[str, int] = {}
    """Segment name → member since."""
    segments_due_ms: int = 0
    """When a window next lets a membership change; 0 when none does."""
    stats: dict[str, EventStats] = {}
    seen: bytes = b""
    """Ids applied, newest last: 12 bytes each (8 of the id's hash, 4 of the second)."""
    enrollments: tuple[Enrollment, ...] = ()
    entries: dict[str, Entries] = {}
    queued: tuple[tuple[int, str, str], ...] = ()
    """(when, purpose, channel) of queued messages, for frequency caps."""
    held: tuple[Held, ...] = ()
    messages: tuple[Sent, ...] = ()
    fallbacks: dict[str, Message] = {}
    """Messages whose next channel is tried when one of their `fallback_on` outcomes arrives."""
    goals: tuple[GoalWatch, ...] = ()
    armed: dict[str, int] = {}
    """Workflow with a date or schedule trigger → its next due time."""
    merged_into: str = ""
    catalog: str = ""
    """The catalog whose segments, dates and schedules this state was last worked out for."""
    aliases: tuple[str, ...] = ()
    """Ids that were merged into this one: who is forgotten is forgotten under all of them."""
    waiting: dict[str, int] = {}
    """Broadcast → its time that came while it was paused; entered when it goes on. It arms no timer."""
    heard: tuple[HeardEvent, ...] = ()
    """The newest events that matter to runs which a merge may bring."""
    salts: tuple[str, ...] = ()
    """What ids of messages are salted with: the own one first, then those of ids that were merged into this one."""
    changes: tuple[AddressChange, ...] = ()
    """Changes of address: the open one, and those of the last day, which count for the limit."""
    opened: tuple[Opened, ...] = ()
    """Access links used in the last hours."""
    refused: dict[str, str] = {}
    """Trait → why its newest value could not be used, until one comes that can."""

    @property
    def salt(self) -> str:
        """What new ids are salted with; empty for customers known since before there were salts."""
        return self.salts[0] if self.salts else ""

    @property
    def next_due_ms(self) -> int:
        """The earliest moment at which something is pending, 0 when nothing is."""
        due = self.segments_due_ms
        for enrollment in self.enrollments:
            at = enrollment.due_ms
            if at and not enrollment.failed and (not due or at < due):
                due = at
        for held in self.held:
            if held.until_ms < UNTIL_RESUMED_MS and (not due or held.until_ms < due):
                due = held.until_ms
        for at in self.armed.values():
            if not due or at < due:
                due = at
        for change in self.changes:
            if change.due_ms and not change.ended and (not due or change.due_ms < due):
                due = change.due_ms
        return due


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(CustomerState)


def encode_state(state: CustomerState) -> bytes:
    """The state as msgpack."""
    return _encoder.encode(state)


def decode_state(data: bytes) -> CustomerState:
    """A stored state. Raises msgspec.ValidationError or DecodeError when the bytes are not one."""
    return _decoder.decode(data)
