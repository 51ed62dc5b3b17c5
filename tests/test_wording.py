"""How we say things: English as a native engineer writes it, in what users see and in what we tell each other.

Invariant: each turn of phrase that was once cleared out of the code and the pages stays out.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from engine.core.channel import CHANNELS
from engine.definition.documents.workflow import VERBS

ROOT = Path(__file__).parents[1]
CLUMSY = {
    re.compile(
        r"(?<!there )(?<!There )\b(?:is|are) no (?!longer|more\b|use\b|such\b|one\b|\(|workflow's)[\w'-]+"
    ): "is not a …",
    re.compile(r"\b[Ll]ook whether\b"): "check that …",
    re.compile(r"\bdoes not give\b (?!it)(?!one)"): "could not read …",
    re.compile(r"\b(?:who|[Ww]hoever) is on the way\b"): "people in flight …",
    re.compile(r"\bNobody called\b"): "there is no …",
    re.compile(r"\bcannot be had\b"): "is not available",
    re.compile(r"\b[Kk]nown are\b"): "available: …",
    re.compile(r"\bnot known any more\b"): "no longer known",
}
EMPTY = frozenset(
    {"As in the port.", "As in the contract.", "As the contract says.", "Keeps what it is given.", "Keeps both."}
)
"""Docstrings that say nothing which their signature does not say."""


def clumsy(text: str) -> list[str]:
    return [
        f"{number}: {found[0]!r}: write {better!r}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, better in CLUMSY.items()
        if (found := pattern.search(line))
    ]


def pages() -> list[Path]:
    code = [path for top in ("engine", "channels", "examples") for path in (ROOT / top).rglob("*.py")]
    servers_say = {"refusals.py", "receivers.py", "judge.py", "prose.py", "replies.py"}
    docs = [path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "adr"]
    return sorted([*(path for path in code if path.name not in servers_say), *docs, ROOT / "README.md"])


def test_what_we_write_reads_as_english() -> None:
    """In errors, help, pages, docs and docstrings."""
    found = [f"{path.relative_to(ROOT)}:{one}" for path in pages() for one in clumsy(path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    "planted",
    ["'x' is no address", "Look whether it runs", "who is on the way stays", "Nobody called 'ana'", "it cannot be had"],
)
def test_each_turn_of_phrase_is_noticed(planted: str) -> None:
    """A rule that never failed proves nothing."""
    assert clumsy(planted)
    assert clumsy("There is no address; it is no longer known.") == []


def test_a_docstring_says_something() -> None:
    """A method that is what its name says, or what the protocol says, needs none."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for top in ("engine", "channels")
        for path in sorted((ROOT / top).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) in EMPTY
    ]
    assert found == []


def test_the_glossary_has_each_word_once() -> None:
    """Every kind of step and every channel is in it, and the pages lead to it."""
    text = (ROOT / "docs/glossary.md").read_text("utf-8")
    words = [
        line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ") and "| means |" not in line
    ]
    assert [word for word in words if words.count(word) > 1] == []
    assert {*VERBS} <= {*words}
    assert [name for name in CHANNELS if f"`{name}`" not in text] == []
    tables = [part.split("|---|---|\n")[1].strip() for part in text.split("\n## ")[1:]]
    for table in tables:
        rows = [line.split("|")[1].strip().lower() for line in table.splitlines()]
        assert rows == sorted(rows)
    assert "docs/glossary.md" in (ROOT / "README.md").read_text("utf-8")
