"""Clumsy ways to call a command: outputs that are closed or full, names of other things, a store that never began."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Running, anlass, wait_for
from tests.faults.conftest import rows


def shell(redirection: str, project: Path, *, command: str = "check", **env: str) -> subprocess.CompletedProcess[str]:
    """A command with its output redirected."""
    line = f"exec {sys.executable} -m engine.cli {command} {project} {redirection}"
    return subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, env={**os.environ, **env}, timeout=60, check=False
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_the_output_is_one_sentence(project: Path) -> None:
    """It is not our mistake, and not a success."""
    done = shell(">/dev/full", project)
    assert done.returncode == 1
    assert done.stderr.startswith("anlass: Nothing can be written: No space left on device.")


def test_a_closed_output_is_no_error(project: Path) -> None:
    """`>&-`: who closes it wants to hear nothing."""
    done = shell(">&-", project)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_umlauts_gets_question_marks(run: Callable[..., Running], project: Path) -> None:
    """Letters that it cannot show are replaced; the command goes on."""
    running = run()
    running.post({"type": "identify", "userId": "ana", "traits": {"first_name": "Änne"}})
    wait_for(lambda: rows(project, "SELECT * FROM states"), "the customer")
    done = shell("", project, command="show customer ana --project", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "?nne" in done.stdout


def test_an_address_that_is_none_is_one_sentence(project: Path) -> None:
    """Brackets that do not close."""
    done = anlass("emit", project / "examples/events.jsonl", "--to", "http://[bad")
    assert (done.status, done.err) == (2, "anlass: http://[bad is not a web address. Write --to http://HOST:PORT.\n")


def test_a_policy_is_no_workflow_to_pause(project: Path) -> None:
    """Only what is one is offered and taken."""
    refused = anlass("pause", "policy", "--project", project)
    assert (refused.status, refused.err) == (1, "anlass: There is no workflow `policy`; known here: welcome.\n")


def test_a_store_that_never_began_is_no_store(project: Path) -> None:
    """A first start that was cut off leaves an empty file; the sentence is the one for no store."""
    (project / "var").mkdir()
    (project / "var/anlass.db").touch()
    for command in (("show", "customer", "ana"), ("export", "ana"), ("pause", "welcome")):
        refused = anlass(*command, "--project", project)
        assert refused.status == 1
        assert "There is no engine data" in refused.err


def test_files_that_cannot_be_read_are_named(project: Path) -> None:
    """Links to nothing and to themselves, pipes and devices: never passed over, never waited for."""
    folder = project / "workflows"
    (folder / "loop.yaml").symlink_to(folder / "loop.yaml")
    (folder / "gone.yaml").symlink_to(folder / "nothing.yaml")
    (folder / "zero.yaml").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.yaml")
    checked = anlass("check", project)
    assert checked.status == 1
    for name in ("loop", "gone", "zero", "pipe"):
        assert f"workflows/{name}.yaml:1:1: unreadable" in checked.out
