"""Every code that `check` can give stands on its page, and the page names none that is gone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/marketers/check-codes.md"
_CALL_NAMES = (
    "error warning Problem ExpressionReason refuse TemplateProblem problem parsed _report _problem Misfit _Doubt"
)
_CALLS = frozenset(_CALL_NAMES.split())
_CODE = re.compile(r"[a-z]+(?:[-_][a-z0-9]+)*")
_NO_CODES = frozenset({"error", "warning", "loop"})
_CONSTANTS = frozenset({"CODE", "UNUSED"})
_FAMILIES = (
    *(f"unknown-{kind}" for kind in ("segment", "workflow", "purpose", "channel", "step", "variant", "reason")),
    *(f"{kind}-named-once" for kind in ("event", "property", "trait")),
    "unknown_filter", "unknown_test", "wrong-type", "unknown-value", "wrong-value",
)  # fmt: skip
"""Made of parts, or returned."""


def _in_source() -> Iterator[str]:
    for folder in ("definition", "dispatch", "project"):
        for path in sorted((ROOT / "engine" / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                yield from _codes(node)


def _codes(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in _CONSTANTS:
        given: list[ast.expr] = [node.value]
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in _CALLS:
        given = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "code")]
    else:
        return
    for each in given:
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and _CODE.fullmatch(each.value):
            yield each.value


def _on_page() -> set[str]:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return {code for row in rows for code in re.findall(r"`([^`]+)`", row)}


def test_every_code_stands_on_the_page() -> None:
    """No code without its example and mend."""
    source = {code for code in _in_source() if code not in _NO_CODES} | set(_FAMILIES)
    assert sorted(source - _on_page()) == []


def test_the_page_names_no_code_that_is_gone() -> None:
    """No mend for what cannot come."""
    source = set(_in_source()) | set(_FAMILIES)
    assert sorted(_on_page() - source) == []
