"""The page that says which test holds which fault names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "trust.md"
LINES = {"A": 18, "B": 11, "C": 5, "D": 6, "E": 8, "F": 5, "G": 10}


def _rows() -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|\n").split(" | ")]
        for line in PAGE.read_text("utf-8").splitlines()
        if re.match(r"\| [A-G]\d", line)
    ]


def test_each_line_is_there() -> None:
    """None of the contract's lines is left out."""
    said = {row[0].split()[0] for row in _rows()}
    assert said == {f"{letter}{number}" for letter, count in LINES.items() for number in range(1, count + 1)}


def test_each_test_that_is_named_exists() -> None:
    """File by file, function by function."""
    for row in _rows():
        named = row[-1]
        assert "`tests/" in named, row[0]
        for part in named.split("; "):
            file, *functions = re.findall(r"`([^`]+)`", part)
            text = (ROOT / file).read_text("utf-8")
            assert [name for name in functions if f"def {name}(" not in text] == [], (row[0], file)
