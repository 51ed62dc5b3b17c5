"""Starts the processes of a scenario (engine, sink) and reads what they cost.

Invariant: every process started here is ended here, by its own number, whatever the scenario does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from benchmarks import smtp_sink

ROOT = Path(__file__).resolve().parent.parent
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """User and system time a process has used so far, its threads included (resolution 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def rss_mb(pid: int | str) -> float:
    """Memory a process has resident now, in MB (10^6 bytes)."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE_BYTES / 1e6


def rss_peak_mb(pid: int) -> float:
    """The most memory a process ever had resident, in MB (10^6 bytes)."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


class Sink:
    """The recording SMTP sink as a process of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def stats(self) -> dict[str, Any]:
        """Its counts until now."""
        return smtp_sink.stats("127.0.0.1", self.port)


@contextlib.contextmanager
def sink(*, journal: Path | None = None, expect: Path | None = None) -> Iterator[Sink]:
    """A running sink; `journal` and `expect` as on its command line."""
    command = [sys.executable, "-m", "benchmarks.smtp_sink", "--port", "0"]
    command += ["--journal", str(journal)] if journal else []
    command += ["--expect", str(expect)] if expect else []
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Sink(process, json.loads(process.stdout.readline())["listening"])
    finally:
        process.terminate()
        process.wait(10)


class RunningEngine:
    """A running `anlass run`."""

    def __init__(self, process: subprocess.Popen[str], url: str, *, started_s: float, ready_seconds: float) -> None:
        self.process = process
        self.pid = process.pid
        self.url = url
        self.started_s = started_s
        self.ready_seconds = ready_seconds

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def engine_environment(*, port: int, smtp_port: int, connections: int = 20) -> dict[str, str]:
    """The environment of an engine that listens on `port` and sends to the sink."""
    settings = {
        "ANLASS_COLLECTOR__PORT": str(port),
        "ANLASS_CONSOLE__PORT": "0",
        "ANLASS_EMAIL__HOST": "127.0.0.1",
        "ANLASS_EMAIL__PORT": str(smtp_port),
        "ANLASS_EMAIL__CONNECTIONS": str(connections),
    }
    return {**{name: value for name, value in os.environ.items() if not name.startswith("ANLASS_")}, **settings}


def start_engine(
    project: Path, environment: dict[str, str], *, log: IO[str] | None = None, module: str = "engine.cli"
) -> RunningEngine:
    """Starts `anlass run` and returns when it takes events. Raises RuntimeError with its last words when it ends before."""
    with tempfile.TemporaryFile("w+") as words:
        started_s, start = time.time(), time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", module, "run", "--project", str(project)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log or words, text=True,
        )  # fmt: skip
        url = wait_until_ready(process.stdout)
        if not url:
            process.wait(10)
            words.seek(0)
            raise RuntimeError(f"anlass run ended with {process.returncode}: {words.read()[-2000:]}")
    return RunningEngine(process, url, started_s=started_s, ready_seconds=time.perf_counter() - start)


def wait_until_ready(stdout: IO[str] | None) -> str:
    """Reads what `anlass run` prints up to the line with its address; "" when it ends before."""
    assert stdout is not None
    url = ""
    for line in stdout:
        if line.strip().startswith("events "):
            url = line.split()[1].removesuffix("/v1/track")
        if line.startswith("Ctrl-C"):
            break
    return url
