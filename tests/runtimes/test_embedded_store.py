"""The file: one process at a time, schemas that move forward, a disk that is full, a file that is damaged."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.core.record import Event
from engine.errors import Backlog, BadRecord, LimitExceeded, StorageBusy, StorageError, StorageFull
from engine.runtimes.base import DeadLetter
from engine.runtimes.embedded import EmbeddedOptions, EmbeddedRuntime
from engine.runtimes.embedded.statements import MIGRATIONS, SQL
from engine.runtimes.embedded.store import Store, is_running, migrate
from tests.conformance.shop import T0, catalog


def event(customer: str, name: str = "Product Added", *, number: int = 0, **properties: Any) -> Event:
    return Event(
        customer=customer, at_ms=T0, id=f"{customer}-{name}-{number}", name=name, time_ms=T0, properties=properties
    )


async def test_a_second_runtime_is_refused_with_a_sentence(open_runtime: Any, var: Path) -> None:
    """The one that has the store is named; the first goes on undisturbed."""
    first = await open_runtime()
    with pytest.raises(StorageBusy, match=r"in use by another process \(pid \d+\).*Stop that one first"):
        await EmbeddedRuntime(var, catalog()).start()
    await first.append([event("a")])
    assert is_running(var)
    await first.stop()
    assert not is_running(var)


def test_another_process_is_refused_too(var: Path) -> None:
    """The lock holds between processes, and goes with the process that had it, however it ended."""
    script = (
        "import sys, time; from pathlib import Path; from engine.runtimes.embedded.store import Store\n"
        "Store(Path(sys.argv[1])).open(); print('open', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(var)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(StorageBusy, match=f"pid {process.pid}"):
            Store(var).open()
    finally:
        process.kill()
        process.communicate()
    store = Store(var)
    store.open()
    store.close()


async def test_a_full_disk_refuses_intake_and_corrupts_nothing(open_runtime: Any) -> None:
    """Nothing of what was refused is there; once there is room, the same records are taken."""
    runtime = await open_runtime()
    await runtime.append([event("a")])
    connection = runtime._store.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 5}")
    taken = refused = 0
    for number in range(60):
        try:
            await runtime.append([event("a", number=number + 1, blob="x" * 2_000)])
            taken += 1
        except StorageFull:
            refused += 1
    assert taken
    assert refused > 30
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT count(*) FROM log").fetchone()[0] == taken + 1
    connection.execute("PRAGMA max_page_count = 1000000")
    await runtime.append([event("b")])
    assert await runtime.state("b") is not None


async def test_timers_wait_for_room_on_the_disk(open_runtime: Any, clock: Any) -> None:
    """A timer that could not be written fires when there is room again."""
    runtime = await open_runtime()
    await runtime.append([event("a")])
    connection = runtime._store.connection
    connection.execute("PRAGMA query_only = 1")  # any write fails from here on
    clock.advance(3_600_000)
    await asyncio.sleep(0.05)
    connection.execute("PRAGMA query_only = 0")
    clock.advance(2_000)
    runtime._loop.wake()
    await runtime.idle()
    state = await runtime.state("a")
    assert state is not None
    assert state.enrollments[0].step == "look"


async def test_too_much_at_once_or_waiting_is_refused_whole(open_runtime: Any) -> None:
    """Bounds on one call and on what waits; nothing of a refused call is taken."""
    runtime = await open_runtime(options=EmbeddedOptions(backlog_max=50, append_records_max=40))
    with pytest.raises(LimitExceeded, match="41 records"):
        await runtime.append([event("a", number=number) for number in range(41)])
    calls = [runtime.append([event("a", number=at * 100 + number) for number in range(20)]) for at in range(5)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None)] * 2 + [Backlog] * 3
    assert runtime.backlog == 0
    assert runtime._store.connection.execute("SELECT count(*) FROM log").fetchone()[0] == 40


@pytest.mark.parametrize(
    "bad",
    [
        event("", "Product Added"),
        event("x" * 600),
        event("nul\0byte"),
        event("a", big=2**70),
        event("a", text="lone surrogate \ud800"),
        event("lone surrogate \ud800"),
    ],
)
async def test_a_record_that_cannot_be_stored_is_refused(open_runtime: Any, bad: Event) -> None:
    """Before anything of its call is taken, and with the place of the record."""
    runtime = await open_runtime()
    with pytest.raises(BadRecord) as refusal:
        await runtime.append([event("a"), bad])
    assert refusal.value.where is not None
    assert refusal.value.where.startswith("records[1]")
    assert await runtime.state("a") is None


def test_a_newer_schema_is_refused(var: Path) -> None:
    """A version that does not know the file leaves it alone."""
    store = Store(var)
    store.open()
    store.connection.execute("PRAGMA user_version = 999")
    store.close()
    with pytest.raises(StorageError, match="newer version of Anlass"):
        Store(var).open()


def test_migrations_apply_once_each_in_order(var: Path) -> None:
    """A store that is opened again finds its schema as it should be and keeps its rows."""
    store = Store(var)
    store.open()
    assert store.connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    store.connection.execute(SQL["command_insert"], (b"kept",))
    migrate(store.connection)
    store.close()
    again = Store(var)
    again.open()
    assert again.connection.execute("SELECT record FROM commands").fetchall() == [(b"kept",)]
    again.close()


def test_a_damaged_file_is_named(var: Path) -> None:
    """Not a traceback of SQLite's."""
    var.mkdir()
    (var / "anlass.db").write_bytes(b"this is not a database" * 1_000)
    with pytest.raises(StorageError, match="damaged"):
        Store(var).open()
    assert not is_running(var)


def test_every_statement_is_understood(var: Path) -> None:
    """SQLite compiles each file in `sql/` against the schema, and the hot questions use their indexes."""
    store = Store(var)
    store.open()
    for name, statement in SQL.items():
        places = [None] * statement.count("?") if "?" in statement else _Nothing()
        rows = store.connection.execute(f"EXPLAIN QUERY PLAN {statement}", places).fetchall()
        plan = " ".join(str(row[3]) for row in rows)
        if name.startswith(("timers_due", "timers_next", "ledger_ready", "ledger_next", "state_load", "ledger_claim")):
            assert "USE TEMP B-TREE" not in plan, (name, plan)
            assert "INDEX" in plan or "PRIMARY KEY" in plan or plan == "SCAN timers", (name, plan)  # in key order
    store.close()


class _Nothing(dict[str, None]):
    def __missing__(self, key: str) -> None:
        return None


def test_the_key_is_made_once_and_for_the_owner_only(var: Path) -> None:
    """The same hash again after a restart; nobody else may read the key."""
    store = Store(var)
    store.open()
    first = store.keyed_hash("email:a@example.com")
    store.close()
    again = Store(var)
    again.open()
    assert again.keyed_hash("email:a@example.com") == first
    again.close()
    assert (var / "secret.key").stat().st_mode & 0o777 == 0o600


async def test_dead_letters_of_the_intake_are_kept(open_runtime: Any) -> None:
    """As they came, with origin and reason, across a restart; what never was a record can't be replayed as one."""
    runtime = await open_runtime()
    letter = DeadLetter(at_ms=T0, origin="http:/v1/track", reason="no user", body=b"{}")
    await runtime.dead_letter([letter])
    await runtime.stop()
    runtime = await open_runtime()
    (kept,) = await runtime.dead_letters()
    assert (kept.origin, kept.reason, kept.body) == ("http:/v1/track", "no user", b"{}")
    assert await runtime.replay([kept.id]) == 0
    assert len(await runtime.dead_letters()) == 1


async def test_reading_is_possible_for_others_while_it_runs(open_runtime: Any, var: Path) -> None:
    """A plain SQLite client may look into the file at any time."""
    runtime = await open_runtime()
    await runtime.append([event("a")])
    other = sqlite3.connect(f"file:{var / 'anlass.db'}?mode=ro", uri=True)
    assert other.execute("SELECT customer FROM states").fetchall() == [("a",)]
    other.close()
