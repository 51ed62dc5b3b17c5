"""Consumed records of Kafka's topics, read: which rows they make in the database.

Invariant: reading never fails. A value that cannot be read is a dead letter with its reason, and the rest goes on.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Literal

import msgspec

from engine.core.consent.proof import ConsentRecord
from engine.core.customer import decode_state
from engine.runtimes.before_ledger import from_journal
from engine.runtimes.effects import CUSTOMER_CHARS_MAX
from engine.runtimes.kafka.dispatcher.ledger_entry import LedgerEntry, decode_entry
from engine.runtimes.kafka.topics import (
    AT,
    CHECKPOINT_KEY,
    ORIGIN,
    OWNER_KEY,
    PREFIX_BYTES,
    REASON,
    JournalLine,
    Removed,
    decision_of,
    decode_journal,
    headers_of,
    unpack_prefix,
)

Kind = Literal["journal", "states", "ledger", "dead-letters"]
KINDS: tuple[Kind, ...] = ("journal", "states", "ledger", "dead-letters")

POSITION_HEADER = "p"
UNREADABLE = (msgspec.ValidationError, msgspec.DecodeError, struct.error, ValueError, RecursionError)
REASON_CHARS_MAX = 2_000
NAME_CHARS_MAX = 1_000


class Consumed(msgspec.Struct, frozen=True, gc=False):
    """A record as it was consumed; `at_ms` is the broker's time."""

    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of one partition, from `start` up to and without `end`; offsets may have holes."""

    kind: Kind
    partition: int
    start: int
    end: int
    records: Sequence[Consumed]


class CustomerRow(msgspec.Struct, frozen=True, gc=False):
    """A customer's state; `body` None: it is gone."""

    customer: str
    position: int
    due_ms: int
    updated_ms: int
    body: bytes | None


class MessageRow(msgspec.Struct, frozen=True, gc=False):
    """An entry of the ledger; None: it is gone."""

    message: str
    version: int
    entry: LedgerEntry | None


class LetterRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A dead letter. `log_partition` and `log_offset` are -1 when it never was on `touchpoints`."""

    identity: str
    log_partition: int
    log_offset: int
    at_ms: int
    origin: str
    reason: str
    customer: str
    body: bytes


class PartitionReading:
    """What some stretches of one partition number hold: the newest row of each key, everything else in order."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.lines: dict[tuple[int, int], JournalLine] = {}
        self.consents: dict[str, tuple[int, ConsentRecord]] = {}
        """Id → offset and entry of the consent ledger."""
        self.removals: list[Removed] = []
        self.customers: dict[str, CustomerRow] = {}
        self.messages: dict[str, MessageRow] = {}
        self.letters: dict[str, LetterRow] = {}
        self.applied = -1
        """The last offset of `touchpoints` that a checkpoint says is applied."""
        self.unreadable = 0

    def take(self, kind: Kind, record: Consumed) -> None:
        """Sorts one record in."""
        try:
            match kind:
                case "journal":
                    self._journal(record)
                case "states":
                    self._state(record)
                case "ledger":
                    self._ledger(record)
                case "dead-letters":
                    self._letter(record)
        except UNREADABLE as error:
            self.refuse(kind, record, str(error))

    def refuse(self, kind: Kind, record: Consumed, reason: str) -> None:
        """Makes a dead letter of a record that cannot be read or written."""
        self.unreadable += 1
        origin = f"{kind}:{self.partition}:{record.offset}"
        letter = LetterRow(
            identity=origin,
            log_partition=-1,
            log_offset=-1,
            at_ms=record.at_ms,
            origin=origin,
            reason=_plain(f"unreadable: {reason}"),
            customer=_customer_of(record.key) if kind in {"journal", "states"} else "",
            body=record.value or b"",
        )
        self.letters[letter.identity] = letter

    def _journal(self, record: Consumed) -> None:
        line = decode_journal(record.value or b"")
        if isinstance(line, Removed):
            _storable(line.customer, line.alias)
            self.removals.append(line)
            return
        _storable(line.customer, line.kind, line.workflow, line.version, line.enrollment, line.step)
        for entry in from_journal(decision_of(line), f"{self.partition}:{line.offset}:{line.index}"):
            self.consents.setdefault(entry.id, (line.offset, entry))
        self.lines.setdefault((line.offset, line.index), line)

    def _state(self, record: Consumed) -> None:
        if record.key == CHECKPOINT_KEY:
            self.applied = max(self.applied, _applied(record.value or b""))
            return
        customer = (record.key or b"").decode()
        _storable(customer)
        if record.value is None:
            row = CustomerRow(customer, _position(record), 0, record.at_ms, None)
        else:
            position, due_ms = unpack_prefix(record.value)
            body = record.value[PREFIX_BYTES:]
            decode_state(body)
            row = CustomerRow(customer, position, due_ms, record.at_ms, body)
        known = self.customers.get(customer)
        if known is None or row.position >= known.position:
            self.customers[customer] = row

    def _ledger(self, record: Consumed) -> None:
        if record.key in (CHECKPOINT_KEY, OWNER_KEY):
            return
        message = (record.key or b"").decode()
        _storable(message)
        if record.value is None:
            row = MessageRow(message, _position(record), None)
        else:
            version, _ = unpack_prefix(record.value)
            entry = decode_entry(record.value[PREFIX_BYTES:])
            told = entry.message
            _storable(told.customer, told.workflow, told.step, told.channel, told.template, told.purpose)
            row = MessageRow(message, version, entry)
        known = self.messages.get(message)
        if known is None or row.version >= known.version:
            self.messages[message] = row

    def _letter(self, record: Consumed) -> None:
        headers = headers_of(record.headers)
        here = f"dead-letters:{self.partition}:{record.offset}"
        origin = _plain(headers.get(ORIGIN, here))
        reason = _plain(headers.get(REASON, ""))
        at = headers.get(AT, "")
        partition, offset = _on_log(origin)
        # The same record may be sent here again when its partition is taken over; others are told apart by their place.
        digest = hashlib.sha256(reason.encode()).hexdigest()[:16]
        letter = LetterRow(
            identity=f"{origin}#{digest}" if partition >= 0 else here,
            log_partition=partition,
            log_offset=offset,
            at_ms=int(at) if at.isascii() and at.isdigit() and len(at) <= 15 else record.at_ms,  # noqa: PLR2004 - digits
            origin=origin,
            reason=reason,
            customer=_customer_of(record.key),
            body=record.value or b"",
        )
        self.letters.setdefault(letter.identity, letter)


class _CheckpointHead(msgspec.Struct, frozen=True, array_like=True):
    """The first field of a `Checkpoint`; what follows is skipped without being decoded."""

    applied: int = -1


_decode_head = msgspec.msgpack.Decoder(_CheckpointHead).decode


def _applied(value: bytes) -> int:
    return _decode_head(value).applied if value else -1


def _position(record: Consumed) -> int:
    return next((int.from_bytes(body, "big") for name, body in record.headers if name == POSITION_HEADER), 0)


def _on_log(origin: str) -> tuple[int, int]:
    """Partition and offset that `topic:partition:offset` names, (-1, -1) when it is something else."""
    topic, _, rest = origin.partition(":")
    partition, _, offset = rest.partition(":")
    digits_max = 18
    if topic and all(part.isascii() and part.isdigit() and len(part) <= digits_max for part in (partition, offset)):
        return int(partition), int(offset)
    return -1, -1


def _customer_of(key: bytes | None) -> str:
    """A dead letter's key, when it may be a customer's id."""
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError:
        return ""
    return text if len(text) <= CUSTOMER_CHARS_MAX and "\0" not in text else ""


def _storable(*texts: str) -> None:
    if any("\0" in text or len(text) > NAME_CHARS_MAX for text in texts):
        raise ValueError(f"a name with NUL, or of more than {NAME_CHARS_MAX} characters")


def _plain(text: str) -> str:
    return text.replace("\0", "\ufffd")[:REASON_CHARS_MAX]
