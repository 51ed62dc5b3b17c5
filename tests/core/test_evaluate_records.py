"""What happens to one record: duplicates, the profile, and the order of everything that follows."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.customer import encode_state
from engine.core.effect import Forget
from engine.core.evaluate import concerns, evaluate
from engine.core.record import (
    Consent,
    End,
    Enroll,
    Erase,
    Event,
    Identify,
    Merge,
    Outcome,
    Pause,
    Recheck,
    Record,
    Retry,
    Timer,
)
from tests.core.stage import Play, compiled, workflow

A = "trigger: {event: A}"


def test_a_record_is_processed_in_the_documented_order() -> None:
    """Profile, segments, runs in order of entry (exit, goal, wait), triggers in name order, then all that can move."""
    play = Play(
        "segments:\n  third: {where: count('A') >= 3}\n",
        workflow("trigger: {event: Start}\nexit: [{event: A, where: count('A') >= 3, as: enough}]", name="ends"),
        workflow(
            "trigger: {event: Start}\ngoal: {event: A, where: count('A') >= 3}",
            "[{wait_for: {event: A, where: in_segment('third'), timeout: 1d}}, {update: {n: count('A')}}]",
            name="waits",
        ),
        workflow("trigger: {event: A, where: in_segment('third')}", "[]", name="begins"),
    )
    play.event("0s", "Start")
    for at in ("1s", "2s", "3s"):
        play.event(at, "A")
    kinds = ("segment_entered", "exited", "goal", "entered", "updated", "completed")
    assert play.lines(*kinds)[2:] == [
        "3s segment_entered third",
        "3s exited ends enough",
        "3s goal waits",
        "3s entered begins",
        "3s updated waits steps.1",
        "3s completed waits",
        "3s completed begins",
    ]


def test_an_event_whose_id_was_applied_changes_nothing() -> None:
    """Whatever else it says; ids of other customers do not matter."""
    play = Play(workflow(A, "[{update: {n: count('A')}}]"))
    play.event("0s", "A", id="e1")
    play.event("1s", "A", id="e1")
    play.event("2s", "A", {"x": 1}, id="e1")
    play.event("3s", "A", id="e1", customer="c2")
    assert play.state().traits == {"n": 1}
    assert play.state("c2").traits == {"n": 1}


def test_ids_are_remembered_for_a_thousand_records_or_seven_days() -> None:
    """Whichever is less: among few ids those of seven days, in a storm the newest thousand."""
    play = Play(workflow(A, "[{update: {n: count('A')}}]"))
    play.event("0s", "A", id="first")
    play.event("6d23h", "A", id="first")
    assert play.state().traits == {"n": 1}
    for number in range(998):
        play.event("6d23h", "A", id=f"e{number}")
    play.event("6d23h", "A", id="first")
    assert play.state().traits == {"n": 999}
    assert len(play.state().seen) <= 12 * 1_100


@pytest.mark.parametrize(
    "kind", ["event", "identify", "consent", "outcome", "enroll", "end", "retry", "merge", "recheck"]
)
def test_a_record_of_any_kind_that_comes_twice_changes_nothing(kind: str) -> None:
    """The second time there is no effect, and the state is the same."""
    catalog = compiled(workflow(A, "[{send: {channel: email, template: t}, id: mail}, {wait: 1d}]"))
    state = None
    at_ms = 1_772_442_000_000
    for first in (
        Identify(customer="c1", at_ms=at_ms, id="i0", time_ms=at_ms, traits={"email": "a@b.example"}),
        Event(customer="c1", at_ms=at_ms, id="e0", name="A", time_ms=at_ms),
    ):
        state, _ = evaluate(catalog, state, first)
    base: dict[str, Any] = {"customer": "c1", "at_ms": at_ms + 1, "id": "x"}
    records: dict[str, Record] = {
        "event": Event(**base, name="A", time_ms=at_ms),
        "identify": Identify(**base, time_ms=at_ms + 1, traits={"x": 1}),
        "consent": Consent(**base, time_ms=at_ms, action="grant", purposes={"marketing": ["email"]}),
        "outcome": Outcome(**base, time_ms=at_ms, outcome="delivered", step="mail"),
        "enroll": Enroll(**base, workflow="w"),
        "end": End(**base, reason="stopped"),
        "retry": Retry(**base),
        "merge": Merge(**base, into="c2"),
        "recheck": Recheck(**base),
    }
    assert state is not None
    state, _ = evaluate(catalog, state, records[kind])
    assert state is not None
    again, effects = evaluate(catalog, state, records[kind])
    assert again is not None
    assert effects == []
    assert encode_state(again) == encode_state(state)


def test_traits_have_their_last_writer_by_event_time() -> None:
    """Trait by trait; null removes one; an older word does not bring it back."""
    play = Play(workflow(A))
    play.identify("2h", x="new", y="new")
    play.identify("3h", x="old", z="old", time="1h")
    play.identify("4h", y=None)
    play.identify("5h", y="old", time="3h")
    assert play.state().traits == {"x": "new", "z": "old"}


def test_a_late_event_counts_in_the_window_of_its_own_time() -> None:
    """What happened nine days ago is within ten days and not within seven."""
    steps = "[{update: {seven: count('B', within='7d'), ten: count('B', within='10d'), sum: sum('B', 'v')}}]"
    play = Play(workflow(A, steps))
    play.event("0s", "B", {"v": "2.5"}, time="-9d")
    play.event("1s", "B", {"v": 1})
    play.event("2s", "A")
    assert play.state().traits == {"seven": 1, "ten": 2, "sum": 3.5}


def test_now_is_the_records_time() -> None:
    """Never the wall clock; also for a timer."""
    play = Play(workflow(A, "[{update: {a: now}}, {wait: 1h}, {update: {b: now}}]"))
    play.event("0s", "A")
    play.until("2h")
    assert play.state().traits == {"a": "2026-03-02T09:00:00Z", "b": "2026-03-02T10:00:00Z"}


def test_an_event_that_no_definition_asks_about_needs_no_state() -> None:
    """`concerns` tells without loading it."""
    catalog = compiled(workflow(A + "\nexit: [{event: B}]", "[{wait_for: {event: C, timeout: 1h}}]"))
    told = {name: concerns(catalog, Event(customer="c", at_ms=0, id="", name=name, time_ms=0)) for name in "ABCD"}
    assert told == {"A": True, "B": True, "C": True, "D": False}


def test_erasing_leaves_no_state_and_asks_to_forget_the_rest() -> None:
    """Also of somebody who is not known here: the runtime may still have traces."""
    catalog = compiled(workflow(A))
    state, _ = evaluate(catalog, None, Event(customer="c1", at_ms=1, id="e", name="A", time_ms=1))
    assert state is not None
    for before in (state, None):
        assert evaluate(catalog, before, Erase(customer="c1", at_ms=2, id="x")) == (None, [Forget("c1")])


@pytest.mark.parametrize(
    "record",
    [
        Timer(customer="c", at_ms=1, due_ms=1),
        Outcome(customer="c", at_ms=1, id="x", time_ms=1, outcome="opened", message="m"),
        Retry(customer="c", at_ms=1, id="x"),
        End(customer="c", at_ms=1, id="x", reason="r"),
        Recheck(customer="c", at_ms=1, id="x"),
        Pause(customer="", at_ms=1, id="x", workflow="w"),
    ],
)
def test_what_is_only_about_known_customers_makes_none(record: Record) -> None:
    """A stray timer or outcome does not create a customer."""
    assert evaluate(compiled(workflow(A)), None, record) == (None, [])


def test_a_timer_that_comes_too_early_does_nothing() -> None:
    """It fires again when something is due."""
    play = Play(workflow(A))
    play.event("0s", "A")
    play.memory.step(Timer(customer="c1", at_ms=play.at_ms("59m59s"), due_ms=play.at_ms("59m59s")))
    assert play.lines("completed") == []
    play.until("1h")
    assert play.lines("completed") == ["1h completed w"]


def test_a_new_catalog_is_worked_out_when_the_customer_is_next_seen() -> None:
    """`Recheck` does it without waiting for an event: segments, dates and schedules."""
    play = Play(workflow(A))
    play.identify("0s", tier="gold", birthday="1990-03-10")
    play.memory.catalog = compiled(
        workflow(A),
        "segments:\n  gold: {where: customer.tier == 'gold'}\n",
        workflow("trigger: {segment: gold}", "[]", name="greets"),
        workflow("trigger: {date: {trait: birthday, at: '09:00', yearly: true}}", "[]", name="birthday"),
    )
    play.record(Recheck(customer="c1", at_ms=play.at_ms("1h"), id="x"))
    play.until("30d")
    assert play.lines("segment_entered", "entered") == [
        "1h segment_entered gold",
        "1h entered greets",
        "8d entered birthday",
    ]
