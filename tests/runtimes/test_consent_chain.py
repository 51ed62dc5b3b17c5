"""The chain over the consent ledger: whatever is done to a row behind the triggers shows, and an erasure leaves it whole."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.clock import ManualClock
from engine.core.policy_values import Retention
from engine.core.record import Consent, Erase, Identify
from engine.runtimes.consent_chain import Head, LedgerCheck
from engine.runtimes.consents import PROOF_MS
from engine.runtimes.embedded import EmbeddedRuntime, inbox, retention
from engine.runtimes.embedded import consents as embedded
from engine.runtimes.journal import Database, Projection, ledger
from engine.runtimes.journal.pruning import Pruning
from engine.runtimes.keeping import kept
from tests.conformance.shop import catalog
from tests.runtimes.journal_records import consent, removed, stretch

T0 = 1_774_600_000_000
NEWS = {"marketing": ["email"]}
TAMPERED = {
    "UPDATE consents SET action = 'withdraw' WHERE number = 2": "Record 2 (",
    "UPDATE consents SET address = 'eve@shop.example' WHERE number = 2": "Record 2 (",
    "UPDATE consents SET proof = '{}' WHERE number = 2": "Record 2 (",
    "UPDATE consents SET at_ms = at_ms + 1 WHERE number = 3": "Record 3 (",
    "UPDATE consents SET customer = 'eve', erased_ms = 5 WHERE number = 2": "Record 2 (",
    "DELETE FROM consents WHERE number = 2": "Record 3 (",
    "DELETE FROM consents WHERE number = 3": "ends with record 2, but the last one written was 3",
}
INSERTED = "INSERT INTO consents SELECT {columns} FROM consents WHERE number = 2"


async def _filled(var: Path, clock: ManualClock) -> EmbeddedRuntime:
    runtime = EmbeddedRuntime(var, catalog(), clock=clock)
    await runtime.start()
    for customer in ("ana", "ben", "cem"):
        traits = {
            "email": f"{customer}@shop.example",
            "consent": NEWS,
            "consent_proof": {"wording": "Ja", "ip": "192.0.2.1"},
        }
        await runtime.append([Identify(customer=customer, at_ms=T0, id=f"i-{customer}", time_ms=T0, traits=traits)])
    await runtime.idle()
    return runtime


def _check(var: Path, known: Head | None = None) -> LedgerCheck:
    with inbox.open_ledger(var) as connection:
        return embedded.check(connection, known)


def _columns(connection: sqlite3.Connection, number: int) -> str:
    names = [row[1] for row in connection.execute("PRAGMA table_info(consents)")]
    return ", ".join({"number": str(number), "record": "'forged'"}.get(name, name) for name in names)


@pytest.mark.parametrize("statement", [*TAMPERED, "insert between", "insert at the end"])
async def test_a_change_behind_a_dropped_trigger_names_its_record(statement: str, tmp_path: Path) -> None:
    """Also with the chain's own columns copied from another row; and a new start chains nothing that was put in."""
    runtime = await _filled(tmp_path, ManualClock(T0))
    await runtime.stop()
    before = _check(tmp_path)
    assert (before.rows, before.problems) == (3, ())
    other = sqlite3.connect(tmp_path / "anlass.db", isolation_level=None)
    for name in ("consents_keep_changed", "consents_keep_removed"):
        other.execute(f"DROP TRIGGER {name}")
    expected = TAMPERED.get(statement, "Record 4 (")
    if statement == "insert between":
        other.execute("UPDATE consents SET number = 4 WHERE number = 3")
        other.execute("UPDATE consent_head SET number = 4")
        other.execute(INSERTED.format(columns=_columns(other, 3)))
        expected = "Record 3 ("
    elif statement == "insert at the end":
        other.execute(INSERTED.format(columns=_columns(other, 4)))
    else:
        other.execute(statement)
    other.close()
    found = _check(tmp_path)
    assert any(expected in problem for problem in found.problems), found.problems
    runtime = EmbeddedRuntime(tmp_path, catalog(), clock=ManualClock(T0))
    await runtime.start()
    record = Consent(customer="ben", at_ms=T0, id="c", time_ms=T0, action="withdraw", purposes=NEWS, source="link")
    await runtime.append([record])
    await runtime.idle()
    await runtime.stop()
    assert (
        any(expected.split(",", maxsplit=1)[0] in problem for problem in _check(tmp_path).problems)
        or "ends" in expected
    )
    assert _check(tmp_path, before.head).problems


async def test_a_ledger_that_is_written_anew_shows_against_a_noted_end(tmp_path: Path) -> None:
    """Whole in itself, and not what was noted."""
    runtime = await _filled(tmp_path, ManualClock(T0))
    await runtime.stop()
    noted = _check(tmp_path).head
    assert _check(tmp_path, noted).holds
    other = sqlite3.connect(tmp_path / "anlass.db", isolation_level=None)
    other.execute("DROP TRIGGER consents_keep_changed")
    other.execute("UPDATE consents SET source = 'forged', hash = ''")
    other.execute("DELETE FROM consent_head")
    other.close()
    await (await _filled(tmp_path, ManualClock(T0))).stop()
    found = _check(tmp_path, noted)
    assert (found.problems, found.holds) == ((), False)


async def test_erasure_and_the_end_of_its_time_leave_the_chain_whole(tmp_path: Path) -> None:
    """What goes leaves its hashes; what was noted before is still in there."""
    clock = ManualClock(T0)
    runtime = await _filled(tmp_path, clock)
    noted = _check(tmp_path).head
    await runtime.append([Erase(customer="ben", at_ms=T0 + 9, id="e1"), Erase(customer="cem", at_ms=T0 + 9, id="e2")])
    await runtime.idle()
    found = _check(tmp_path, noted)
    assert (found.problems, found.rows, found.erased, found.gone, found.holds) == ((), 3, 2, 0, True)
    salts = runtime._store.connection.execute("SELECT count(*) FROM consents WHERE salt <> ''").fetchone()
    assert salts == (1,), "what it was sealed with goes with the person"
    while retention.step(runtime._store, kept(Retention()), now_ms=T0 + PROOF_MS + 86_400_000, applied_seq=0):
        pass
    found = _check(tmp_path, noted)
    assert (found.problems, found.rows, found.gone, found.holds) == ((), 1, 2, True)
    await runtime.append([Erase(customer="ana", at_ms=T0 + 10, id="e3")])
    await runtime.idle()
    await runtime.stop()
    assert _check(tmp_path).problems == ()


async def test_an_erased_row_that_is_changed_shows(tmp_path: Path) -> None:
    """Words, times and the hidden address are held by the chain; so is the row that only pretends to be erased."""
    runtime = await _filled(tmp_path, ManualClock(T0))
    await runtime.append([Erase(customer="ben", at_ms=T0 + 9, id="e1")])
    await runtime.idle()
    await runtime.stop()
    for change in ("address = 'hash:00'", "proof = '{}'", "record = 'x'", "source = 'x'"):
        other = sqlite3.connect(tmp_path / "anlass.db", isolation_level=None)
        other.execute("DROP TRIGGER IF EXISTS consents_keep_changed")
        other.execute("BEGIN")
        other.execute(f"UPDATE consents SET {change} WHERE erased_ms > 0")  # noqa: S608 - our own words
        assert any("Record 2 (" in text for text in embedded_check(other)), change
        other.execute("ROLLBACK")
        other.close()


def embedded_check(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Inside of the caller's transaction."""
    from engine.runtimes.consent_chain import Chain

    chain = Chain()
    chain.check(embedded.chained(connection, after=0))
    return chain.finish(embedded.head_of(connection)).problems


def _behind(url: str, *statements: str) -> None:
    connection: Any
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        drop = "DROP TRIGGER IF EXISTS {}"
    else:
        connection = psycopg.connect(url, autocommit=True)
        drop = "DROP TRIGGER IF EXISTS {} ON consents"
    for name in ("consents_keep_changed", "consents_keep_removed"):
        connection.execute(drop.format(name))
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize("statement", TAMPERED)
async def test_the_journals_database_has_the_same_chain(url: str, statement: str) -> None:
    """On SQLite and PostgreSQL, with what a sink of an earlier version adds at the end."""
    database = Database(url)
    await database.open()
    await Projection(database).apply(
        [stretch("journal", [consent(name, at, wording="Ja") for at, name in enumerate(("ana", "ben", "cem"))])]
    )
    assert (await ledger.check(database)).problems == ()
    _behind(url, statement)
    found = await ledger.check(database)
    assert any(TAMPERED[statement] in problem for problem in found.problems), found.problems
    await database.close()


async def test_the_journals_ledger_stays_whole_over_erasure_retention_and_an_older_sink(url: str) -> None:
    """Records of whom was erased before, rows that an older sink writes without a chain, and a noted end."""
    database = Database(url)
    await database.open()
    projection = Projection(database)
    await projection.apply([stretch("journal", [consent("ana", 0), consent("ben", 1)])])
    noted = await ledger.head_of(database)
    await projection.apply([stretch("journal", [removed("ben", 2), consent("ben", 1, 1)], start=2)])
    found = await ledger.check(database, noted)
    assert (found.problems, found.rows, found.erased, found.holds) == ((), 3, 2, True)
    assert await Pruning(database).prune_proofs(T0 + 100) == 2
    found = await ledger.check(database, noted)
    assert (found.problems, found.rows, found.gone, found.holds) == ((), 1, 2, True)
    _behind(
        url,
        "UPDATE serials SET value = 4 WHERE name = 'consents'",
        "INSERT INTO consents (number, partition, log_offset, record, customer, purpose, channel, action, basis, address, source,"
        " at_ms, recorded_ms, requested_ms, proof, erased_ms)"
        " VALUES (4, 0, 9, 'r', 'dora', 'p', 'email', 'grant', 'consent', '', '', 1, 1, 0, '{}', 0)",
    )
    assert "Record 4 (r)" in (await ledger.check(database)).problems[0]
    await projection.apply([stretch("journal", [consent("cem", 10)], start=4)])
    found = await ledger.check(database, noted)
    assert (found.problems, found.rows, found.holds) == ((), 3, True)
    await database.close()
