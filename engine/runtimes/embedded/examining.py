"""Looks at every row of a store and says which cannot be read.

Invariant: it only reads, and may run beside the engine.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from engine.core.effect import Decision
from engine.core.record import decode_record
from engine.runtimes.embedded.handovers import unpacked
from engine.runtimes.embedded.outbox import read_message
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.unreadable import UnreadableFinding, UnreadableRow, read_state, readable

_decode_decision = msgspec.msgpack.Decoder(Decision).decode
_decode_links = msgspec.json.Decoder(dict[str, str]).decode
_decode_proof = msgspec.json.Decoder(dict[str, Any]).decode


KINDS = {"states": "state", "log": "log", "ledger": "message"}
"""Table → what its rows are called in `set_aside`."""


def examine(connection: sqlite3.Connection) -> Iterator[UnreadableFinding]:
    """Every row that cannot be read. Raises StorageError (translated by the caller) when SQLite itself cannot read its pages."""
    aside = {(kind, key) for kind, key, _, _ in connection.execute(SQL["set_aside_all"])}
    for page in connection.execute("PRAGMA quick_check(20)"):
        if page[0] != "ok":
            yield UnreadableFinding(table="file", key="anlass.db", reason=page[0])
    for table, (statement, read) in _TABLES.items():
        for key, customer, *values in connection.execute(SQL[statement]):
            try:
                read(key, customer, *values)
            except UnreadableRow as error:
                known = (KINDS.get(table, ""), str(key)) in aside
                yield UnreadableFinding(
                    table=table, key=str(key), customer=customer, reason=str(error), set_aside=known
                )


def _message(key: str, customer: str, body: bytes, links: str) -> None:
    read_message(body, key, customer)
    if links:
        readable(_decode_links, links)  # type: ignore[arg-type]


def _reader(decode: Callable[[Any], object]) -> Callable[..., object]:
    return lambda _key, _customer, body: readable(decode, body)


_TABLES: dict[str, tuple[str, Callable[..., object]]] = {
    "states": ("examine_states", lambda _key, customer, body: read_state(body, customer)),
    "log": ("examine_log", _reader(decode_record)),
    "ledger": ("examine_ledger", _message),
    "journal": ("examine_journal", _reader(_decode_decision)),
    "consents": ("examine_consents", _reader(_decode_proof)),
    "definitions": ("examine_definitions", lambda _key, _customer, body: unpacked(body)),
    "handovers": ("examine_handovers", lambda _key, _customer, body: unpacked(body)),
    "commands": ("examine_commands", _reader(decode_record)),
}
