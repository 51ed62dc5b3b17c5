"""The names of classes: a name in a log line, a search or a conversation means one thing."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


def classes_said_twice(sources: dict[str, str]) -> dict[str, list[str]]:
    """Names that more than one class has, wherever they are."""
    said: dict[str, list[str]] = {}
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                said.setdefault(node.name, []).append(f"{path}:{node.lineno}")
    return {name: places for name, places in said.items() if len(places) > 1}


def test_every_class_has_a_name_of_its_own() -> None:
    """In all that is imported: engine and channels."""
    files = [path for top in ("engine", "channels") for path in sorted((ROOT / top).rglob("*.py"))]
    assert classes_said_twice({str(path): path.read_text("utf-8") for path in files}) == {}
    assert classes_said_twice({"a.py": "class Slot: ...", "b.py": "def f():\n    class Slot: ..."}) == {
        "Slot": ["a.py:1", "b.py:2"]
    }
