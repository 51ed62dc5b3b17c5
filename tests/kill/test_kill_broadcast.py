"""SIGKILL in the middle of a newsletter that is paused and resumed on the way: everybody gets it, and nobody twice.

Invariant: the engine is the real `anlass run` in a process of its own, and the mail server too; who has it is what the server
took.
A mail that was under way when the process died is `unknown`, is not sent again, and is counted.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.newsletter import make_project
from benchmarks.processes import ROOT, engine_environment, free_port, sink, start_engine
from engine.clock import SystemClock, to_rfc3339
from engine.core.record import Identify
from engine.runtimes.embedded import inbox

pytestmark = [pytest.mark.kill, pytest.mark.slow, pytest.mark.timeout(400)]

PEOPLE = 600
KILLS = 5
CONNECTIONS = 4
WORKFLOW = """workflow: news
purpose: marketing
trigger: {{schedule: {{at: {at}, spread: 10s}}}}
steps:
  - send: {{channel: newsletter, template: letter}}
    id: mail
"""


def _project(folder: Path, begin_ms: int) -> Path:
    make_project(folder)
    (folder / "workflows" / "letter.yaml").unlink()
    (folder / "workflows" / "news.yaml").write_text(WORKFLOW.format(at=to_rfc3339(begin_ms)), "utf-8")
    (folder / "templates" / "email").rename(folder / "templates" / "newsletter")
    return folder


def _person(number: int, now_ms: int) -> Identify:
    traits = {
        "email": f"c{number}@d{number % 40}.example",
        "first_name": "Ana",
        "city": "K",
        "consent": {"marketing": ["email"]},
    }
    return Identify(customer=f"c{number}", at_ms=now_ms, id="i", time_ms=now_ms, traits=traits)


def _statuses(database: Path) -> dict[str, int]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return dict(connection.execute("SELECT status, count(*) FROM ledger GROUP BY status"))
    finally:
        connection.close()


def _anlass(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kills_in_the_middle_of_a_newsletter_skip_nobody_and_repeat_nobody(tmp_path: Path) -> None:
    """Killed five times, paused for a while in between; the server's list of recipients is the proof."""
    seed = random.SystemRandom().randrange(2**32)
    dice = random.Random(seed)
    begin_ms = SystemClock().now_ms() + 15_000
    project = _project(tmp_path / "project", begin_ms)
    database = project / "var" / "anlass.db"
    with sink() as receiver:
        environment = engine_environment(port=free_port(), smtp_port=receiver.port, connections=CONNECTIONS)
        environment["ANLASS_EMAIL__RATE_PER_SECOND"] = "60"
        engine = start_engine(project, environment)
        now_ms = SystemClock().now_ms()
        inbox.submit(project / "var", [_person(number, now_ms) for number in range(PEOPLE)])
        while SystemClock().now_ms() < begin_ms:
            time.sleep(0.1)
        for kill in range(KILLS):
            time.sleep(dice.uniform(0.3, 1.5))
            if kill == 2:
                _anlass(environment, "pause", "news", "--project", str(project))
                before = receiver.stats()["distinct"]
                time.sleep(2)
                assert receiver.stats()["distinct"] - before <= CONNECTIONS, seed
            engine.kill()
            engine = start_engine(project, environment)
        held = _anlass(environment, "resume", "news", "--project", str(project))
        assert "none of them is lost" in held or "goes on" in held
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            statuses = _statuses(database)
            if statuses.get("sent", 0) + statuses.get("unknown", 0) == PEOPLE:
                break
            time.sleep(0.2)
        shown = json.loads(_anlass(environment, "broadcast", "show", "news", "--json", "--project", str(project)))
        assert engine.stop() == 0
        stats, statuses = receiver.stats(), _statuses(database)
    told = f"seed {seed}: {stats}, {statuses}, {shown}"
    unknown = statuses.get("unknown", 0)
    assert statuses.get("sent", 0) + unknown == PEOPLE, told
    assert unknown <= KILLS * CONNECTIONS, told
    assert stats["duplicates"] == 0, told
    assert PEOPLE - unknown <= stats["distinct"] <= PEOPLE, told
    assert (shown["audience"], shown["reached"], shown["sent"], shown["unknown"], shown["done"]) == (
        PEOPLE, PEOPLE, PEOPLE - unknown, unknown, True,
    ), told  # fmt: skip
