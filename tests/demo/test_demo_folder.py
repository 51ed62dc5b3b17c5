"""Which folder the demo takes, and which it leaves alone."""

from pathlib import Path

import pytest

from engine.demo.folder import MARK, prepare
from engine.errors import UsageError


def test_a_fresh_folder_becomes_a_project(tmp_path: Path) -> None:
    """Workflows with their tests, templates and settings, as `anlass run` opens them."""
    folder = prepare(tmp_path / "deep" / "shop")
    assert (folder / "workflows" / "welcome.yaml").is_file()
    assert (folder / "templates" / "email" / "welcome.de.html").is_file()
    assert (folder / "anlass.toml").is_file()


def test_what_an_earlier_demo_left_is_replaced(tmp_path: Path) -> None:
    """Nothing of the old run stays."""
    folder = prepare(tmp_path / "shop")
    (folder / "workflows" / "mine.yaml").write_text("old")
    (folder / "var" / "anlass.db").write_text("old")
    prepare(folder)
    assert not (folder / "workflows" / "mine.yaml").exists()
    assert not (folder / "var" / "anlass.db").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    """Somebody's files are never deleted."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="no demo made"):
        prepare(tmp_path)
    assert (tmp_path / "thesis.txt").is_file()
    assert not (tmp_path / MARK).exists()


def test_a_file_in_its_place_is_a_clear_error(tmp_path: Path) -> None:
    """And says what to do."""
    (tmp_path / "shop").write_text("")
    with pytest.raises(UsageError, match="--project"):
        prepare(tmp_path / "shop")
