"""Broadcasts on every runtime: a pause in the middle, a process that dies in the middle, and a test of subjects that is won.

Invariant of the tests: whatever happens on the way, everybody who was there when it began gets it exactly once, and nobody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.core.catalog import Catalog
from engine.core.journey.workflow import ScheduleTrigger, Send, SubjectTest, Trigger, Workflow
from engine.core.record import Identify, Pause, Record, Winner
from engine.core.time.schedule import When, parse_duration
from engine.dispatch.ports import Settlement
from tests.conformance.conftest import ALL
from tests.conformance.harness import Crashed, EmbeddedHarness, Harness, MemoryHarness, decisions, messages
from tests.conformance.kafka_harness import KafkaHarness
from tests.conformance.shop import T0, catalog

pytestmark = pytest.mark.timeout(300)

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
PEOPLE = 130
"""More than one step of a walk asks."""
NAMES = [f"c{number:03}" for number in range(PEOPLE)]


def _broadcast(name: str, ab: SubjectTest | None, *, spread_ms: int) -> Workflow:
    schedule = ScheduleTrigger(
        at=When(instant_ms=T0 + HOUR), every=None, segment="", customer_zone=False, spread_ms=spread_ms
    )
    send = Send(id="mail", channels=("email",), template="news", purpose="transactional", ab=ab)
    return Workflow(
        name=name,
        version="0123456789ab",
        purpose="transactional",
        trigger=Trigger(schedule=schedule),
        first="mail",
        ops={"mail": send},
    )


def news() -> Catalog:
    """The small shop, with two broadcasts: `news`, spread over two hours, and `tested`, whose subject is."""
    test = SubjectTest(("a", "b"), 40, parse_duration("4h"), "clicked")
    flows = {flow.name: flow for flow in (_broadcast("news", None, spread_ms=2 * HOUR),)}
    flows["tested"] = _broadcast("tested", test, spread_ms=0)
    base = catalog(id="news-1")
    versions = {(flow.name, flow.version): flow for flow in flows.values()}
    return replace(
        base, workflows=base.workflows | flows, versions=base.versions | versions, timed=tuple(sorted(flows))
    )


def _build(name: str, var: Path, request: pytest.FixtureRequest) -> Harness:
    if name == "memory":
        return MemoryHarness(news(), T0)
    if name == "embedded":
        return EmbeddedHarness(news(), T0, var=var)
    prefix = f"b{var.parent.name[-8:]}{T0 % 97}{request.node.name[:12]}.".replace("[", "-").replace("]", "-")
    return KafkaHarness(news(), T0, var=var, bootstrap=request.getfixturevalue("kafka"), prefix=prefix)


@pytest.fixture(params=ALL)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    """Every runtime, open, with the customers of the tests."""
    made = _build(request.param, tmp_path / "var", request)
    await made.reopen()
    await made.append(*(identify(name) for name in NAMES))
    yield made
    await made.close()


def identify(customer: str, *, at_ms: int = T0) -> Identify:
    return Identify(
        customer=customer, at_ms=at_ms, id="known", time_ms=at_ms, traits={"email": f"{customer}@example.com"}
    )


def pause(number: int, at_ms: int, *, paused: bool = True, workflow: str = "news") -> Record:
    return Pause(customer="", at_ms=at_ms, id=f"p{number}", workflow=workflow, paused=paused)


async def reached(harness: Harness, workflow: str = "news") -> Counter[str]:
    return Counter(each.message.customer for each in await messages(harness) if each.message.workflow == workflow)


async def test_a_pause_in_the_middle_skips_nobody_and_repeats_nobody(stage: Harness) -> None:
    """Paused after an hour, for a day, with two deaths of the process; a newcomer is not included."""
    await stage.advance(T0 + 2 * HOUR)
    before = await reached(stage)
    assert 30 < len(before) < 100
    await stage.append(pause(1, T0 + 2 * HOUR), identify("newcomer", at_ms=T0 + 2 * HOUR))
    await stage.advance(T0 + 5 * HOUR)
    await stage.crash()
    await stage.reopen()
    await stage.advance(T0 + DAY)
    assert await reached(stage) == before
    await stage.append(pause(2, T0 + DAY, paused=False))
    await stage.crash()
    await stage.reopen()
    assert await reached(stage) == dict.fromkeys(NAMES, 1)
    await stage.append(pause(3, T0 + DAY), pause(4, T0 + DAY, paused=False))
    await stage.redeliver()
    await stage.advance(T0 + 3 * DAY)
    assert await reached(stage) == dict.fromkeys(NAMES, 1)


async def test_two_resumes_at_once_find_everybody(stage: Harness) -> None:
    """The second begins the walk again, while the first is still under way."""
    pauses = [pause(1, T0), pause(2, T0, workflow="tested")]
    await stage.append(*pauses)
    await stage.advance(T0 + 5 * HOUR)
    assert not await messages(stage)
    await stage.append(pause(3, T0 + 5 * HOUR, paused=False), pause(4, T0 + 5 * HOUR, paused=False, workflow="tested"))
    await stage.advance(T0 + DAY)
    assert await reached(stage) == dict.fromkeys(NAMES, 1)
    assert await reached(stage, "tested") == dict.fromkeys(NAMES, 1)


async def test_the_winner_is_for_all_who_waited(stage: Harness) -> None:
    """The first decision counts, also after a death; the journal has it once."""
    await stage.advance(T0 + 2 * HOUR)
    tested = await reached(stage, "tested")
    assert 20 < len(tested) < 85
    issue = next(each.message.issue for each in await messages(stage) if each.message.workflow == "tested")
    won = [
        Winner(
            customer="",
            at_ms=T0 + 5 * HOUR,
            id=f"w{variant}",
            workflow="tested",
            step="mail",
            variant=variant,
            issue=issue,
        )
        for variant in ("b", "a")
    ]
    await stage.append(won[0])
    await stage.crash()
    await stage.reopen()
    await stage.append(won[1])
    await stage.advance(T0 + DAY)
    sent = [each.message for each in await messages(stage) if each.message.workflow == "tested"]
    assert Counter(message.customer for message in sent) == dict.fromkeys(NAMES, 1)
    assert {message.variant for message in sent if message.customer not in tested} == {"b"}
    lines = [line for line in await decisions(stage) if line.kind == "winner"]
    assert [(line.workflow, line.step, line.detail["variant"]) for line in lines] == [("tested", "mail", "b")]


async def test_a_message_in_the_outbox_can_be_put_off_and_leaves_later(stage: Harness) -> None:
    """What the dispatcher does while a broadcast is paused: it stays pending, and is there again in time."""
    await stage.advance(T0 + 4 * HOUR)
    await stage.append(pause(1, T0 + 4 * HOUR))
    ready = [each.message.id for each in await stage.runtime.ready(500) if each.message.workflow == "news"]
    assert len(ready) == PEOPLE
    later_ms = T0 + 4 * HOUR + 5 * MINUTE
    await stage.settle(
        *(
            Settlement(
                message_id=each, status="pending", at_ms=T0 + 4 * HOUR, reason="workflow_paused", not_before_ms=later_ms
            )
            for each in ready
        )
    )
    assert not [each for each in await stage.runtime.ready(500) if each.message.workflow == "news"]
    await stage.append(pause(2, T0 + 4 * HOUR, paused=False))
    await stage.advance(later_ms)
    again = [each.message.id for each in await stage.runtime.ready(500) if each.message.workflow == "news"]
    assert sorted(again) == sorted(ready)


# ------------------------------------------------------------------------------------- a death between any two writes

FEW = ("a", "b", "c", "d", "e", "f")


async def _play(var: Path, crash_at: int | None) -> tuple[dict[str, object], int]:
    """The life of both broadcasts; a step that was under way when the process died is done again."""
    harness = EmbeddedHarness(news(), T0, var=var)
    harness.faults.at = crash_at
    crashes = 0
    winner = Winner(
        customer="", at_ms=T0 + 5 * HOUR, id="w", workflow="tested", step="mail", variant="b", issue="2026-03-27-1026"
    )
    steps: list[Record | int] = [*map(identify, FEW), T0 + 2 * HOUR, pause(1, T0 + 2 * HOUR), T0 + 4 * HOUR]
    steps += [pause(2, T0 + 4 * HOUR, paused=False), winner, T0 + DAY]
    for step in ("open", *steps):
        while True:
            try:
                if harness._runtime is None:
                    await harness.reopen()
                if isinstance(step, int):
                    await harness.advance(step)
                elif not isinstance(step, str):
                    await harness.append(step)
                break
            except Crashed:
                crashes += 1
    sent = {(each.message.workflow, each.message.customer): each.message.variant for each in await messages(harness)}
    end = {"sent": sent, "count": len(await messages(harness))}
    await harness.close()
    return end, crashes


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_death_between_any_two_writes_changes_nothing(tmp_path: Path) -> None:
    """Every write of the life of a broadcast in turn is the last one that the process does not get to."""
    expected, _ = await _play(tmp_path / "reference", None)
    assert expected["count"] == 2 * len(FEW)
    assert "b" in expected["sent"].values()  # type: ignore[attr-defined]
    at = 0
    while True:
        end, crashes = await _play(tmp_path / f"{at}", at)
        assert end == expected, f"crashed before write {at}"
        if not crashes:
            break
        at += 1
    assert at > 100, "the life is too short to show anything"
