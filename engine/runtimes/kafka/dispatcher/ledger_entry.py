"""A message as the ledger of the Kafka runtime keeps it, in its changelog and in each partition's copy of it.

Invariant: an entry is a value; what became of a message is told by a new one with a higher version in its row's prefix.
Stored as msgpack arrays: fields are added at the end with a default, never moved or removed.
"""

from __future__ import annotations

import msgspec

from engine.core.message import Message
from engine.dispatch.ports import Status
from engine.errors import StorageError
from engine.runtimes.base import MessageStatus
from engine.runtimes.kafka.topics import PREFIX_BYTES
from engine.runtimes.unreadable import UnreadableRow, readable


class LedgerEntry(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """Body of a row of `ledger`; times are UTC milliseconds, 0 where there is none yet."""

    message: Message
    status: Status = "pending"
    attempts: int = 0
    first_attempt_ms: int = 0
    not_before_ms: int = 0
    updated_ms: int = 0
    reason: str = ""
    code: str = ""
    provider_id: str = ""
    offset: int = -1
    """Of the record on `touchpoints` that led to the message, as its `Handover` told."""
    number: int = -1
    """Offset of that `Handover` on `dispatches`: the order in which messages of a partition were decided."""
    links: dict[str, str] = {}
    """Where its tracked links lead, by their keys."""


encode_entry = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(LedgerEntry)


def decode_entry(body: bytes) -> LedgerEntry:
    """A row's body without its prefix. Raises msgspec.ValidationError or DecodeError when the bytes are not one."""
    return _decoder.decode(body)


def read_entry(body: bytes, key: bytes) -> LedgerEntry:
    """As `decode_entry`. Raises UnreadableRow, also for the entry of another message."""
    entry = readable(decode_entry, body)
    if entry.message.id.encode() != key:
        raise UnreadableRow(f"it is the message {entry.message.id!r}")
    return entry


def stored_entry(row: bytes, key: bytes) -> LedgerEntry:
    """The entry of a row, prefix included. Raises StorageError when it cannot be read."""
    try:
        return read_entry(row[PREFIX_BYTES:], key)
    except UnreadableRow as error:
        name = key.decode(errors="replace")
        raise StorageError(f"The ledger's row of {name} cannot be read: {error}.") from error


def status_of(entry: LedgerEntry) -> MessageStatus:
    """What the ledger says of a message, as a runtime tells it."""
    return MessageStatus(
        message=entry.message, status=entry.status, attempts=entry.attempts, reason=entry.reason, code=entry.code,
        provider_id=entry.provider_id, updated_ms=entry.updated_ms, links=entry.links,
    )  # fmt: skip
