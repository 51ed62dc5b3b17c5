"""Records from other processes, such as the command line: they wait in a table until the engine takes them.

Invariant: a submitted record is appended to the log and taken out of the inbox in one transaction.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.clock import Clock, SystemClock
from engine.core.record import Record, encode_record
from engine.errors import NotFound, StorageError
from engine.runtimes.embedded import consents
from engine.runtimes.embedded.handovers import unpacked_or_none
from engine.runtimes.embedded.keys import keyed_hash, read_key
from engine.runtimes.embedded.reader import EmbeddedReader
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import FILE, connect, is_running, translated

CHAINED = 13
"""The schema that the consent ledger has its chain since."""


def submit(var: Path, records: Sequence[Record]) -> bool:
    """Hands records to the engine that uses the folder `var`; durable when it returns.

    True: an engine is running and takes them within a second. False: the next one that starts will. Raises NotFound when
    nothing was ever run there, StorageError when it cannot be written.
    """
    with translated():
        connection = connect(_existing(var))
        with contextlib.closing(connection):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(SQL["command_insert"], [(encode_record(record),) for record in records])
            connection.execute("COMMIT")
    return is_running(var)


@contextlib.contextmanager
def open_reader(var: Path, *, clock: Clock | None = None) -> Iterator[EmbeddedReader]:
    """A reader of the store in `var`, whether an engine is running or not. Raises NotFound when there is none."""
    with translated():
        connection = connect(_existing(var), read_only=True)
    with contextlib.closing(connection):
        key = read_key(var)
        yield EmbeddedReader(
            lambda: connection, clock=clock or SystemClock(), keyed_hash=lambda text: keyed_hash(key, text)
        )


@contextlib.contextmanager
def open_ledger(var: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads the consent ledger with its chain. Raises NotFound without a store, StorageError when no start of
    this version chained it yet.
    """
    with translated(), contextlib.closing(connect(_existing(var), read_only=True)) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0] < CHAINED or not consents.is_complete(connection):
            raise StorageError(
                "The consent ledger was written by an earlier version and has no chain yet.",
                mend="Start `anlass run` once with this version.",
            )
        yield connection


def stored_sources(var: Path) -> list[tuple[str, dict[str, str]]]:
    """(catalog id, file name → text) of every project deployed from `var`, newest first; empty when there is none."""
    if not (var / FILE).exists():
        return []
    with translated():
        connection = connect(var / FILE, read_only=True)
        with contextlib.closing(connection):
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                return []
            rows = connection.execute(SQL["definitions_all"]).fetchall()
    read = [(catalog, unpacked_or_none(catalog, files)) for catalog, files in rows]
    return [(catalog, files) for catalog, files in read if files is not None]


def _existing(var: Path) -> Path:
    path = var / FILE
    if not path.exists() or not path.stat().st_size:  # empty: a first start was cut off
        raise NotFound(
            f"There is no engine data in {var}.", mend="Run `anlass run` there first, or name another project."
        )
    return path
