"""SIGKILL at fifty-odd random moments under load: nothing is lost, nothing is decided twice, and what is unknown is counted.

Invariant: the engine is the real `anlass run` in a process of its own, the mail server too; the account is worked out without
the evaluator (`benchmarks.account`), and has to find the faults that are planted in it.
"""

import json
import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.account import Account, Expected, audit
from benchmarks.killing import make_project, run_kill_loop
from benchmarks.processes import engine_environment, free_port, sink, start_engine

pytestmark = [pytest.mark.kill, pytest.mark.slow, pytest.mark.timeout(400)]

KILLS_WARM = 46
KILLS_COLD = 6
FIRST_DISPATCH_SECONDS_MAX = 10.0  # generous: other tests have the machine too; the benchmark says what it takes


def test_fifty_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    """Every answered event led to its decisions once, every message arrived once or is known to be unknown."""
    seed = random.SystemRandom().randrange(2**32)
    account = run_kill_loop(tmp_path, kills=KILLS_WARM, cold_kills=KILLS_COLD, seed=seed)
    told = f"seed {seed}: {account}"
    assert not account.wrong, told
    assert account.kills == KILLS_WARM + KILLS_COLD
    assert account.messages > account.kills, f"too little load to prove anything: {told}"
    assert account.posts > account.events, f"no event was ever repeated: {told}"
    assert account.unknown + account.resent > 0, f"no kill ever met a send under way: {told}"
    first = [*account.first_dispatch_seconds, *account.warm_dispatch_seconds]
    assert first, told
    assert max(first) < FIRST_DISPATCH_SECONDS_MAX, told


def _ledger(database: Path, *statements: str) -> None:
    connection = sqlite3.connect(database)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


FAULTS = {
    "a lost decision": ("DELETE FROM journal WHERE kind = 'entered' AND workflow = 'receipt'", "entered: 1 lost"),
    "a second decision": (
        """INSERT INTO journal SELECT seq + 1000, log_seq, at_ms, customer, workflow, kind, enrollment, message, decision
        FROM journal WHERE kind = 'send'""",
        "send: 1 more than once",
    ),
    "a lost message": ("DELETE FROM ledger", "ledger: 1 lost"),
    "an unknown one that should be resent": ("UPDATE ledger SET status = 'unknown'", "stayed unknown"),
    "one that never ended": ("UPDATE ledger SET status = 'pending'", "pending after 0 resends"),
    "a dead letter": (
        "INSERT INTO dead_letters (at_ms, origin, reason, customer, body) VALUES (1, 'log', 'x', 'c1', '')",
        "1 dead letters",
    ),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    """The database of an engine that took one order and sent its receipt, and what is expected of that."""
    import time
    import urllib.request

    folder = tmp_path_factory.mktemp("finished")
    project = make_project(folder / "project")
    expected = Expected()
    expected.send("receipt/c1/o1", marketing=False)
    events = (
        {"type": "identify", "userId": "c1", "messageId": "1", "traits": {"email": "c1@example.com"}},
        {"type": "track", "userId": "c1", "messageId": "2", "event": "Order Paid", "properties": {"order": "o1"}},
    )
    with sink() as receiver:
        engine = start_engine(project, engine_environment(port=free_port(), smtp_port=receiver.port))
        try:
            body = json.dumps({"batch": events}).encode()
            urllib.request.urlopen(f"{engine.url}/v1/batch", body, timeout=10).close()  # noqa: S310 - our own process
            deadline = time.monotonic() + 10
            while not receiver.stats()["messages"] and time.monotonic() < deadline:
                time.sleep(0.02)
            assert engine.stop() == 0
        finally:
            engine.kill()
    return project / "var" / "anlass.db", expected


def _copy(database: Path, folder: Path) -> Path:
    copy = folder / "anlass.db"
    with sqlite3.connect(database) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    return copy


def _arrived(expected: Expected, count: int = 1) -> Counter[str]:
    return Counter(dict.fromkeys(expected.transactional, count))


def test_a_sound_account_is_found_sound(finished: tuple[Path, Expected], tmp_path: Path) -> None:
    """Without a fault there is nothing to say."""
    database, expected = finished
    account = Account(kills=1)
    audit(account, expected, database=_copy(database, tmp_path), arrived=_arrived(expected))
    assert account.wrong == []


@pytest.mark.parametrize("fault", FAULTS)
def test_the_account_finds_a_planted_fault(finished: tuple[Path, Expected], tmp_path: Path, fault: str) -> None:
    """An account that could not fail would prove nothing: each kind of damage is told."""
    database, expected = finished
    statement, said = FAULTS[fault]
    copy, account = _copy(database, tmp_path), Account(kills=1)
    _ledger(copy, statement)
    audit(account, expected, database=copy, arrived=_arrived(expected))
    assert any(said in line for line in account.wrong), account.wrong


@pytest.mark.parametrize("count", [0, 2])
def test_the_account_finds_mail_that_is_missing_or_came_twice(
    finished: tuple[Path, Expected], tmp_path: Path, count: int
) -> None:
    """A message that is `sent` and was never resent has arrived exactly once."""
    database, expected = finished
    account = Account(kills=1)
    audit(account, expected, database=_copy(database, tmp_path), arrived=_arrived(expected, count))
    assert [line for line in account.wrong if f"arrived {count} times" in line]
