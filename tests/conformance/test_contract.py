"""The contract of a runtime (ARCHITECTURE, "Runtime"): order, batches, timers, messages, duplicates, restarts."""

from __future__ import annotations

import pytest

from engine.core.record import Enroll, Erase, Event, Identify, Merge, Outcome, Pause, Record, Timer
from engine.dispatch.ports import Closed, Settlement
from engine.runtimes.base import Query
from tests.conformance.harness import Harness, decisions, messages, states
from tests.conformance.shop import T0

HOUR = 3_600_000
DAY = 24 * HOUR


def identify(customer: str, *, at_ms: int = T0) -> Identify:
    traits = {"email": f"{customer}@example.com"}
    return Identify(customer=customer, at_ms=at_ms, id=f"known-{customer}", time_ms=at_ms, traits=traits)


def event(customer: str, name: str, *, at_ms: int = T0, id: str = "") -> Event:
    return Event(customer=customer, at_ms=at_ms, id=id or f"{customer}-{name}-{at_ms}", name=name, time_ms=at_ms)


async def kinds(harness: Harness, customer: str) -> list[str]:
    lines = await harness.runtime.decisions(Query(customer=customer, oldest_first=True))
    return [
        f"{line.kind} {line.workflow}" for _, line in lines if line.kind in ("entered", "send", "exited", "completed")
    ]


async def test_a_customers_records_are_applied_in_order(harness: Harness) -> None:
    """An order right after the cart ends the cart's run, and what the order emits is applied at the same instant."""
    await harness.append(identify("a"), event("a", "Product Added"), event("a", "Order Completed"))
    assert await kinds(harness, "a") == [
        "entered cart",
        "exited cart",
        "entered order",
        "send order",
        "completed order",
        "entered thanks",
    ]


async def test_what_a_decision_emits_is_on_the_log(harness: Harness) -> None:
    """An emitted event is a record like any other, right behind the one that caused it."""
    await harness.append(identify("a"), event("a", "Order Completed"), event("b", "Order Completed"))
    names = [f"{r.customer} {r.name}" for _, r in await harness.log() if isinstance(r, Event)]
    assert names == ["a Order Completed", "a Order Confirmed", "b Order Completed", "b Order Confirmed"]


async def test_a_timer_fires_at_its_time_and_is_a_record(harness: Harness) -> None:
    """One hour after the cart the timer comes, not a millisecond earlier, and it stands on the log."""
    await harness.append(identify("a"), event("a", "Product Added"))
    await harness.advance(T0 + HOUR - 1)
    assert await messages(harness) == []
    await harness.advance(T0 + HOUR)
    assert [each.message.template for each in await messages(harness)] == ["cart"]
    fired = [record for _, record in await harness.log() if isinstance(record, Timer)]
    assert [(timer.customer, timer.due_ms, timer.at_ms) for timer in fired] == [("a", T0 + HOUR, T0 + HOUR)]


async def test_timers_of_many_customers_all_fire(harness: Harness) -> None:
    """More timers than fit into a batch, all due at once, each fire once."""
    names = [f"c{number}" for number in range(450)]
    for name in names:
        await harness.append(identify(name), event(name, "Product Added"))
    await harness.advance(T0 + 2 * HOUR)
    sent = await messages(harness)
    assert sorted(each.message.customer for each in sent) == sorted(names)
    assert (await harness.runtime.counts())["timers"] == {"pending": 450, "overdue": 0}


async def test_a_record_appended_twice_is_applied_once(harness: Harness) -> None:
    """Producers send again what was not acknowledged: the id says that it is the same."""
    records: list[Record] = [identify("a"), event("a", "Product Added"), event("b", "Order Completed")]
    await harness.append(*records)
    once, states_once = await decisions(harness), await states(harness, ("a", "b"))
    await harness.append(*records)
    assert await decisions(harness) == once
    assert {name: state.seen for name, state in states_once.items()} == {
        name: state.seen for name, state in (await states(harness, ("a", "b"))).items()
    }


async def test_a_log_delivered_twice_changes_nothing_and_loses_nothing(harness: Harness) -> None:
    """The log read again from its beginning, on top of states that have it already."""
    await harness.append(identify("a"), event("a", "Product Added"), event("b", "Order Completed"))
    await harness.advance(T0 + HOUR)
    await harness.append(event("a", "Order Completed", at_ms=T0 + HOUR))
    before = await decisions(harness), await messages(harness), await states(harness, ("a", "b"))
    await harness.redeliver()
    assert (await decisions(harness), await messages(harness), await states(harness, ("a", "b"))) == before


async def test_a_merged_customer_goes_on_under_the_new_id(harness: Harness) -> None:
    """The cart of an anonymous visitor is reminded of at the address that the known one has."""
    await harness.append(event("anon", "Product Added"), identify("a"))
    await harness.append(Merge(customer="anon", at_ms=T0, id="m1", into="a"))
    await harness.append(event("anon", "Nobody Asks"), event("anon", "Product Added", at_ms=T0 + 1))
    await harness.advance(T0 + HOUR)
    assert [each.message.address for each in await messages(harness)] == ["a@example.com"]
    merged = await harness.runtime.state("anon")
    assert merged is not None
    assert merged.merged_into == "a"


async def test_a_claimed_message_is_not_handed_out_again(harness: Harness) -> None:
    """Ready, claimed, settled: each message goes that way once; its outcome reaches the customer's state."""
    await harness.append(identify("a"), event("a", "Order Completed"))
    (pending,) = await harness.runtime.ready(10)
    message = pending.message
    assert await harness.runtime.claim([message.id, "never-heard-of"]) == {message.id}
    assert await harness.runtime.ready(10) == []
    assert await harness.runtime.claim([message.id]) == frozenset()
    outcome = Outcome(customer="a", at_ms=T0 + 5, id="o1", time_ms=T0 + 5, outcome="sent", message=message.id)
    answer = Settlement(message_id=message.id, status="sent", at_ms=T0 + 5, provider_id="p-1", records=(outcome,))
    await harness.settle(answer)
    status = await harness.runtime.message(message.id)
    assert status is not None
    assert (status.status, status.attempts, status.provider_id) == ("sent", 1, "p-1")
    state = await harness.runtime.state("a")
    assert state is not None
    assert [sent.outcome for sent in state.messages] == ["sent"]


async def test_where_tracked_links_lead_is_kept_with_the_claim(harness: Harness) -> None:
    """Before the provider is called; added to what an earlier attempt left with; erased with the customer."""
    await harness.append(identify("a"), event("a", "Order Completed"))
    (pending,) = await harness.runtime.ready(10)
    message_id = pending.message.id
    first, second = (
        {"k1": "https://shop.example/1", "k2": "https://shop.example/2"},
        {"k3": "https://shop.example/ü?a=1"},
    )
    await harness.runtime.claim([message_id], links={message_id: first, "never-heard-of": second})
    status = await harness.runtime.message(message_id)
    assert status is not None
    assert (status.status, status.links) == ("claimed", first)
    assert await harness.runtime.claim([message_id], links={message_id: second}) == frozenset()  # nothing leaves by it
    await harness.settle(Settlement(message_id=message_id, status="pending", at_ms=T0, not_before_ms=T0 + 1))
    await harness.advance(T0 + 60_000)
    await harness.runtime.claim([message_id], links={message_id: second})
    await harness.settle(Settlement(message_id=message_id, status="sent", at_ms=T0 + 60_000))
    status = await harness.runtime.message(message_id)
    assert status is not None
    assert (status.status, status.links) == ("sent", first | second)
    await harness.append(Erase(customer="a", at_ms=T0 + 60_001, id="x"))
    assert await harness.runtime.message(message_id) is None


async def test_the_first_final_answer_stays(harness: Harness) -> None:
    """A settlement repeated, or contradicting an earlier one, says nothing new and appends nothing."""
    await harness.append(identify("a"), event("a", "Order Completed"))
    (pending,) = await harness.runtime.ready(10)
    await harness.runtime.claim([pending.message.id])
    await harness.settle(Settlement(message_id=pending.message.id, status="sent", at_ms=T0 + 1))
    length = len(await harness.log())
    outcome = Outcome(customer="a", at_ms=T0 + 2, id="o9", time_ms=T0 + 2, outcome="failed", message=pending.message.id)
    await harness.settle(Settlement(message_id=pending.message.id, status="failed", at_ms=T0 + 2, records=(outcome,)))
    status = await harness.runtime.message(pending.message.id)
    assert status is not None
    assert status.status == "sent"
    assert len(await harness.log()) == length


async def test_a_retry_waits_for_its_time_and_counts_attempts(harness: Harness) -> None:
    """`pending` with a time: not before it, then with the attempt counted."""
    await harness.append(identify("a"), event("a", "Order Completed"))
    (pending,) = await harness.runtime.ready(10)
    await harness.runtime.claim([pending.message.id])
    await harness.settle(
        Settlement(message_id=pending.message.id, status="pending", at_ms=T0, not_before_ms=T0 + 60_000, reason="421")
    )
    assert await harness.runtime.ready(10) == []
    await harness.advance(T0 + 60_000)
    (again,) = await harness.runtime.ready(10)
    assert (again.message.id, again.attempt, again.first_attempt_ms) == (pending.message.id, 1, T0)


async def test_ready_messages_come_by_priority_then_age_without_throttled_lanes(harness: Harness) -> None:
    """Order confirmations (priority 5) before reminders; an excluded domain is passed over."""
    await harness.append(identify("a"), identify("b"), event("a", "Product Added"))
    await harness.advance(T0 + HOUR)
    await harness.append(event("b", "Order Completed", at_ms=T0 + HOUR), event("a", "Order Completed", at_ms=T0 + HOUR))
    ready = await harness.runtime.ready(10)
    assert [each.message.template for each in ready] == ["order", "order", "cart"]
    assert [each.message.customer for each in ready] == ["b", "a", "a"]
    assert len(await harness.runtime.ready(2)) == 2
    assert await harness.runtime.ready(10, closed=Closed(frozenset({("email", "example.com")}))) == []
    assert await harness.runtime.ready(10, closed=Closed(frozenset({("email", "")}))) == []
    assert len(await harness.runtime.ready(10, closed=Closed(frozenset({("email", "other.example")})))) == 3


async def test_a_paused_workflow_takes_nobody_in_until_resumed(harness: Harness) -> None:
    """Pause is a control record: it holds from its place on the log, also after a restart."""
    await harness.append(Pause(customer="", at_ms=T0, id="p1", workflow="cart"), event("a", "Product Added"))
    await harness.crash()
    await harness.reopen()
    assert harness.runtime.catalog.paused == {"cart"}
    await harness.append(event("b", "Product Added"))
    await harness.append(Pause(customer="", at_ms=T0, id="p2", workflow="cart", paused=False))
    await harness.append(event("c", "Product Added"))
    entered = [line.customer for line in await decisions(harness) if line.kind == "entered"]
    assert entered == ["c"]


async def test_an_erased_customer_is_forgotten_and_may_begin_anew(harness: Harness) -> None:
    """Nothing is left of them; a later event is that of a stranger, and its messages are decided afresh."""
    await harness.append(identify("a"), event("a", "Order Completed"), event("b", "Order Completed"))
    await harness.append(Erase(customer="a", at_ms=T0, id="x"))
    assert await harness.runtime.state("a") is None
    assert [line for line in await decisions(harness) if line.customer == "a"] == []
    assert [each for each in await messages(harness) if each.message.customer == "a"] == []
    again = identify("a", at_ms=T0 + DAY)
    await harness.append(again, event("a", "Order Completed", at_ms=T0 + DAY))
    assert [each.message.customer for each in await messages(harness)] == ["a"]


async def test_a_run_goes_on_after_a_crash(harness: Harness) -> None:
    """What was acknowledged is there; what was pending fires, although nobody was there at its time."""
    await harness.append(identify("a"), event("a", "Product Added"))
    before = await decisions(harness), await states(harness, ("a",))
    await harness.crash()
    await harness.reopen()
    assert (await decisions(harness), await states(harness, ("a",))) == before
    await harness.advance(T0 + HOUR)
    assert [each.message.template for each in await messages(harness)] == ["cart"]


async def test_a_claimed_message_of_a_dead_process_becomes_unknown(durable: Harness) -> None:
    """The provider may have it: nobody can say, so that is what is recorded, and the customer's state hears of it."""
    await durable.append(identify("a"), event("a", "Order Completed"))
    (pending,) = await durable.runtime.ready(10)
    await durable.runtime.claim([pending.message.id])
    await durable.crash()
    await durable.reopen()
    status = await durable.runtime.message(pending.message.id)
    assert status is not None
    assert (status.status, status.reason) == ("unknown", "process ended while sending")
    assert await durable.runtime.ready(10) == []
    await durable.crash()
    await durable.reopen()
    outcomes = [record for _, record in await durable.log() if isinstance(record, Outcome)]
    assert [outcome.outcome for outcome in outcomes] == ["unknown"]


async def test_who_was_written_to_is_found_by_address_and_provider(harness: Harness) -> None:
    """In any case of letters: the newest message of each customer; and the message that a provider knows by its own id."""
    await harness.append(identify("a"), event("a", "Order Completed"), event("a", "Order Completed", id="second"))
    sent = await messages(harness)
    await harness.runtime.claim([each.message.id for each in sent])
    await harness.runtime.settle(
        [
            Settlement(message_id=each.message.id, status="sent", at_ms=T0, provider_id=f"p-{n}")
            for n, each in enumerate(sent)
        ]
    )
    written = await harness.runtime.written_to(" A@Example.COM ")
    assert {each.message.customer for each in written} == {"a"}
    assert len(written) == 1
    assert await harness.runtime.written_to("nobody@example.com") == []
    assert await harness.runtime.written_to("") == []
    known = await harness.runtime.message_of("p-0")
    assert known is not None
    assert known.message.id == sent[0].message.id
    assert await harness.runtime.message_of("p-9") is None
    assert await harness.runtime.message_of("") is None


async def test_what_a_dead_process_was_sending_is_told_once(durable: Harness) -> None:
    """So that its provider can be asked for it."""
    await durable.append(identify("a"), event("a", "Order Completed"))
    (known,) = await messages(durable)
    await durable.runtime.claim([known.message.id])
    await durable.crash()
    await durable.reopen()
    assert [message.id for message in await durable.runtime.interrupted()] == [known.message.id]
    assert await durable.runtime.interrupted() == []


async def test_an_operator_enrolls_by_a_record(harness: Harness) -> None:
    """Commands are records as well."""
    await harness.append(identify("a"), Enroll(customer="a", at_ms=T0, id="n1", workflow="thanks"))
    assert await kinds(harness, "a") == ["entered thanks"]


@pytest.mark.parametrize("limit", [1, 3])
async def test_questions_are_answered_within_their_bounds(harness: Harness, limit: int) -> None:
    """Newest first, at most `limit`; `after_seq` goes on where the last answer ended."""
    await harness.append(identify("a"), event("a", "Order Completed"))
    newest = await harness.runtime.decisions(Query(customer="a", limit=limit))
    oldest = await harness.runtime.decisions(Query(customer="a", limit=10_000, oldest_first=True))
    assert newest == oldest[::-1][:limit]
    after = await harness.runtime.decisions(Query(after_seq=oldest[1][0], oldest_first=True, limit=limit))
    assert after == oldest[2 : 2 + limit]
    sends = await harness.runtime.decisions(Query(kinds=("send",)))
    message = sends[0][1].detail["message"]
    assert [line for line in await harness.runtime.decisions(Query(message=message)) if line in sends] == sends
