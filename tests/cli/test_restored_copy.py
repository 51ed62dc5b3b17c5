"""A store that was copied while it ran, and comes back as a copy: nobody gets anything twice (docs/operators/database.md)."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Running, anlass, wait_for

pytestmark = pytest.mark.usefixtures("commands")

PEOPLE = 6
SETTLE_SECONDS = 2.5
WORKFLOW = """
workflow: remind
purpose: transactional
trigger: {event: Left}
steps:
  - wait: 2s
  - send: {channel: email, template: note}
    id: mail
"""
LATER = WORKFLOW.replace("workflow: remind", "workflow: later").replace("event: Left", "event: Came")
POLICY = "policy: default\npurposes:\n  transactional: {consent: none}\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Two workflows that send after two seconds."""
    root = tmp_path / "shop"
    (root / "workflows").mkdir(parents=True)
    (root / "templates/email").mkdir(parents=True)
    (root / "workflows/policy.yaml").write_text(POLICY)
    (root / "workflows/remind.yaml").write_text(WORKFLOW)
    (root / "workflows/later.yaml").write_text(LATER)
    (root / "templates/email/note.html").write_text("---\nsubject: Hello\n---\n<p>Hello</p>\n")
    return root


def _mails(var: Path) -> Counter[str]:
    """Message → how often it came to the local mailbox."""
    file = var / "mailbox.sqlite3"
    if not file.exists():
        return Counter()
    with sqlite3.connect(file) as box:
        return Counter(dict(box.execute("SELECT id, copies FROM message")))


def _copy(var: Path, to: Path) -> None:
    """As the guide says: while it runs, by SQLite's own back-up."""
    to.mkdir(parents=True)
    with sqlite3.connect(var / "anlass.db") as live, sqlite3.connect(to / "anlass.db") as copied:
        live.backup(copied)
    shutil.copy(var / "secret.key", to / "secret.key")


def test_a_restored_copy_sends_nothing_twice(shop: Path, tmp_path: Path) -> None:
    """Copied before the timers, run on, restored: held; what the log says was sent is settled, the rest goes by workflow."""
    lines: list[dict[str, Any]] = []
    for number in range(PEOPLE):
        lines.append({"type": "identify", "userId": f"p{number}", "traits": {"email": f"p{number}@shop.example"}})
        lines.append({"type": "track", "userId": f"p{number}", "event": "Left"})
        lines.append({"type": "track", "userId": f"p{number}", "event": "Came"})
    var, kept = shop / "var", tmp_path / "kept"
    running = Running(shop)
    try:
        assert running.post(*lines) == 200
        _copy(var, kept)  # nothing has left yet
        wait_for(lambda: len(_mails(var)) == 2 * PEOPLE, "all of it is sent")
    finally:
        running.stop()
    sent = _mails(var)
    shutil.rmtree(var)
    kept.rename(var)

    held = Running(shop, arguments=("--hold",))
    try:
        time.sleep(SETTLE_SECONDS)
        assert _mails(var) == Counter()
        assert [each["reason"] for each in held.get("/readyz")["degraded"]] == ["held"]
        rows = {row["workflow"]: row for row in anlass("held", "--json", "--project", shop).lines}
        assert {name: row["due"] for name, row in rows.items()} == {"later": PEOPLE, "remind": PEOPLE}
        log = tmp_path / "provider.csv"
        known = sorted(sent)[: PEOPLE // 2]
        log.write_text("message_id,event\n" + "".join(f"<{each}@shop.example>,delivered\n" for each in known))
        assert anlass("held", "sent", log, "--project", shop).status == 0
        assert anlass("held", "drop", "later", "--project", shop).status == 0
        assert anlass("held", "release", "--all", "--project", shop).status == 0
        time.sleep(SETTLE_SECONDS)
        again = _mails(var)
        assert not set(again) & set(known)
        assert 0 < len(again) <= PEOPLE
        assert anlass("held", "--project", shop).out == "Nothing waits.\n"
    finally:
        held.stop()
    assert [line["act"] for line in anlass("audit", "list", "--json", "--project", shop).lines] == [
        "settle",
        "drop",
        "release",
    ]


def test_a_pause_before_the_start_of_a_restored_copy_suppresses_nothing(shop: Path) -> None:
    """What the guide said before `--hold`: it held 300 of 300 back for good."""
    events = (
        {"type": "identify", "userId": "p", "traits": {"email": "p@shop.example"}},
        {"type": "track", "userId": "p", "event": "Left"},
    )
    running = Running(shop)
    try:
        assert running.post(*events) == 200
    finally:
        running.stop()
    time.sleep(SETTLE_SECONDS)  # the timer comes due while nothing runs
    assert anlass("pause", "remind", "--project", shop).status == 0
    running = Running(shop)
    try:
        time.sleep(SETTLE_SECONDS)
        assert _mails(shop / "var") == Counter()
        assert anlass("resume", "remind", "--project", shop).status == 0
        wait_for(lambda: len(_mails(shop / "var")) == 1, "what the pause held leaves")
    finally:
        running.stop()
