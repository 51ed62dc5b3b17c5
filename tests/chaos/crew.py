"""The workers and dispatchers of a round: real processes that are killed, frozen, ended and started again.

Invariant: none outlives the process that started it (on Linux the kernel sees to that), and each writes its log to a file.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.services.kafka import LEASH

ROOT = Path(__file__).resolve().parent.parent.parent
STOP_SECONDS_MAX = 40.0
SMTP_CONNECTIONS = 8
"""Of each dispatcher; so many messages may be under way when it is killed."""


class Member:
    """One `anlass worker` (or `dispatcher`) after the other, with one folder and one log."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str], *, role: str = "worker") -> None:
        self.name = name
        self.role = role
        self.log = folder / f"{name}.log"
        self.frozen = False
        self.wanted = False
        """Whether it is meant to run: one that does not run then has ended by itself."""
        self._rows = folder / name
        self._environment = {**environment, "ANLASS_KAFKA__FOLDER": str(self._rows)}
        self._project = folder / "project"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def announced(self) -> bool:
        """Whether it has said that it works, after its last start."""
        return "works on" in self.log.read_text("utf-8", "replace").rpartition("--- started")[2]

    @property
    def status(self) -> int | None:
        """How its last process ended; None: it runs, or never did."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Returns at once. Only from the main thread: the kernel ends it with the thread that started it."""
        assert not self.runs, f"{self.name} runs already"
        command = [sys.executable, "-m", "engine.cli", self.role, "--project", str(self._project), "--wait", "60"]
        if sys.platform == "linux":
            command = [sys.executable, "-S", "-E", "-c", LEASH, str(os.getpid()), *command]
        with self.log.open("ab") as log:
            log.write(f"--- started at {time.time():.3f}\n".encode())
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=dict(self._environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.frozen, self.wanted = False, True

    def kill(self) -> None:
        """SIGKILL, also when it is frozen."""
        self.wanted = False
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.frozen = False

    def lose_disk(self) -> None:
        """Its copy of the rows is gone, as on another machine."""
        shutil.rmtree(self._rows, ignore_errors=True)

    def freeze(self) -> None:
        """SIGSTOP: to the others it looks dead, and it does not know."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process is not None and self.frozen and self.runs:
            self._process.send_signal(signal.SIGCONT)
        self.frozen = False

    def terminate(self) -> None:
        """SIGTERM: it finishes what it took and hands it on. See `ended`."""
        assert self._process is not None
        self.wanted = False
        self._process.send_signal(signal.SIGTERM)

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text("utf-8", "replace")[-3_000:]


def environment_of(
    bootstrap: str, prefix: str, *, partitions: int, session_seconds: float, smtp_port: int = 0
) -> dict[str, str]:
    """The environment of all that is started in a round. Without `smtp_port` nothing can be sent."""
    settings = {
        "ANLASS_KAFKA": bootstrap,
        "ANLASS_KAFKA__PREFIX": prefix,
        "ANLASS_KAFKA__PARTITIONS": str(partitions),
        "ANLASS_KAFKA__SESSION_TIMEOUT_SECONDS": str(session_seconds),
        "ANLASS_EMAIL__HOST": "127.0.0.1" if smtp_port else "",
        "ANLASS_EMAIL__PORT": str(smtp_port or 25),
        "ANLASS_EMAIL__FROM": "shop@example.com",
        "ANLASS_EMAIL__CONNECTIONS": str(SMTP_CONNECTIONS),
        "ANLASS_COLLECTOR__SECRET": "a secret that all workers of the round share",
    }
    return {**{name: value for name, value in os.environ.items() if not name.startswith("ANLASS_")}, **settings}


def deploy(project: Path, environment: Mapping[str, str]) -> None:
    """`anlass deploy`, which also makes the topics. Raises RuntimeError with what it said."""
    command = [sys.executable, "-m", "engine.cli", "deploy", str(project)]
    done = subprocess.run(command, cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"anlass deploy ended with {done.returncode}: {done.stderr or done.stdout}")
