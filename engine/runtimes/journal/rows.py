"""The rows of the journal's database, as their statements take them.

Invariant: whatever a text holds, a database takes it: NUL, which PostgreSQL does not know, is replaced.
"""

from __future__ import annotations

import msgspec

from engine.runtimes.base import same_address
from engine.runtimes.journal.connection import Row
from engine.runtimes.journal.consumed import LetterRow, MessageRow
from engine.runtimes.kafka.topics import JournalLine

_encode_message = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode


def row_of_line(seq: int, partition: int, line: JournalLine) -> Row:
    """A line of the journal; `seq` is its serial number."""
    message = str(line.detail.get("message", "")).replace("\0", "\ufffd")
    names = (line.customer, line.kind, line.workflow, line.version, line.enrollment, line.step, message)
    detail, why = _encode_json(line.detail).decode(), _encode_json(line.why).decode()
    return (seq, partition, line.offset, line.index, line.at_ms, *names, detail, why)


def row_of_message(number: int, partition: int, row: MessageRow) -> Row:
    """A message of the ledger that is there."""
    entry = row.entry
    assert entry is not None, "a row that is gone is not written"
    message = entry.message
    told = (entry.reason, entry.code, entry.provider_id)
    address = same_address(message.address).replace("\0", "\ufffd")
    return (
        *(number, row.message, partition, row.version, entry.offset, message.customer, message.workflow, message.step),
        *(message.channel, message.template, message.purpose, entry.status, entry.attempts),
        *(text.replace("\0", "\ufffd") for text in told),
        *(message.decided_ms, entry.updated_ms, address, _encode_message(message)),
        _encode_json(entry.links).decode() if entry.links else "",
        *(message.issue, message.variant),
    )


def row_of_letter(number: int, row: LetterRow) -> Row:
    """A dead letter."""
    where = (number, row.identity, row.log_partition, row.log_offset, row.at_ms)
    return (*where, row.origin, row.reason, row.customer, row.body)
