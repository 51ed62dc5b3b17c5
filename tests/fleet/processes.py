"""Roles as real processes on a real broker, for tests: started with their settings in the environment, ended by pid.

Invariant: every process that was started is ended, and what it said is in a file.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0


class Process:
    """One role. `url` is where it says how it is."""

    def __init__(self, role: str, project: Path, *, log: Path, settings: Mapping[str, str]) -> None:
        self.role = role
        self._log = log
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANLASS_")}
        command = [sys.executable, "-m", "engine.cli", role, "--project", str(project), "--wait", "30"]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env={**environment, **settings}
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def said(self) -> str:
        """Everything it wrote."""
        return self._log.read_text("utf-8", errors="replace")

    @property
    def url(self) -> str:
        """Waits until it says where it says how it is: its operators' port."""
        return self._told(r"health +(http://[^/\s]+)/healthz")

    @property
    def events_url(self) -> str:
        """Waits until a collector says where it takes events."""
        return self._told(r"events +(http://[^/\s]+)/v1/track")

    def _told(self, pattern: str) -> str:
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            found = re.findall(pattern, self.said)
            if found:
                return str(found[-1])
            assert self._process.poll() is None, f"{self.role} ended: {self.said[-2_000:]}"
            time.sleep(0.05)
        raise AssertionError(f"{self.role} does not start: {self.said[-2_000:]}")

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of its pages."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:  # noqa: S310 - our own server
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_ready(self) -> None:
        """Until `/readyz` says 200."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while (answer := self.get("/readyz"))[0] != 200:
            assert time.monotonic() < deadline, f"{self.role} is not ready: {answer} {self.said[-2_000:]}"
            time.sleep(0.1)

    def send_signal(self, number: int) -> None:
        """SIGKILL, SIGSTOP and their like."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit status."""
        return self._process.wait(STOP_SECONDS_MAX)

    def end(self) -> None:
        """SIGTERM, and SIGKILL when that does not help. Idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_SECONDS_MAX)


class Fleet:
    """Processes of one cluster and project; each has a folder of its own for its copies."""

    def __init__(self, project: Path, folder: Path, *, bootstrap: str, prefix: str, partitions: int) -> None:
        self.project = project
        self._folder = folder
        self._count = 0
        self.settings = {
            "ANLASS_KAFKA": bootstrap,
            "ANLASS_KAFKA__PREFIX": prefix,
            "ANLASS_KAFKA__PARTITIONS": str(partitions),
            "ANLASS_COLLECTOR__SECRET": "s" * 32,
            "ANLASS_COLLECTOR__PORT": "0",
            "ANLASS_CONSOLE__PORT": "0",
        }
        self.processes: list[Process] = []

    def start(self, role: str, **settings: str) -> Process:
        """A further process of a role; it is on its way when this returns."""
        self._count += 1
        log = self._folder / f"{role}-{self._count}.log"
        more = {f"ANLASS_{name}": value for name, value in settings.items()}
        process = Process(role, self.project, log=log, settings={**self.settings, **more})
        self.processes.append(process)
        return process

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs `anlass …` to its end; `settings` as in `start`."""
        more = {f"ANLASS_{name}": value for name, value in settings.items()}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANLASS_")}
        return subprocess.run(
            [sys.executable, "-m", "engine.cli", *arguments],
            env={**environment, **self.settings, **more},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def deploy(self, *more: str) -> str:
        """`anlass deploy`; what it said. Fails with it."""
        done = self.command("deploy", str(self.project), *more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextlib.contextmanager
def fleet(project: Path, folder: Path, *, bootstrap: str, prefix: str, partitions: int) -> Iterator[Fleet]:
    """Ends everything that was started."""
    made = Fleet(project, folder, bootstrap=bootstrap, prefix=prefix, partitions=partitions)
    try:
        yield made
    finally:
        for process in made.processes:
            process.end()
