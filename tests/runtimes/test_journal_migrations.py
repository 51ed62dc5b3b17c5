"""The schema of the journal's database: brought up to date by whoever opens it first, refused when it is not ours or too new."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path

import psycopg
import pytest

from engine.errors import ServiceUnreachable, SettingsError, StorageError
from engine.runtimes import journal
from engine.runtimes.embedded import EmbeddedRuntime
from engine.runtimes.journal import Database, DatabaseReader, Projection
from engine.runtimes.journal.statements import Dialect, migrations, statements
from tests.conformance.shop import catalog
from tests.runtimes.journal_records import line, stretch


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


def test_every_statement_is_used_and_every_word_of_ours_is_translated() -> None:
    """No file lies in `sql/` that nobody asks for, and none of our `@words` reaches a database."""
    sources = "".join(path.read_text() for path in Path(journal.__file__).parent.glob("*.py"))
    for dialect in ("sqlite", "postgresql"):
        for name, statement in statements(dialect).items():
            assert not re.search(r"@\w", statement.text), name
            assert name in sources or name.startswith("journal_"), name
