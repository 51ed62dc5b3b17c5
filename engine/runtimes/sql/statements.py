"""Reads SQL files, one for each subject, with named blocks, in SQLite's words and in PostgreSQL's.

Invariant: no SQL stands in Python but here, and one text says it for both dialects. A file that cannot be read, a name that is
given twice, a word of ours that is left over: each is an error when the process starts. The files are plain SQL with `:name` (or
SQLite's `?`) for values and

- `-- name: ledger_one`: begins a block; lines that begin with `--` are comments;
- `-- columns: told`: begins a list of columns, which `@columns(told)` stands for in every file;
- `-- name: journal_{by}_{order}`: a block for each combination of `-- by customer: text` and `-- order newest: text` below it,
  where `@by` and `@order` stand for the text;
- `@rows(name TYPE, …)`: the columns and rows of an insert, given as tuples in this order (`VALUES`, or one JSON document for
  all); `name = text` is the same in each row;
- `@excluded(name, …)`: what an upsert sets, each to the value that was to be inserted;
- `@texts(name)`, `@numbers(name)`: the elements of a list, after IN;
- `@for_update`: a row lock, where rows have one;
- `@indexed(name)`: the index that SQLite, which keeps no statistics, is to use.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

Dialect = Literal["sqlite", "postgresql"]

QUESTIONS = Path(__file__).parent
"""The folder of what is asked of either store."""

_HEAD = re.compile(r"--\s*(name|columns):\s*(\S+)\s*")
_CHOICE = re.compile(r"\{(\w+)\}")
_COLUMNS = re.compile(r"@columns\((\w+)\)")
_ROWS = re.compile(r"@rows\(([^)]*)\)")
_EXCLUDED = re.compile(r"@excluded\(([^)]*)\)")
_LIST = re.compile(r"@(texts|numbers)\((\w+)\)")
_VALUE = re.compile(r"'[^']*'|(?<![:\w]):(\w+)")
_INDEXED = re.compile(r"@indexed\((\w+)\)")
_LEFT_OVER = re.compile(r"@\w+")
_SQLITE_TYPES = {"BIGINT": "INTEGER", "BYTEA": "BLOB"}


class Statement(msgspec.Struct, frozen=True):
    """`columns` are those of `@rows`, in their order; empty when the statement takes single values."""

    text: str
    columns: tuple[str, ...] = ()


class _Block(msgspec.Struct, frozen=True):
    kind: str
    name: str
    lines: list[str]


def statements(folders: Iterable[Path], dialect: Dialect) -> dict[str, Statement]:
    """Name → statement, of all SQL files in these folders."""
    blocks = [block for folder in folders for path in sorted(folder.glob("*.sql")) for block in _blocks(path)]
    columns = _once((block.name, _plain(block.lines)) for block in blocks if block.kind == "columns")
    texts = _once(pair for block in blocks if block.kind == "name" for pair in _variants(block))

    def listed(match: re.Match[str]) -> str:
        return columns[match[1]]

    found = {name: _translated(_COLUMNS.sub(listed, text), dialect) for name, text in texts.items()}
    for name, statement in found.items():
        assert statement.text, f"{name} is empty"
        assert not _LEFT_OVER.search(statement.text), f"{name} has a word that is not understood: {statement.text}"
    return found


def numbered(folder: Path) -> tuple[tuple[int, str, str], ...]:
    """The migrations in a folder: (number, name, text), ascending from 1 without gaps."""
    paths = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    found = tuple((int(path.name[:4]), path.stem[5:], path.read_text(encoding="utf-8")) for path in paths)
    assert [number for number, _, _ in found] == list(range(1, len(found) + 1)), "migrations are numbered 1, 2, 3 …"
    return found


def typed(text: str, dialect: Dialect) -> str:
    """The types of columns as the dialect calls them; ours are PostgreSQL's."""
    if dialect == "sqlite":
        for ours, theirs in _SQLITE_TYPES.items():
            text = re.sub(rf"\b{ours}\b", theirs, text)
    return text


def _blocks(path: Path) -> Iterator[_Block]:
    lines: list[str] = []  # before the first block a file says what it is about
    for line in path.read_text(encoding="utf-8").splitlines():
        head = _HEAD.fullmatch(line)
        if head is None:
            lines.append(line)
        else:
            lines = []
            yield _Block(head[1], head[2], lines)  # filled by the lines that follow


def _plain(lines: Iterable[str]) -> str:
    return "\n".join(line for line in lines if not line.lstrip().startswith("--")).strip()


def _once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in pairs:
        assert name not in found, f"{name} stands twice"
        found[name] = text
    return found


def _variants(block: _Block) -> Iterator[tuple[str, str]]:
    """(name, text) for each combination of the choices in the block's name."""
    choices = _CHOICE.findall(block.name)
    options = [_options(block.lines, choice) for choice in choices]
    plain = _plain(block.lines)
    for taken in itertools.product(*options):
        name, text = block.name, plain
        for choice, (value, words) in zip(choices, taken, strict=True):
            name = name.replace(f"{{{choice}}}", value)
            text = re.sub(rf"@{choice}\b", lambda _match, words=words: words, text)  # type: ignore[misc]
        yield name, text


def _options(lines: Iterable[str], choice: str) -> list[tuple[str, str]]:
    found = [re.fullmatch(rf"--\s*{choice} (\w+):\s*(.*)", line) for line in lines]
    return [(match[1], match[2].strip()) for match in found if match is not None]


def _translated(text: str, dialect: Dialect) -> Statement:
    columns: list[str] = []

    def rows(match: re.Match[str]) -> str:
        fixed = dict(part.split(" = ") for part in _parts(match[1]) if " = " in part)
        kinds = {
            name: kind for name, _, kind in (part.partition(" ") for part in _parts(match[1])) if name not in fixed
        }
        columns.extend(kinds)
        into = f"({', '.join((*kinds, *fixed))})"
        if dialect == "sqlite":
            return f"{into} VALUES ({', '.join((*('?' for _ in kinds), *fixed.values()))})"
        # The encoder writes bytes as base64.
        given = ", ".join(f"{name} {'TEXT' if kind == 'BYTEA' else kind}" for name, kind in kinds.items())
        taken = (f"decode({name}, 'base64')" if kind == "BYTEA" else name for name, kind in kinds.items())
        source = f"json_to_recordset(CAST(:rows AS JSON)) AS given({given})"
        return f"{into} SELECT {', '.join((*taken, *fixed.values()))} FROM {source}"  # noqa: S608 - names of our own files

    def elements(match: re.Match[str]) -> str:
        if dialect == "sqlite":
            return f"(SELECT value FROM json_each(:{match[2]}))"  # noqa: S608 - as above
        kind = "TEXT" if match[1] == "texts" else "BIGINT"
        return f"(SELECT CAST(value AS {kind}) FROM json_array_elements_text(CAST(:{match[2]} AS JSON)))"  # noqa: S608

    def excluded(match: re.Match[str]) -> str:
        return ", ".join(f"{name} = excluded.{name}" for name in _parts(match[1]))

    text = _EXCLUDED.sub(excluded, _LIST.sub(elements, _ROWS.sub(rows, text)))
    text = text.replace("@for_update", "FOR UPDATE" if dialect == "postgresql" else "")
    text = _INDEXED.sub(r"INDEXED BY \1" if dialect == "sqlite" else "", text)
    text = typed(text, dialect)
    if dialect == "postgresql":
        text = _VALUE.sub(lambda match: f"%({match[1]})s" if match[1] else match[0], text.replace("%", "%%"))
    return Statement(text.strip(), tuple(columns))


def _parts(listed: str) -> list[str]:
    return [" ".join(part.split()) for part in listed.split(",")]
