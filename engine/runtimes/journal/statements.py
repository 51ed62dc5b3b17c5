"""Every SQL statement of the journal's database, by the name of its file in `sql/`, in SQLite's words and in PostgreSQL's.

Invariant: no SQL stands in Python but here, and one file says it for both. The files are plain SQL with `:name` for values and

- `@rows(name TYPE, …)`: the rows of an insert, given as tuples in this order (`VALUES`, or one JSON document for all);
- `@texts(name)`, `@numbers(name)`: the elements of a list, after IN;
- `@for_update`: a row lock, where rows have one;
- `@sqlite`, `@postgresql`: before a step of a migration that is only for one of them (triggers).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

Dialect = Literal["sqlite", "postgresql"]

_HERE = Path(__file__).parent
_ROWS = re.compile(r"@rows\(([^)]*)\)")
_LIST = re.compile(r"@(texts|numbers)\((\w+)\)")
_VALUE = re.compile(r"(?<![:\w]):(\w+)")
_OTHERS: dict[Dialect, str] = {"sqlite": "@postgresql ", "postgresql": "@sqlite "}
_SQLITE_TYPES = {"BIGINT": "INTEGER", "BYTEA": "BLOB"}

READING = {
    "all": "",
    "customer": "customer = :customer AND",
    "workflow": "workflow = :workflow AND workflow <> '' AND",
    "kind": "kind = :kind AND",
}
"""What the journal can be read by quickly, and the condition for it."""
ORDERS = {"newest": "DESC", "oldest": "ASC"}


class Statement(msgspec.Struct, frozen=True):
    """`columns` are those of `@rows`, in their order; empty when the statement takes single values."""

    text: str
    columns: tuple[str, ...] = ()


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema: `statements` in their order."""

    number: int
    name: str
    statements: tuple[str, ...]


def statements(dialect: Dialect) -> dict[str, Statement]:
    """File stem → statement; `journal_read` as `journal_<by>_<newest|oldest>`."""
    files = {path.stem: _uncommented(path) for path in sorted((_HERE / "sql").glob("*.sql"))}
    template = files.pop("journal_read")
    for by, condition in READING.items():
        for order, word in ORDERS.items():
            files[f"journal_{by}_{order}"] = template.replace("@by", condition).replace("@order", word)
    return {name: _translated(text, dialect) for name, text in files.items()}


def migrations(dialect: Dialect) -> tuple[Migration, ...]:
    """Ascending from 1 without gaps."""
    paths = sorted((_HERE / "migrations").glob("[0-9][0-9][0-9][0-9]_*.sql"))
    found = []
    for path in paths:
        parts = [part.strip() for part in _uncommented(path).split(";\n")]
        ours = [part for part in parts if part and not part.startswith(_OTHERS[dialect])]
        texts = tuple(_typed(part.removeprefix(f"@{dialect} ").rstrip(";"), dialect) for part in ours)
        found.append(Migration(int(path.name[:4]), path.stem[5:], texts))
    assert [each.number for each in found] == list(range(1, len(found) + 1)), "migrations are numbered 1, 2, 3 …"
    return tuple(found)


def _uncommented(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("--")).strip() + "\n"


def _translated(text: str, dialect: Dialect) -> Statement:
    columns: list[str] = []

    def rows(match: re.Match[str]) -> str:
        pairs = [part.split() for part in match[1].split(",")]
        columns.extend(name for name, _ in pairs)
        if dialect == "sqlite":
            return f"VALUES ({', '.join('?' for _ in pairs)})"
        # The encoder writes bytes as base64.
        given = ", ".join(f"{name} {'TEXT' if kind == 'BYTEA' else kind}" for name, kind in pairs)
        taken = ", ".join(f"decode({name}, 'base64')" if kind == "BYTEA" else name for name, kind in pairs)
        return f"SELECT {taken} FROM json_to_recordset(CAST(:rows AS JSON)) AS given({given})"  # noqa: S608 - as below

    def elements(match: re.Match[str]) -> str:
        if dialect == "sqlite":
            return f"(SELECT value FROM json_each(:{match[2]}))"  # noqa: S608 - a name of our own files
        kind = "TEXT" if match[1] == "texts" else "BIGINT"
        return f"(SELECT CAST(value AS {kind}) FROM json_array_elements_text(CAST(:{match[2]} AS JSON)))"  # noqa: S608

    text = _LIST.sub(elements, _ROWS.sub(rows, text))
    text = text.replace("@for_update", "FOR UPDATE" if dialect == "postgresql" else "")
    text = _typed(text, dialect)
    if dialect == "postgresql":
        text = _VALUE.sub(r"%(\1)s", text.replace("%", "%%"))
    return Statement(text.strip(), tuple(columns))


def _typed(text: str, dialect: Dialect) -> str:
    if dialect == "sqlite":
        for ours, theirs in _SQLITE_TYPES.items():
            text = re.sub(rf"\b{ours}\b", theirs, text)
    return text
