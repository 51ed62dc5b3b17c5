"""A connection to PostgreSQL, by psycopg.

Invariant: as in `connection.py`. Rows and lists travel as one JSON document: a round trip for each costs more than the row, and
psycopg takes five times as long to write an array (measured: 50 µs for a line of the journal, 9 µs as JSON).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psycopg
from psycopg import errors

from engine.errors import ServiceUnreachable, StorageBusy, StorageError, StorageFull
from engine.runtimes.journal.connection import Row, Unstorable
from engine.runtimes.journal.statements import Statement

CONNECT_TIMEOUT_SECONDS = 10
APPLICATION = "anlass"

_FULL = (errors.DiskFull, errors.OutOfMemory)
_BUSY = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable, errors.QueryCanceled)
_VALUE = (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded)

_encode = msgspec.json.Encoder().encode


class PostgresqlConnection:
    """A connection in autocommit mode."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection[Row] | None = None

    async def open(self) -> None:
        """Raises ServiceUnreachable when no server answers there, or it does not let us in."""
        try:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                application_name=APPLICATION,
                client_encoding="UTF8",
            )
        except psycopg.Error as error:
            raise ServiceUnreachable(
                f"PostgreSQL at {_place(self._url)} did not let us in: {_first_line(error)}",
                mend="Check `[database] url`, and that the server is running.",
            ) from error

    async def execute(self, statement: Statement, values: Mapping[str, Any]) -> list[Row]:
        with _translated():
            given = {
                name: _encode(value).decode() if isinstance(value, list) else value for name, value in values.items()
            }
            cursor = await self._open_connection.execute(statement.text, given)
            return await cursor.fetchall() if cursor.description else []

    async def execute_rows(self, statement: Statement, rows: Sequence[Row]) -> None:
        with _translated():
            document = _encode([dict(zip(statement.columns, row, strict=True)) for row in rows])
            await self._open_connection.execute(statement.text, {"rows": document.decode()})

    async def script(self, text: str) -> None:
        with _translated():
            await self._open_connection.execute(text)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @property
    def _open_connection(self) -> psycopg.AsyncConnection[Row]:
        if self._connection is None:
            raise StorageError("The connection to the database is closed.")
        return self._connection


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """PostgreSQL's errors as ours."""
    try:
        yield
    except (UnicodeEncodeError, OverflowError) as error:
        raise Unstorable(f"The database rejected a value: {error}.") from error
    except _FULL as error:
        raise StorageFull("The database cannot write: no room on its disk.") from error
    except _BUSY as error:
        raise StorageBusy(f"The database is busy: {_first_line(error)}") from error
    except _VALUE as error:
        raise Unstorable(f"The database rejected a value: {_first_line(error)}") from error
    except psycopg.Error as error:
        raise StorageError(f"The database failed: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def _place(url: str) -> str:
    """Host and database of a URL, never its password."""
    parts = urlsplit(url)
    return f"{parts.hostname or 'the local socket'}:{parts.port or 5432}{parts.path}"
