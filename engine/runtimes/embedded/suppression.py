"""Suppressed addresses in the SQLite file: asked by the dispatcher, listed and changed by operators.

Invariant: an operator's change is durable when the call returns, and counts for the next message that a running service asks
about.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from engine.core.consent.suppression import Place, answer, names, outlasts
from engine.errors import NotFound
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import FILE, Store, connect, translated
from engine.runtimes.suppression import SuppressionEntry


def find(store: Store, places: Sequence[Place]) -> dict[Place, str]:
    """What is known of these places; see `engine.dispatch.ports.Outbox.suppressed`."""
    answers: dict[Place, str] = {}
    connection = store.connection
    if not connection.execute(SQL["suppressed_any"]).fetchone()[0]:
        return answers
    for place in places:
        known: tuple[str, int] | None = None
        for text in names(*place):
            row = connection.execute(SQL["suppressed_load"], (store.keyed_hash(text),)).fetchone()
            if row is not None and (known is None or not outlasts(known, row)):
                known = row
        if known is not None:
            answers[place] = answer(*known)
    return answers


def listed(var: Path) -> list[SuppressionEntry]:
    """Everything that is suppressed, oldest first. Raises NotFound without a store, StorageError."""
    with translated(), contextlib.closing(connect(_existing(var), read_only=True)) as connection:
        rows = connection.execute(SQL["suppressed_all"]).fetchall()
    return [
        SuppressionEntry(hash=key.hex(), kind=kind, reason=reason, since_ms=at_ms) for key, kind, reason, at_ms in rows
    ]


def suppress(var: Path, entries: Sequence[SuppressionEntry]) -> None:
    """Adds entries. Raises NotFound without a store, StorageError."""
    rows = [(bytes.fromhex(each.hash), each.kind, each.reason, each.since_ms) for each in entries]
    with translated(), contextlib.closing(connect(_existing(var))) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(SQL["suppressed_insert"], rows)
        connection.execute("COMMIT")


def lift(var: Path, entries: Sequence[SuppressionEntry]) -> None:
    """Takes entries out. Raises NotFound without a store, StorageError."""
    with translated(), contextlib.closing(connect(_existing(var))) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(SQL["suppressed_delete"], [(bytes.fromhex(each.hash),) for each in entries])
        connection.execute("COMMIT")


def _existing(var: Path) -> Path:
    path = var / FILE
    if not path.exists() or not path.stat().st_size:
        raise NotFound(
            f"There is no engine data in {var}.", mend="Run `anlass run` there first, or name another project."
        )
    return path
