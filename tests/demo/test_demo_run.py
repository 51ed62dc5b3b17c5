"""The whole demo, as a stranger sees it: real HTTP, real SMTP, the shipped project, months in seconds."""

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from engine.clock import from_rfc3339
from engine.demo.folder import MARK
from engine.demo.perform import INTERRUPTED, DemoResult, Wishes, perform

START_MS = from_rfc3339("2026-03-02T00:00:00Z")
SECONDS = 24.0
ROOT = Path(__file__).parents[2]


ASKED_FOR = frozenset({"access-link", "address-change", "order-copy", "order-state"})
"""Workflows that answer what customers ask for on their own page, where nobody of the demo goes; they have tests of their own."""


@pytest.fixture(scope="module")
def performance(commands: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoResult, str, Path]:
    folder = tmp_path_factory.mktemp("demo") / "shop"
    page = io.StringIO()
    wishes = Wishes(seconds=SECONDS, folder=folder, stay=False, seed=7, start_ms=START_MS)
    result = asyncio.run(perform(wishes, Console(file=page, width=110)))
    return result, page.getvalue(), folder


@pytest.mark.slow
def test_the_books_agree_and_the_status_is_0(performance: tuple[DemoResult, str, Path]) -> None:
    """Every message that the ledger calls sent arrived once, and the command ends well."""
    result, page, _ = performance
    assert result.account is not None
    assert result.account.differences == []
    assert result.status == 0
    assert "arrived exactly once" in page


@pytest.mark.slow
def test_every_shipped_workflow_takes_somebody_in(performance: tuple[DemoResult, str, Path]) -> None:
    """Also those that need months, a birthday, a segment or another workflow; and nobody's run fails."""
    result, _, folder = performance
    assert result.account is not None
    shipped = {path.stem for path in (folder / "workflows").glob("*.yaml") if not path.stem.endswith(".test")}
    shipped -= {"policy", "segments", *ASKED_FOR}
    enrollments = result.account.counts["enrollments"]
    assert {name for name, by in enrollments.items() if by["entered"]} == shipped
    assert not [name for name, by in enrollments.items() if by["failed"]]


@pytest.mark.slow
def test_every_mail_template_is_sent(performance: tuple[DemoResult, str, Path]) -> None:
    """Each of them left by SMTP at least once, in one of its languages."""
    result, _, folder = performance
    assert result.account is not None
    shipped = {f"email/{path.name.partition('.')[0]}" for path in (folder / "templates" / "email").iterdir()}
    asked_for = {*ASKED_FOR, "confirm-address", "address-change-notice"}
    assert shipped - set(result.account.templates) == {f"email/{name}" for name in asked_for - {"address-change"}}


@pytest.mark.slow
def test_the_answers_of_real_life_are_among_them(performance: tuple[DemoResult, str, Path]) -> None:
    """Bounced, deferred, unsubscribed, confirmed, refused, dead-lettered, doubled, held and suppressed for several reasons."""
    result, _, _ = performance
    account = result.account
    assert account is not None
    assert account.bounced >= 1
    assert account.deferred >= 1
    assert account.told["unsubscribe"] >= 1
    assert account.told["confirm"] >= 1
    assert account.told["refused"] >= 1
    assert account.told["duplicates"] >= 1
    assert account.counts["dead_letters"] >= 1
    answers = {answer for by in account.answers.values() for answer in by}
    assert {"sent", "held for a while", "no_consent", "suppressed_address", "frequency_cap", "holdout"} <= answers
    assert "template_error" not in answers
    assert account.answers["sms"]["sent"] >= 1


@pytest.mark.slow
def test_latency_is_measured_where_the_mail_arrives(performance: tuple[DemoResult, str, Path]) -> None:
    """There are mails that an event caused at once, and each took some time."""
    result, _, _ = performance
    assert result.account is not None
    assert len(result.account.latency_ms) > 20
    assert result.account.latency_ms[0] > 0


@pytest.mark.slow
def test_the_last_page_names_somebody_worth_looking_at(performance: tuple[DemoResult, str, Path]) -> None:
    """The commands on it can be typed: the customer is one that the store knows, and `show` tells the story."""
    _, page, folder = performance
    found = re.search(r"anlass show customer (\S+) --project", page)
    assert found is not None
    command = [sys.executable, "-m", "engine.cli", "show", "customer", found[1], "--project", str(folder)]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    assert found[1] in told.stdout


@pytest.mark.slow
def test_a_second_demo_replaces_the_first_and_ctrl_c_ends_it(performance: tuple[DemoResult, str, Path]) -> None:
    """The folder is ours, so it is made anew; an interrupt ends everything within seconds, in order, with status 130."""
    _, _, folder = performance
    assert (folder / MARK).is_file()
    code = "import sys, pathlib; from engine.demo import run; sys.exit(run(60, pathlib.Path(sys.argv[1])))"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "day  2/" in line or "day  3/" in line or "day  5/" in line:
                break
        demo.send_signal(signal.SIGINT)
        began = time.monotonic()
        rest = demo.stdout.read()
        assert demo.wait(timeout=30) == INTERRUPTED
    assert time.monotonic() - began < 20
    assert "Interrupted" in rest


async def test_settings_of_the_user_s_own_project_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real mail server in the environment gets nothing, and a wrong setting does not stop the demo."""
    monkeypatch.setenv("ANLASS_EMAIL__HOST", "smtp.invalid")
    monkeypatch.setenv("ANLASS_DATABASE__URL", f"sqlite:///{tmp_path}/elsewhere/anlass.db")
    wishes = Wishes(seconds=1.0, folder=tmp_path / "shop", stay=False, seed=7, start_ms=START_MS)
    result = await perform(wishes, Console(file=io.StringIO(), width=110))
    assert result.status == 0
    assert not (tmp_path / "elsewhere").exists()
    assert os.environ["ANLASS_EMAIL__HOST"] == "smtp.invalid"
