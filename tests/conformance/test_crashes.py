"""A process may end between any two writes: what was acknowledged is there, and sending again what was not gives the same end.

Invariant of the test: the scenario is the same list of steps for every crash; a step that was under way is done again, as
any client does that heard no answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.core.record import Erase, Event, Identify, Merge, Outcome
from engine.dispatch.ports import Settlement
from tests.conformance.harness import Crashed, EmbeddedHarness, decisions, messages, states
from tests.conformance.shop import T0, catalog

HOUR = 3_600_000
CUSTOMERS = ("a", "b", "anon", "gone")
Step = Callable[[EmbeddedHarness], Awaitable[None]]


def event(customer: str, name: str, at_ms: int) -> Event:
    return Event(customer=customer, at_ms=at_ms, id=f"{customer}{name}{at_ms}", name=name, time_ms=at_ms)


def identify(customer: str) -> Identify:
    traits = {"email": f"{customer}@example.com"}
    return Identify(customer=customer, at_ms=T0, id=f"known-{customer}", time_ms=T0, traits=traits)


async def _intake(harness: EmbeddedHarness) -> None:
    await harness.append(
        identify("a"),
        event("a", "Product Added", T0),
        event("anon", "Product Added", T0),
        event("gone", "Product Added", T0),
        identify("b"),
        event("b", "Order Completed", T0),
    )


async def _merge(harness: EmbeddedHarness) -> None:
    """The cart of `anon` ends, because `b` has bought."""
    await harness.append(Merge(customer="anon", at_ms=T0, id="m", into="b"))


async def _erase(harness: EmbeddedHarness) -> None:
    await harness.append(Erase(customer="gone", at_ms=T0, id="x"))


async def _timers(harness: EmbeddedHarness) -> None:
    await harness.advance(T0 + HOUR)


async def _answers(harness: EmbeddedHarness) -> None:
    """Settles whatever was sent, without a claim: claims are for the test of unknown messages."""
    sent = [each.message for each in await messages(harness)]
    assert {message.customer for message in sent} == {"a", "b"}
    await harness.settle(
        *(
            Settlement(
                message_id=message.id,
                status="sent",
                at_ms=T0 + HOUR,
                records=(
                    Outcome(
                        customer=message.customer,
                        at_ms=T0 + HOUR,
                        id=f"sent-{message.id}",
                        time_ms=T0 + HOUR,
                        outcome="sent",
                        message=message.id,
                    ),
                ),
            )
            for message in sent
        )
    )


async def _order(harness: EmbeddedHarness) -> None:
    await harness.append(event("a", "Order Completed", T0 + HOUR))


async def _three_days(harness: EmbeddedHarness) -> None:
    await harness.advance(T0 + 3 * 24 * HOUR)


STEPS: tuple[Step, ...] = (_intake, _merge, _erase, _timers, _answers, _order, _three_days)


async def play(var: Path, *, crash_at: int | None) -> tuple[dict[str, Any], int]:
    """Runs the scenario; returns what is known at its end, and how often the process died (at most once)."""
    harness = EmbeddedHarness(catalog(), T0, var=var)
    harness.faults.at = crash_at
    crashes = 0
    for step in (EmbeddedHarness.reopen, *STEPS):
        while True:
            try:
                if harness._runtime is None and step is not EmbeddedHarness.reopen:
                    await harness.reopen()
                await step(harness)
                break
            except Crashed:
                crashes += 1
    end = {
        "decisions": _by_customer(await decisions(harness)),
        "messages": {each.message.id: (each.message, each.status) for each in await messages(harness)},
        "states": {
            name: (state.traits, state.enrollments, state.messages, state.entries)
            for name, state in (await states(harness, CUSTOMERS)).items()
        },
        "counts": (await harness.runtime.counts())["messages"],
    }
    await harness.close()
    return end, crashes


def _by_customer(lines: list[Any]) -> dict[str, list[Any]]:
    return {name: [line for line in lines if line.customer == name] for name in CUSTOMERS}


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_crash_between_any_two_writes_changes_nothing(tmp_path: Path) -> None:
    """Every write of the scenario in turn is the last one that the process does not get to."""
    expected, _ = await play(tmp_path / "reference", crash_at=None)
    assert expected["messages"], "the scenario decides messages"
    at = 0
    while True:
        end, crashes = await play(tmp_path / f"{at}", crash_at=at)
        assert end == expected, f"crashed before write {at}"
        if not crashes:  # no such write any more: every one of them was hit
            break
        assert crashes == 1
        at += 1
    assert at > 150, "the scenario is too small to show anything"
