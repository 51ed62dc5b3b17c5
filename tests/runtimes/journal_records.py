"""Records as they lie on Kafka's topics, for tests of the journal's database; and what its tables hold, to compare.

Invariant: everything is made by the codecs of the runtime; only poison is written by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.core.consent.proof import record_id
from engine.core.customer import CustomerState, encode_state
from engine.core.effect import Decision
from engine.core.message import Message, message_id
from engine.runtimes.journal import Database
from engine.runtimes.journal.consumed import Consumed, Kind, Stretch
from engine.runtimes.kafka.dispatcher.ledger_entry import LedgerEntry, encode_entry
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    Checkpoint,
    Removed,
    dead_letter_headers,
    encode_checkpoint,
    encode_decision,
    encode_json,
    pack_row,
)

T0 = 1_774_600_000_000

Record = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]
"""Key, value, headers."""


def line(customer: str, offset: int, index: int = 0, **more: Any) -> Record:
    """A line of the journal."""
    fields = {"kind": "entered", "workflow": "welcome", "detail": {}, **more}
    decision = Decision(at_ms=T0 + offset, customer=customer, **fields)
    return customer.encode(), encode_decision(offset, index, decision), ()


def consent(customer: str, offset: int, index: int = 0, action: str = "grant", **proof: str) -> Record:
    """A line of the journal that is an entry of the consent ledger as well."""
    key = record_id(f"r{offset}:{index}", customer=customer, action=action, purpose="marketing", channel="email")
    records = [{"id": key, "channel": "email", "address": f"{customer}@shop.example", "basis": "consent"}]
    detail = {"purpose": "marketing", "channels": ["email"], "action": action, "records": records, "proof": proof}
    return line(customer, offset, index, kind="consent", workflow="", detail=detail)


def removed(customer: str, offset: int, alias: str = "erased:1") -> Record:
    """That a customer is forgotten."""
    value = encode_json(Removed(offset=offset, customer=customer, alias=alias, at_ms=T0 + offset))
    return customer.encode(), value, ()


def state(customer: str, position: int, *, due_ms: int = 0, traits: dict[str, Any] | None = None) -> Record:
    """A customer's state in the changelog."""
    body = encode_state(CustomerState(id=customer, position=position, traits=traits or {}))
    return customer.encode(), pack_row(position, due_ms, body), ()


def gone(key: str, position: int) -> Record:
    """A row that is deleted."""
    return key.encode(), None, (("p", position.to_bytes(8, "big")),)


def checkpoint(applied: int) -> Record:
    """How far a partition is."""
    return CHECKPOINT_KEY, encode_checkpoint(Checkpoint(applied=applied, catalog="c", paused=("x",))), ()


def message(customer: str, number: int = 0, channel: str = "email") -> Message:
    """A decided message."""
    return Message(
        id=message_id(f"{customer}-enrollment", "hello", number),
        customer=customer,
        enrollment=f"{customer}-enrollment",
        workflow="welcome",
        version="1",
        step="hello",
        channel=channel,
        address=f"{customer}@shop.example",
        template="hello",
        purpose="transactional",
        decided_ms=T0,
        due_ms=T0,
        context={"customer": {"name": "Zoë"}},
    )


def entry(told: Message, version: int, *, offset: int = 0, status: str = "pending", **more: Any) -> Record:
    """A row of the ledger's changelog."""
    body = LedgerEntry(message=told, status=status, offset=offset, updated_ms=T0 + version, **more)  # type: ignore[arg-type]
    return told.id.encode(), pack_row(version, 0, encode_entry(body)), ()


def letter(customer: str, origin: str, reason: str = "not JSON", body: bytes = b"\x00poison") -> Record:
    """A dead letter."""
    return customer.encode() or None, body, dead_letter_headers(reason, origin, T0)


def stretch(kind: Kind, records: Sequence[Record], *, start: int = 0, partition: int = 0) -> Stretch:
    """Records that follow each other on a partition."""
    consumed = [
        Consumed(start + number, T0 + start + number, key, value, headers)
        for number, (key, value, headers) in enumerate(records)
    ]
    return Stretch(kind=kind, partition=partition, start=start, end=start + len(records), records=consumed)


TABLES = {
    "journal": "partition, log_offset, line, at_ms, customer, kind, workflow, version, enrollment, step, message, detail, why",
    "ledger": "message, partition, version, log_offset, customer, channel, status, attempts, reason, code, updated_ms, body",
    "states": "customer, partition, position, due_ms, state",
    "dead_letters": "identity, log_partition, log_offset, at_ms, origin, reason, customer, body",
    "counters": "name, part, partition, value",
    "consents": "partition, log_offset, customer, channel, action, at_ms, proof, erased_ms, length(address), "
    "CASE WHEN erased_ms > 0 THEN '' ELSE record END",  # what is hidden is hashed with the database's own key
    "pace": "bucket_ms, workflow, partition, queued, sent, bounced, complained",
    "control": "workflow, paused, at_ms, reason",
    "erasures": "partition, log_offset, alias, at_ms",
    "progress": "topic, partition, next_offset",
}
"""What must be the same however it came; serial numbers and counts of removed rows tell the order of arrival."""


_WHERE = {"counters": " WHERE value <> 0", "pace": " WHERE queued <> 0 OR sent <> 0 OR bounced <> 0 OR complained <> 0"}


async def tables(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the tables hold, in a fixed order; totals of nothing are left out."""
    from engine.runtimes.journal.statements import Statement

    found: dict[str, list[tuple[Any, ...]]] = {}
    async with database.transaction() as transaction:
        for table, columns in TABLES.items():
            where = _WHERE.get(table, "")
            asked = Statement(f"SELECT {columns} FROM {table}{where}")  # noqa: S608 - our own words
            rows = await transaction._connection.execute(asked, {})
            found[table] = sorted(rows)
    return found
