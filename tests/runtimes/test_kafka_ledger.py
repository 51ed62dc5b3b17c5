"""The ledger of a partition on a real broker: what may become of a message, and what is left of it when processes die."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.core.record import Outcome, Pause
from engine.dispatch.ports import Settlement
from engine.errors import StorageError
from engine.runtimes.kafka.arrival import Incoming
from engine.runtimes.kafka.changelog import Fenced
from engine.runtimes.kafka.topics import REASON, Answered, headers_of
from engine.runtimes.kafka.transitions import RESEND_DELAY_MS
from tests.conformance.shop import T0
from tests.runtimes.ledger_stage import Crash, Held, Stage, answer, bounced, entry_of, forgotten, handover

HOUR = 3_600_000
NONE: frozenset[tuple[str, str]] = frozenset()


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
        closed = frozenset({("email", "example.com")})
        assert [each.message.id for each in await ledger.ready(10, closed, T0)] == ["b", "c"]
        assert [each.message.id for each in await ledger.ready(10, frozenset({("email", "")}), T0)] == ["c"]
        assert await ledger.ready(10, frozenset({("email", ""), ("sms", "")}), T0) == []
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


# --------------------------------------------------------------------------------------------- two owners, failed writes


async def test_two_owners_never_both_claim_a_message(stage: Stage) -> None:
    """Whoever was first is fenced at the next write, before anything is sent; what it wrote does not count for later owners."""
    old = await stage.own("a")
    await old.ledger.take([stage.incoming(handover(name)) for name in ("m1", "m2", "m3")])
    new = await stage.own("b")
    with pytest.raises(Fenced):
        await old.ledger.claim(["m1"])
    with pytest.raises(Fenced):
        await old.ledger.settle([answer("m2")])
    assert await new.ledger.claim(["m1"]) == {"m1"}
    await new.ledger.settle([answer("m1", provider_id="of the new one")])
    assert await old.ledger.ready(10, NONE, T0) == []
    third = await stage.own("c")
    assert [entry_of(third, name).status for name in ("m1", "m2", "m3")] == ["sent", "pending", "pending"]
    assert entry_of(third, "m1").provider_id == "of the new one"


async def test_a_claim_just_before_a_takeover_is_known_to_the_new_owner(stage: Stage) -> None:
    """Owners that take over and claim at the same time: each message is claimed by one of them, or found `unknown`."""
    first = await stage.own("a")
    names = [f"m{number}" for number in range(20)]
    await first.ledger.take([stage.incoming(handover(name)) for name in names])

    async def claim_all() -> set[str]:
        done: set[str] = set()
        with contextlib.suppress(Fenced):
            for name in names:
                done |= await first.ledger.claim([name])
        return done

    claiming = asyncio.create_task(claim_all())
    await asyncio.sleep(0.02)
    second = await stage.own("b")
    mine = await claiming
    theirs = await second.ledger.claim(names)
    assert mine | theirs == set(names)
    assert not mine & theirs
    assert {name for name in names if entry_of(second, name).status == "unknown"} == mine


async def test_two_that_take_over_at_once_leave_one_owner(stage: Stage) -> None:
    """The last one writes, the others hear that they do not."""
    held = await asyncio.gather(*(stage.own(name) for name in "abcd"))
    await asyncio.gather(
        *(each.ledger.take([stage.incoming(handover(f"m{number}"))]) for number, each in enumerate(held)),
        return_exceptions=True,
    )
    winners = [each for each in held if each.working is not None and not each.working.done()]
    assert len(winners) == 1
    last = await stage.own("z")
    await last.ledger.take([stage.incoming(handover("more"))])
    assert await last.ledger.claim(["more"]) == {"more"}


async def test_a_late_answer_counts_when_there_was_no_other_attempt(stage: Stage) -> None:
    """What a former owner heard: unknown becomes what it really was, and the customer hears it; a second attempt outdates it."""
    stage.catalog = replace(stage.catalog, policy=replace(stage.catalog.policy, unknown={"transactional": "resend"}))
    old = await stage.own("a")
    names = ("sent", "failed", "again")
    await old.ledger.take([stage.incoming(handover(name, purpose="marketing")) for name in names])
    await old.ledger.take([stage.incoming(handover(name)) for name in ("resent", "spared")])
    await old.ledger.claim([*names, "resent", "spared"])
    new = (await stage.own("b")).ledger
    later = stage.manual.now_ms() + RESEND_DELAY_MS
    assert await new.ready(10, NONE, later - 1) == []
    assert {each.message.id for each in await new.ready(10, NONE, later)} == {"resent", "spared"}
    assert await new.claim(["resent"]) == {"resent"}

    def late(name: str, settlement: Settlement) -> Incoming:
        return stage.incoming(Answered(f"c-{name}", 1, settlement))

    answers = [
        late("sent", answer("sent")),
        late("failed", answer("failed", "failed", records=(bounced("failed"),))),
        late("again", answer("again", "pending", not_before_ms=later)),
        late("resent", answer("resent", "pending")),
        late("spared", answer("spared")),
        late("nobody", answer("nobody")),
    ]
    await new.take(answers)
    statuses = {name: entry_of(new, name).status for name in (*names, "resent", "spared")}
    assert statuses == {"sent": "sent", "failed": "failed", "again": "pending", "resent": "claimed", "spared": "sent"}
    await new.settle([])
    told = {*await stage.outcomes(0), *await stage.outcomes(1)} - {(name, "unknown") for name in names}
    assert told == {("sent", "sent"), ("failed", "bounced"), ("spared", "sent")}
    (again,) = await new.ready(10, NONE, later)
    assert (again.message.id, again.attempt, bool(again.message.context)) == ("again", 1, True)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_process_may_die_before_and_after_each_of_its_writes(stage: Stage, after: bool) -> None:
    """Whatever was under way is done again by whoever comes next, and the end is the same: nothing lost, nothing sent twice.

    A provider may be called only when `claim` has returned; a message whose attempt nobody settled becomes `unknown`.
    """
    records = [
        stage.incoming(handover("ok")),
        stage.incoming(handover("bad")),
        stage.incoming(b"garbage"),
        stage.incoming(handover("gone", customer="x")),
        stage.incoming(handover("later")),
        stage.incoming(forgotten("x", 1)),
    ]
    deaths = 0
    for at in range(40):
        stage.renew(f"{at}{after}.")
        sent: list[str] = []
        held = None
        try:
            held = await stage.own("a", at=at, after=after)
            await _work(held, records, sent)
            died = False
        except Crash:
            died = True
        deaths += died
        if held is not None:
            await held.die()
        if not died:
            break
        held = await stage.own("b")
        await _work(held, records, sent)
        assert len(sent) == len(set(sent)), f"write {at}: sent twice"
        ends = {name: entry_of(held, name).status for name in ("ok", "bad", "later")}
        unknown = {name for name, status in ends.items() if status == "unknown"}
        assert ends == {
            "ok": "unknown" if "ok" in unknown else "sent",
            "bad": "unknown" if "bad" in unknown else "failed",
            "later": "pending",
        }
        assert held.ledger.entry("gone") is None
        letters = await stage.read(stage.topics.dead_letters)
        assert {each.value for each in letters} == {b"garbage"}
        told = {*await stage.outcomes(0), *await stage.outcomes(1)}
        assert told == {(name, "unknown") for name in unknown} | {("bad", "bounced") for _ in {"bad"} - unknown}
        await held.die()
    else:
        pytest.fail("the scenario has more writes than were tried")
    assert deaths >= 7


async def _work(held: Held, records: list[Incoming], sent: list[str]) -> None:
    """Takes all, sends what is ready, settles."""
    ledger = held.ledger
    await held.alive(ledger.take(records))
    await held.alive(ledger.settle([answer("later", "pending", not_before_ms=T0 + HOUR)]))
    ready = [each.message.id for each in await ledger.ready(10, NONE, T0)]
    for name in ready:
        if await held.alive(ledger.claim([name])):
            sent.append(name)
            result = answer(name) if name == "ok" else answer(name, "failed", records=(bounced(name),))
            await held.alive(ledger.settle([result]))
    await held.alive(ledger.settle([]))


async def test_a_disk_that_is_full_undoes_what_the_changelog_has_already(stage: Stage) -> None:
    """A claim that failed is no claim, records that failed are taken again: also for the next owner."""
    held = await stage.own("a")
    await held.ledger.take([stage.incoming(handover("m1"))])
    held.store.failing = 1
    with pytest.raises(StorageError):
        await held.ledger.claim(["m1"])
    assert [each.message.id for each in await held.ledger.ready(10, NONE, T0)] == ["m1"]
    more = [stage.incoming(handover("m2"))]
    held.store.failing = 1
    with pytest.raises(StorageError):
        await held.ledger.take(more)
    await held.ledger.settle([answer("m1", "suppressed")])
    await held.die()
    held = await stage.own("b")
    assert held.ledger.entry("m2") is None
    assert entry_of(held, "m1").status == "suppressed"
    await held.ledger.take(more)
    assert await held.ledger.claim(["m2"]) == {"m2"}


async def test_entries_that_are_final_for_long_are_removed_a_few_at_a_time(stage: Stage) -> None:
    """After 90 days; what is open stays, however old."""
    held = await stage.own("a")
    names = [f"m{number:04}" for number in range(700)]
    await held.ledger.take([stage.incoming(handover(name)) for name in names])
    await held.ledger.settle([answer(name) for name in names[:-1]])
    stage.manual.move_to(T0 + 90 * 24 * HOUR)
    assert await held.ledger.prune() == 0
    stage.manual.move_to(T0 + 90 * 24 * HOUR + 2)
    removed = [await held.ledger.prune() for _ in range(4)]
    assert sum(removed) == 699
    assert max(removed) <= 500
    await held.die()
    held = await stage.own("b")
    assert [name for name in names if held.ledger.entry(name)] == [names[-1]]
