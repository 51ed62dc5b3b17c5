"""Real processes and sockets: `anlass run` on a project of the test's, and a mail server in a thread that misbehaves.

Invariant: whatever a test started has ended when it returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.channels.conftest import Faults, SmtpDouble
from tests.cli.conftest import free_port, project, run, scaffold
from tests.collector.conftest import collector, intake_topics, runtime, settings

__all__ = [
    "MailServer",
    "collector",
    "intake_topics",
    "mail_server",
    "messages",
    "project",
    "rows",
    "run",
    "runtime",
    "scaffold",
    "settings",
]


class MailServer:
    """`SmtpDouble` in a thread of its own, beside processes that a test waits for."""

    def __init__(self) -> None:
        self.double = SmtpDouble(port=free_port())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._up = False

    @property
    def env(self) -> dict[str, str]:
        """The settings that lead to it."""
        return {"ANLASS_EMAIL__HOST": "127.0.0.1", "ANLASS_EMAIL__PORT": str(self.double.port)}

    @property
    def recipients(self) -> list[str]:
        """To whom a mail was accepted, in order."""
        return [accepted.recipients[0] for accepted in self.double.accepted]

    def up(self, **faults: Any) -> MailServer:
        """Listens; what goes wrong is what `Faults` names."""
        self.double.faults = Faults(**faults)
        if not self._up:
            self._call(self.double.start())
        self._up = True
        return self

    def down(self) -> None:
        """Nobody listens any more, and all connections are cut."""
        if self._up:
            self._call(self.double.stop())
        self._up = False

    def end(self) -> None:
        """Ends the thread too."""
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)


@pytest.fixture
def mail_server() -> Iterator[Callable[[], MailServer]]:
    """Builds mail servers, not listening yet; all are ended afterwards."""
    built: list[MailServer] = []

    def build() -> MailServer:
        built.append(MailServer())
        return built[-1]

    yield build
    for server in built:
        server.end()


def rows(project: Path, question: str) -> list[dict[str, Any]]:
    """What the store answers, read beside the process that has it."""
    with contextlib.closing(sqlite3.connect(f"file:{project}/var/anlass.db?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(question)]


def messages(project: Path) -> dict[str, tuple[str, str]]:
    """(status, code) of each customer's newest message."""
    return {
        row["customer"]: (row["status"], row["code"]) for row in rows(project, "SELECT * FROM ledger ORDER BY number")
    }
