"""The journal's database by its URL: connections, transactions, migrations.

Invariant: a transaction is committed whole or not there. The schema is brought up to date when the database is opened, by one
process at a time; a database that a newer version wrote, or another program, is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from engine.clock import Clock, SystemClock
from engine.errors import NotFound, SettingsError, StorageBusy, StorageError
from engine.extras import not_installed
from engine.runtimes.journal import filling, ledger
from engine.runtimes.journal.connection import BEGIN, Connection, Row, SqliteConnection, Unstorable
from engine.runtimes.journal.statements import Dialect, Statement, migrations, statements
from engine.telemetry import Action, get_log

if TYPE_CHECKING:
    from engine.runtimes.journal.postgresql import PostgresqlConnection

__all__ = ["Database", "Transaction", "Unstorable"]

CONNECTIONS_MAX = 4
SQLITE, POSTGRESQL = "sqlite:///", ("postgresql://", "postgres://")
_LOCK = "SELECT pg_advisory_xact_lock(4711081501)"
"""Of migrations, in PostgreSQL; SQLite has one writer anyway."""
_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
}

_HARMLESS = (Unstorable, StorageBusy)
"""Errors after which a connection is as good as before."""

_CHAINED = 6
"""The migration that what earlier versions kept is chained with."""
_OF_MESSAGES = 8
"""The migration that columns of messages are filled with."""

_log = get_log("database")


class Transaction:
    """What can be asked and written; names are those of the files in `sql/`."""

    def __init__(self, connection: Connection, known: dict[str, Statement]) -> None:
        self._connection = connection
        self._statements = known

    async def rows(self, name: str, /, **values: Any) -> list[Row]:
        """Runs one statement; lists are given as lists."""
        return await self._connection.execute(self._statements[name], values)

    async def write(self, name: str, rows: Sequence[Row]) -> None:
        """Writes rows, as tuples in the order of the statement's columns; none is fine."""
        if rows:
            await self._connection.execute_rows(self._statements[name], rows)


class Database:
    """`url` is `postgresql://…`, or `sqlite:///PATH`; a relative PATH counts from `project`."""

    def __init__(self, url: str, *, project: Path | None = None, clock: Clock | None = None) -> None:
        """Connects to nothing. Raises SettingsError for a URL that is of no database, or of one whose driver is not installed."""
        self._url = url
        self._clock = clock or SystemClock()
        self._path: Path | None = None
        self.dialect: Dialect = "postgresql"
        if url.startswith(SQLITE) and url != SQLITE:
            self.dialect = "sqlite"
            self._path = ((project or Path()) / unquote(url.removeprefix(SQLITE))).absolute()
        elif not url.startswith(POSTGRESQL):
            raise SettingsError(
                "The database's url is not recognised.",
                mend="Write it as postgresql://user@host/name or sqlite:///var/journal.db.",
            )
        self._new = _kind_of_connection(self._url, self._path)
        self._statements = statements(self.dialect)
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(CONNECTIONS_MAX)
        self._opened = False

    async def open(self) -> None:
        """Connects and migrates. Raises ServiceUnreachable when there is no server, StorageError when it cannot be used."""
        self._opened = True
        await self._migrate()

    async def open_filled(self) -> None:
        """Connects for asking, and changes nothing. Raises NotFound when no sink was ever here; else as `open`."""
        if self._path is not None and not self._path.exists():
            raise _empty()
        self._opened = True
        async with self._connection() as connection:
            tables = {row[0] for row in await connection.execute(Statement(_TABLES[self.dialect]), {})}
        if "schema_migrations" not in tables:
            raise _empty()
        known = len(await self.rows("migrations_applied"))
        if known != len(migrations(self.dialect)):
            raise StorageError(
                f"The database has schema {known}, and this version of Anlass needs {len(migrations(self.dialect))}.",
                mend="Use the version that the sink has, or start this version's `anlass sink`.",
            )
        if not await self.rows("progress_all"):
            raise _empty()

    async def empty_wal(self) -> None:
        """Of an SQLite file: leaves nothing in the write-ahead log, as far as nobody reads from it; else nothing happens."""
        if self.dialect == "sqlite":
            with contextlib.suppress(StorageBusy):
                async with self._connection() as connection:
                    await connection.script("PRAGMA wal_checkpoint(TRUNCATE)")

    async def close(self) -> None:
        """Closes what is idle; what is in use is closed when it is given back. Idempotent."""
        self._opened = False
        await self._close_idle()

    async def rows(self, name: str, /, **values: Any) -> list[Row]:
        """Asks outside of a transaction. A connection that broke while it lay idle is not the asker's trouble."""
        lingering = bool(self._idle)
        try:
            async with self._connection() as connection:
                return await connection.execute(self._statements[name], values)
        except StorageError as error:
            if isinstance(error, _HARMLESS) or not lingering or not self._opened:
                raise
        async with self._connection() as connection:
            return await connection.execute(self._statements[name], values)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """All or nothing."""
        async with self._connection() as connection:
            await connection.script(BEGIN[self.dialect])
            try:
                yield Transaction(connection, self._statements)
                await connection.script("COMMIT")
            except BaseException:
                with contextlib.suppress(StorageError):  # a lost connection has rolled back already
                    await connection.script("ROLLBACK")
                raise

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        async with self._free:
            connection = self._idle.pop() if self._idle else await self._connect()
            healthy = False
            try:
                yield connection
                healthy = True
            except _HARMLESS:
                healthy = True
                raise
            finally:
                if healthy and self._opened:
                    self._idle.append(connection)
                else:
                    await connection.close()
                    await self._close_idle()  # what broke this one broke those as well

    async def _close_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def _connect(self) -> Connection:
        if not self._opened:
            raise StorageError("The database is closed.")
        connection = self._new()
        try:
            await connection.open()
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _migrate(self) -> None:
        steps = migrations(self.dialect)
        async with self.transaction() as transaction:
            connection = transaction._connection  # noqa: SLF001 - our own, a line above
            if self.dialect == "postgresql":
                await connection.script(_LOCK)
            tables = {row[0] for row in await connection.execute(Statement(_TABLES[self.dialect]), {})}
            if "schema_migrations" not in tables and "journal" in tables:
                raise StorageError(
                    "The database belongs to something else: it has a table `journal` that the sink did not make.",
                    mend="Give the sink a database of its own; the embedded runtime's file cannot be it.",
                )
            if "schema_migrations" not in tables:
                await transaction.rows("migrations_create")
            applied = [number for (number,) in await transaction.rows("migrations_applied")]
            if len(applied) > len(steps):
                raise StorageError(
                    f"The database was written by a newer version of Anlass (schema {applied[-1]}, "
                    f"this one knows {len(steps)}).",
                    mend="Install that version, or let the sink fill a new database.",
                )
            for step in steps[len(applied) :]:
                for text in step.statements:
                    await connection.script(text)
                await transaction.rows(
                    "migration_insert", number=step.number, name=step.name, applied_ms=self._clock.now_ms()
                )
            if len(applied) < _OF_MESSAGES <= len(steps):
                await filling.fill(transaction)
            filled = await ledger.complete(transaction) if len(applied) < _CHAINED <= len(steps) else 0
        if filled:
            _log.info(Action.LEDGER_FILLED, records=filled)
        if len(applied) < len(steps):
            _log.info(Action.STORE_MIGRATED, schema=len(steps), before=len(applied))


def _empty() -> NotFound:
    return NotFound(
        "The journal's database is not there, or empty.",
        mend="Start `anlass sink`: it makes and fills it ([database] url).",
    )


def _kind_of_connection(url: str, path: Path | None) -> Callable[[], SqliteConnection | PostgresqlConnection]:
    if path is not None:
        return functools.partial(SqliteConnection, path)
    try:
        from engine.runtimes.journal.postgresql import PostgresqlConnection  # noqa: PLC0415 - psycopg is an extra
    except ImportError as error:
        missing = not_installed(error)
        if missing is None:
            raise
        raise missing from error
    return functools.partial(PostgresqlConnection, url)
