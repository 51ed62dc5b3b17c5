"""Writes the consent ledger's rows, each with the hash of the one before, and fills it once with what was there before it.

Invariant: rows and the end of their chain are written in one transaction. What an earlier version kept is chained and filled in
at the first start, whole or not at all; a row that somebody puts in later is in no chain.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from engine.core.consent.proof import ConsentRecord
from engine.core.customer import decode_state
from engine.core.effect import Decision
from engine.runtimes import before_ledger, consents
from engine.runtimes.consent_chain import Chain, ChainColumns, Head, LedgerCheck, Linked, link
from engine.runtimes.embedded.statements import SQL

PAGE = 1_000

KeyedHash = Callable[[str], bytes]
_decode_decision = msgspec.msgpack.Decoder(Decision).decode


def add(connection: sqlite3.Connection, records: Iterable[tuple[int, ConsentRecord]], keyed_hash: KeyedHash) -> int:
    """Adds records (place on the log, record) that are not there yet; returns how many. Inside of a transaction."""
    head = head_of(connection)
    number = max(head.number, connection.execute(SQL["consents_last"]).fetchone()[0])
    before = head
    added = 0
    for seq, record in records:
        row = consents.row_of(record)
        links = link(number + 1, [seq], row, prev=head.hash, keyed_hash=keyed_hash)
        written = (number + 1, seq, *row, *msgspec.structs.astuple(links))
        if connection.execute(SQL["consents_insert"], written).rowcount:
            number, added = number + 1, added + 1
            head = Head(number=number, hash=links.hash)
    if head != before:
        connection.execute(SQL["consents_head_set"], (head.number, head.hash))
    return added


def head_of(connection: sqlite3.Connection) -> Head:
    """Where the ledger ends."""
    row = connection.execute(SQL["consents_head"]).fetchone()
    return Head(number=row[0], hash=row[1]) if row is not None else Head()


def is_complete(connection: sqlite3.Connection) -> bool:
    """Whether nothing is left of what earlier versions kept."""
    return connection.execute(SQL["consents_head"]).fetchone() is not None


def complete(connection: sqlite3.Connection, keyed_hash: KeyedHash) -> int:
    """Chains and fills in what earlier versions left, once; returns how many records were filled in. Inside of a transaction."""
    head = Head()
    while rows := chained(connection, after=head.number):
        for each in rows:
            links = link(each.number, each.where, each.row, prev=head.hash, keyed_hash=keyed_hash)
            connection.execute(SQL["consents_link"], (*msgspec.structs.astuple(links), each.number))
            head = Head(number=each.number, hash=links.hash)
    connection.execute(SQL["consents_head_set"], (head.number, head.hash))
    return _from_journal(connection, keyed_hash) + _from_states(connection, keyed_hash)


def check(connection: sqlite3.Connection, known: Head | None = None) -> LedgerCheck:
    """Verifies the whole ledger as it stands now."""
    chain, last = Chain(known), 0
    connection.execute("BEGIN")
    try:
        while rows := chained(connection, after=last):
            chain.check(rows)
            last = rows[-1].number
        return chain.finish(head_of(connection))
    finally:
        connection.execute("ROLLBACK")


def chained(connection: sqlite3.Connection, *, after: int) -> list[Linked]:
    """The next rows after a number, those included that are gone."""
    rows = connection.execute(SQL["consents_chain"], {"after": after, "limit": PAGE}).fetchall()
    return [Linked(row[0], (row[1],), row[2:15] if row[2] else (), ChainColumns(*row[15:])) for row in rows]


def _from_journal(connection: sqlite3.Connection, keyed_hash: KeyedHash) -> int:
    after, added = 0, 0
    while rows := connection.execute(SQL["consents_journal"], {"after": after, "limit": PAGE}).fetchall():
        found = [(log_seq, record) for seq, log_seq, body in rows for record in _of_line(body, str(seq))]
        added += add(connection, found, keyed_hash)
        after = rows[-1][0]
    return added


def _from_states(connection: sqlite3.Connection, keyed_hash: KeyedHash) -> int:
    after, added = 0, 0
    while rows := connection.execute(SQL["states_page"], {"after": after, "limit": PAGE}).fetchall():
        found = [(0, record) for _, body in rows for record in _of_state(connection, body)]
        added += add(connection, found, keyed_hash)
        after = rows[-1][0]
    return added


def _of_line(body: bytes, place: str) -> list[ConsentRecord]:
    try:
        return before_ledger.from_journal(_decode_decision(body), place)
    except msgspec.MsgspecError:
        return []


def _of_state(connection: sqlite3.Connection, body: bytes) -> list[ConsentRecord]:
    try:
        state = decode_state(body)
    except (msgspec.MsgspecError, ValueError):
        return []  # the runtime says what cannot be read
    if not state.consent:
        return []
    asked: list[dict[str, Any]] = [
        {"customer": name, "limit": consents.CONSENTS_MAX} for name in (state.id, *state.aliases)
    ]
    rows = [row for each in asked for row in connection.execute(SQL["consents_of_customer"], each)]
    return before_ledger.from_state(state, consents.found(rows))
