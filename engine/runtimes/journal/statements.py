"""Every SQL statement of the journal's database, by its name in `sql/` or in what is asked of either store, and the migrations.

Invariant: no SQL stands in Python; one text says it for SQLite and for PostgreSQL. In migrations `@sqlite` and `@postgresql`
stand before a step that is only for one of them (triggers).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.runtimes.sql import statements as sql
from engine.runtimes.sql.statements import QUESTIONS, Dialect, Statement

__all__ = ["Dialect", "Migration", "Statement", "migrations", "statements"]

_HERE = Path(__file__).parent
_OTHERS: dict[Dialect, str] = {"sqlite": "@postgresql ", "postgresql": "@sqlite "}


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema: `statements` in their order."""

    number: int
    name: str
    statements: tuple[str, ...]


def statements(dialect: Dialect) -> dict[str, Statement]:
    """Name → statement."""
    return sql.statements([QUESTIONS, _HERE / "sql"], dialect)


def migrations(dialect: Dialect) -> tuple[Migration, ...]:
    """Ascending from 1 without gaps."""
    return tuple(
        Migration(number, name, tuple(_steps(text, dialect)))
        for number, name, text in sql.numbered(_HERE / "migrations")
    )


def _steps(text: str, dialect: Dialect) -> list[str]:
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--")) + "\n"
    parts = [part.strip() for part in lines.split(";\n")]
    ours = [part for part in parts if part and not part.startswith(_OTHERS[dialect])]
    return [sql.typed(part.removeprefix(f"@{dialect} ").rstrip(";"), dialect) for part in ours]
