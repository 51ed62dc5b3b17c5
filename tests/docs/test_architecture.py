"""The tree of the page docs/ARCHITECTURE.md is the tree on the disk.

Invariant: every package and every module at the top of `engine` stands on the page, and the page names nothing that is gone.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "ARCHITECTURE.md"
_LINE = re.compile(
    r"(?P<indent>(?:│   |    )*)(?:[├└]── )?(?P<name>[\w.]+/?)(?:\s{2,}|\s(?=\w+/))(?P<text>.*)|(?P<bare>\w+/)"
)


def _drawn(page: str) -> set[str]:
    """What the page's tree names, as paths: its own lines, and the rooms that a line lists as `room/`."""
    tree = next(block for block in page.split("```")[1::2] if block.startswith("\nengine/"))
    drawn: set[str] = set()
    above: list[str] = []
    for line in tree.strip().splitlines():
        found = _LINE.fullmatch(line.rstrip())
        assert found, f"a line that is no branch of the tree: {line}"
        name = (found["name"] or found["bare"]).rstrip("/")
        depth = len(found["indent"] or "") // 4 + ("── " in line)
        above = [*above[:depth], name]
        drawn.add("/".join(above))
        drawn |= {
            "/".join([*(above if depth else []), room]) for room in re.findall(r"(?<![\w/])(\w+)/", found["text"] or "")
        }
    return drawn


def _on_disk() -> set[str]:
    """Packages of `engine` and `channels`, and the modules at the top of `engine`."""
    packages = {
        path.parent.relative_to(ROOT).as_posix()
        for top in ("engine", "channels")
        for path in (ROOT / top).rglob("__init__.py")
    }
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "engine").glob("*.py")}
    return packages | modules - {"engine/__init__.py"}


def test_the_tree_on_the_page_is_the_tree_on_the_disk() -> None:
    """A newcomer who reads the page finds every room, and no door that leads nowhere."""
    drawn = _drawn(PAGE.read_text("utf-8"))
    assert sorted(_on_disk() - drawn) == [], "these are not on the page"
    assert sorted(path for path in drawn if not (ROOT / path).exists()) == [], "these are gone"


def test_a_room_that_is_missing_would_be_noticed() -> None:
    """A line that is taken out of the page is missed, and one that is invented is found."""
    page = PAGE.read_text("utf-8")
    assert "engine/watches" not in _drawn(re.sub(r"├── watches/.*\n", "", page))
    assert "engine/cellar" in _drawn(page.replace("├── watches/ ", "├── cellar/ "))
