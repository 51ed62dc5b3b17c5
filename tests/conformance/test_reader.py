"""What operators ask is answered alike, whoever is asked: memory, the SQLite file, the journal's database of either kind.

Kafka's front asks the journal's database, so that its answers are those as well. The same history is lived through by each store;
the memory runtime is the reference. A further question joins by one more line in `QUESTIONS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.customer import CustomerState, encode_state
from engine.core.record import Consent, Event, Identify, Pause
from engine.dispatch.ports import Settlement
from engine.runtimes.base import DeadLetter, Query, Reader
from engine.runtimes.journal import Database, DatabaseReader, Projection
from engine.runtimes.kafka.dispatcher.ledger_entry import LedgerEntry, encode_entry
from engine.runtimes.kafka.topics import encode_decision, pack_row
from tests.conformance.harness import EmbeddedHarness, Harness, MemoryHarness
from tests.conformance.shop import T0, catalog
from tests.runtimes.journal_records import Record, checkpoint, letter, stretch

HOUR = 3_600_000


def _event(customer: str, name: str, at_ms: int) -> Event:
    return Event(customer=customer, at_ms=at_ms, id=f"{customer}-{name}-{at_ms}", name=name, time_ms=at_ms)


async def _live(harness: Harness) -> None:
    """Three customers, two of them at one address; reminders, confirmations and what became of them."""
    for customer, address in (("ann", "ann@shop.example"), ("bob", "Bob@Shop.example"), ("cem", "bob@shop.example")):
        traits = {"email": address}
        await harness.append(Identify(customer=customer, at_ms=T0, id=f"known-{customer}", time_ms=T0, traits=traits))
    proof = {"wording": "Ja"}
    for customer in ("ann", "bob"):
        await harness.append(
            Consent(
                customer=customer, at_ms=T0, id=f"yes-{customer}", time_ms=T0, action="grant",
                purposes={"marketing": ["email"]}, source="shop", proof=proof,
            )
        )  # fmt: skip
    await harness.append(_event("ann", "Product Added", T0), _event("bob", "Product Added", T0))
    await harness.append(Pause(customer="", at_ms=T0, id="p1", workflow="thanks", paused=True, reason="operator: look"))
    await harness.append(Pause(customer="", at_ms=T0 + 1, id="p2", workflow="cart", paused=True))
    await harness.append(Pause(customer="", at_ms=T0 + 2, id="p3", workflow="cart", paused=False))
    await harness.advance(T0 + HOUR)
    for customer in ("ann", "cem", "bob"):
        await harness.append(_event(customer, "Order Completed", T0 + HOUR))
    sent, failed, unknown, *_ = [each.message.id for each in await harness.runtime.ready(10)]
    at_ms = harness.clock.now_ms()
    await harness.runtime.claim([sent, failed, unknown], links={sent: {"k": "https://shop.example/x"}})
    await harness.settle(
        Settlement(message_id=sent, status="sent", at_ms=at_ms, provider_id="provider-1"),
        Settlement(message_id=failed, status="failed", at_ms=at_ms, reason="refused", code="550"),
        Settlement(message_id=unknown, status="unknown", at_ms=at_ms, reason="interrupted"),
    )
    for number in range(3):
        told = DeadLetter(at_ms=T0, origin="http:/v1/track", reason="not JSON", body=bytes([number]))
        await harness.runtime.dead_letter([told])


async def _copied(harness: MemoryHarness, database: Database) -> None:
    """What the memory runtime holds, as Kafka's topics would tell it, by the projection of the sink."""
    runtime = harness.runtime
    lines: list[Record] = []
    index, before = 0, -1
    for _, position, decision in runtime._journal:
        index, before = (index + 1 if position == before else 0), position
        lines.append((decision.customer.encode(), encode_decision(position, index, decision), ()))
    rows = [
        (name.encode(), pack_row(state.position, state.next_due_ms, encode_state(state)), ())
        for name, state in runtime.memory.states.items()
    ]
    ledger: list[Record] = []
    for each in runtime._ledger.values():
        kept = LedgerEntry(
            message=each.message, status=each.status, attempts=each.attempts, updated_ms=each.updated_ms, offset=1,
            reason=each.reason, code=each.code, provider_id=each.provider_id, links=each.links,
        )  # fmt: skip
        ledger.append((each.message.id.encode(), pack_row(1, 0, encode_entry(kept)), ()))
    letters = [letter(each.customer, each.origin, each.reason, each.body) for each in runtime._letters]
    projection = Projection(database)
    await projection.apply([stretch("journal", lines), stretch("dead-letters", letters)])
    await projection.apply(
        [stretch("states", [*rows, checkpoint(runtime.memory.position - 1)]), stretch("ledger", ledger)]
    )


@pytest.fixture
async def reference() -> AsyncIterator[MemoryHarness]:
    """The history in memory."""
    harness = MemoryHarness(catalog(), T0)
    await harness.reopen()
    await _live(harness)
    yield harness
    await harness.close()


@pytest.fixture(params=["embedded", "sqlite", "postgres"])
async def reader(request: pytest.FixtureRequest, reference: MemoryHarness, tmp_path: Path) -> AsyncIterator[Reader]:
    """The same history in each store."""
    if request.param == "embedded":
        harness = EmbeddedHarness(catalog(), T0, var=tmp_path / "var")
        await harness.reopen()
        await _live(harness)
        yield harness.runtime
        await harness.close()
        return
    sqlite = f"sqlite:///{tmp_path}/journal.db"
    database = Database(sqlite if request.param == "sqlite" else request.getfixturevalue("postgres"))
    await database.open()
    await _copied(reference, database)
    yield DatabaseReader(database, clock=reference.clock)
    await database.close()


async def _pages(reader: Reader, query: Query) -> list[Any]:
    """All lines, two at a time."""
    found: list[Any] = []
    after = 0
    for _ in range(100):
        page = await reader.decisions(replace(query, after_seq=after, limit=2, oldest_first=True))
        if not page:
            return found
        assert len(page) <= 2
        found += page
        after = page[-1][0]
    raise AssertionError("it has no end")


async def _customer_pages(reader: Reader) -> list[str]:
    found: list[str] = []
    while page := await reader.customers(after=found[-1] if found else "", limit=2):
        found += [each.id for each in page]
    return found


async def _message_pages(reader: Reader, **asked: str) -> list[Any]:
    found: list[Any] = []
    while page := await reader.messages(before=found[-1].message.id if found else "", limit=1, **asked):
        found += page
    return found


async def _oldest(reader: Reader) -> str:
    return (await reader.messages())[-1].message.id


async def _first(reader: Reader, status: str = "") -> str:
    return (await reader.messages(status=status, limit=1))[0].message.id


async def _enrollment(reader: Reader) -> str:
    return (await reader.messages(customer="ann"))[-1].message.enrollment


Ask = Callable[[Reader], Awaitable[Any]]

FINDING: dict[str, Ask] = {
    "a state": lambda r: r.state("ann"),
    "customers by pages": _customer_pages,
    "customers after one": lambda r: r.customers(after="ann", limit=1),
    "all decisions": lambda r: r.decisions(Query()),
    "the oldest decisions": lambda r: r.decisions(Query(oldest_first=True, limit=5)),
    "the newest decisions": lambda r: r.decisions(Query(limit=5)),
    "all pages of decisions": lambda r: _pages(r, Query()),
    "pages of a customer": lambda r: _pages(r, Query(customer="bob")),
    "pages of a workflow": lambda r: _pages(r, Query(workflow="cart")),
    "pages of a kind": lambda r: _pages(r, Query(kinds=("send",))),
    "decisions of a customer": lambda r: r.decisions(Query(customer="ann")),
    "decisions of a workflow": lambda r: r.decisions(Query(workflow="order")),
    "a customer in a workflow": lambda r: r.decisions(Query(customer="bob", workflow="order")),
    "decisions of a kind": lambda r: r.decisions(Query(kinds=("entered",))),
    "decisions of two kinds": lambda r: r.decisions(Query(kinds=("entered", "send"), limit=3)),
    "a kind in a workflow": lambda r: r.decisions(Query(workflow="cart", kinds=("send",))),
    "decisions after a place": lambda r: r.decisions(Query(after_seq=6, oldest_first=True, limit=2)),
    "the newest after a place": lambda r: r.decisions(Query(after_seq=6, limit=2)),
    "of a message": lambda r: _then(_first(r, "sent"), lambda known: r.decisions(Query(message=known))),
    "of an enrollment": lambda r: _then(_enrollment(r), lambda known: r.decisions(Query(enrollment=known))),
    "a message": lambda r: _then(_first(r), r.message),
    "all messages": lambda r: r.messages(),
    "the newest messages": lambda r: r.messages(limit=2),
    "messages of a customer": lambda r: r.messages(customer="ann"),
    "sent messages": lambda r: r.messages(status="sent"),
    "pending messages": lambda r: r.messages(status="pending", limit=1),
    "a customer's failed ones": lambda r: _then(_failed_customer(r), lambda who: r.messages(customer=who, status="failed")),
    "messages of a workflow": lambda r: r.messages(workflow="cart"),
    "the newest of a workflow": lambda r: r.messages(workflow="order", limit=2),
    "of a workflow with a status": lambda r: r.messages(workflow="order", status="sent"),
    "pending ones of a workflow": lambda r: r.messages(workflow="cart", status="pending"),
    "pages of messages": _message_pages,
    "pages of a workflow's messages": lambda r: _message_pages(r, workflow="order"),
    "pages of unsent messages": lambda r: _message_pages(r, status="pending"),
    "a message of a provider": lambda r: r.message_of("provider-1"),
    "who was written to": lambda r: r.written_to("bob@shop.example"),
    "who was written to, by a limit": lambda r: r.written_to("BOB@shop.example", limit=1),
    "statuses": lambda r: _then(_first(r, "failed"), lambda known: r.statuses([known, "none"])),
    "consents of a customer": lambda r: r.consents(customer="ann"),
    "consents of an address": lambda r: r.consents(address="bob@shop.example"),
    "dead letters": lambda r: r.dead_letters(),
    "the oldest dead letters": lambda r: r.dead_letters(limit=2),
    "pace": lambda r: r.pace(since_ms=T0 - T0 % HOUR, until_ms=T0 + 2 * HOUR, span_ms=HOUR),
    "pace of a workflow": lambda r: r.pace(since_ms=T0 - T0 % HOUR, until_ms=T0 + 2 * HOUR, span_ms=HOUR, workflow="cart"),
    "pauses": lambda r: r.pauses(),
    "counts": lambda r: r.counts(),
}  # fmt: skip

NOTHING: dict[str, Ask] = {
    "nobody": lambda r: r.state("nobody"),
    "no customers left": lambda r: r.customers(after="zoe"),
    "no customers asked for": lambda r: r.customers(limit=0),
    "decisions of nobody": lambda r: r.decisions(Query(customer="nobody")),
    "decisions of no workflow": lambda r: r.decisions(Query(workflow="none")),
    "decisions of no kind": lambda r: r.decisions(Query(kinds=("none",), oldest_first=True)),
    "decisions after the last": lambda r: r.decisions(Query(after_seq=10_000)),
    "decisions of no message": lambda r: r.decisions(Query(message="none")),
    "no decisions asked for": lambda r: r.decisions(Query(limit=0)),
    "no message": lambda r: r.message("none"),
    "messages of nobody": lambda r: r.messages(customer="nobody"),
    "messages of no status": lambda r: r.messages(status="none"),
    "messages of no workflow": lambda r: r.messages(workflow="none"),
    "claimed ones": lambda r: r.messages(status="claimed"),
    "a status that no one of a workflow has": lambda r: r.messages(workflow="cart", status="unknown"),
    "messages before an unknown one": lambda r: r.messages(before="none"),
    "messages before the first": lambda r: _then(_oldest(r), lambda known: r.messages(before=known)),
    "no messages asked for": lambda r: r.messages(limit=0),
    "no message of a provider": lambda r: r.message_of("none"),
    "of a provider who said no name": lambda r: r.message_of(""),
    "nobody at an address": lambda r: r.written_to("nobody@shop.example"),
    "no address": lambda r: r.written_to(""),
    "no statuses": lambda r: r.statuses([]),
    "consents of nobody": lambda r: r.consents(customer="nobody"),
    "consents of no address": lambda r: r.consents(address="nobody@shop.example"),
    "no dead letters asked for": lambda r: r.dead_letters(limit=0),
    "no pace yet": lambda r: r.pace(since_ms=0, until_ms=HOUR, span_ms=HOUR),
    "no pace of no workflow": lambda r: r.pace(since_ms=T0, until_ms=T0 + HOUR, span_ms=HOUR, workflow="none"),
}
QUESTIONS = FINDING | NOTHING


async def _then(first: Awaitable[str], ask: Callable[[str], Awaitable[Any]]) -> Any:
    return await ask(await first)


async def _failed_customer(reader: Reader) -> str:
    return (await reader.messages(status="failed"))[0].message.customer


def _alike(answer: Any) -> Any:
    """Without places on the log: there what a decision emits is a record of its own, in memory it is not."""
    if isinstance(answer, list):
        return [_alike(each) for each in answer]
    if isinstance(answer, CustomerState):
        return replace(answer, position=0)
    return {**answer, "events": 0} if isinstance(answer, dict) and "events" in answer else answer


async def _answers(reader: Reader) -> dict[str, Any]:
    return {name: _alike(await ask(reader)) for name, ask in QUESTIONS.items()}


async def test_every_store_gives_the_same_answers(reference: MemoryHarness, reader: Reader) -> None:
    """Of the same history: the same rows in the same order, page for page, and nothing where there is nothing."""
    expected = await _answers(reference.runtime)
    assert [name for name in FINDING if not expected[name]] == []
    assert [name for name in NOTHING if expected[name]] == []
    found = await _answers(reader)
    assert [f"{name}: {found[name]}, not {expected[name]}" for name in QUESTIONS if found[name] != expected[name]] == []
