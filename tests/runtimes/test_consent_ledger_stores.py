"""The consent ledger in every store: only added to, found again, and without the person after an erasure."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.clock import ManualClock
from engine.core.consent.proof import ConsentRecord, standing
from engine.core.record import Consent, Erase, Identify
from engine.runtimes.base import Runtime
from engine.runtimes.consents import PROOF_MS
from engine.runtimes.embedded import EmbeddedRuntime
from engine.runtimes.journal import Database, DatabaseReader, Projection
from engine.runtimes.journal.pruning import Pruning
from engine.runtimes.memory_ports import MemoryRuntime
from tests.conformance.shop import catalog
from tests.runtimes.journal_records import consent, line, removed, stretch

T0 = 1_774_600_000_000
NEWS = {"marketing": ["email"]}
PROOF = {"wording": "News?", "ip": "192.0.2.9", "user_agent": "Browser/1", "form": "/signup"}


@pytest.fixture(params=["memory", "embedded"])
async def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Runtime]:
    """Without a broker; the journal's database has tests of its own below."""
    clock = ManualClock(T0)
    made: Runtime = MemoryRuntime(catalog(), clock=clock)
    if request.param == "embedded":
        made = EmbeddedRuntime(tmp_path / "var", catalog(), clock=clock)
    await made.start()
    yield made
    await made.stop()


async def _opted_in(runtime: Runtime, customer: str = "ana") -> list[ConsentRecord]:
    traits = {"email": f"{customer.title()}@Example.com", "consent_request": NEWS, "consent_proof": PROOF}
    await runtime.append(
        [
            Identify(customer=customer, at_ms=T0, id=f"i-{customer}", time_ms=T0, traits=traits),
            Consent(
                customer=customer, at_ms=T0 + 5, id=f"c-{customer}", time_ms=T0 + 5, action="withdraw", purposes=NEWS,
                source="link", proof={"page": "u", "ip": "192.0.2.9"},
            ),
        ]
    )  # fmt: skip
    await runtime.idle()
    return await runtime.consents(customer=customer)


async def test_entries_are_found_by_customer_and_by_address(runtime: Runtime) -> None:
    """However the address is written; another customer's stay apart."""
    ana = await _opted_in(runtime)
    await _opted_in(runtime, "ben")
    assert [(one.action, one.address, one.source) for one in ana] == [
        ("grant", "ana@example.com", "shop"), ("withdraw", "ana@example.com", "link"),
    ]  # fmt: skip
    assert ana[0].proof == PROOF
    assert await runtime.consents(address=" ANA@example.com ") == ana
    assert await runtime.consents(address="nobody@example.com") == []
    (stands,) = standing(ana)
    assert (stands.status, stands.given, stands.withdrawn) == ("withdrawn", ana[0], ana[1])


async def test_an_erasure_leaves_the_proof_without_the_person(runtime: Runtime) -> None:
    """Whoever names the address finds what was asked and given; nobody finds a name, an address or a machine."""
    before = await _opted_in(runtime)
    await runtime.append([Erase(customer="ana", at_ms=T0 + 9, id="e1")])
    await runtime.idle()
    assert await runtime.consents(customer="ana") == []
    kept = await runtime.consents(address="ana@example.com")
    assert [(one.action, one.at_ms, one.purpose) for one in kept] == [
        (one.action, one.at_ms, one.purpose) for one in before
    ]
    assert [one.proof for one in kept] == [{"wording": "News?", "form": "/signup"}, {"page": "u"}]
    text = repr(kept)
    assert "ana" not in text
    assert "192.0.2" not in text
    assert before[0].id not in text
    again = await _opted_in(runtime)
    assert [one.customer for one in again] == ["ana", "ana"]


async def test_consent_and_erasure_in_one_batch_leave_the_same(runtime: Runtime) -> None:
    """However the records are cut."""
    asked = Identify(
        customer="ana", at_ms=T0, id="i", time_ms=T0, traits={"email": "ana@example.com", "consent": NEWS}
    )  # fmt: skip
    await runtime.append([asked, Erase(customer="ana", at_ms=T0, id="e")])
    await runtime.idle()
    (kept,) = await runtime.consents(address="ana@example.com")
    assert kept.customer.startswith("erased:")
    assert kept.address.startswith("hash:")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE consents SET action = 'grant'",
        "UPDATE consents SET at_ms = 1",
        "UPDATE consents SET customer = 'somebody else'",
        "UPDATE consents SET proof = '{}'",
        "UPDATE consents SET purpose = 'x', erased_ms = 1",
        "DELETE FROM consents",
    ],
)
async def test_the_embedded_store_refuses_every_change(statement: str, tmp_path: Path) -> None:
    """Also one that somebody makes by hand."""
    runtime = EmbeddedRuntime(tmp_path, catalog(), clock=ManualClock(T0))
    await runtime.start()
    before = await _opted_in(runtime)
    await runtime.stop()
    other = sqlite3.connect(tmp_path / "anlass.db", isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match="only added to"):
        other.execute(statement)
    other.close()
    await runtime.start()
    assert await runtime.consents(customer="ana") == before
    await runtime.stop()


async def test_pruning_the_journal_leaves_the_ledger_and_old_proofs_go(tmp_path: Path) -> None:
    """The journal for a day, a proof for as long as its customer stays, and five years after the erasure."""
    from engine.core.policy_values import Retention
    from engine.runtimes.embedded import retention
    from engine.runtimes.keeping import kept

    clock = ManualClock(T0)
    runtime = EmbeddedRuntime(tmp_path, catalog(), clock=clock)
    await runtime.start()
    await _opted_in(runtime)
    await _opted_in(runtime, "ben")
    await runtime.append([Erase(customer="ben", at_ms=T0 + 9, id="e1")])
    store = runtime._store
    for days, left in ((30, 2), (PROOF_MS // 86_400_000 + 1, 0)):
        now_ms = T0 + days * 86_400_000
        while retention.step(store, kept(Retention(journal=1)), now_ms=now_ms, applied_seq=99):
            pass
        (journal,) = store.connection.execute("SELECT count(*) FROM journal").fetchone()
        assert journal == 0
        assert len(await runtime.consents(customer="ana")) == 2
        assert len(await runtime.consents(address="ben@example.com")) == left
    await runtime.stop()


# --------------------------------------------------------------------------------------------- the journal's database


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """Open, with its schema."""
    opened = Database(url)
    await opened.open()
    yield opened
    await opened.close()


def _execute(url: str, statement: str) -> None:
    if url.startswith("sqlite"):
        other: Any = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    else:
        other = psycopg.connect(url, autocommit=True)
    try:
        other.execute(statement)
    finally:
        other.close()


async def test_the_database_keeps_and_guards_the_ledger(database: Database, url: str) -> None:
    """Once, however often a line is read; no statement changes or removes a row."""
    projection, reader = Projection(database), DatabaseReader(database)
    lines = [consent("a", 1, wording="Yes"), consent("a", 1, wording="Yes"), consent("b", 2), line("a", 3)]
    await projection.apply([stretch("journal", lines)])
    await projection.apply([stretch("journal", [consent("a", 1, wording="Yes")], start=4)])
    (kept,) = await reader.consents(customer="a")
    assert (kept.action, kept.address, kept.proof) == ("grant", "a@shop.example", {"wording": "Yes"})
    assert await reader.consents(address="A@shop.example") == [kept]
    for statement in ("UPDATE consents SET action = 'x'", "DELETE FROM consents", "UPDATE consents SET customer = 'x'"):
        with pytest.raises((sqlite3.IntegrityError, psycopg.errors.RaiseException), match="only added to"):
            _execute(url, statement)
    await Pruning(database).prune(1 << 60)
    assert await reader.consents(customer="a") == [kept]


async def test_the_database_forgets_the_person_whenever_it_hears_of_it(database: Database) -> None:
    """Before the erasure, in the same batch, and from an old process afterwards: the same three rows."""
    projection, reader = Projection(database), DatabaseReader(database)
    await projection.apply([stretch("journal", [consent("a", 1, ip="192.0.2.1")])])
    await projection.apply([stretch("journal", [consent("a", 2), removed("a", 5)], start=1)])
    await projection.apply([stretch("journal", [consent("a", 3, ip="192.0.2.1"), consent("a", 7)], start=3)])
    assert [one.address for one in await reader.consents(customer="a")] == ["a@shop.example"]
    found = await reader.consents(address="a@shop.example")
    assert [one.customer for one in found] == ["erased:1", "erased:1", "erased:1", "a"]
    assert all(not one.proof for one in found)
    assert await Pruning(database).prune_proofs(1 << 60) == 3
    assert [one.customer for one in await reader.consents(address="a@shop.example")] == ["a"]


async def test_a_line_with_a_broken_entry_is_a_dead_letter(database: Database) -> None:
    """The sink goes on, and nothing is lost silently."""
    projection, reader = Projection(database), DatabaseReader(database)
    broken: list[Any] = [7, [7], [{"id": 1}], [{"channel": "email"}], {"id": "x"}]
    lines = [
        line("a", n, kind="consent", detail={"purpose": "m", "action": "grant", "records": each})
        for n, each in enumerate(broken, 1)
    ]
    written = await projection.apply([stretch("journal", [*lines, consent("a", 9)])])
    assert written.unreadable == len(broken)
    assert len(await reader.dead_letters()) == len(broken)
    assert len(await reader.consents(customer="a")) == 1
