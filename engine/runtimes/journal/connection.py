"""What the database asks of a connection, and SQLite's: a file, and a thread that alone touches it.

Invariant: errors of a connection leave as those of `engine.errors`; after one that is not `Unstorable` the connection is closed
and another is opened for the next question.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from engine.errors import StorageBusy, StorageError, StorageFull
from engine.runtimes.journal.statements import Statement

BUSY_TIMEOUT_SECONDS = 5.0

Row = tuple[Any, ...]
_T = TypeVar("_T")


class Unstorable(StorageError):
    """The database rejected a value: the rows of this call are at fault, not the database."""


class Connection(Protocol):
    """One connection in autocommit mode; transactions are begun by name."""

    async def execute(self, statement: Statement, values: Mapping[str, Any]) -> list[Row]:
        """Runs it once; the rows that it returns."""

    async def execute_rows(self, statement: Statement, rows: Sequence[Row]) -> None:
        """Writes rows, in the order of the statement's columns."""

    async def script(self, text: str) -> None:
        """Runs one statement without values: BEGIN, COMMIT, ROLLBACK and those of migrations."""

    async def close(self) -> None:
        """Idempotent."""


BEGIN = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "BEGIN"}


class SqliteConnection:
    """A connection to a file, made, used and closed in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="anlass-journal")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Raises StorageError when the file cannot be made or is none of SQLite's."""
        await self._in_thread(self._open)

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self._path.parent} cannot be made: {error.strerror}.") from error
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._connection = connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA cache_size = -65536")

    async def execute(self, statement: Statement, values: Mapping[str, Any]) -> list[Row]:
        given = {name: json.dumps(value) if isinstance(value, list) else value for name, value in values.items()}
        return await self._in_thread(lambda: self._open_connection.execute(statement.text, given).fetchall())

    async def execute_rows(self, statement: Statement, rows: Sequence[Row]) -> None:
        await self._in_thread(lambda: self._open_connection.executemany(statement.text, rows))

    async def script(self, text: str) -> None:
        await self._in_thread(lambda: self._open_connection.execute(text))

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.wrap_future(self._thread.submit(connection.close))
        self._thread.shutdown(wait=False)

    @property
    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageError("The connection to the database is closed.")
        return self._connection

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        def translated() -> _T:
            with _translated():
                return work()

        return await asyncio.wrap_future(self._thread.submit(translated))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except (OverflowError, UnicodeEncodeError) as error:
        raise Unstorable(f"The database rejected a value: {error}.") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise StorageFull("The database cannot write: no room on the disk, or the disk fails.") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StorageBusy("The database is held by another process.") from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StorageError(
                "The database is damaged, or the file is not a database.", mend="Delete it: the sink fills a new one."
            ) from error
        if isinstance(error, (sqlite3.DataError, sqlite3.IntegrityError)) or code == sqlite3.SQLITE_TOOBIG:
            raise Unstorable(f"The database rejected a value: {error}.") from error
        raise StorageError(f"The database failed: {error}.") from error
