"""What the dispatcher asks of the outbox, and what becomes of it when a process dies in the middle of a send.

Invariant: reading costs what `limit` costs, however much waits; nothing that is claimed is handed out.
"""

import json
import sqlite3
from collections.abc import Iterator

import msgspec

from engine.core.catalog import Catalog
from engine.core.journey import duplicates
from engine.core.journey.holding import Holding
from engine.core.message import Message
from engine.dispatch.ports import Closed, Pending, shared_out
from engine.dispatch.sending.feedback import interrupted
from engine.runtimes.base import same_addresses
from engine.runtimes.embedded.batch import BatchOrder
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import Store
from engine.runtimes.unreadable import SetAside, UnreadableRow, readable

PROMOTED_MAX = 1_000

decode_message = msgspec.msgpack.Decoder(Message).decode


def ready(
    store: Store, limit: int, *, closed: Closed, holding: Holding, now_ms: int
) -> tuple[list[Pending], list[SetAside]]:
    """Messages that may leave now, as in the port (while all are held: of released workflows), and those that cannot be read."""
    _promote(store, now_ms)
    if holding.since_ms and not holding.released:
        return [], []
    released = list(holding.released) if holding.since_ms else None
    channels = [channel for (channel,) in store.connection.execute(SQL["ledger_ready_channels"]).fetchall()]
    express, bulk = (
        _first(store, _Wanted(channels, limit, bulk=bulk, exclude=closed.to(bulk=bulk), released=released))
        for bulk in (False, True)
    )
    found: list[Pending] = []
    unreadable: list[SetAside] = []
    for _, _, message_id, customer, body, attempts, first_attempt_ms in shared_out(express, bulk, limit):
        message = _read(message_id, customer, body, unreadable)
        if message is not None:
            found.append(Pending(message=message, attempt=attempts, first_attempt_ms=first_attempt_ms))
    return found, unreadable


def _read(message_id: str, customer: str, body: bytes, unreadable: list[SetAside]) -> Message | None:
    """A message of the ledger; one that cannot be read, or is another, is added to `unreadable`."""
    try:
        return read_message(body, message_id, customer)
    except UnreadableRow as error:
        unreadable.append(SetAside(kind="message", key=message_id, customer=customer, reason=str(error), body=body))
        return None


def read_message(body: bytes, message_id: str, customer: str) -> Message:
    """A message of the ledger. Raises UnreadableRow, also when it is another one."""
    message = readable(decode_message, body)
    if (message.id, message.customer) != (message_id, customer):
        raise UnreadableRow(f"it is the message {message.id!r}")
    return message


_Row = tuple[int, int, str, str, bytes, int, int]
"""Priority, number, message, customer, body, attempts, first attempt."""


class _Wanted(msgspec.Struct, frozen=True):
    """Which rows are looked for; `released` None: of all workflows."""

    channels: list[str]
    limit: int
    bulk: bool
    exclude: frozenset[tuple[str, str]]
    released: list[str] | None


def _first(store: Store, wanted: _Wanted) -> list[_Row]:
    """Rows of one class, highest priority first, then oldest."""
    shut = {channel for channel, domain in wanted.exclude if not domain}
    rows: list[_Row] = []
    for channel in wanted.channels:
        if channel in shut:
            continue
        lanes = [f"{name}:{domain}" for name, domain in wanted.exclude if domain and name == channel]
        values = {
            "channel": channel,
            "bulk": int(wanted.bulk),
            "limit": wanted.limit,
            "lanes": json.dumps(lanes),
            "released": json.dumps(wanted.released or []),
            "all": int(wanted.released is None),
        }
        narrow = lanes or wanted.released is not None
        rows += store.connection.execute(SQL["ledger_ready_except" if narrow else "ledger_ready"], values)
    rows.sort(key=lambda row: (-row[0], row[1]))
    return rows[: wanted.limit]


def _promote(store: Store, now_ms: int) -> None:
    """Lets messages whose time has come join the queue, where priority decides."""
    next_ms = next_due_ms(store.connection)
    if next_ms and next_ms <= now_ms:
        with store.transaction() as connection:
            connection.execute(SQL["ledger_promote"], {"now_ms": now_ms, "limit": PROMOTED_MAX})


def next_due_ms(connection: sqlite3.Connection) -> int:
    """When the next scheduled message may leave; 0: none is scheduled."""
    row = connection.execute(SQL["ledger_next"]).fetchone()
    return row[0] if row else 0


def recover(store: Store, catalog: Catalog, *, now_ms: int) -> BatchOrder:
    """What a start has to do about messages that were claimed when the last process ended.

    Whether the provider has them nobody can say: they become `unknown`, unless the policy lets their purpose be sent again.
    """
    order = BatchOrder(now_ms=now_ms)
    for message_id, customer, body in store.connection.execute(SQL["ledger_claimed"]):
        message = _read(message_id, customer, body, order.asides)
        if message is None:
            continue
        if catalog.policy.unknown.get(message.purpose) == "resend":
            order.resends.append(message.id)
            continue
        order.settlements.append(interrupted(message, now_ms))
    return order


def same_issue(connection: sqlite3.Connection, message: Message) -> Iterator[tuple[Message, str]]:
    """Messages of the same issue to the same address for other customers, with their status."""
    asked = {"addresses": json.dumps(same_addresses(message.address)), "workflow": message.workflow}
    for body, status in connection.execute(SQL["ledger_of_issue"], asked).fetchall():
        other = decode_message(body)
        if duplicates.same_issue(message, other):
            yield other, status
