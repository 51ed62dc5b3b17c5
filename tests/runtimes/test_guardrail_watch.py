"""A workflow that sends far more than usual pauses itself, says why, and goes on when an operator lets it: on the embedded
runtime and in memory; the journal's database counts the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.clock import ManualClock
from engine.core.record import Event, Identify, Outcome, Pause
from engine.definition.load import load_files
from engine.dispatch.ports import Settlement
from engine.runtimes.base import Pace
from engine.runtimes.embedded import EmbeddedRuntime
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import Settings
from engine.telemetry import Metrics
from engine.watches.guardrail import Guardrail
from engine.watches.watch import WatchNeeds

T0 = 1_800_000_000_000
HOUR_MS = 3_600_000
POLICY = b"""
policy: default
purposes:
  transactional: {consent: none}
blast_radius: {sends: 10x, of: 7d, min: 20, bounces: 5%, complaints: 0.3%, within: 1h}
"""
FLOW = b"""
workflow: cart
purpose: transactional
trigger: {event: Left}
reentry: always
steps:
  - send: {channel: email, template: hello}
    id: mail
"""
SECOND = FLOW.replace(b"cart", b"win").replace(b"Left", b"Gone")


class Watched:
    """A runtime and its guardrail, on a clock that is moved by hand."""

    def __init__(self, runtime: Any, clock: ManualClock, folder: Path) -> None:
        self.runtime, self.clock, self.metrics = runtime, clock, Metrics()
        around = WatchNeeds(settings=Settings(project=folder), runtime=runtime, clock=clock, metrics=self.metrics)
        self.guard = Guardrail(around)
        self.number = 0

    async def people(self, count: int) -> None:
        """Customers with an address."""
        at_ms = self.clock.now_ms()
        await self.runtime.append(
            [
                Identify(customer=f"c{n}", at_ms=at_ms, id=f"i{n}", time_ms=at_ms, traits={"email": f"c{n}@a.example"})
                for n in range(count)
            ]
        )

    async def events(self, count: int, name: str = "Left") -> None:
        """One message for each."""
        at_ms = self.clock.now_ms()
        records = []
        for n in range(count):
            self.number += 1
            records.append(Event(customer=f"c{n}", at_ms=at_ms, id=f"e{self.number}", name=name, time_ms=at_ms))
        await self.runtime.append(records)
        await self.runtime.idle()

    def pass_hours(self, hours: float) -> None:
        """Time goes by."""
        self.clock.move_to(self.clock.now_ms() + int(hours * HOUR_MS))


@pytest.fixture(params=["embedded", "memory"])
async def watched(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Watched]:
    """On either runtime."""
    loaded = load_files(
        [("workflows/policy.yaml", POLICY), ("workflows/cart.yaml", FLOW), ("workflows/win.yaml", SECOND)]
    )
    assert loaded.catalog is not None, loaded.problems
    clock = ManualClock(T0)
    runtime: Any = (
        EmbeddedRuntime(tmp_path / "var", loaded.catalog, clock=clock)
        if request.param == "embedded"
        else MemoryRuntime(loaded.catalog, clock=clock)
    )
    await runtime.start()
    yield Watched(runtime, clock, tmp_path)
    await runtime.stop()


async def test_the_first_sends_of_a_project_are_judged_by_nothing(watched: Watched) -> None:
    """Nobody knows what is usual; bounces would still stop it."""
    await watched.people(100)
    await watched.events(100)
    assert await watched.guard.look() == []


async def test_ten_times_the_busiest_hour_pauses_and_says_why(watched: Watched) -> None:
    """Five an hour are usual; fifty are not too many, the fifty-first pauses it, once, with the reason."""
    await watched.people(51)
    await watched.events(5)
    watched.pass_hours(2)
    await watched.events(50)
    assert await watched.guard.look() == []
    await watched.events(1)
    (trip,) = await watched.guard.look()
    assert (trip.workflow, trip.cause) == ("cart", "sends")
    await watched.runtime.idle()
    (said,) = await watched.runtime.pauses()
    assert (said.workflow, said.paused, said.at_ms, said.cause) == ("cart", True, watched.clock.now_ms(), "sends")
    assert "51 messages within 1h, at most 5 in the 1w before" in said.reason
    assert "cart" in watched.runtime.catalog.paused
    assert await watched.guard.look() == [], "what is paused is not paused again"
    exposed = watched.metrics.expose().decode()
    assert 'anlass_workflows_paused{cause="sends"} 1.0' in exposed
    assert 'anlass_guardrail_trips_total{cause="sends"} 1.0' in exposed
    await watched.events(1)
    lines = [line for _, line in await watched.runtime.decisions(_newest())]
    assert lines[0].kind == "not_entered"
    assert [line.detail["reason"] for line in lines if line.kind == "paused"] == [said.reason]


async def test_an_operator_lets_it_go_on_and_it_does_not_trip_again_at_once(watched: Watched) -> None:
    """What it did before the resume is usual from then on; ten times of that are too much again."""
    await watched.people(700)
    await watched.events(5)
    watched.pass_hours(2)
    await watched.events(60)
    assert await watched.guard.look()
    at_ms = watched.clock.now_ms()
    await watched.runtime.append(
        [Pause(customer="", at_ms=at_ms, id="r", workflow="cart", paused=False, reason="operator")]
    )
    assert await watched.guard.look() == []
    watched.pass_hours(0.1)
    await watched.events(100)
    assert await watched.guard.look() == []
    watched.pass_hours(0.2)
    await watched.events(650)
    (trip,) = await watched.guard.look()
    assert trip.cause == "sends"
    (said,) = await watched.runtime.pauses()
    assert said.paused


async def test_a_journal_that_lags_behind_lets_nothing_be_paused_twice(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator who has let it go on by then is not overruled by what the guardrail has not read yet."""
    await watched.people(60)
    await watched.events(5)
    watched.pass_hours(2)
    before = await watched.runtime.pauses()
    await watched.events(60)

    async def behind() -> Any:
        return before

    with monkeypatch.context() as lagging:
        lagging.setattr(watched.runtime, "pauses", behind)
        assert len(await watched.guard.look()) == 1
        watched.pass_hours(0.01)
        assert await watched.guard.look() == []
        at_ms = watched.clock.now_ms()
        goes_on = Pause(customer="", at_ms=at_ms, id="r", workflow="cart", paused=False, reason="operator")
        await watched.runtime.append([goes_on])
        assert await watched.guard.look() == []
        await watched.runtime.idle()
        assert "cart" not in watched.runtime.catalog.paused
    assert await watched.guard.look() == []
    watched.pass_hours(0.2)
    for _ in range(11):
        await watched.events(60)
    assert len(await watched.guard.look()) == 1, "what it does after that is judged again"


async def test_a_new_workflow_is_held_against_the_whole_project(watched: Watched) -> None:
    """The others send four an hour: of a new one the forty-first is too much."""
    await watched.people(41)
    await watched.events(4)
    watched.pass_hours(3)
    await watched.events(40, "Gone")
    assert await watched.guard.look() == []
    await watched.events(1, "Gone")
    (trip,) = await watched.guard.look()
    assert trip.workflow == "win"


@pytest.mark.parametrize(("outcome", "few", "many"), [("bounced", 2, 3), ("complained", 2, 3)])
async def test_bounces_and_complaints_pause_it(watched: Watched, outcome: str, few: int, many: int) -> None:
    """Of forty messages that were sent two may bounce; the third is more than 5%. Two complaints are not a spike, three are."""
    await watched.people(40)
    await watched.events(40)
    messages = await watched.runtime.messages(limit=100)
    at_ms = watched.clock.now_ms()
    await watched.runtime.claim([each.message.id for each in messages])
    await watched.runtime.settle(
        [Settlement(message_id=each.message.id, status="sent", at_ms=at_ms) for each in messages]
    )

    async def reported(start: int, end: int) -> None:
        await watched.runtime.append(
            [
                Outcome(
                    customer=each.message.customer, at_ms=at_ms, id=f"o-{each.message.id}", time_ms=at_ms,
                    outcome=outcome, message=each.message.id, detail={"verdict": "soft"},
                )
                for each in messages[start:end]
            ]
        )  # fmt: skip
        await watched.runtime.idle()

    await reported(0, few)
    assert await watched.guard.look() == []
    await reported(few, many)
    (trip,) = await watched.guard.look()
    assert trip.cause == {"bounced": "bounces", "complained": "complaints"}[outcome]
    (counted,) = await watched.runtime.pace(since_ms=T0 - T0 % 300_000, until_ms=T0 + HOUR_MS, span_ms=2 * HOUR_MS)
    assert (counted.queued, counted.sent, counted.bounced + counted.complained) == (40, 40, many)


async def test_the_pace_is_told_in_the_stretches_that_are_asked_for(watched: Watched) -> None:
    """Sums by workflow, from the beginning that is asked for; what lies outside is not in it."""
    await watched.people(9)
    await watched.events(3)
    watched.pass_hours(1)
    await watched.events(4)
    await watched.events(2, "Gone")
    start = T0 - T0 % 300_000
    asked = {"since_ms": start, "until_ms": start + 2 * HOUR_MS}
    assert await watched.runtime.pace(**asked, span_ms=HOUR_MS) == [
        Pace(workflow="cart", from_ms=start, queued=3),
        Pace(workflow="cart", from_ms=start + HOUR_MS, queued=4),
        Pace(workflow="win", from_ms=start + HOUR_MS, queued=2),
    ]
    assert await watched.runtime.pace(**asked, span_ms=2 * HOUR_MS, workflow="cart") == [
        Pace(workflow="cart", from_ms=start, queued=7)
    ]


def _newest() -> Any:
    from engine.runtimes.base import Query

    return Query(workflow="cart", limit=100)
