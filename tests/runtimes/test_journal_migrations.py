"""The schema of the journal's database: brought up to date by whoever opens it first, refused when it is not ours or too new."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import msgspec
import psycopg
import pytest

from engine.core.customer import CustomerState, encode_state
from engine.errors import ServiceUnreachable, SettingsError, StorageError
from engine.runtimes.embedded import EmbeddedRuntime
from engine.runtimes.journal import Database, DatabaseReader, Projection
from engine.runtimes.journal.statements import Dialect, migrations
from tests.conformance.shop import catalog
from tests.runtimes.journal_records import line, message, state, stretch


def _execute(url: str, *texts: str) -> list[tuple[object, ...]]:
    """Runs statements as another program would; the rows of the last one."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        try:
            return [connection.execute(text).fetchall() for text in texts][-1]
        finally:
            connection.close()
    with psycopg.connect(url, autocommit=True) as other:
        cursors = [other.execute(text) for text in texts]  # type: ignore[arg-type,call-overload,unused-ignore]
        return cursors[-1].fetchall() if cursors[-1].description else []


async def test_many_open_it_at_once_and_one_migrates(url: str) -> None:
    """Roles that start at the same moment all find the schema; it is made once."""
    databases = [Database(url) for _ in range(5)]
    await asyncio.gather(*(database.open() for database in databases))
    await Projection(databases[0]).apply([stretch("journal", [line("a", 1)])])
    assert (await DatabaseReader(databases[4]).counts())["decisions"] == {"entered": 1}
    for database in databases:
        await database.close()
    rows = _execute(url, "SELECT number, name FROM schema_migrations ORDER BY number")
    assert rows == [(each.number, each.name) for each in migrations("sqlite")]


async def test_a_newer_database_is_refused(url: str) -> None:
    """An older version does not write into what it does not know; nothing is changed."""
    database = Database(url)
    await database.open()
    await database.close()
    _execute(url, "INSERT INTO schema_migrations (number, name, applied_ms) VALUES (999, 'of tomorrow', 0)")
    with pytest.raises(StorageError, match="newer version of Anlass") as told:
        await Database(url).open()
    assert told.value.mend


async def test_the_table_of_another_program_is_left_alone(url: str) -> None:
    """A table of the same name that the sink did not make is nothing to write into."""
    _execute(url, "CREATE TABLE journal (note TEXT)", "INSERT INTO journal VALUES ('mine')")
    with pytest.raises(StorageError, match="belongs to something else"):
        await Database(url).open()
    assert _execute(url, "SELECT note FROM journal") == [("mine",)]


async def test_the_file_of_the_embedded_runtime_is_refused(tmp_path: Path) -> None:
    """It has a journal of its own, in other words."""
    runtime = EmbeddedRuntime(tmp_path, catalog())
    await runtime.start()
    await runtime.stop()
    with pytest.raises(StorageError, match="belongs to something else"):
        await Database("sqlite:///anlass.db", project=tmp_path).open()


async def test_a_migration_that_fails_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps or none: the next start begins where this one began."""
    from engine.runtimes.journal import database as module

    def broken(dialect: Dialect) -> object:
        first, *_ = migrations(dialect)
        return (type(first)(first.number, first.name, (*first.statements, "CREATE TABLE oh no")),)

    with monkeypatch.context() as patch:
        patch.setattr(module, "migrations", broken)
        with pytest.raises(StorageError):
            await Database(url).open()
    database = Database(url)
    await database.open()
    assert await DatabaseReader(database).dead_letters() == []
    await database.close()


@pytest.mark.parametrize("url_", ["mysql://x/y", "sqlite:///", "sqlite:var/x.db", ""])
def test_an_url_that_is_not_understood_is_refused(url_: str) -> None:
    """With the two forms that are."""
    with pytest.raises(SettingsError, match="postgresql://"):
        Database(url_)


async def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    """Status 3, where it is, and nothing secret."""
    with pytest.raises(ServiceUnreachable) as told:
        await Database("postgresql://shop:hunter2@127.0.0.1:1/journal").open()
    assert "127.0.0.1:1/journal" in str(told.value)
    assert "hunter2" not in str(told.value)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """With the mend."""
    (tmp_path / "journal.db").write_bytes(b"not a database, but long enough to look at" * 50)
    with pytest.raises(StorageError, match="damaged"):
        await Database(f"sqlite:///{tmp_path}/journal.db").open()


def test_a_relative_path_counts_from_the_project(tmp_path: Path) -> None:
    """As for the embedded runtime; blanks may be written as %20."""
    assert Database("sqlite:///var/my%20journal.db", project=tmp_path)._path == tmp_path / "var" / "my journal.db"


async def test_a_question_survives_a_restart_of_the_server(postgres: str) -> None:
    """Connections that the server ended while they lay idle are replaced; nobody who asks hears of it."""
    database = Database(postgres)
    await database.open()
    await asyncio.gather(*(database.rows("progress_all") for _ in range(4)))
    ended = _execute(
        postgres,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    assert ended
    assert await asyncio.gather(*(database.rows("progress_all") for _ in range(4))) == [[]] * 4
    await database.close()


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    """Also one that was never opened."""
    with pytest.raises(StorageError, match="closed"):
        await Database(f"sqlite:///{tmp_path}/journal.db").rows("progress_all")


def _lived_in(url: str) -> None:
    """A database of schema 6, where tables were called otherwise, with a row in each that was renamed."""
    dialect: Dialect = "sqlite" if url.startswith("sqlite") else "postgresql"
    told = message("a")
    body = msgspec.msgpack.encode(told).hex()
    stored = encode_state(CustomerState(id="a", position=3)).hex()
    literal = "x'{}'" if dialect == "sqlite" else "decode('{}', 'hex')"
    made = "CREATE TABLE schema_migrations (number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_ms BIGINT NOT NULL)"
    _execute(
        url,
        made,
        *(text for step in migrations(dialect)[:6] for text in step.statements),
        *(
            f"INSERT INTO schema_migrations VALUES ({step.number}, '{step.name}', 0)"  # noqa: S608 - our own words
            for step in migrations(dialect)[:6]
        ),
        f"""INSERT INTO messages (number, message, partition, version, log_offset, customer, workflow, step, channel, template,
            purpose, status, attempts, reason, code, provider_id, decided_ms, updated_ms, body)
            VALUES (1, '{told.id}', 0, 1, 3, 'a', 'welcome', 'hello', 'email', 'hello', 'transactional', 'sent', 1, '', '', 'p1',
            1, 2, {literal.format(body)})""",  # noqa: S608 - our own words
        f"INSERT INTO customers VALUES ('a', 0, 3, 0, 2, {literal.format(stored)})",  # noqa: S608
        "INSERT INTO totals VALUES ('total', 'customers', 0, 1)",
        "INSERT INTO forgotten VALUES (0, 2, 'hash', 'erased:1', 5, 7)",
    )


async def test_a_database_with_the_old_names_keeps_its_rows_and_its_reports(url: str) -> None:
    """Tables are called as in the other store; whoever asks for the old names still gets an answer."""
    _lived_in(url)
    database = Database(url)
    await database.open()
    reader = DatabaseReader(database)
    (found,) = await reader.messages(status="sent")
    assert (found.message, found.provider_id) == (message("a"), "p1")
    assert [each.id for each in await reader.customers()] == ["a"]
    assert (await reader.counts())["customers"] == 1
    await Projection(database).apply([stretch("states", [state("b", 4)], partition=1)])
    await database.close()
    assert _execute(url, "SELECT customer, workflow, status FROM messages") == [("a", "welcome", "sent")]
    assert _execute(url, "SELECT customer, position FROM customers ORDER BY customer") == [("a", 3), ("b", 4)]
    assert _execute(url, "SELECT rows_removed FROM forgotten") == _execute(url, "SELECT rows_removed FROM erasures")
    assert _execute(url, "SELECT value FROM totals") == _execute(url, "SELECT value FROM counters")


def test_a_sink_of_an_earlier_version_goes_on_beside_a_newer_one(postgres: str) -> None:
    """What it writes by the old names arrives: whoever upgrades need not stop all of them at once."""
    _lived_in(postgres)
    asyncio.run(_opened(postgres))
    _execute(
        postgres,
        """INSERT INTO customers (customer, partition, position, due_ms, updated_ms, body) VALUES ('a', 0, 9, 0, 9, 'x')
           ON CONFLICT (customer) DO UPDATE SET position = excluded.position, body = excluded.body""",
        """INSERT INTO totals (name, part, partition, value) VALUES ('total', 'customers', 0, 4)
           ON CONFLICT (name, part, partition) DO UPDATE SET value = totals.value + excluded.value""",
        "DELETE FROM messages WHERE customer = 'a' RETURNING channel",
    )
    assert _execute(postgres, "SELECT position FROM states") == [(9,)]
    assert _execute(postgres, "SELECT value FROM counters") == [(5,)]
    assert _execute(postgres, "SELECT 1 FROM ledger") == []


async def _opened(url: str) -> None:
    database = Database(url)
    await database.open()
    await database.close()
