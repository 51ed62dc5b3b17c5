"""What the dispatcher asks of the outbox, and what becomes of it when a process dies in the middle of a send.

Invariant: reading costs what `limit` costs, however much waits; nothing that is claimed is handed out.
"""

import json
import sqlite3
from collections.abc import Iterator

import msgspec

from engine.core import duplicates
from engine.core.catalog import Catalog
from engine.core.holding import Holding
from engine.core.message import Message
from engine.dispatch.feedback import interrupted
from engine.dispatch.ports import Closed, Pending, shared_out
from engine.runtimes.base import same_addresses
from engine.runtimes.embedded.batch import Order
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import Store

PROMOTED_MAX = 1_000

decode_message = msgspec.msgpack.Decoder(Message).decode


def ready(store: Store, limit: int, *, closed: Closed, holding: Holding, now_ms: int) -> list[Pending]:
    """Messages that may leave now, as in the port; while all are held those of released workflows."""
    _promote(store, now_ms)
    if holding.since_ms and not holding.released:
        return []
    released = list(holding.released) if holding.since_ms else None
    channels = [channel for (channel,) in store.connection.execute(SQL["ledger_ready_channels"]).fetchall()]
    express, bulk = (
        _first(store, _Wanted(channels, limit, bulk=bulk, exclude=closed.to(bulk=bulk), released=released))
        for bulk in (False, True)
    )
    return [
        Pending(message=decode_message(body), attempt=attempts, first_attempt_ms=first_attempt_ms)
        for _, _, body, attempts, first_attempt_ms in shared_out(express, bulk, limit)
    ]


class _Wanted(msgspec.Struct, frozen=True):
    """Which rows are looked for; `released` None: of all workflows."""

    channels: list[str]
    limit: int
    bulk: bool
    exclude: frozenset[tuple[str, str]]
    released: list[str] | None


def _first(store: Store, wanted: _Wanted) -> list[tuple[int, int, bytes, int, int]]:
    """Rows of one class, highest priority first, then oldest."""
    shut = {channel for channel, domain in wanted.exclude if not domain}
    rows: list[tuple[int, int, bytes, int, int]] = []
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


def recover(store: Store, catalog: Catalog, *, now_ms: int) -> Order:
    """What a start has to do about messages that were claimed when the last process ended.

    Whether the provider has them nobody can say: they become `unknown`, unless the policy lets their purpose be sent again.
    """
    order = Order(now_ms=now_ms)
    for (body,) in store.connection.execute(SQL["ledger_claimed"]):
        message = decode_message(body)
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
