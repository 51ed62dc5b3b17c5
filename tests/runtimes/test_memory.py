"""The synchronous core of tests and simulations."""

from __future__ import annotations

import pytest

from engine.clock import ManualClock
from engine.core.journey.workflow import Emit, Repeat
from engine.core.message import Message
from engine.core.record import Event, Identify, Pause, Record, Timer
from engine.errors import LimitExceeded
from engine.runtimes.memory import Memory
from tests.conformance.shop import T0, catalog, workflow

HOUR = 3_600_000


def event(customer: str, name: str = "Product Added", *, at_ms: int = T0) -> Event:
    return Event(customer=customer, at_ms=at_ms, id=f"{customer}-{name}-{at_ms}", name=name, time_ms=at_ms)


def identify(customer: str) -> Identify:
    traits = {"email": f"{customer}@example.com"}
    return Identify(customer=customer, at_ms=T0, id=f"known-{customer}", time_ms=T0, traits=traits)


def test_playing_records_fires_timers_between_them_in_the_order_of_their_times() -> None:
    """Each timer at exactly its time, before a record of the same instant; the clock ends where it was sent."""
    memory = Memory(catalog(), clock=ManualClock(T0), keep_log=True)
    memory.play([identify("a"), event("a"), event("b", at_ms=T0 + 60_000), event("c", at_ms=T0 + HOUR)])
    memory.run_until(T0 + 3 * HOUR)
    assert memory.log is not None
    seen = [(type(record).__name__, record.customer, record.at_ms - T0) for _, record in memory.log]
    assert seen[3:] == [
        ("Timer", "a", HOUR),
        ("Event", "c", HOUR),
        ("Timer", "b", HOUR + 60_000),
        ("Timer", "c", 2 * HOUR),
    ]
    assert memory.clock.now_ms() == T0 + 3 * HOUR
    assert [message.template for message in memory.messages] == ["cart"]


def test_a_timer_that_was_overtaken_does_not_fire() -> None:
    """The order ends the cart's wait: what is left in the heap counts no more."""
    memory = Memory(catalog(), clock=ManualClock(T0), keep_log=True)
    memory.play([event("a"), event("a", "Order Completed", at_ms=T0 + 1)])
    memory.run_until(T0 + 2 * HOUR)
    assert memory.log is not None
    assert [record for _, record in memory.log if isinstance(record, Timer)] == []
    assert memory.timers_pending == 1, "the thanks of two days later"


def test_whoever_wants_to_hear_is_told_instead_of_lists_that_grow() -> None:
    """A simulation of months prints decisions as they come and keeps nothing."""
    memory = Memory(catalog(), clock=ManualClock(T0))
    kinds: list[str] = []
    sent: list[Message] = []
    memory.on_decision = lambda _, decision: kinds.append(decision.kind)
    memory.on_dispatch = sent.append
    memory.play([identify("a"), event("a", "Order Completed")])
    assert kinds[:2] == ["entered", "send"]
    assert [message.template for message in sent] == ["order"]
    assert memory.decisions == []
    assert memory.messages == []


def test_an_event_that_raises_itself_ends_as_a_failed_run() -> None:
    """After ten events that led to each other."""
    again = Emit(id="again", event="Round", properties=())
    memory = Memory(catalog(extra=(workflow("loop", "Round", [again]),)), clock=ManualClock(T0))
    memory.step(event("a", "Round"))
    kinds = [decision.kind for decision in memory.decisions]
    assert kinds.count("emitted") == 10
    assert kinds[-1] == "failed"


def test_an_event_that_multiplies_is_an_error_not_an_endless_run() -> None:
    """Forty a round are ten thousand before the tenth: said with the customer and what to look for."""
    rounds = Repeat(id="rounds", times=40, body="again")
    again = Emit(id="again", next="rounds", event="Round", properties=())
    memory = Memory(catalog(extra=(workflow("loop", "Round", [rounds, again]),)), clock=ManualClock(T0))
    with pytest.raises(LimitExceeded, match="emits the event that triggers it"):
        memory.step(event("a", "Round"))


def test_a_pause_holds_from_its_place_on() -> None:
    """The catalog of the run changes, not the one that was passed in."""
    given = catalog()
    memory = Memory(given, clock=ManualClock(T0))
    records: list[Record] = [Pause(customer="", at_ms=T0, id="p", workflow="cart"), event("a")]
    memory.play(records)
    assert memory.catalog.paused == {"cart"}
    assert given.paused == frozenset()
    assert "entered" not in [decision.kind for decision in memory.decisions]
