"""What the embedded runtime does besides the contract: poison, inbox, deploys, retention, erasure, many timers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engine.clock import ManualClock
from engine.core.customer import CustomerState, decode_state, encode_state
from engine.core.effect import Suppress
from engine.core.expression.condition import Expression
from engine.core.expression.scope import Scope
from engine.core.journey.enrollment import Cause, Enrollment
from engine.core.journey.workflow import Emit, Exit, Wait
from engine.core.record import Erase, Event, Identify, Outcome, Recheck, Timer, decode_record
from engine.core.time.schedule import parse_duration
from engine.errors import NotFound
from engine.runtimes.base import Settlement
from engine.runtimes.embedded import EmbeddedOptions
from engine.runtimes.embedded.inbox import open_reader, stored_sources, submit
from engine.runtimes.embedded.store import Store
from engine.telemetry import Metrics
from tests.conformance.shop import T0, catalog, workflow

HOUR = 3_600_000
DAY = 24 * HOUR


def event(customer: str, name: str = "Product Added", *, at_ms: int = T0) -> Event:
    return Event(customer=customer, at_ms=at_ms, id=f"{customer}-{name}-{at_ms}", name=name, time_ms=at_ms)


def identify(customer: str) -> Identify:
    traits = {"email": f"{customer}@example.com"}
    return Identify(customer=customer, at_ms=T0, id=f"known-{customer}", time_ms=T0, traits=traits)


def explode(_: Scope) -> Any:
    message = "a mistake of ours"
    raise RuntimeError(message)


POISON = workflow("poison", "Poison", [Exit(id="end", reason="x", when=Expression("boom", explode))])
LATE_POISON = workflow(
    "late",
    "Late Poison",
    [
        Wait(id="pause", next="end", duration=parse_duration("1h")),
        Exit(id="end", reason="x", when=Expression("boom", explode)),
    ],
)
LOOP = workflow("loop", "Round", [Emit(id="again", event="Round", properties=())])


async def test_a_poisonous_record_becomes_a_dead_letter_and_the_rest_is_applied(open_runtime: Any) -> None:
    """One record nobody can evaluate does not stop its batch, and can be taken up again after a fix."""
    runtime = await open_runtime(catalog=catalog(extra=(POISON,)))
    await runtime.append([event("a"), event("b", "Poison"), event("c")])
    assert {name for name in "abc" if await runtime.state(name)} == {"a", "c"}
    (letter,) = await runtime.dead_letters()
    assert letter.customer == "b"
    assert "RuntimeError" in letter.reason
    assert decode_record(letter.body) == event("b", "Poison")
    mended = workflow("poison", "Poison", [Exit(id="end", reason="mended")])
    await runtime.deploy(catalog(id="shop-2", extra=(mended,)))
    assert await runtime.replay([letter.id]) == 1
    await runtime.idle()
    assert await runtime.dead_letters() == []
    assert await runtime.state("b") is not None


async def test_a_poisonous_timer_is_asked_again_later_not_for_ever(open_runtime: Any, clock: ManualClock) -> None:
    """One dead letter per try, an hour apart, while other timers fire."""
    runtime = await open_runtime(catalog=catalog(extra=(LATE_POISON,)))
    await runtime.append([event("a", "Late Poison"), identify("b"), event("b")])
    clock.advance(HOUR)
    await asyncio.sleep(0)
    await runtime.idle()
    assert len(await runtime.dead_letters()) == 1
    assert len(await runtime.messages()) == 1
    clock.advance(HOUR)
    await asyncio.sleep(0)
    await runtime.idle()
    assert len(await runtime.dead_letters()) == 2


async def test_an_event_that_raises_itself_does_not_stop_the_others(open_runtime: Any) -> None:
    """Each round is a record on the log; the batch is bounded, and other customers get their turn."""
    runtime = await open_runtime(catalog=catalog(extra=(LOOP,)))
    await runtime.append([event("loop", "Round")])
    await asyncio.wait_for(runtime.append([event("a")]), timeout=20)
    for _ in range(200):
        if await runtime.state("a") is not None:
            break
        await asyncio.sleep(0.01)
    assert await runtime.state("a") is not None


async def test_a_running_engine_takes_what_other_processes_submit(open_runtime: Any, var: Path) -> None:
    """Through the inbox, once, onto the log."""
    runtime = await open_runtime()
    assert submit(var, [event("a")]) is True
    for _ in range(200):
        if await runtime.state("a") is not None:
            break
        await asyncio.sleep(0.01)
    assert await runtime.state("a") is not None
    assert runtime._store.connection.execute("SELECT count(*) FROM commands").fetchone()[0] == 0


async def test_what_is_submitted_while_nobody_runs_waits_for_the_next_start(open_runtime: Any, var: Path) -> None:
    """And a reader works all the while."""
    with pytest.raises(NotFound, match="anlass run"):
        submit(var, [event("a")])
    runtime = await open_runtime()
    await runtime.append([event("b")])
    await runtime.stop()
    assert submit(var, [event("a")]) is False
    with open_reader(var) as reader:
        assert await reader.state("b") is not None
        assert (await reader.counts())["customers"] == 1
    runtime = await open_runtime()
    for _ in range(200):
        if await runtime.state("a") is not None:
            break
        await asyncio.sleep(0.01)
    assert await runtime.state("a") is not None


async def test_a_deploy_rechecks_every_customer_and_survives_a_stop(open_runtime: Any) -> None:
    """Each customer gets one Recheck of the new catalog, even when the process ends in the middle."""
    runtime = await open_runtime()
    names = [f"c{number}" for number in range(700)]
    for at in range(0, 700, 100):
        await runtime.append([identify(name) for name in names[at : at + 100]])
    await runtime.deploy(catalog(id="shop-2"), sources={"workflows/x.yaml": "workflow: x"})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await runtime.stop()
    runtime = await open_runtime(catalog=catalog(id="shop-2"))
    await runtime.idle()
    rows = runtime._store.connection.execute("SELECT record FROM log").fetchall()
    checked = [each.customer for (body,) in rows if isinstance(each := decode_record(body), Recheck)]
    assert sorted(checked) == sorted(names)
    states = await runtime.states(names)
    assert {state.catalog for state in states.values()} == {"shop-2"}


async def test_sources_of_deployed_projects_are_kept(open_runtime: Any, var: Path) -> None:
    """Newest first, so that versions in use can be compiled at the next start."""
    assert stored_sources(var) == []
    runtime = await open_runtime()
    await runtime.deploy(catalog(id="one"), sources={"a.yaml": "ä"})
    runtime._clock.advance(1)
    await runtime.deploy(catalog(id="two"), sources={"a.yaml": "b"})
    assert stored_sources(var) == [("two", {"a.yaml": "b"}), ("one", {"a.yaml": "ä"})]


async def test_old_log_rows_go_and_the_position_stays(open_runtime: Any, clock: ManualClock, var: Path) -> None:
    """After 90 days; what is not that old stays, and numbering never starts again."""
    runtime = await open_runtime()
    await runtime.append([event("a"), event("b")])
    clock.advance(91 * DAY)
    await runtime.append([event("c", at_ms=clock.now_ms())])
    before = runtime._loop.batches.log_seq
    runtime._loop.forgot.set()
    for _ in range(100):
        rows = runtime._store.connection.execute("SELECT customer FROM log WHERE at_ms <= ?", (T0,)).fetchall()
        if not rows:
            break
        await asyncio.sleep(0.01)
    assert rows == []
    await runtime.stop()
    runtime = await open_runtime()
    assert runtime._loop.batches.log_seq == before
    assert await runtime.state("a") is not None


async def test_records_nobody_asks_about_need_not_be_kept(open_runtime: Any) -> None:
    """A setting: they are counted, not stored."""
    runtime = await open_runtime(options=EmbeddedOptions(keep_unconcerned=False))
    await runtime.append([event("a", "Nobody Asks"), event("a")])
    rows = runtime._store.connection.execute("SELECT seq FROM log").fetchall()
    assert rows == [(2,)]
    assert runtime.backlog == 0


async def test_an_erased_customer_leaves_no_trace_in_the_file(open_runtime: Any, var: Path) -> None:
    """Neither id nor address is found in any table afterwards, only a receipt with a keyed hash."""
    runtime = await open_runtime(catalog=catalog(extra=(POISON,)))
    canary = "canary-7431"
    await runtime.append([identify(canary), event(canary, "Order Completed"), event(canary, "Poison")])
    await runtime.append([event("other", "Order Completed")])
    await runtime.append([Erase(customer=canary, at_ms=T0 + 1, id="please")])
    for _ in range(300):
        finished = runtime._store.connection.execute("SELECT finished_ms FROM erasures").fetchall()
        if finished and finished[0][0]:
            break
        await asyncio.sleep(0.01)
    dump = "\n".join(runtime._store.connection.iterdump())
    assert canary not in dump
    assert canary.encode().hex().upper() not in dump.upper(), "not in a blob either"
    assert "other" in dump
    receipt = runtime._store.connection.execute("SELECT customer_hash, customer, rows_removed FROM erasures").fetchone()
    assert receipt[0] == runtime._store.keyed_hash(f"customer:{canary}")
    assert receipt[1] == ""
    assert receipt[2] >= 4


async def test_a_suppressed_address_is_kept_as_a_hash(open_runtime: Any) -> None:
    """A hard bounce suppresses the address for whoever has it, also after its customer was erased."""
    runtime = await open_runtime()
    await runtime.append([identify("a"), event("a", "Order Completed")])
    (pending,) = await runtime.ready(1)
    bounce = Outcome(
        customer="a",
        at_ms=T0,
        id="b",
        time_ms=T0,
        outcome="bounced",
        message=pending.message.id,
        detail={"verdict": "suppress"},
    )
    await runtime.append([bounce])
    await runtime.append([Erase(customer="a", at_ms=T0 + 1, id="x")])
    asked = ("email", " A@Example.com")
    assert list(await runtime.suppressed([asked, ("email", "b@example.com")])) == [asked]
    await runtime.stop()
    runtime = await open_runtime()
    assert list(await runtime.suppressed([asked])) == [asked], "also by the next process"
    rows = runtime._store.connection.execute("SELECT hash FROM suppressed_addresses").fetchall()
    hashes = {runtime._store.keyed_hash(f"{place}:a@example.com") for place in ("email", "erased/email")}
    assert {found for (found,) in rows} == hashes
    assert Suppress.__name__  # the effect this test is about


async def test_a_hundred_thousand_pending_timers_cost_no_scan(open_runtime: Any, clock: ManualClock, var: Path) -> None:
    """Opening takes a small part of what reading all of them would, and what is due is found by its index."""
    store = Store(var)
    store.open()
    with store.transaction() as connection:
        for number in range(100_000):
            name, due_ms = f"c{number}", T0 + HOUR + number
            run = Enrollment(
                id=f"cart/{name}/1",
                workflow="cart",
                version="0123456789ab",
                key="1",
                entered_ms=T0,
                event=Cause("e", "Product Added", T0),
                step="pause",
                due_ms=due_ms,
            )
            state = encode_state(CustomerState(id=name, enrollments=(run,)))
            connection.execute("INSERT INTO states (customer, due_ms, state) VALUES (?, ?, ?)", (name, due_ms, state))
            connection.execute("INSERT INTO timers (due_ms, customer) VALUES (?, ?)", (due_ms, name))
        connection.execute("UPDATE progress SET value = -1, note = 'shop-1' WHERE name = 'recheck'")
    begun = time.process_time()
    for (state,) in store.connection.execute("SELECT state FROM states ORDER BY customer"):
        decode_state(state)
    scanned = time.process_time() - begun
    store.close()
    begun = time.process_time()
    runtime = await open_runtime()
    assert time.process_time() - begun < scanned / 2
    clock.advance(HOUR + 499)
    await asyncio.sleep(0)
    await runtime.idle()
    rows = runtime._store.connection.execute("SELECT record FROM log").fetchall()
    fired = [each for (body,) in rows if isinstance(each := decode_record(body), Timer)]
    assert [each.due_ms for each in fired] == [T0 + HOUR + number for number in range(500)]
    assert (await runtime.counts())["timers"]["overdue"] == 0


async def test_intake_is_served_while_many_timers_are_due(open_runtime: Any, clock: ManualClock) -> None:
    """Neither waits for the other: batches take some of both."""
    runtime = await open_runtime()
    for at in range(0, 2_000, 200):
        await runtime.append([event(f"c{number}") for number in range(at, at + 200)])
    clock.advance(HOUR)
    await asyncio.sleep(0)
    await runtime.append([event("new", at_ms=clock.now_ms())])
    left = runtime._store.connection.execute("SELECT count(*) FROM timers WHERE due_ms <= ?", (clock.now_ms(),))
    assert left.fetchone()[0] > 500, "the new record was answered while timers were still due"
    await runtime.idle()
    assert (await runtime.counts())["timers"]["overdue"] == 0


async def test_a_resend_policy_puts_interrupted_messages_back(open_runtime: Any) -> None:
    """Where the policy says so (transactional, say), an unknown message is sent again, and that is counted."""
    shop = catalog()
    shop = replace(shop, policy=replace(shop.policy, unknown={"transactional": "resend"}))
    runtime = await open_runtime(catalog=shop)
    await runtime.append([identify("a"), event("a", "Order Completed")])
    (pending,) = await runtime.ready(1)
    await runtime.claim([pending.message.id])
    await runtime.stop()
    runtime = await open_runtime(catalog=shop)
    (again,) = await runtime.ready(1)
    assert (again.message.id, again.attempt) == (pending.message.id, 1)
    rows = runtime._store.connection.execute("SELECT resends, reason FROM ledger").fetchall()
    assert rows == [(1, "process ended while sending")]


async def test_the_depth_of_the_outbox_is_measured(open_runtime: Any) -> None:
    """What is decided and not yet settled, claimed or not; an answer takes it away."""
    metrics = Metrics()
    runtime = await open_runtime(metrics=metrics)

    async def shows(depth: int) -> bool:
        for _ in range(200):
            if metrics.registry.get_sample_value("anlass_outbox_depth") == depth:
                return True
            await asyncio.sleep(0.01)
        return False

    await runtime.append([each for name in "ab" for each in (identify(name), event(name, "Order Completed"))])
    assert await shows(2)
    (pending,) = await runtime.ready(1)
    await runtime.claim([pending.message.id])
    assert await shows(2)
    await runtime.settle([Settlement(message_id=pending.message.id, status="sent", at_ms=T0)])
    assert await shows(1)
