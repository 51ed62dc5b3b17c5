"""The documentation as a site: it builds, has a search, lists every decision, and a broken link fails the build."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BROKEN = {
    "a page": ("[gone](no-such-page.md)", "no-such-page.md"),
    "a heading": ("[gone](marketers/language.md#no-such-heading)", "no-such-heading"),
    "a file of the repository": ("[gone](../engine/no_such_module.py)", "no_such_module.py"),
}


def _build(root: Path, to: Path) -> subprocess.CompletedProcess[str]:
    if find_spec("mkdocs") is None:
        pytest.skip("mkdocs-material is needed to build the site; make venv installs it")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        str(root / "mkdocs.yml"),
        "--site-dir",
        str(to),
    ]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=110)


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    """Every page is in the navigation and in the search; what is no page is named, not linked to; no style is foreign."""
    done = _build(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "search" / "search_index.json").read_text("utf-8"))["docs"]
    for page in (ROOT / "docs").rglob("*.md"):
        place = page.relative_to(ROOT / "docs").with_suffix("").as_posix().removesuffix("index").strip("/")
        assert any(each["location"].partition("#")[0].strip("/") == place for each in found), place
    html = (tmp_path / "adapter-authors" / "index.html").read_text("utf-8")
    assert "channels/contract.py" in html
    assert 'contract.py"' not in html
    assert re.findall(r'<(?:script[^>]*src|link[^>]*rel="stylesheet"[^>]*href)="(https?:[^"]*)', html) == []


@pytest.mark.slow
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_link_fails(what: str, tmp_path: Path) -> None:
    """So the check above can fail."""
    link, named = BROKEN[what]
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.name != "docs":
            (tmp_path / path.name).symlink_to(path)
    with (tmp_path / "docs" / "index.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{link}\n")
    done = _build(tmp_path, tmp_path / "out")
    assert done.returncode != 0
    assert named in done.stdout + done.stderr


def test_every_decision_is_listed() -> None:
    """The page of decisions names each, by its title."""
    listed = (ROOT / "docs" / "adr" / "index.md").read_text("utf-8")
    for path in sorted((ROOT / "docs" / "adr").glob("0*.md")):
        title = re.sub(r"^# (?:ADR )?\d+[.:] ", "", path.read_text("utf-8").splitlines()[0])
        assert f"| {int(path.name[:4])} | [{title}]({path.name}) |" in listed, path.name


def test_the_changelog_has_the_version() -> None:
    """A version that can be released has its section; one that is being worked on has `[Unreleased]`."""
    version = re.search(r'__version__ = "(.+)"', (ROOT / "engine" / "__init__.py").read_text("utf-8"))
    assert version is not None
    section = "[Unreleased]" if ".dev" in version[1] else f"[{version[1]}] - "
    assert f"\n## {section}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_readme_shows_the_product_above_the_fold() -> None:
    """A picture stands before the first heading, and loads quickly."""
    head = (ROOT / "README.md").read_text("utf-8").partition("\n## ")[0]
    [picture] = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", head)
    assert (ROOT / picture).stat().st_size <= 300_000
