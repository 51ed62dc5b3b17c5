"""The ledger of a partition on a real broker: owners that take over from each other, writes that fail, years and crowds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.dispatch.ports import Closed, Settlement
from engine.errors import StorageError
from engine.runtimes.kafka.dispatcher.transitions import RESEND_DELAY_MS
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.partition.changelog import Fenced
from engine.runtimes.kafka.topics import Answered
from tests.conformance.shop import T0
from tests.runtimes.ledger_stage import Crash, Held, Stage, answer, bounced, entry_of, forgotten, handover

HOUR = 3_600_000
NONE = Closed()


@pytest.fixture
async def stage(kafka: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """Topics of its own."""
    made = Stage(kafka, topic_prefix, tmp_path)
    yield made
    await made.stop()


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
    """A claim that failed is not a claim, records that failed are taken again: also for the next owner."""
    held = await stage.own("a")
    await held.ledger.take([stage.incoming(handover("m1"))])
    held.store.failing = 1
    with pytest.raises(StorageError):
        await held.ledger.claim(["m1"])
    assert [each.message.id for each in await held.ledger.ready(10, NONE, T0)] == ["m1"]
    held.store.unreadable = 1
    with pytest.raises(StorageError):
        await held.ledger.claim(["m1"])
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


@pytest.mark.timeout(400)
async def test_a_hundred_thousand_pending_messages_are_taken_over_quickly(stage: Stage) -> None:
    """Within seconds, from a disk that has them as from the changelog alone; nobody else is held up meanwhile."""
    held = await stage.own("a")
    count, lanes, pack = 100_000, 5_000, 500
    for start in range(0, count, pack):
        await held.ledger.take(
            [
                stage.incoming(handover(f"{number:032}", address=f"a{number}@d{number % lanes}.example"))
                for number in range(start, start + pack)
            ]
        )
    await held.die()
    figures: dict[str, float] = {}
    for name, disk in (("disk", "a"), ("changelog", "b")):
        async with _heartbeat() as beat:
            started = time.perf_counter()
            held = await stage.own(disk)
            figures[f"{name}: restored, s"] = time.perf_counter() - started
            started = time.perf_counter()
            found = await held.ledger.ready(50, Closed(frozenset({("email", "d0.example")})), T0)
            figures[f"{name}: ready, ms"] = (time.perf_counter() - started) * 1_000
        figures[f"{name}: loop held up, s"] = max(beat)
        assert [each.message.id for each in found] == [f"{number:032}" for number in range(1, 51)]
        assert len(held.ledger.queue) == count
        await held.die()
    print({name: round(value, 2) for name, value in figures.items()})  # noqa: T201 - what was measured
    assert max(figures["disk: restored, s"], figures["changelog: restored, s"]) < 60
    assert max(figures["disk: loop held up, s"], figures["changelog: loop held up, s"]) < 2


@contextlib.asynccontextmanager
async def _heartbeat() -> AsyncIterator[list[float]]:
    """How long the loop was busy with something else, each time, in seconds."""
    pauses = [0.0]

    async def beat() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.01)
            pauses.append(time.perf_counter() - started - 0.01)

    task = asyncio.create_task(beat())
    yield pauses
    task.cancel()
