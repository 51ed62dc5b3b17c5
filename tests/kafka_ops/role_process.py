"""Roles as real processes on the shared broker, each with a project and an environment of the test's own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 45.0
_URL = re.compile(r"(http://[^\s/]+)/readyz")
_EVENTS = re.compile(r"(http://[^\s/]+)/v1/track")
_METRIC = re.compile(r"^(\w+)(?:\{([^}]*)\})? ([-+.\deE]+)$", re.MULTILINE)


def environment(bootstrap: str, prefix: str, **more: str) -> dict[str, str]:
    """What a role is started with; nothing of the developer's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANLASS_", "OTEL_"))}
    return {**kept, "ANLASS_KAFKA": bootstrap, "ANLASS_KAFKA__PREFIX": prefix, "ANLASS_CONSOLE__PORT": "0", **more}


def command(*arguments: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs `anlass ARGUMENTS` in a project, to its end."""
    words = [sys.executable, "-m", "engine.cli", *arguments]
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False)


class RoleProcess:
    """`anlass NAME …`, from `start` on."""

    def __init__(self, name: str, *arguments: str, folder: Path, env: dict[str, str], log: Path) -> None:
        self.name = name
        self._log = log
        self._out = log.with_suffix(".out")
        words = [sys.executable, "-m", "engine.cli", name, *arguments]
        with self._out.open("wb") as out, log.open("wb") as err:
            self.process = subprocess.Popen(words, cwd=folder, env=env, stdout=out, stderr=err)
        self.url = ""
        """Where events are taken, or else as `operators_url`."""
        self.operators_url = ""

    async def ready(self) -> None:
        """Returns when `/readyz` says so."""
        deadline = time.monotonic() + START_SECONDS_MAX
        said = ""
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"{self.name} ended:\n{self.printed}{self.log}"
            found = _URL.search(self.printed)
            if found:
                self.operators_url = found[1]
                public = _EVENTS.search(self.printed)
                self.url = public[1] if public else found[1]
                said = await asyncio.to_thread(self._get, "/readyz")
                if '"ready"' in said or '"ok"' in said:
                    return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{self.name} did not become ready: {said}\n{self.log}")

    def _get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"{self.operators_url}{path}", timeout=20) as answer:  # noqa: S310 - our own
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()

    async def metrics(self) -> dict[str, float]:
        """`name{labels}` → value."""
        page = await asyncio.to_thread(self._get, "/metrics")
        return {
            f"{name}{{{labels}}}" if labels else name: float(value) for name, labels, value in _METRIC.findall(page)
        }

    async def owned(self) -> int:
        """Partitions that it works on."""
        return int((await self.metrics()).get('anlass_partitions{share="owned"}', 0))

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends the signal; the status that it ends with."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, STOP_SECONDS_MAX)

    @property
    def printed(self) -> str:
        """Standard output."""
        return self._out.read_text()

    @property
    def log(self) -> str:
        """Standard error."""
        return self._log.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log; fails where a line is not JSON."""
        return [json.loads(line) for line in self.log.splitlines()]
