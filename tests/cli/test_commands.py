"""The commands that need no running service, and the status and sentence of every kind of error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.cli.entry import COMMANDS
from tests.cli.conftest import anlass

EVENTS = "examples/events.jsonl"


def test_what_init_makes_is_valid(scaffold: Path) -> None:
    """The scaffold passes its own check and tests, and its events play."""
    checked = anlass("check", scaffold)
    assert (checked.status, checked.out) == (0, "No problem found.\n")
    tested = anlass("test", scaffold)
    assert tested.status == 0
    assert tested.out.startswith("3 of 3 cases passed")
    assert (scaffold / ".gitignore").read_text() == "var/\n"
    assert not (scaffold / "var").exists()


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    """A folder that holds anything is refused with status 2 and stays as it is."""
    (tmp_path / "mine.txt").write_text("mine")
    refused = anlass("init", tmp_path)
    assert refused.status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_check_names_every_place(project: Path) -> None:
    """`file:line:column: code message` for definitions and templates; JSON has the same; status 1."""
    (project / "workflows" / "welcome.yaml").write_text("workflow: welcome\ntriger: {event: X}\nsteps: []\n")
    (project / "templates" / "email" / "tips.html").write_text("---\nsubject: x\n---\n{{ custmer.name }}\n")
    checked = anlass("check", project)
    assert checked.status == 1
    assert "workflows/welcome.yaml:2:1: " in checked.out
    assert "did you mean `trigger`" in checked.out
    assert "templates/email/tips.html:4:4: unknown_name" in checked.out
    as_json = anlass("check", project, "--json")
    assert as_json.status == 1
    found = {(line["file"], line["line"], line["severity"]) for line in as_json.lines}
    assert ("templates/email/tips.html", 4, "error") in found


def test_check_settings_says_what_is_missing(project: Path) -> None:
    """How each part would work, and which setting would make it do more."""
    said = anlass("check", project, "--settings")
    assert said.status == 0
    assert "ANLASS_EMAIL__HOST" in said.out


def test_a_failing_test_shows_both_timelines(project: Path) -> None:
    """Expected and actual side by side; status 1; JSON has the decisions and the verdict."""
    file = project / "workflows" / "welcome.test.yaml"
    file.write_text(
        file.read_text().replace("{at: 2d, send: tips, channel: email", "{at: 3d, send: tips, channel: email")
    )
    tested = anlass("test", project)
    assert tested.status == 1
    assert "FAILED workflows/welcome.test.yaml" in tested.out
    assert "expected" in tested.out
    lines = anlass("test", project, "--json").lines
    assert [line["passed"] for line in lines if line["kind"] == "case"] == [False, True, True]
    assert {"at", "customer", "workflow", "version", "enrollment", "kind", "step"} <= lines[0].keys()


def test_simulate_prints_decisions(project: Path, tmp_path: Path) -> None:
    """One decision per line, in virtual time, the same on every run; undated lines need --start."""
    arguments = ("simulate", project, "--events", project / EVENTS, "--start", "2026-03-27T10:00:00+01:00", "--json")
    first, second = anlass(*arguments), anlass(*arguments)
    assert first.status == 0, first.err
    assert first.out == second.out
    sends = [(line["at"], line["customer"], line["template"]) for line in first.lines if line["kind"] == "send"]
    assert ("2026-03-29T08:00:00Z", "ana", "tips") in sends
    undated = anlass("simulate", project, "--events", project / EVENTS)
    assert undated.status == 1
    assert "events.jsonl:1: missing_time" in undated.err


@pytest.mark.parametrize("option", [["--until", "soon"], ["--start", "today"]])
def test_simulate_with_a_time_that_is_none(project: Path, option: list[str]) -> None:
    """Status 2, naming the option."""
    refused = anlass("simulate", project, "--events", project / EVENTS, *option)
    assert refused.status == 2
    assert option[0] in refused.err


def test_send_test_says_where_it_went(project: Path) -> None:
    """Without a channel it lies in the mailbox; a wrong name gets the nearest one; a silent server is status 3."""
    sent = anlass("send-test", "welcome", "--to", "me@shop.example", "--locale", "de", "--project", project)
    assert sent.status == 0, sent.err
    assert "welcome.de.html" in sent.out
    assert "local mailbox" in sent.out
    wrong = anlass("send-test", "welcom", "--to", "me@shop.example", "--project", project)
    assert wrong.status == 1
    assert "did you mean `welcome`?" in wrong.err
    env = {"ANLASS_EMAIL__HOST": "127.0.0.1", "ANLASS_EMAIL__PORT": "1"}
    silent = anlass("send-test", "welcome", "--to", "me@shop.example", "--project", project, env=env)
    assert silent.status == 3
    assert "Traceback" not in silent.err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["shwo"], 2, "anlass show"),
        (["xyzzy"], 2, "anlass --help"),
        (["run", "--bogus"], 2, "--bogus"),
        (["check", "nowhere"], 2, "anlass init"),
        (["emit"], 2, "F.jsonl"),
        (["retry"], 2, "--workflow"),
        (["show", "customer", "nobody"], 1, "anlass run"),
        (["pause", "welcom"], 1, "did you mean `welcome`?"),
        (["erase", "nobody", "--yes"], 1, "anlass run"),
        (["replay", "3"], 1, "anlass run"),
    ],
)
def test_errors_are_one_sentence(project: Path, arguments: list[str], status: int, said: str) -> None:
    """The status says which kind, the sentence how to mend it; there is no traceback."""
    refused = anlass(*arguments, cwd=project)
    assert refused.status == status, refused.err
    assert said in refused.err
    assert refused.err.startswith("anlass: ")
    assert refused.err.count("\n") == 1
    assert "Traceback" not in refused.err


def test_debug_shows_the_traceback(project: Path) -> None:
    """Before or after the command."""
    for arguments in (["--debug", "show", "customer", "x"], ["show", "customer", "x", "--debug"]):
        assert "Traceback" in anlass(*arguments, cwd=project).err


def test_a_setting_that_is_wrong_is_status_2(project: Path) -> None:
    """A misspelt key in the file, and a value that makes no sense in the environment."""
    assert anlass("check", project, env={"ANLASS_COLLECTOR__PORT": "99999"}).status == 2
    (project / "anlass.toml").write_text("[email]\nhots = 'x'\n")
    refused = anlass("check", project)
    assert refused.status == 2
    assert "host" in refused.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    """`anlass COMMAND --help` says what it does, with an example that can be copied."""
    helped = anlass(command, "--help")
    assert helped.status == 0
    assert f"  anlass {command}" in helped.out


def test_the_list_of_commands_starts_fast_and_is_complete() -> None:
    """`anlass --help` imports no engine."""
    code = """
import sys
from engine.cli import main
try:
    main(["--help"])
finally:
    print(sorted(name for name in sys.modules if name.startswith("engine.")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert "engine.core" not in done.stdout.splitlines()[-1]


def test_a_reader_that_leaves_is_no_error(project: Path) -> None:
    """`anlass … | head -1` ends quietly."""
    events = project / "many.jsonl"
    lines: list[dict[str, Any]] = [
        {"type": "track", "userId": f"c{number}", "event": "Signed Up", "timestamp": "2026-03-27T09:00:00Z"}
        for number in range(3_000)
    ]
    events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = f"{sys.executable} -m engine.cli simulate {project} --events {events} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=100, check=False)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
