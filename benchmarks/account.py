"""What must have come of the events of the kill loop, and the comparison with what is stored and what arrived.

Invariant: what is expected follows from what was sent and answered, by the documents and not by our evaluator: ids are
`workflow/customer/key` and `sha256(enrollment:step:occurrence)[:32]`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CONNECTIONS = 20
"""SMTP connections, and as many messages as the dispatcher has under way at most."""


@dataclass
class Expected:
    """What must have come of the events that were answered with 200."""

    enrollments: set[str] = field(default_factory=set)
    marketing: set[str] = field(default_factory=set)
    transactional: set[str] = field(default_factory=set)
    event_ids: set[str] = field(default_factory=set)
    exits: int = 0

    def send(self, enrollment: str, *, marketing: bool) -> None:
        """An enrollment that sends one message, which is named by it here: its id is salted with when its customer was seen."""
        self.enrollments.add(enrollment)
        (self.marketing if marketing else self.transactional).add(enrollment)


@dataclass
class Account:
    """How it ended. `wrong` is empty when every promise was kept."""

    kills: int = 0
    events: int = 0
    posts: int = 0
    messages: int = 0
    unknown: int = 0
    resent: int = 0
    arrived_twice: int = 0
    claimed_max: int = 0
    """Most messages that were under way at one kill."""
    ready_seconds: list[float] = field(default_factory=list)
    first_dispatch_seconds: list[float] = field(default_factory=list)
    """From the start of the process to the first mail the sink took: cold starts."""
    warm_dispatch_seconds: list[float] = field(default_factory=list)
    """The same for starts that found everything imported."""
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


@contextlib.contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """The database, for reading only."""
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
        yield connection


def audit(account: Account, expected: Expected, *, database: Path, arrived: Counter[str]) -> None:
    """Compares what is stored and what arrived with what is expected; every difference becomes a line of `wrong`."""
    wrong = account.wrong
    with opened(database) as connection:
        integrity = connection.execute("PRAGMA integrity_check").fetchall()
        journal = connection.execute("SELECT kind, enrollment, message FROM journal").fetchall()
        names = {message: enrollment for kind, enrollment, message in journal if kind == "send"}
        rows = connection.execute("SELECT message, status, resends FROM ledger").fetchall()
        letters = connection.execute("SELECT count(*) FROM dead_letters").fetchone()[0]
    if integrity != [("ok",)]:
        wrong.append(f"integrity_check: {integrity[:3]}")
    if letters:
        wrong.append(f"{letters} dead letters")
    ledger = {names.get(row[0], row[0]): row[1:] for row in rows}
    came = Counter[str]()
    for message, count in arrived.items():
        came[names.get(message, message)] += count
    messages = expected.marketing | expected.transactional
    entered = Counter(enrollment for kind, enrollment, _ in journal if kind == "entered")
    decided = Counter(enrollment for kind, enrollment, _ in journal if kind == "send")
    wrong += _differences("entered", entered, expected.enrollments)
    wrong += _differences("send", decided, messages)
    wrong += _differences("ledger", Counter(names.get(row[0], row[0]) for row in rows), messages)
    exits = sum(kind == "exited" for kind, _, _ in journal)
    if exits != expected.exits:
        wrong.append(f"{exits} exits, {expected.exits} expected")
    if stray := came.keys() - messages:
        wrong.append(f"{len(stray)} messages arrived that nobody decided: {sorted(stray)[:3]}")
    account.messages = len(messages)
    for message, (status, resends) in ledger.items():
        count = came[message]
        account.unknown += status == "unknown"
        account.resent += resends > 0
        account.arrived_twice += count > 1
        # A resend may find that the first one had arrived; a marketing mail whose fate is unknown came once or not.
        least, most = (0, 1) if status == "unknown" else (1, 1 + resends)
        if status not in {"sent", "unknown"} or not least <= count <= most:
            wrong.append(f"{message}: {status} after {resends} resends, arrived {count} times")
        if message in expected.marketing and resends:
            wrong.append(f"{message}: marketing was resent")
        if message in expected.transactional and status == "unknown":
            wrong.append(f"{message}: transactional stayed unknown")
    if account.claimed_max > CONNECTIONS or account.unknown > account.kills * CONNECTIONS:
        wrong.append(f"{account.claimed_max} under way at one kill, {account.unknown} unknown in all")


def _differences(what: str, found: Counter[str], expected: set[str]) -> list[str]:
    lines = []
    if lost := expected - found.keys():
        lines.append(f"{what}: {len(lost)} lost: {sorted(lost)[:3]}")
    if more := found.keys() - expected:
        lines.append(f"{what}: {len(more)} that nobody expected: {sorted(more)[:3]}")
    if twice := [name for name, count in found.items() if count > 1]:
        lines.append(f"{what}: {len(twice)} more than once: {twice[:3]}")
    return lines
