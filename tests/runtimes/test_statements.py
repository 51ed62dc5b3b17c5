"""The SQL of both stores: named blocks that are all used and all compile, in each dialect that they are for."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import psycopg
import pytest

from engine.dispatch.ports import FINAL, Status
from engine.runtimes import embedded, journal
from engine.runtimes import sql as either
from engine.runtimes.embedded.statements import MIGRATIONS, SQL
from engine.runtimes.journal import Database
from engine.runtimes.journal.statements import migrations
from engine.runtimes.journal.statements import statements as of_the_journal
from engine.runtimes.sql.statements import Statement, statements

ASKING = {"rows", "_rows", "write"}
"""Methods that take the name of a statement."""
FOLDERS = {
    name: Path(package.__file__ or "").parent
    for name, package in (("embedded", embedded), ("journal", journal), ("either", either))
}
"""Of each journal's two ways to be read by one kind, the one that the store has no index for."""


def _written(file: Path, text: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, "utf-8")
    return file.parent


def _nodes(*folders: Path) -> Iterator[ast.AST]:
    for folder in folders:
        for path in sorted(folder.glob("*.py")):
            yield from ast.walk(ast.parse(path.read_text("utf-8")))


def _said(*folders: Path) -> re.Pattern[str]:
    """Everything that is written as a string, with any word where a value is put in."""
    words = {
        re.escape(node.value)
        for node in _nodes(*folders)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier()
    }
    for node in _nodes(*folders):
        if isinstance(node, ast.JoinedStr):
            parts = [
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z_]+" for part in node.values
            ]
            if "_" in "".join(parts).replace("[a-z_]+", ""):
                words.add("".join(parts))
    return re.compile("|".join(sorted(words)))


def _asked(*folders: Path) -> set[str]:
    """The names that are asked for where they are written out."""
    found = set()
    for node in _nodes(*folders):
        given = None
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "SQL":
            given = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ASKING:
            given = node.args[0] if node.args else None
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            found.add(given.value)
    return found


@pytest.mark.parametrize("name", ["embedded", "journal"])
def test_every_block_is_used_and_every_name_is_there(name: str) -> None:
    """Nothing lies in a file that nobody asks for, and nobody asks for what is not there."""
    known = set(SQL if name == "embedded" else of_the_journal("sqlite"))
    said = _said(FOLDERS[name], FOLDERS["either"])
    assert not said.fullmatch("a_block_that_nobody_asks_for")
    assert {block for block in known if not said.fullmatch(block)} == set()
    assert _asked(FOLDERS[name], FOLDERS["either"]) - known == set()
    assert len(_asked(FOLDERS[name])) > 20


def _nothing(text: str) -> dict[str, object] | list[object]:
    """An empty value for everything that the statement takes."""
    names = re.findall(r"(?<![:\w]):(\w+)", re.sub(r"'[^']*'", "", text))
    return dict.fromkeys(names) if names else [None] * text.count("?")


def _embedded_schema() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for _, script in MIGRATIONS:
        connection.executescript(script)
    return connection


def _journal_schema() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute(of_the_journal("sqlite")["migrations_create"].text)
    for step in migrations("sqlite"):
        for text in step.statements:
            connection.execute(text)
    return connection


def test_every_statement_compiles_in_sqlite() -> None:
    """Against the schema that the migrations make, of both stores."""
    connection = _embedded_schema()
    for text in SQL.values():
        connection.execute(f"EXPLAIN {text}", _nothing(text))
    connection = _journal_schema()
    for statement in of_the_journal("sqlite").values():
        connection.execute(f"EXPLAIN {statement.text}", _nothing(statement.text))


BY = {
    "all": "SEARCH ledger USING INTEGER PRIMARY KEY (rowid<?)",
    "customer": "SEARCH ledger USING INDEX ledger_customer (customer=?",
    "pending": "SEARCH ledger USING INDEX ledger_pending (number<?)",
    "claimed": "SEARCH ledger USING INDEX ledger_claimed (number<?)",
    "status": "SEARCH ledger USING INDEX ledger_status (status=? AND number<?)",
    "both": "SEARCH ledger USING INDEX ledger_workflow (workflow=? AND status=? AND number<?)",
}
"""How messages are found: by one range of an index, already in order."""


@pytest.mark.parametrize("name", ["embedded", "journal"])
def test_the_newest_messages_are_found_by_an_index_however_many_there_are(name: str) -> None:
    """By status, by workflow, by both: nothing is walked over, and nothing but a few rows of each status is sorted."""
    connection = _embedded_schema() if name == "embedded" else _journal_schema()
    known = SQL if name == "embedded" else {key: each.text for key, each in of_the_journal("sqlite").items()}

    def plan(block: str) -> list[str]:
        text = known[block]
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", _nothing(text))]

    for by, expected in BY.items():
        (step,) = plan(f"messages_{by}")
        assert step.startswith(expected)
    union = "\n".join(plan("messages_workflow"))
    assert union.count("USING COVERING INDEX ledger_workflow (workflow=? AND status=? AND number<?)") == len(FINAL)
    assert not re.search(r"SCAN ledger|TEMP B-TREE", union)
    assert all(f"status = '{status}'" in known["messages_workflow"] for status in get_args(Status))


async def test_postgresql_finds_the_newest_messages_by_the_same_indexes(postgres: str) -> None:
    """Of ten thousand messages that are nearly all sent, it reads the few that are asked for."""
    database = Database(postgres)
    await database.open()
    await database.close()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO ledger (number, message, partition, version, log_offset, customer, workflow, step, channel, template,
                purpose, status, attempts, reason, code, provider_id, decided_ms, updated_ms, body)
            SELECT n, 'm' || n, 0, 1, n, 'c' || n, 'w' || n % 20, '', 'email', '', '', CASE n % 500 WHEN 0 THEN 'failed'
                WHEN 1 THEN 'pending' WHEN 2 THEN 'claimed' ELSE 'sent' END,
                1, '', '', '', 1, 1, '' FROM generate_series(1, 10000) n"""
        )
        connection.execute("ANALYZE ledger")
        known = of_the_journal("postgresql")
        asked = {"workflow": "w0", "status": "failed", "customer": "c5", "below": 1 << 62, "limit": 5}
        for by, index in (("status", "ledger_status"), ("both", "ledger_workflow"), ("pending", "ledger_pending")):
            rows = connection.execute(f"EXPLAIN {known[f'messages_{by}'].text}", asked).fetchall()  # type: ignore[call-overload,unused-ignore]
            plan = "\n".join(row[0] for row in rows)
            assert f"Index Scan Backward using {index}" in plan, plan
            assert "Sort" not in plan, plan


async def test_every_statement_compiles_in_postgresql(postgres: str) -> None:
    """As the server prepares it: names, types and conflicts are checked without a row."""
    database = Database(postgres)
    await database.open()
    await database.close()
    with psycopg.connect(postgres, autocommit=True) as connection:
        for number, statement in enumerate(of_the_journal("postgresql").values()):
            if statement.text.startswith("CREATE"):
                continue
            names = dict.fromkeys(re.findall(r"%\((\w+)\)s", statement.text))
            places = {name: f"${place}" for place, name in enumerate(names, 1)}
            text = re.sub(r"%\((\w+)\)s", lambda match, places=places: places[match[1]], statement.text)  # type: ignore[misc]
            connection.execute(f"PREPARE s{number} AS {text.replace('%%', '%')}")  # type: ignore[call-overload,unused-ignore]


TEXT = """-- What the file is about.

-- columns: some
a, b

-- name: read_{by}_{order}
-- A word about it.
-- by all:
-- by b: b = :b AND
-- order up: ASC
-- order down: DESC
SELECT @columns(some) FROM t WHERE @by
    a > :a AND a IN @numbers(many) ORDER BY a @order

-- name: put
INSERT INTO t @rows(a BIGINT, b BYTEA, c = 'x') ON CONFLICT (a) DO UPDATE SET @excluded(b, c)

-- name: like
SELECT a FROM t @indexed(t_b) WHERE b LIKE '%:x' AND c IN @texts(many) @for_update
"""


def test_one_text_is_said_in_both_dialects(tmp_path: Path) -> None:
    """Columns, variants, rows, upserts, lists, locks, indexes and the marks of values."""
    folder = _written(tmp_path / "sql" / "t.sql", TEXT)
    ours = statements([folder], "sqlite")
    read = {name: " ".join(each.text.split()) for name, each in ours.items() if name.startswith("read")}
    conditions = {"all": "a > :a AND", "b": "b = :b AND a > :a AND"}
    assert read == {
        f"read_{by}_{order}": f"SELECT a, b FROM t WHERE {asked} a IN (SELECT value FROM json_each(:many)) ORDER BY a {word}"  # noqa: S608
        for by, asked in conditions.items()
        for order, word in (("up", "ASC"), ("down", "DESC"))
    }
    assert ours["put"] == Statement(
        "INSERT INTO t (a, b, c) VALUES (?, ?, 'x') ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = excluded.c",
        ("a", "b"),
    )
    assert (
        ours["like"].text
        == "SELECT a FROM t INDEXED BY t_b WHERE b LIKE '%:x' AND c IN (SELECT value FROM json_each(:many))"
    )
    theirs = statements([folder], "postgresql")
    assert theirs["put"].text == (
        "INSERT INTO t (a, b, c) SELECT a, decode(b, 'base64'), 'x' "
        "FROM json_to_recordset(CAST(%(rows)s AS JSON)) AS given(a BIGINT, b TEXT) "
        "ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = excluded.c"
    )
    assert theirs["like"].text.endswith("CAST(%(many)s AS JSON))) FOR UPDATE")
    assert "LIKE '%%:x'" in theirs["like"].text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n", "stands twice"),
        ("-- name: one\n-- nothing but a word\n", "is empty"),
        ("-- name: one\nSELECT @what FROM t\n", "not understood"),
        ("-- name: one_{by}\n-- by a: x\nSELECT @by, @other FROM t\n", "not understood"),
    ],
)
def test_a_file_with_a_mistake_does_not_load(text: str, told: str, tmp_path: Path) -> None:
    """Whoever starts a process sees it, not whoever asks the question."""
    with pytest.raises(AssertionError, match=told):
        statements([_written(tmp_path / "sql" / "t.sql", text)], "sqlite")
