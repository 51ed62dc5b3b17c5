"""Entry: keys, re-entry, limits, holdouts, and every reason why somebody does not enter."""

from __future__ import annotations

import hashlib

from engine.core.record import Pause
from tests.core.stage import ENDS, Play, workflow


def test_a_second_run_waits_for_the_end_of_the_first() -> None:
    """While a run is active a trigger is `not_entered: active`; by default it enters again once the run ended."""
    play = Play(workflow("trigger: {event: A}"))
    for at in ("0s", "30m", "2h"):
        play.event(at, "A")
    assert play.lines("entered", "not_entered", "completed") == [
        "0s entered w",
        "30m not_entered w active",
        "1h completed w",
        "2h entered w",
    ]
    assert play.decisions("entered")[-1].enrollment == "w/c1/2"


def test_one_run_for_each_key() -> None:
    """Runs with other keys go on side by side; the id names the key, and the ordinal of its runs after the first."""
    play = Play(workflow("trigger: {event: A}\nkey: event.cart"))
    play.event("0s", "A", {"cart": "k1"})
    play.event("1s", "A", {"cart": "k2"})
    play.event("2s", "A", {"cart": "k1"})
    play.event("2h", "A", {"cart": "k1"})
    assert play.lines("entered", "not_entered") == [
        "0s entered w",
        "1s entered w",
        "2s not_entered w active",
        "2h entered w",
    ]
    assert [one.enrollment for one in play.decisions("entered")] == ["w/c1/k1", "w/c1/k2", "w/c1/k1~2"]


def test_a_missing_key_is_a_key_of_its_own_and_a_whole_number_has_no_fraction() -> None:
    """`-` stands for it; 7.0 and 7 are the same order."""
    play = Play(workflow("trigger: {event: A}\nkey: event.order"))
    play.event("0s", "A")
    play.event("1s", "A", {"order": 7})
    play.event("2s", "A", {"order": 7.0})
    assert [one.enrollment for one in play.decisions("entered")] == ["w/c1/-", "w/c1/7"]


def test_reentry_never_counts_by_key() -> None:
    """Once a customer, or once a key."""
    play = Play(
        workflow("trigger: {event: A}\nreentry: never", "[]", name="once"),
        workflow("trigger: {event: A}\nreentry: never\nkey: event.k", "[]", name="keyed"),
    )
    play.event("0s", "A", {"k": 1})
    play.event("1s", "A", {"k": 1})
    play.event("2s", "A", {"k": 2})
    assert play.lines("entered", "not_entered") == [
        "0s entered keyed",
        "0s entered once",
        "1s not_entered keyed reentry",
        "1s not_entered once reentry",
        "2s entered keyed",
        "2s not_entered once reentry",
    ]


def test_reentry_after_counts_from_the_last_entry_in_calendar_days() -> None:
    """Seven days after an entry at ten in Berlin is ten o'clock there, though the clocks changed in between."""
    play = Play(workflow("trigger: {event: A}\nreentry: after 7d", "[]"), start="2026-03-27T09:00:00Z")
    play.identify("0s", timezone="Europe/Berlin")
    play.event("0s", "A")
    play.event("6d22h59m", "A")
    play.event("6d23h", "A")
    assert play.lines("entered", "not_entered") == [
        "0s entered w",
        "6d22h59m not_entered w reentry",
        "6d23h entered w",
    ]


def test_a_late_event_enters_nobody_but_counts() -> None:
    """More than `lateness` old: `not_entered: late`; exactly as old as that is not late."""
    play = Play(workflow("trigger: {event: A}", "[{update: {seen: count('A')}}]"))
    play.event("0s", "A", time="-7d")
    play.event("1s", "A", time="-7d")
    play.event("2s", "A")
    assert play.lines("entered", "not_entered") == ["0s entered w", "1s not_entered w late", "2s entered w"]
    assert play.state().traits["seen"] == 3


def test_late_is_only_said_where_the_trigger_would_have_been_met() -> None:
    """A condition that does not hold is not an entry to refuse."""
    play = Play(workflow("trigger: {event: A, where: event.x == 1}"))
    play.event("0s", "A", time="-8d")
    play.event("1s", "A", {"x": 1}, time="-8d")
    assert play.lines(*ENDS) == ["1s not_entered w late"]


def test_a_late_event_triggers_nothing_by_way_of_a_segment_either() -> None:
    """An import of old orders fills the segment without welcoming everybody in it."""
    play = Play("segments:\n  buyer: {where: count('A') >= 1}\n", workflow("trigger: {segment: buyer}"))
    play.event("0s", "A", time="-8d")
    assert play.lines("segment_entered", *ENDS) == ["0s segment_entered buyer", "0s not_entered w late"]


def test_a_paused_workflow_takes_nobody_in() -> None:
    """And does again when it is resumed."""
    play = Play(workflow("trigger: {event: A}", "[]"))
    play.record(Pause(customer="", at_ms=play.at_ms("0s"), id="p1", workflow="w"))
    play.event("1s", "A")
    play.record(Pause(customer="", at_ms=play.at_ms("2s"), id="p2", workflow="w", paused=False))
    play.event("3s", "A")
    assert play.lines(*ENDS) == ["1s not_entered w paused", "3s entered w", "3s completed w"]


def test_at_most_100_runs_are_active() -> None:
    """The next is `not_entered: limit`; one that ends makes room."""
    play = Play(workflow("trigger: {event: A}\nkey: event.k\nexit: [{event: B, where: event.k == enrollment.event.k}]"))
    for k in range(101):
        play.event("0s", "A", {"k": k})
    play.event("1s", "B", {"k": 3})
    play.event("2s", "A", {"k": 100})
    assert play.lines("entered", "not_entered")[99:] == ["0s entered w", "0s not_entered w limit", "2s entered w"]


def test_the_holdout_enters_and_is_measured_but_never_messaged() -> None:
    """`holdout: N%` holds out `bucket('holdout:' + workflow) < N`; the bucket is the documented formula."""
    head = "trigger: {event: A}\nholdout: 30%\ngoal: {event: B, within: 1d}"
    play = Play(workflow(head, "[{send: {channel: email, template: t}}]"))
    for number in range(60):
        customer = f"p{number}"
        play.identify("0s", customer=customer, email="a@b.example")
        play.event("1s", "A", customer=customer)
        play.event("2s", "B", customer=customer)
        digest = hashlib.sha256(f"holdout:w:{customer}".encode()).digest()
        held_out = int.from_bytes(digest[:8], "big") * 100 // 2**64 < 30
        answer = "suppressed holdout" if held_out else "queued"
        assert play.lines("entered", "send", "goal", customer=customer) == [
            "1s entered w",
            f"1s send w steps.0 email {answer}",
            "2s goal w",
        ]


def test_a_split_is_the_documented_formula_and_sticky() -> None:
    """Consecutive ranges in the order written, by the name of the split: two workflows agree."""
    split = "[{split: {name: s, variants: {a: {weight: 45}, b: {weight: 45}, c: {weight: 10}}}}]"
    play = Play(workflow("trigger: {event: A}", split, name="one"), workflow("trigger: {event: A}", split, name="two"))
    seen = set()
    for number in range(60):
        customer = f"p{number}"
        play.event("0s", "A", customer=customer)
        point = int.from_bytes(hashlib.sha256(f"s:{customer}".encode()).digest()[:8], "big") * 100 // 2**64
        expected = "a" if point < 45 else "b" if point < 90 else "c"
        assert [one["variant"] for one in play.details("split", customer=customer)] == [expected, expected]
        seen.add(expected)
    assert seen == {"a", "b", "c"}


def test_enroll_enters_another_workflow_with_the_same_trigger_event() -> None:
    """Its key is taken from that event, whatever record led to the step."""
    play = Play(
        workflow("trigger: {event: A}", "[{wait_for: {event: B, timeout: 1d}}, {enroll: other}]"),
        workflow("trigger: {manual: true}\nkey: event.k", "[{update: {got: enrollment.event.k}}]", name="other"),
    )
    play.event("0s", "A", {"k": "from-a"})
    play.event("1m", "B", {"k": "from-b"})
    assert [one.enrollment for one in play.decisions("entered")] == ["w/c1/1", "other/c1/from-a"]
    assert play.state().traits == {"got": "from-a"}
    assert play.lines("completed") == ["1m completed w", "1m completed other"]


def test_workflows_that_enroll_each_other_come_to_an_end() -> None:
    """Within one record; the run that goes too far is parked as `step limit`."""
    play = Play(
        workflow("trigger: {event: A}", "[{enroll: v}]"), workflow("trigger: {manual: true}", "[{enroll: w}]", name="v")
    )
    play.event("0s", "A")
    assert [line.split(" ", 1)[1] for line in play.lines("failed")] in (
        ["failed w steps.0 step limit"],
        ["failed v steps.0 step limit"],
    )
