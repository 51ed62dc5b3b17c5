"""The queries that the page about the journal's database shows: each is asked, of both kinds of database."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import pytest

from engine.runtimes.journal import Database, Projection
from engine.runtimes.journal.statements import Statement, migrations
from tests.docs.page import ROOT, blocks
from tests.runtimes.journal_records import entry, line, message, stretch

PAGE = ROOT / "docs" / "operators" / "database.md"
QUERIES = [block.text for block in blocks(PAGE) if block.language == "sql"]
EXPECTED = [[("refused", 1)], [("order", 1, 0), ("welcome", 2, 1)]]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize(("query", "expected"), zip(QUERIES, EXPECTED, strict=True), ids=["refused", "entered"])
async def test_a_query_of_the_page_answers(
    query: str, expected: list[tuple[object, ...]], kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """It says what the sentence before it promises."""
    url = f"sqlite:///{tmp_path}/journal.db" if kind == "sqlite" else request.getfixturevalue("postgres")
    database = Database(url)
    await database.open()
    lines = [line("a", 1), line("a", 2, kind="send"), line("b", 3), line("b", 4), line("b", 5, workflow="order")]
    failed = entry(message("a"), 2, status="failed", reason="refused")
    await Projection(database).apply([stretch("journal", lines), stretch("ledger", [failed, entry(message("b"), 1)])])
    async with database.transaction() as transaction:
        assert await transaction._connection.execute(Statement(query.replace("%", "%%")), {}) == expected
    await database.close()


def test_every_table_is_on_the_page() -> None:
    """Operators find each table that holds something of theirs."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for step in migrations("sqlite"):
            for text in step.statements:
                connection.execute(text)
        made = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    assert made - told == {"serials", "secrets"}
    assert told <= made | {"batch_failed", "record_dead_lettered", "records_missed"}
