"""Every SQL statement of the embedded runtime, by the name of its file in `sql/`, and the migrations.

Invariant: no SQL stands in Python; what the database is asked can be read in one folder.
"""

from pathlib import Path

_HERE = Path(__file__).parent


def _read() -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8").strip() for path in sorted((_HERE / "sql").glob("*.sql"))}


def _read_migrations() -> tuple[tuple[int, str], ...]:
    found = sorted((_HERE / "migrations").glob("[0-9][0-9][0-9][0-9]_*.sql"))
    numbered = tuple((int(path.name[:4]), path.read_text(encoding="utf-8")) for path in found)
    assert [number for number, _ in numbered] == list(range(1, len(numbered) + 1)), "migrations are numbered 1, 2, 3 …"
    return numbered


SQL: dict[str, str] = _read()
"""File stem → statement."""

MIGRATIONS: tuple[tuple[int, str], ...] = _read_migrations()
"""(number, script), ascending from 1 without gaps; `PRAGMA user_version` holds the last one applied."""
