"""Every SQL statement of the embedded runtime, by its name in `sql/` or in what is asked of either store, and the migrations.

Invariant: no SQL stands in Python; what the database is asked can be read in one folder.
"""

from pathlib import Path

from engine.runtimes.sql.statements import QUESTIONS, numbered, statements

_HERE = Path(__file__).parent

SQL: dict[str, str] = {
    name: statement.text for name, statement in statements([QUESTIONS, _HERE / "sql"], "sqlite").items()
}
"""Name → statement."""

MIGRATIONS: tuple[tuple[int, str], ...] = tuple((number, text) for number, _, text in numbered(_HERE / "migrations"))
"""(number, script), ascending from 1 without gaps; `PRAGMA user_version` holds the last one applied."""
