"""A disk that fills up below a running engine, for real: a small file system of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Running, anlass, signed_up, wait_for
from tests.faults.conftest import MailServer, messages, rows


def mount(*arguments: str) -> bool:
    """Whether `mount` did it."""
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(outside: None, project: Path) -> Iterator[Callable[[str], bool]]:
    """`var/` on three megabytes; call it with another size to make room."""
    var = project / "var"
    var.mkdir()
    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", str(var)):
        pytest.skip(
            "mounting a small disk needs root (in a container: --privileged); others are covered by max_page_count"
        )
    yield lambda size: mount("-o", f"remount,size={size}", str(var))
    subprocess.run(["umount", "-l", str(var)], check=True)


def post(running: Running, *events: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """(status, answer)."""
    request = urllib.request.Request(f"{running.url}/v1/batch", json.dumps({"batch": events}).encode())  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_intake_stops_and_goes_on(
    run: Callable[..., Running], project: Path, mail_server: Callable[[], MailServer], small_disk: Callable[[str], bool]
) -> None:
    """503 in JSON while there is no room; what was taken before is sent once; a command is kept; all goes on with room."""
    server = mail_server().up()
    running = run(server.env)
    taken: list[str] = []
    for number in range(400):
        large = {"type": "track", "userId": f"c{number}", "event": "Large", "messageId": f"l{number}"}
        status, answer = post(
            running, *signed_up(f"c{number}"), {**large, "properties": {"x": os.urandom(4_000).hex()}}
        )
        if status != 200:
            break
        taken.append(f"c{number}")
    assert (status, answer["code"]) == (503, "storage_full")
    assert "send it again" in answer["message"]
    assert running.get("/healthz") == {"status": "ok"}
    shown = anlass("show", "customer", taken[0], "--project", project)  # what cannot be noted is not shown
    assert (shown.status, "Traceback" in shown.err) == (1, False), shown.err

    assert small_disk("60m")
    wait_for(lambda: post(running, *signed_up("late"))[0] == 200, "room")
    everybody = {*taken, "late"}
    wait_for(lambda: {who for who, (end, _) in messages(project).items() if end == "sent"} >= everybody, "all mails")
    received = server.recipients
    assert len(received) == len(set(received)), "somebody got two"
    assert rows(project, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert running.stop() == 0
    assert "Traceback" not in running.log


def test_a_start_without_room_is_one_sentence(project: Path, small_disk: Callable[[str], bool]) -> None:
    """Status 1, what is wrong and the mend; it is not our mistake."""
    assert small_disk("64k")
    with contextlib.suppress(OSError):
        (project / "var/ballast").write_bytes(b"x" * 100_000)
    refused = anlass("run", "--project", project)
    assert refused.status == 1
    assert "mistake" not in refused.err
    assert "room" in refused.err
