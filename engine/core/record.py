"""Every input is one of these records on the log, keyed by customer.

Invariant: a record says what was taken in and when; nothing in it depends on who reads it. `at_ms` is the record's own
time (`now` while it is evaluated), `time_ms` when the thing happened according to its source. Both are UTC milliseconds.
Stored as msgpack (tagged arrays): fields may be added at the end with a default, never moved or removed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.core.customer import CustomerState


class _Base(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, kw_only=True, gc=False):
    """What all records share: whose it is and when it was taken in."""

    customer: str
    at_ms: int
    forwards: int = 0
    """How often it was handed on from an id that was merged into another; ends a circle of merges."""


class Event(_Base, frozen=True, array_like=True, kw_only=True, tag="event"):
    """A touchpoint (track, page, screen, group) or an event the engine itself raised.

    `id` is the source's id for deduplication; `properties` is JSON data.
    """

    id: str
    name: str
    time_ms: int
    properties: dict[str, Any] = {}
    hops: int = 0
    """How many events led to each other before this one, without a wait between them; ends a circle of `emit` steps."""
    key: str = ""
    """The name of the write key that it came with."""


class Identify(_Base, frozen=True, array_like=True, kw_only=True, tag="identify"):
    """Traits of the customer. The trait names `consent`, `consent_request` and `consent_withdraw` are not stored as
    traits: each is `{purpose: [channel, …]}` and changes the consent state (ADR 0006); `consent_proof` says where and how.
    """

    id: str
    time_ms: int
    traits: dict[str, Any]
    key: str = ""


class Consent(_Base, frozen=True, array_like=True, kw_only=True, tag="consent"):
    """A change of consent that came by its own way: a link, a form, an operator.

    `action` is `grant`, `request`, `confirm` or `withdraw`; `proof` says where and with which wording.
    """

    id: str
    time_ms: int
    action: str
    purposes: dict[str, list[str]]
    source: str = ""
    proof: dict[str, Any] = {}


class Timer(_Base, frozen=True, array_like=True, kw_only=True, tag="timer"):
    """The customer's earliest due time has come: everything due at or before `at_ms` is to be processed."""

    due_ms: int


class Outcome(_Base, frozen=True, array_like=True, kw_only=True, tag="outcome"):
    """What became of a message: one of `channels.delivery`'s outcomes.

    Either `message` names it, or `step` and `workflow` do (the customer's newest message of that step).
    `detail` may hold `code`, `reason`, `verdict` (`suppress`, `soft`, `our_fault`), `url`, `machine`, and `link` where one of
    Anlass's own links or pixels told it.
    """

    id: str
    time_ms: int
    outcome: str
    message: str = ""
    workflow: str = ""
    step: str = ""
    detail: dict[str, Any] = {}
    key: str = ""


class Enroll(_Base, frozen=True, array_like=True, kw_only=True, tag="enroll"):
    """An operator or the API enters the customer into a workflow; `properties` stand in for the trigger event's."""

    id: str
    workflow: str
    properties: dict[str, Any] = {}


class Retry(_Base, frozen=True, array_like=True, kw_only=True, tag="retry"):
    """An operator lets failed enrollments move again: one, or with an empty `enrollment` all of `workflow`."""

    id: str
    enrollment: str = ""
    workflow: str = ""


class Lift(_Base, frozen=True, array_like=True, kw_only=True, tag="lift"):
    """An operator lets an address be written to again: bounces and complaints that this customer's state knows are forgotten."""

    id: str
    channel: str
    address: str
    reason: str = ""


class End(_Base, frozen=True, array_like=True, kw_only=True, tag="end"):
    """An operator, or a deploy with `versions: end`, ends enrollments of `workflow` (or one `enrollment`)."""

    id: str
    reason: str
    enrollment: str = ""
    workflow: str = ""


class Recheck(_Base, frozen=True, array_like=True, kw_only=True, tag="recheck"):
    """The catalog changed: segments, dates and schedules of this customer are to be worked out anew.

    `id` is another one for every deploy, also of a catalog that was deployed before.
    """

    id: str
    catalog: str = ""
    versions: str = "pin"
    """What becomes of enrollments of older versions: `pin`, `migrate` or `end`, where the workflow's file does not say."""


class Merge(_Base, frozen=True, array_like=True, kw_only=True, tag="merge"):
    """`customer` (an anonymous or previous id) is found to be `into`: its state moves there, later records follow."""

    id: str
    into: str
    key: str = ""


class Absorb(_Base, frozen=True, array_like=True, kw_only=True, tag="absorb"):
    """The state of `previous` arrives at `customer`: the second half of a `Merge`."""

    id: str
    previous: str
    state: CustomerState


class Erase(_Base, frozen=True, array_like=True, kw_only=True, tag="erase"):
    """The customer is to be forgotten (GDPR Art. 17). The runtime removes what it keeps outside the state."""

    id: str


class Pause(_Base, frozen=True, array_like=True, kw_only=True, tag="pause"):
    """A control record (`customer` is ""): from now on a workflow takes nobody in and its sends are suppressed; or again not.

    What was due before is held (`core.holding`), and of a broadcast everything: who comes due is remembered (`core.broadcast`).
    """

    id: str
    workflow: str
    paused: bool = True
    reason: str = ""
    """Why, for people: begins with the cause (`operator`, `our_fault`, `sends`, `bounces`, `complaints`)."""
    drop: bool = False
    """With a pause: what was due before is suppressed as well. Without: what it held is not sent any more."""


class Winner(_Base, frozen=True, array_like=True, kw_only=True, tag="winner"):
    """A control record: which subject of an A/B test everybody else gets. The first one for a test counts.

    `issue` empty: of every issue (rehearsals). `final` is set on Kafka by the partition that decided it first.
    """

    id: str
    workflow: str
    step: str
    variant: str
    issue: str = ""
    final: bool = False
    counts: dict[str, tuple[int, int]] = {}
    """Variant → (messages sent, messages with the signal), as they stood."""


class Flush(_Base, frozen=True, array_like=True, kw_only=True, tag="flush"):
    """A control record: an operator ends pauses and backoffs, of a channel, of a destination domain, or (both "") of all."""

    id: str
    channel: str = ""
    domain: str = ""


class Hold(_Base, frozen=True, array_like=True, kw_only=True, tag="hold"):
    """A control record: a restored copy begins to hold everything (`on`), or lets go: of `workflow`, or ("") of all.

    `drop`: what of it was decided or came due until `at_ms` is not done any more.
    """

    id: str
    on: bool = True
    workflow: str = ""
    drop: bool = False


class Settled(_Base, frozen=True, array_like=True, kw_only=True, tag="settled"):
    """A control record: a provider's log says that these messages (ids of ours) were sent; also of those not decided yet."""

    id: str
    messages: tuple[str, ...]


class Resume(_Base, frozen=True, array_like=True, kw_only=True, tag="resume"):
    """A broadcast went on, or a test was won: what this customer has waiting for that is done now. Written by the runtime."""

    id: str


Control = Pause | Winner | Flush | Hold | Settled
"""Records for the whole project: their `customer` is ""."""
CONTROL = (Pause, Winner, Flush, Hold, Settled)

Record = (
    Event | Identify | Consent | Timer | Outcome | Enroll | Retry | Lift | End | Recheck | Merge | Absorb | Erase | Pause | Winner
    | Resume | Flush | Hold | Settled
)  # fmt: skip

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode_record(record: Record) -> bytes:
    """The record as msgpack, as the log keeps it."""
    return _encoder.encode(record)


def decode_record(data: bytes) -> Record:
    """A record from the log. Raises msgspec.ValidationError or DecodeError when the bytes are not one."""
    return _decoder.decode(data)
