"""The ledger of a partition on a real broker: what may become of a message, and what is left of it when processes die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.core.record import Outcome, Pause
from engine.dispatch.ports import Closed
from engine.runtimes.kafka.topics import REASON, encode_json, headers_of
from tests.conformance.shop import T0
from tests.runtimes.ledger_stage import Stage, answer, bounced, forgotten, handover

HOUR = 3_600_000
NONE = Closed()


@pytest.fixture
async def stage(kafka: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """Topics of its own."""
    made = Stage(kafka, topic_prefix, tmp_path)
    yield made
    await made.stop()


async def test_a_claimed_message_is_not_handed_out_again(stage: Stage) -> None:
    """Ready, claimed, settled: each message goes that way once."""
    ledger = (await stage.own()).ledger
    await ledger.take([stage.incoming(handover("m1"))])
    (pending,) = await ledger.ready(10, NONE, T0)
    assert (pending.message.id, pending.attempt, pending.first_attempt_ms) == ("m1", 0, 0)
    assert pending.message.context == {"customer": {"first_name": "Ana"}}
    assert await ledger.claim(["m1", "never-heard-of"]) == {"m1"}
    assert await ledger.ready(10, NONE, T0) == []
    assert await ledger.claim(["m1"]) == frozenset()
    await ledger.settle([answer("m1", provider_id="p-1")])
    status = ledger.status("m1")
    assert status is not None
    assert (status.status, status.attempts, status.provider_id, status.updated_ms) == ("sent", 1, "p-1", T0 + 1)
    assert status.message.context == {}, "what is final needs nothing to render it with"
    assert ledger.depth == 0


async def test_the_first_final_answer_stays(stage: Stage) -> None:
    """A settlement repeated, or contradicting an earlier one, says nothing new and tells nobody anything."""
    ledger = (await stage.own()).ledger
    await ledger.take([stage.incoming(handover("m1"))])
    await ledger.claim(["m1"])
    await ledger.settle([answer("m1")])
    await ledger.settle([answer("m1", "failed", records=(bounced("m1"),))])
    await ledger.settle([answer("m1", "pending", not_before_ms=T0)])
    status = ledger.status("m1")
    assert status is not None
    assert status.status == "sent"
    assert await ledger.ready(10, NONE, T0) == []
    assert await stage.outcomes() + await stage.outcomes(1) == []


async def test_outcomes_reach_the_customer_and_a_pause_every_partition(stage: Stage) -> None:
    """An outcome goes to the partition of its customer; a control record is one on each."""
    ledger = (await stage.own()).ledger
    await ledger.take([stage.incoming(handover("m1"))])
    pause = Pause(customer="", at_ms=T0, id="our-fault:m1", workflow="order")
    await ledger.settle([answer("m1", "failed", records=(bounced("m1"), pause))])
    await ledger.settle([])  # returns after the batch before it was sent
    found = [await stage.records(number) for number in (0, 1)]
    assert all(pause in records for records in found)
    assert sum(isinstance(each, Outcome) for records in found for each in records) == 1


async def test_a_retry_waits_for_its_time_and_survives_the_process(stage: Stage) -> None:
    """`pending` with a time: not before it, on another machine neither, and with the attempt counted."""
    held = await stage.own()
    await held.ledger.take([stage.incoming(handover("m1"))])
    await held.ledger.claim(["m1"])
    await held.ledger.settle([answer("m1", "pending", not_before_ms=T0 + 60_000, reason="421")])
    assert await held.ledger.ready(10, NONE, T0 + 59_999) == []
    await held.die()
    ledger = (await stage.own("b")).ledger
    assert await ledger.ready(10, NONE, T0 + 59_999) == []
    assert ledger.queue.next_due_ms == T0 + 60_000
    (again,) = await ledger.ready(10, NONE, T0 + 60_000)
    assert (again.message.id, again.attempt, again.first_attempt_ms) == ("m1", 1, T0)
    assert again.message.context, "a message that is still to be sent keeps what it is rendered with"


async def test_ready_messages_come_by_priority_then_age_without_throttled_lanes(stage: Stage) -> None:
    """Before and after a restart; an excluded domain or channel is passed over."""
    held = await stage.own()
    await held.ledger.take(
        [
            stage.incoming(handover("late", due_ms=T0 + HOUR)),
            stage.incoming(handover("a")),
            stage.incoming(handover("b", address="b@Other.example")),
            stage.incoming(handover("urgent", priority=5)),
            stage.incoming(handover("c", address="+49151", channel="sms")),
        ]
    )
    for _ in range(2):
        ledger = held.ledger
        names = [each.message.id for each in await ledger.ready(10, NONE, T0)]
        assert names == ["urgent", "a", "b", "c"]
        assert [each.message.id for each in await ledger.ready(2, NONE, T0)] == ["urgent", "a"]
        closed = Closed(frozenset({("email", "example.com")}))
        assert [each.message.id for each in await ledger.ready(10, closed, T0)] == ["b", "c"]
        assert [each.message.id for each in await ledger.ready(10, Closed(frozenset({("email", "")})), T0)] == ["c"]
        assert await ledger.ready(10, Closed(frozenset({("email", ""), ("sms", "")})), T0) == []
        await held.close()
        held = await stage.own()
    assert [each.message.id for each in await held.ledger.ready(9, NONE, T0 + HOUR)] == [
        "urgent",
        "late",
        "a",
        "b",
        "c",
    ]


async def test_a_message_waits_until_the_states_have_seen_what_led_to_it(stage: Stage) -> None:
    """The policy is asked with the state that the decision was taken on, or a newer one."""
    held = await stage.own(ahead=False)
    await held.ledger.take([stage.incoming(handover("m1", offset=7)), stage.incoming(handover("m2", offset=9))])
    work = asyncio.Event()
    held.ledger.on_work = work.set
    assert await held.ledger.ready(10, NONE, T0) == []
    held.ledger.states_known(8)
    assert work.is_set()
    assert [each.message.id for each in await held.ledger.ready(10, NONE, T0)] == ["m1"]
    held.ledger.states_known(9)
    assert len(await held.ledger.ready(10, NONE, T0)) == 2


async def test_what_is_handed_over_twice_is_known(stage: Stage) -> None:
    """A worker sends its last batch again when it takes over; the ledger knows the ids, whatever became of them."""
    held = await stage.own()
    records = [stage.incoming(handover("m1")), stage.incoming(handover("m2"))]
    await held.ledger.take(records)
    await held.ledger.claim(["m1"])
    await held.ledger.settle([answer("m1")])
    commits = held.ledger.commits
    await held.ledger.take(records)
    assert held.ledger.commits == commits, "what was taken before is left out"
    await held.ledger.take([stage.incoming(handover("m1")), stage.incoming(handover("m2"))])
    assert [each.message.id for each in await held.ledger.ready(10, NONE, T0)] == ["m2"]
    assert held.ledger.applied == 3


async def test_what_cannot_be_read_is_a_dead_letter_and_holds_up_nobody(stage: Stage) -> None:
    """Garbage, another type, nothing at all, an empty id: each with its reason and origin, the next message behind them taken."""
    ledger = (await stage.own()).ledger
    bad = [b"\xff\xfe", b'["message",1,2]', None, handover("")]
    await ledger.take([*(stage.incoming(each) for each in bad), stage.incoming(handover("m1"))])
    await ledger.settle([])
    letters = await stage.read(stage.topics.dead_letters)
    assert [each.value for each in letters[:3]] == [b"\xff\xfe", b'["message",1,2]', b""]
    assert all(headers_of(each.headers)[REASON] for each in letters)
    assert [headers_of(each.headers)["anlass-origin"].split(":")[1:] for each in letters] == [
        ["0", str(number)] for number in range(4)
    ]
    assert [each.message.id for each in await ledger.ready(10, NONE, T0)] == ["m1"]


async def test_what_is_too_large_to_be_kept_is_a_dead_letter_and_holds_up_nobody(stage: Stage) -> None:
    """Nine megabytes, and a number that a row cannot hold: the letter is cut to what fits; the messages beside them are taken."""
    ledger = (await stage.own()).ledger
    large = [handover(f"large{number}", context={"data": "x" * (9 << 20)}) for number in range(2)]
    number = encode_json(handover("number", context={"n": 123456})).replace(b"123456", b"9" * 40)
    await ledger.take([stage.incoming(each) for each in (large[0], handover("m1"), large[1], number, handover("m2"))])
    await ledger.settle([])
    letters = await stage.read(stage.topics.dead_letters)
    assert [len(each.value) for each in letters[:2]] == [8 << 20, 8 << 20]
    assert [each.message.id for each in await ledger.ready(10, NONE, T0) if each.message.id != "number"] == ["m1", "m2"]
    assert (ledger.entry("number") is None) == (len(letters) == 3), "either it can be kept or it is a dead letter"


async def test_messages_that_are_too_large_together_are_claimed_one_by_one(stage: Stage) -> None:
    """Three rows of seven megabytes do not fit into one batch of the changelog."""
    ledger = (await stage.own()).ledger
    names = ["m0", "m1", "m2"]
    await ledger.take([stage.incoming(handover(name, context={"data": "x" * (7 << 20)})) for name in names])
    assert await ledger.claim(names) == set(names)
    await ledger.settle([answer(name, "pending") for name in names])
    assert [each.attempt for each in await ledger.ready(10, NONE, T0)] == [1, 1, 1]


async def test_a_forgotten_customer_leaves_the_ledger_and_may_begin_anew(stage: Stage) -> None:
    """Entries up to that record go, whatever their status; later ones stay; a late copy of an old one does not come back."""
    held = await stage.own()
    ledger = held.ledger
    await ledger.take(
        [
            stage.incoming(handover(name, offset=offset, customer="gone"))
            for name, offset in (("m1", 1), ("m2", 2), ("m3", 3))
        ]
        + [stage.incoming(handover("other", offset=1))]
    )
    await ledger.claim(["m1", "m2"])
    await ledger.settle([answer("m1")])
    await ledger.take(
        [
            stage.incoming(handover("m4", offset=4, customer="gone")),
            stage.incoming(forgotten("gone", 5)),
            stage.incoming(handover("m6", offset=6, customer="gone")),
            stage.incoming(handover("m3", offset=3, customer="gone")),
        ]
    )
    assert [name for name in ("m1", "m2", "m3", "m4", "m6", "other") if ledger.entry(name)] == ["m6", "other"]
    await ledger.settle([answer("m2", "failed", records=(bounced("m2"),))])
    await held.die()
    ledger = (await stage.own("b")).ledger
    assert [name for name in ("m1", "m2", "m3", "m4", "m6", "other") if ledger.entry(name)] == ["m6", "other"]
    assert await stage.outcomes() + await stage.outcomes(1) == []


async def test_a_claimed_message_of_a_dead_process_becomes_unknown_once(stage: Stage) -> None:
    """The provider may have it: nobody can say, so that is what is recorded, and the customer's state hears of it."""
    held = await stage.own()
    await held.ledger.take([stage.incoming(handover("m1"))])
    await held.ledger.claim(["m1"])
    for name in ("a", "b", "c"):
        await held.die()
        held = await stage.own(name)
        status = held.ledger.status("m1")
        assert status is not None
        assert (status.status, status.reason, status.attempts) == ("unknown", "process ended while sending", 1)
        assert await held.ledger.ready(10, NONE, T0 + HOUR) == []
    assert {*await stage.outcomes(), *await stage.outcomes(1)} == {("m1", "unknown")}
    await held.ledger.settle([answer("m1")])
    assert held.ledger.entry("m1").status == "sent"  # type: ignore[union-attr]


async def test_requests_at_the_same_time_share_a_commit(stage: Stage) -> None:
    """Fifty claims, fifty answers: a few round trips to the broker, each answered for itself."""
    ledger = (await stage.own()).ledger
    names = [f"m{number}" for number in range(50)]
    await ledger.take([stage.incoming(handover(name)) for name in names])
    before = ledger.commits
    claimed = await asyncio.gather(*(ledger.claim([name]) for name in names))
    assert [*claimed] == [frozenset({name}) for name in names]
    await asyncio.gather(*(ledger.settle([answer(name)]) for name in names))
    assert ledger.commits - before <= 4
    assert {ledger.entry(name).status for name in names} == {"sent"}  # type: ignore[union-attr]
