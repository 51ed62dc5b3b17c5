"""`anlass check` about templates of text messages: another alphabet, many segments; never about what is put in later."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.bootstrap import check
from engine.dispatch.templates.text_cost import cost_of, dear_texts

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Dein Paket ist unterwegs: {{ event.url }}", []),
        ("Größe {{ '„“' }} {# ç #} {% if a == '–' %}x{% endif %}", []),
        ("Hallo,\n{{ a }}\n  „Anna“", [("text_alphabet", 3, 3)]),
        ("😀", [("text_alphabet", 1, 1)]),
        ("x" * 459, []),
        ("x" * 460, [("text_long", 1, 1)]),
        ("ж" * 202, [("text_alphabet", 1, 1), ("text_long", 1, 1)]),
        ("", []),
    ],
)
def test_what_is_warned_about(text: str, found: list[tuple[str, int, int]]) -> None:
    """With its place; what stands in braces is not text."""
    assert [(each.code, each.line, each.column) for each in cost_of("sms/a.txt", text)] == found


def test_check_tells_it_as_a_warning(tmp_path: Path) -> None:
    """It is not an error: the project can be run."""
    (tmp_path / "templates/sms").mkdir(parents=True)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "templates/sms/hello.txt").write_text("Hallo – {{ customer.first_name | default('du') }}")
    (problem,) = [each for each in check(tmp_path) if each.code == "text_alphabet"]
    assert (problem.severity, problem.file) == ("warning", "templates/sms/hello.txt")
    assert "'" not in problem.message.split()[0]
    assert "sms.transliterate" in problem.message


def test_what_we_ship_is_cheap() -> None:
    """None of our own templates."""
    assert dear_texts(ROOT / "templates") == []
