"""The tables of the guides are complete: settings, metrics, log actions, verbs, functions, filters, commands, reasons."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from engine.cli.entry import COMMANDS
from engine.collector.intake.parse import EVENT_BYTES_MAX
from engine.collector.intake.segment import BATCH_EVENTS_MAX, SHORT
from engine.definition.documents.workflow import VERBS, Outcome
from engine.definition.expression.calls import FUNCTIONS
from engine.dispatch.filters.list_filters import FILTERS
from engine.settings.section import SECRETS
from engine.settings.sections import MODELS
from engine.telemetry import Action, Metrics
from tests.docs.page import PAGES, ROOT, blocks

LANGUAGE = ROOT / "docs" / "marketers" / "language.md"
RUNNING = ROOT / "docs" / "operators" / "running.md"
WATCHING = ROOT / "docs" / "operators" / "watching.md"
SENDING = ROOT / "docs" / "shops" / "sending-events.md"


def _code(page: Path) -> set[str]:
    """The words in backticks of a page."""
    return set(re.findall(r"[\w*]+", " ".join(re.findall(r"`([^`\n]+)`", page.read_text("utf-8")))))


def test_the_table_of_settings_is_complete() -> None:
    """Each setting has its row, with its variable and its default; and each row has a setting."""
    expected = set()
    sections: dict[str, type[BaseModel]] = dict(MODELS)
    for section, model in sections.items():
        for name, field in model.model_fields.items():
            expected.add(f"ANLASS_{section}__{field.alias or name}".upper())
    rows = {
        cells[1].strip(" `"): cells
        for line in RUNNING.read_text("utf-8").splitlines()
        if len(cells := line.strip("|").split("|")) == 4 and "ANLASS_" in cells[1]
    }
    assert set(rows) == expected
    for variable, (written, _, default, meaning) in rows.items():
        section, key = variable.removeprefix("ANLASS_").lower().split("__")
        assert meaning.strip()
        assert written.strip() in {f"`[{section}] {key}`", ""}
        # What is not written in the file is a secret.
        assert (not written.strip()) == (not SECRETS.isdisjoint({key, f"{section}.{key}"}))
        model_field = {field.alias or name: field for name, field in sections[section].model_fields.items()}[key]
        if isinstance(model_field.default, int | float):
            assert default.strip() == f"{model_field.default:g}"


def test_the_table_of_metrics_is_complete() -> None:
    """All metrics there are, and no other."""
    registry = CollectorRegistry()
    Metrics(registry)
    there_are = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    table = "\n".join(line for line in WATCHING.read_text("utf-8").splitlines() if line.startswith("| `anlass_"))
    assert set(re.findall(r"anlass_\w+", table)) == there_are


def test_every_log_action_is_explained() -> None:
    """Each action stands in exactly one row."""
    section = WATCHING.read_text("utf-8").partition("\n## The log\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    named = [word for row in rows for word in re.findall(r"`(\w+)`", row.split("|")[1])]
    for action in Action:
        assert named.count(action.value) == 1, action.value


def test_the_language_is_complete() -> None:
    """Every verb, function, outcome and filter is named in the reference, and every verb is shown in use."""
    words = _code(LANGUAGE)
    shown = "".join(block.text for block in blocks(LANGUAGE) if block.language == "yaml")
    for verb in VERBS:
        assert re.search(rf"[-{{] {verb}: |[-{{]{verb}: |- {verb}:", shown), verb
    assert set(FUNCTIONS) <= words
    assert set(Outcome.__args__) <= words  # type: ignore[attr-defined] # a Literal
    assert set(FILTERS) <= words


def test_every_path_of_the_collector_is_named() -> None:
    """Long and short; and the limits are the real ones."""
    text = SENDING.read_text("utf-8")
    for short, kind in SHORT.items():
        assert f"/v1/{kind}" in text
        assert f"/v1/{short}" in text
    assert f"{EVENT_BYTES_MAX:,} bytes" in text
    assert f"{BATCH_EVENTS_MAX:,} events" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_named_exists(page: Path) -> None:
    """`anlass x` in a sentence is a command, too."""
    for name in re.findall(r"`anlass ([a-z-]+)", page.read_text("utf-8")):
        assert name in COMMANDS, name


def test_all_commands_are_in_some_guide() -> None:
    """No command that nobody tells about."""
    told = " ".join(page.read_text("utf-8") for page in PAGES)
    for name in COMMANDS:
        assert f"anlass {name}" in told or f"make {name}" in told, name


def test_the_pictures_can_be_made_again() -> None:
    """The contexts of the pictured mails still render with the shipped templates."""
    code = "import sys; sys.path.insert(0, 'docs/images'); import make_pictures as m; print(*map(len, m.rendered().values()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(int(length) > 1_000 for length in done.stdout.split())
    for name in ("cart-reminder", "order-confirmation", "birthday"):
        picture = ROOT / "docs" / "images" / f"mail-{name}.png"
        assert 10_000 < picture.stat().st_size <= 150_000
