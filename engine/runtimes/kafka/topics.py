"""Topics, keys and codecs: everything that stands in Kafka is named, made and read here.

Invariant: a customer's records, messages and journal lines lie on the same partition number of every topic that is keyed by
customer, because all of them have the same number of partitions and one partitioner (murmur2, as Java's and Python's clients).

| topic | key | value |
|---|---|---|
| `touchpoints` | customer | a record: ours as a JSON array (`encode_input`), a shop's as a Segment or CloudEvents object |
| `dispatches` | customer | `MessageHandover`, `Forgotten`, a late answer (`Answered`), an operator's `Flush`, `Settled` |
| `journal` | customer | a decision (`JournalLine`), or `Removed` |
| `dead-letters` | original key | the original bytes; reason and origin in headers |
| `definitions` | project, project/id | `Definition`: the files of a catalog; the bare project's key names the one in force |
| `states` | customer | changelog of customer states (`pack_row`), and each partition's `Checkpoint` |
| `ledger` | message id | changelog of the ledger, and each partition's `Checkpoint` |
| `suppressions` | keyed hash of channel and address | why nothing more goes to this address |
| `audit` | none | what operators did (`AuditLine`), each line with the hash of the one before |
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping
from typing import Any

import msgspec
from aiokafka.partitioner import murmur2

from engine.core.customer import CustomerState
from engine.core.effect import Decision
from engine.core.journey.holding import NOTHING, Holding
from engine.core.message import Message
from engine.core.record import Flush, Record, Settled
from engine.core.time.schedule import rfc3339
from engine.dispatch.ports import Settlement

CHECKPOINT_KEY = b"\0checkpoint"
"""Of a partition's checkpoint in its changelog; no customer's id begins with NUL."""
OWNER_KEY = b"\0owner"
"""Of the row with which an owner of a partition of `ledger` takes it over."""
RECORD_BYTES_MAX = 1 << 20
"""A larger record on `touchpoints` is not even parsed."""
BATCH_BYTES_MAX = 16 << 20
"""What one batch may have in a changelog: it is appended whole or not at all."""


class Topics(msgspec.Struct, frozen=True):
    """The names, from the prefix of the settings (`anlass.`)."""

    prefix: str = "anlass."

    @property
    def touchpoints(self) -> str:
        return f"{self.prefix}touchpoints"

    @property
    def dispatches(self) -> str:
        return f"{self.prefix}dispatches"

    @property
    def journal(self) -> str:
        return f"{self.prefix}journal"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}dead-letters"

    @property
    def definitions(self) -> str:
        return f"{self.prefix}definitions"

    @property
    def states(self) -> str:
        return f"{self.prefix}states"

    @property
    def ledger(self) -> str:
        return f"{self.prefix}ledger"

    @property
    def suppressions(self) -> str:
        return f"{self.prefix}suppressions"

    @property
    def audit(self) -> str:
        return f"{self.prefix}audit"

    def group(self, role: str) -> str:
        """The consumer group of a role: `worker`, `dispatcher`, `sink`."""
        return f"{self.prefix}{role}"


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as the default partitioner of Java's clients, aiokafka and kafka-python says."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


# ------------------------------------------------------------------------------------------------------------- records


class Deployed(msgspec.Struct, frozen=True, array_like=True, kw_only=True, tag="deployed"):
    """Control record, one on each partition: from here on the catalog `catalog` is in force; see `Recheck.versions`."""

    at_ms: int
    catalog: str
    versions: str = "pin"


class Shard(msgspec.Struct, frozen=True, array_like=True, kw_only=True, tag="shard"):
    """Control record: the owner rechecks the next customers after `after` (in key order) against the catalog.

    Ignored unless it continues the walk that the checkpoint knows, so that a repeated one does no work twice.
    """

    at_ms: int
    catalog: str
    after: bytes = b""
    resumes: bool = False
    """Asks instead whether they waited for a broadcast that goes on; `catalog` is empty then."""


class Mended(msgspec.Struct, frozen=True, array_like=True, kw_only=True, tag="mended"):
    """Control record, from an operator: what the row of a customer who is set aside is from here on. Ignored for anybody else."""

    customer: str
    at_ms: int
    state: CustomerState | None = None
    """None: the row is given up, and the customer begins anew."""
    keep: bool = False
    """The row can be read, and stays as it is: the customer is only let go on."""


Input = Record | Deployed | Shard | Mended

_input_encoder = msgspec.json.Encoder()
_input_decoder: msgspec.json.Decoder[Input] = msgspec.json.Decoder(Input)


def encode_input(record: Input) -> bytes:
    """One of our own records as it stands on `touchpoints`: a JSON array that begins with its kind."""
    return _input_encoder.encode(record)


def is_ours(value: bytes) -> bool:
    """Whether a value on `touchpoints` is one of our records; what shops write are objects."""
    return value[:2] == b'["'


def decode_input(value: bytes) -> Input:
    """Raises msgspec.ValidationError or DecodeError when it is not one."""
    return _input_decoder.decode(value)


# ------------------------------------------------------------------------------------------------- dispatches, journal


class MessageHandover(msgspec.Struct, frozen=True, array_like=True, tag="message"):
    """A decided message on its way to the dispatcher. `offset` is that of the record that led to it: the dispatcher looks at
    the customer's state only once its copy of the states is as far.
    """

    offset: int
    message: Message


class Forgotten(msgspec.Struct, frozen=True, array_like=True, tag="forgotten"):
    """What was kept about this customer at or before `offset` of `touchpoints` is to be removed; `alias` stands in for the id."""

    offset: int
    customer: str
    alias: str
    at_ms: int


class Answered(msgspec.Struct, frozen=True, array_like=True, tag="answered"):
    """What a provider answered to a dispatcher that had lost the partition meanwhile, for whoever keeps its ledger now.

    It is about attempt number `attempts` (from 1) and says nothing once there was another.
    """

    customer: str
    attempts: int
    settlement: Settlement


class JournalLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="decision"):
    """A decision, as anybody may read it (fields as in `Decision`, `at` as RFC 3339 besides).

    `(partition, offset, index)` is its identity: written again it is the same line.
    """

    offset: int
    index: int
    at: str
    at_ms: int
    customer: str
    kind: str
    workflow: str = ""
    version: str = ""
    enrollment: str = ""
    step: str = ""
    detail: dict[str, Any] = {}
    why: tuple[str, ...] = ()


class Removed(msgspec.Struct, frozen=True, kw_only=True, tag="forgotten"):
    """On `journal`: remove what is kept about this customer at or before `offset` of `touchpoints`; `alias` stands in."""

    offset: int
    customer: str
    alias: str
    at_ms: int


_at = functools.lru_cache(maxsize=256)(rfc3339)  # the lines of a batch share few times


def encode_decision(offset: int, index: int, decision: Decision) -> bytes:
    """The journal's line of a decision."""
    return _json.encode(
        JournalLine(
            offset=offset,
            index=index,
            at=_at(decision.at_ms),
            at_ms=decision.at_ms,
            customer=decision.customer,
            kind=decision.kind,
            workflow=decision.workflow,
            version=decision.version,
            enrollment=decision.enrollment,
            step=decision.step,
            detail=decision.detail,
            why=decision.why,
        )
    )


def decision_of(line: JournalLine) -> Decision:
    """The decision that a line tells."""
    return Decision(
        at_ms=line.at_ms,
        customer=line.customer,
        kind=line.kind,
        workflow=line.workflow,
        version=line.version,
        enrollment=line.enrollment,
        step=line.step,
        detail=line.detail,
        why=line.why,
    )


_json = msgspec.json.Encoder()
Dispatched = MessageHandover | Forgotten | Answered | Flush | Settled
_dispatches: msgspec.json.Decoder[Dispatched] = msgspec.json.Decoder(Dispatched)
_journal: msgspec.json.Decoder[JournalLine | Removed] = msgspec.json.Decoder(JournalLine | Removed)
encode_json = _json.encode


def decode_dispatch(value: bytes) -> Dispatched:
    """Raises msgspec.ValidationError or DecodeError."""
    return _dispatches.decode(value)


def decode_journal(value: bytes) -> JournalLine | Removed:
    """Raises msgspec.ValidationError or DecodeError."""
    return _journal.decode(value)


class Suppressed(msgspec.Struct, frozen=True, array_like=True):
    """Value of `suppressions`."""

    channel: str
    reason: str
    at_ms: int


encode_suppressed = msgspec.msgpack.Encoder().encode
decode_suppressed = msgspec.msgpack.Decoder(Suppressed).decode


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """Value of `definitions`: what a catalog is compiled from. `earlier` are catalogs whose versions may still be in use."""

    id: str
    project: str
    deployed_ms: int
    files: dict[str, str]
    """Path relative to the project (`workflows/…`, `templates/…`) → text."""
    earlier: tuple[str, ...] = ()
    versions: str = "pin"


encode_definition = _json.encode
decode_definition = msgspec.json.Decoder(Definition).decode


# ---------------------------------------------------------------------------------------------------------- changelogs


class Outgoing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record to be produced once the batch that decided it is on the changelog. `topic` is a full name."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Checkpoint(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Where a partition stands; the first record of each of its changelog's batches."""

    applied: int = -1
    """Offset of the last input record that was applied."""
    outgoing: tuple[Outgoing, ...] = ()
    """What that batch sends: sent again when the partition is taken over, because it may not have been acknowledged."""
    catalog: str = ""
    """Of the definitions in force on this partition; empty before the first deploy."""
    paused: tuple[str, ...] = ()
    walk: bytes | None = None
    """Where the walk of rechecks stands; None: none is under way."""
    versions: str = "pin"
    """How that walk treats people in flight."""
    winners: tuple[tuple[str, str], ...] = ()
    """Test of subjects → the variant that won, newest last."""
    resume: bytes | None = None
    """Where the walk to those who waited for a broadcast stands; None: none is under way."""
    paused_ms: tuple[tuple[str, int], ...] = ()
    """Of what is paused, since when; a worker of before knows none, and then what it decides is suppressed."""
    holding: Holding = NOTHING
    aside: tuple[str, ...] = ()
    """Keys of the rows that cannot be read, as far as they were found: customers, or messages in the ledger."""


encode_checkpoint = msgspec.msgpack.Encoder().encode
decode_checkpoint = msgspec.msgpack.Decoder(Checkpoint).decode

_PREFIX = struct.Struct(">QQ")
PREFIX_BYTES = _PREFIX.size
POSITION_MAX = 1 << 56
"""No row stands for more: a damaged one must not beat what mends it."""


def pack_row(position: int, due_ms: int, body: bytes) -> bytes:
    """A row of a changelog: the position that it stands for and its due time (0: none) in front, readable without decoding."""
    return _PREFIX.pack(position, due_ms) + body


def unpack_prefix(row: bytes) -> tuple[int, int]:
    """(position, due_ms) of a row; (0, 0) of one that was cut off before that, and no position that cannot be one."""
    position, due_ms = _PREFIX.unpack_from(row) if len(row) >= PREFIX_BYTES else (0, 0)
    return (position if position < POSITION_MAX else 0), due_ms


# -------------------------------------------------------------------------------------------------------- dead letters

REASON, ORIGIN, AT = "anlass-reason", "anlass-origin", "anlass-at"


def dead_letter_headers(reason: str, origin: str, at_ms: int) -> tuple[tuple[str, bytes], ...]:
    """The headers of a dead letter; `origin` is `topic:partition:offset`, or what the collector says (`http:/v1/track`)."""
    return ((REASON, reason.encode()[:2_000]), (ORIGIN, origin.encode()), (AT, str(at_ms).encode()))


def headers_of(headers: Any) -> Mapping[str, str]:
    """A consumed record's headers as text."""
    return {name: bytes(value or b"").decode("utf-8", "replace") for name, value in headers or ()}
