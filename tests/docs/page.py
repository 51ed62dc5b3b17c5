"""Reads a page of the documentation, and does what it says: saves its files, runs its commands, compares what they print.

Invariant: nothing on a page is skipped in silence. A command that is not run (a demo of half a minute, say) is checked to exist.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "marketers").glob("*.md")),
    *sorted((ROOT / "docs" / "shops").glob("*.md")),
    *sorted((ROOT / "docs" / "operators").glob("*.md")),
    ROOT / "docs" / "adapter-authors.md",
]
WRITTEN_URL = "127.0.0.1:8080"
WRITTEN_OPERATORS = "127.0.0.1:8081"
START_SECONDS_MAX = 60.0
COMMAND_SECONDS_MAX = 60.0
SETTLE_SECONDS_MAX = 20.0
"""How long a page may be ahead of the service: a message takes a moment to be sent."""
_FENCE = re.compile(r"^```(\w*)\s*$")
_FILE = re.compile(r"`([\w./-]+/[\w.-]+\.\w+)`")
_READS = ("anlass show", "anlass replay", "curl -s http", "anlass export")


class Block(NamedTuple):
    """A fenced block: its language, its text, the line it starts at, and the file it says it is ("" when none)."""

    language: str
    text: str
    line: int
    file: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order. The paragraph before one may name the file to save it as."""
    found: list[Block] = []
    fence, start, language, before = False, 0, "", ""
    lines = page.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        match = _FENCE.match(line)
        if fence and line.rstrip() == "```":
            named = _FILE.findall(before) if before.endswith(":") or "Save this" in before else []
            found.append(Block(language, "\n".join(lines[start : number - 1]) + "\n", start, named[0] if named else ""))
            fence, before = False, ""
        elif not fence and match is not None:
            fence, start, language = True, number, match[1]
        elif not fence:
            # A paragraph, joined: what names the file may stand some lines above.
            paragraph = line.strip()
            ended = not paragraph and number < len(lines) and not lines[number].startswith("```")
            before = "" if ended else f"{before} {paragraph}".strip()
    assert not fence, f"{page}: the block that starts in line {start} is not closed"
    return found


def commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """(command, the lines that it is said to print) of a console block."""
    command = ""
    printed: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, printed
            command, printed = line[2:], []
        elif command.endswith("\\"):
            command = f"{command[:-1].rstrip()} {line.strip()}"
        elif line.strip():
            printed.append(line)
    if command:
        yield command, printed


def missing(expected: list[str], actual: str) -> str:
    """The first expected line that is not printed where it should be, "" when all are there in this order.

    Space counts as one blank, and `…` stands for anything.
    """
    lines = iter(actual.splitlines())
    for line in expected:
        words = " ".join(line.split())
        pattern = re.compile(".*".join(map(re.escape, words.split("…"))))
        if words != "…" and not any(pattern.fullmatch(" ".join(found.split())) for found in lines):
            return line
    return ""


class Session:
    """One reader at a terminal: a folder, and perhaps a service that runs in another one."""

    def __init__(self, folder: Path) -> None:
        """Makes `anlass` a command, beside what the machine has."""
        self.folder = folder
        self._service: subprocess.Popen[bytes] | None = None
        self._addresses: dict[str, str] = {}
        """What a page says → where it is here."""
        shim = folder / ".bin" / "anlass"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m engine.cli "$@"\n', "utf-8")
        shim.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANLASS_")}
        self._environment = {
            **kept, "PATH": f"{shim.parent}:{os.environ['PATH']}", "COLUMNS": "220", "LINES": "50", "NO_COLOR": "1",
        }  # fmt: skip

    def save(self, block: Block) -> None:
        """Writes the file that a block says it is."""
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")

    def do(self, command: str, expected: list[str]) -> None:
        """Does what one line of a console says; AssertionError when it fails, or prints something else."""
        words = shlex.split(command)
        if words[0] == "make":
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
            assert words[1] in targets, f"there is no `{command}`"
        elif words[:2] == ["docker", "compose"]:
            files = [words[at + 1] for at, word in enumerate(words) if word == "-f"] or ["docker-compose.yml"]
            assert all((ROOT / file).is_file() for file in files), f"{files} are not all there"
        elif words[:2] == ["pip", "install"]:
            named = re.fullmatch(r"\.(?:\[([a-z,]+)\])?", words[2])
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
            asked = set(filter(None, (named[1] or "").split(","))) if named else {words[2]}
            assert asked <= extras.keys(), f"nobody can install {words[2]}"
        elif words[0] == "cd":
            self.folder = (self.folder / words[1]).resolve()
        elif "run" in words and words[words.index("run") - 1] == "anlass":
            self._start(command)
        elif words[0] == "kill":
            self.stop()
        else:
            self._run(command, expected)

    def _run(self, command: str, expected: list[str]) -> None:
        if WRITTEN_URL in command or WRITTEN_OPERATORS in command:
            if shutil.which("curl") is None:
                raise FileNotFoundError("curl")
            self.prepare()
            for written, address in self._addresses.items():
                command = command.replace(written, address)
        deadline = time.monotonic() + (
            SETTLE_SECONDS_MAX if command.startswith(_READS) and " -d " not in command else 0
        )
        while True:
            done = subprocess.run(
                ["/bin/sh", "-c", command], cwd=self.folder, env=self._environment, stdout=subprocess.PIPE, text=True,
                stderr=subprocess.STDOUT, timeout=COMMAND_SECONDS_MAX, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            printed = done.stdout
            for written, address in self._addresses.items():
                printed = printed.replace(address, written)
            lacking = missing(expected, printed)
            if (not lacking and done.returncode == 0) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        assert done.returncode == 0, f"`{command}` ended with {done.returncode}:\n{printed}"
        assert not lacking, f"`{command}` does not print `{lacking}` there, but:\n{printed}"

    def prepare(self) -> None:
        """For a page that starts in a running project: makes one, and starts it, unless the page did."""
        if self._service is None:
            if not (self.folder / "workflows").is_dir():
                self._run("anlass init shop", [])
                self.folder /= "shop"
            self._start("anlass run")

    def _start(self, command: str) -> None:
        self.stop()
        with (self.folder.parent / "run.log").open("ab") as log:
            self._service = subprocess.Popen(
                ["/bin/sh", "-c", f"exec env ANLASS_COLLECTOR__PORT=0 ANLASS_CONSOLE__PORT=0 {command}"], cwd=self.folder,
                env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        words = shlex.split(command)
        project = self.folder / words[words.index("--project") + 1] if "--project" in words else self.folder
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self._service.poll() is None:
            try:
                running = json.loads((project / "var" / "running.json").read_text("utf-8"))
                self._addresses = {
                    WRITTEN_URL: str(running["collector"]).removeprefix("http://"),
                    WRITTEN_OPERATORS: str(running["operators"]).removeprefix("http://"),
                }
            except (OSError, ValueError, KeyError):
                time.sleep(0.05)
            else:
                return
        raise AssertionError((self.folder.parent / "run.log").read_text("utf-8"))

    def stop(self) -> None:
        """Ends the service, if one runs, and expects it to end well."""
        if self._service is not None:
            service, self._service = self._service, None
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0, (self.folder.parent / "run.log").read_text("utf-8")
