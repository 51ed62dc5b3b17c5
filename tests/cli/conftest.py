"""Projects in temporary folders, and the real command line in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

START_SECONDS_MAX = 60.0
WAIT_SECONDS_MAX = 30.0
EVENTS = (
    '{"type": "identify", "userId": "%s", "traits": {"email": "%s@shop.example", "consent": {"marketing": ["email"]}}}'
)


def _environment(more: dict[str, str] | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANLASS_")}
    return {**kept, "ANLASS_COLLECTOR__PORT": "0", "ANLASS_CONSOLE__PORT": "0", **(more or {})}


class Outcome:
    """What a command printed and how it ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.status = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    @property
    def lines(self) -> list[Any]:
        """The output as JSON, line by line."""
        return [json.loads(line) for line in self.out.splitlines()]


def anlass(
    *arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, stdin: str = ""
) -> Outcome:
    """Runs `anlass ARGUMENTS` and returns what came of it."""
    command = [sys.executable, "-m", "engine.cli", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=_environment(env), input=stdin, timeout=100, check=False
    )
    return Outcome(done)


class Running:
    """`anlass run` as a process."""

    def __init__(self, project: Path, env: dict[str, str] | None = None, *, arguments: tuple[str, ...] = ()) -> None:
        self.project = project
        self._log = (project / "run.log").open("ab")
        command = [sys.executable, "-m", "engine.cli", "run", "--project", str(project), *arguments]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=_environment(env))
        self.url, self.operators_url = self._wait_for_urls()

    def _wait_for_urls(self) -> tuple[str, str]:
        file = self.project / "var" / "running.json"
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                running = json.loads(file.read_text())
            except (FileNotFoundError, ValueError):
                running = {}
            if running.get("pid") == self.process.pid:
                return str(running["collector"]), str(running["operators"])
            time.sleep(0.05)
        raise AssertionError(f"it did not start:\n{self.log}")

    @property
    def log(self) -> str:
        return (self.project / "run.log").read_text()

    def post(self, *events: dict[str, Any]) -> int:
        """Sends events as one batch; the status."""
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.url}/v1/batch", json.dumps({"batch": events}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return int(answer.status)

    def get(self, path: str) -> Any:
        """The JSON of an operators' page."""
        with urllib.request.urlopen(f"{self.operators_url}{path}", timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read())

    def mailbox(self) -> list[dict[str, Any]]:
        """What is in the local mailbox, newest first."""
        messages: list[dict[str, Any]] = self.get("/mailbox.json")["messages"]
        return messages

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends the signal and waits for the end; the status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(30)
        finally:
            self._log.close()


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Asks until the answer is true."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"never happened: {what}")


def signed_up(customer: str) -> list[dict[str, Any]]:
    """The events of somebody who agrees to advertising and signs up; with ids, so that sending them twice is harmless."""
    traits = {"email": f"{customer}@shop.example", "first_name": customer.title(), "consent": {"marketing": ["email"]}}
    return [
        {"type": "identify", "userId": customer, "messageId": f"i-{customer}", "traits": traits},
        {"type": "track", "userId": customer, "messageId": f"s-{customer}", "event": "Signed Up"},
    ]


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="session")
def scaffold(commands: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `anlass init` makes, once."""
    folder = tmp_path_factory.mktemp("scaffold") / "shop"
    made = anlass("init", folder)
    assert made.status == 0, made.err
    return folder


@pytest.fixture
def project(scaffold: Path, tmp_path: Path) -> Path:
    """A fresh project."""
    folder = tmp_path / "shop"
    shutil.copytree(scaffold, folder)
    return folder


@pytest.fixture
def run(project: Path) -> Iterator[Callable[..., Running]]:
    """Starts `anlass run` on the project; whatever still runs is ended afterwards."""
    started: list[Running] = []

    def start(env: dict[str, str] | None = None) -> Running:
        running = Running(project, env)
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop(signal.SIGKILL)
