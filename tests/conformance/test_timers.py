"""Timers that lead to themselves, waits that are moved, runs that are joined: the same in virtual and in real time."""

from __future__ import annotations

import pytest

from engine.core.customer import CustomerState
from engine.core.journey.enrollment import Cause, Enrollment
from engine.core.record import Identify, Merge, Timer
from engine.runtimes.effects import stuck
from tests.conformance.harness import Harness, decisions, messages
from tests.conformance.shop import T0
from tests.conformance.test_contract import DAY, HOUR, event, identify, kinds


async def test_a_pause_of_no_length_is_no_pause(harness: Harness) -> None:
    """All rounds are done at once, on every runtime."""
    await harness.append(identify("a"), event("a", "Loop Begun"))
    await harness.advance(T0 + 1)
    assert [each.message.decided_ms for each in await messages(harness)] == [T0] * 3
    assert await kinds(harness, "a") == ["entered loop", *["send loop"] * 3, "completed loop"]


async def test_a_loop_without_a_pause_parks_with_the_step_limit(harness: Harness) -> None:
    """It stops no runtime and comes back by no timer."""
    await harness.append(identify("a"), event("a", "Circle Begun"))
    await harness.advance(T0 + 2 * HOUR)
    failed = [line for line in await decisions(harness) if line.kind == "failed"]
    assert [(line.at_ms, line.detail["reason"]) for line in failed] == [(T0, "step limit")]
    assert (await harness.runtime.counts())["timers"]["pending"] == 0


async def test_a_wait_follows_the_trait_it_waits_for(harness: Harness) -> None:
    """The index of due times too: nothing comes at the old time, and what is moved forward comes then."""
    await harness.append(identify("a"), identify("b"))
    for customer in "ab":
        await harness.append(_ends(customer, T0 + 5 * DAY, T0), event(customer, "Trial Begun"))
    await harness.append(_ends("a", T0 + 9 * DAY, T0 + 1), _ends("b", T0 + 3 * DAY, T0 + 1))
    await harness.advance(T0 + 10 * DAY)
    sent = {each.message.customer: each.message.decided_ms for each in await messages(harness)}
    assert sent == {"a": T0 + 8 * DAY, "b": T0 + 2 * DAY}


def _ends(customer: str, ends_ms: int, at_ms: int) -> Identify:
    traits = {"ends": f"{ends_ms / 1000:.0f}"}
    return Identify(customer=customer, at_ms=at_ms, id=f"ends-{customer}-{ends_ms}", time_ms=at_ms, traits=traits)


async def test_a_merge_asks_the_joined_runs_about_the_other_ids_events(harness: Harness) -> None:
    """The visitor's cart is not reminded of when the known customer has ordered."""
    await harness.append(identify("a"), event("anon", "Product Added"))
    await harness.append(event("a", "Order Completed", at_ms=T0 + 60_000))
    await harness.append(Merge(customer="anon", at_ms=T0 + 120_000, id="m1", into="a"))
    await harness.advance(T0 + 2 * HOUR)
    assert "exited cart" in await kinds(harness, "a")
    assert [each.message.template for each in await messages(harness)] == ["order"]


@pytest.mark.parametrize(("step", "counts", "told"), [("s", {}, True), ("s", {"s": 1}, False), ("t", {}, False)])
def test_a_timer_is_stuck_when_the_state_did_not_move(step: str, counts: dict[str, int], told: bool) -> None:
    """Not because it is due again at the same moment."""
    before, after = (_state(*run) for run in (("s", {}), (step, counts)))
    timer = Timer(customer="a", at_ms=T0, due_ms=T0)
    assert stuck(before, after, timer) is told
    assert not stuck(before, _state("s", {}, due_ms=T0 + 1), timer)


def _state(step: str, counts: dict[str, int], due_ms: int = T0) -> CustomerState:
    run = Enrollment(
        id="w/a/1", workflow="w", version="1", key="", entered_ms=0, event=Cause("e", "E", 0), step=step, due_ms=due_ms,
        counts=counts,
    )  # fmt: skip
    return CustomerState(id="a", enrollments=(run,))
