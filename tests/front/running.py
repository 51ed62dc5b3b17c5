"""Starts a command that is `anlass run`, and ends it. Invariant: nothing of a test's process is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

START_SECONDS_MAX = 90.0


def environment(**more: str) -> dict[str, str]:
    """Ours without settings of Anlass or of tracing, any free ports, and what is given beside."""
    ours = ("ANLASS_", "OTEL_", "PYTHONPATH", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "ANLASS_COLLECTOR__PORT": "0", "ANLASS_CONSOLE__PORT": "0", **more}


@contextlib.contextmanager
def running(command: Sequence[str], project: Path, env: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The command in the project's folder, from when it is ready; it says where. SIGTERM has to end it in good order."""
    file = project / "var" / "running.json"
    with (project / "run.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=project, env=dict(env), stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_SECONDS_MAX
            while not file.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert file.exists(), (project / "run.log").read_text()
            where = json.loads(file.read_text("utf-8"))
            with urllib.request.urlopen(f"{where['operators']}/readyz", timeout=30) as answer:  # noqa: S310 - our own address
                assert answer.status == 200
            yield where
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, (project / "run.log").read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def mailbox_within(operators: str, *, seconds: float) -> list[dict[str, Any]]:
    """What lies in the local mailbox, as soon as anything does; empty when nothing came in that time."""
    deadline = time.monotonic() + seconds
    messages: list[dict[str, Any]] = []
    while not messages and time.monotonic() < deadline:
        with urllib.request.urlopen(f"{operators}/mailbox.json", timeout=30) as answer:  # noqa: S310 - our own address
            messages = json.loads(answer.read())["messages"]
        time.sleep(0.05)
    return messages
