"""What a merge asks of the runs that it joins."""

from __future__ import annotations

import pytest

from tests.core.stage import ENDS, Play, workflow

A = "trigger: {event: A}"
SEGMENTS = "segments:\n  buyer: {where: \"count('Order') >= 1\"}\n"
EXIT = "trigger: {event: A}\nexit: [{event: Order, where: event.k == enrollment.event.k, as: bought}]"


def _merged(*documents: str, into: str = "c1", order: str = "5m", k: int = 1) -> Play:
    """An anonymous visitor begins a run, the known customer orders; a minute later they are one."""
    play = Play(*documents)
    play.event("0s", "A", {"k": 1}, customer="anon")
    play.identify("0s", email="c1@example.com")
    play.event(order, "Order", {"k": k, "total": 30})
    play.merge("6m", *(("anon", "c1") if into == "c1" else ("c1", "anon")))
    play.until("30d")
    return play


@pytest.mark.parametrize("into", ["c1", "anon"])
def test_an_exit_event_that_came_under_the_other_id_ends_the_run(into: str) -> None:
    """Whichever id stays."""
    play = _merged(workflow(EXIT, "[{wait: 1d}]"), into=into)
    assert play.lines("exited", customer=into) == ["6m exited w bought"]


def test_what_came_before_the_run_or_is_about_something_else_does_not_end_it() -> None:
    """The order of another cart, and the order of last week."""
    assert _merged(workflow(EXIT, "[{wait: 1d}]"), k=2).lines(*ENDS) == ["1d completed w"]
    play = Play(workflow(EXIT, "[{wait: 1d}]"))
    play.event("0s", "Order", {"k": 1})
    play.event("1h", "A", {"k": 1}, customer="anon")
    play.merge("2h", "anon", into="c1")
    play.until("3d")
    assert play.lines(*ENDS) == ["1d1h completed w"]


def test_a_wait_for_an_event_that_came_under_the_other_id_goes_on() -> None:
    """And a wait that it would have started again, starts again from then; a goal is reached then."""
    head = "trigger: {event: A}\ngoal: {event: Order, within: 10m, value: event.total}"
    play = _merged(
        workflow(head, "[{wait_for: {event: Order, where: event.total > 20, timeout: 9d}}]", name="for"),
        workflow(A, "[{wait: {for: 1h, restart_on: {event: Order}}}]", name="again"),
    )
    assert play.lines(*ENDS) == ["6m completed for", "1h5m completed again"]
    assert [one["value"] for one in play.details("goal")] == [30]


def test_an_exit_rule_comes_before_a_wait_whatever_came_first() -> None:
    """The wait's event was first, the exit's second: the run is over."""
    head = "trigger: {event: A}\nexit: [{event: Stop, as: stopped}]"
    play = Play(workflow(head, "[{wait_for: {event: Order, timeout: 9d}}, {update: {x: 1}}]"))
    play.event("0s", "A", customer="anon")
    play.event("1m", "Order")
    play.event("2m", "Stop")
    play.merge("6m", "anon", into="c1")
    assert play.lines(*ENDS) == ["6m exited w stopped"]
    assert "x" not in play.state().traits


@pytest.mark.parametrize("into", ["c1", "anon"])
def test_a_segment_that_the_other_id_is_in_satisfies_a_wait(into: str) -> None:
    """Also its leaving is asked."""
    play = _merged(
        SEGMENTS,
        workflow(A, "[{wait_for: {segment: buyer, timeout: 9d}}]", name="in"),
        workflow("trigger: {event: A}\nexit: [{segment: buyer, as: buys}]", name="rule", steps="[{wait: 9d}]"),
        into=into,
    )
    assert sorted(play.lines("exited", "completed", customer=into)) == ["6m completed in", "6m exited rule buys"]


def test_a_merge_enters_nobody_for_what_is_past() -> None:
    """Triggers were asked when their event came; a segment that is entered by the merge enters."""
    play = _merged(SEGMENTS, workflow("trigger: {segment: buyer}", name="s"), workflow("trigger: {event: Order}"))
    assert play.lines("entered") == ["5m entered w", "5m entered s"] or play.lines("entered") == [
        "5m entered s", "5m entered w",
    ]  # fmt: skip


def test_the_goal_of_a_run_that_is_over_is_reached_by_what_came_under_the_other_id() -> None:
    """Within its time."""
    head = "trigger: {event: A}\ngoal: {event: Order, within: 1h}"
    assert _merged(workflow(head, "[{wait: 1m}]")).lines("goal") == ["6m goal w"]
    assert _merged(workflow(head, "[{wait: 1m}]"), order="-5m").lines("goal") == []


def test_a_wait_until_a_trait_follows_the_joined_traits() -> None:
    """The known customer's date is newer than what the visitor said."""
    play = Play(workflow(A, "[{wait: {until: customer.ends}}]"))
    play.identify("0s", customer="anon", ends="2026-03-10T09:00Z")
    play.event("0s", "A", customer="anon")
    play.identify("1m", ends="2026-03-20T09:00Z")
    play.merge("6m", "anon", into="c1")
    assert play.due() == "18d"


def test_what_is_remembered_is_bounded_and_only_what_matters() -> None:
    """Ten events, the properties that conditions name, none that is large; what nobody waits for is not kept."""
    play = Play(workflow(EXIT))
    for number in range(15):
        play.event(f"{number}m", "Order", {"k": number, "total": 5, "event": "x" * 2_000})
        play.event(f"{number}m", "A", {"k": 1})
    heard = play.state().heard
    assert [each.cause.properties for each in heard] == [{"k": number} for number in range(5, 15)]
    assert {each.cause.name for each in heard} == {"Order"}
    play.event("40d", "Order", {"k": 1})
    assert len(play.state().heard) == 1
