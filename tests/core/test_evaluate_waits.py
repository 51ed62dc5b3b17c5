"""Waiting: for a time, until a time, in a window, for something to happen."""

from __future__ import annotations

import pytest

from tests.core.stage import Play, workflow

A = "trigger: {event: A}"
ENDS = ("completed", "failed")


def test_hours_are_elapsed_time_and_days_are_the_customers_calendar() -> None:
    """Across the night of 29 March 2026 in Berlin: 24h ends at ten, 1d ends at nine."""
    play = Play(
        workflow(A, "[{wait: 24h}]", name="hours"),
        workflow(A, "[{wait: 1d}]", name="days"),
        start="2026-03-28T08:00:00Z",
    )
    play.identify("0s", timezone="Europe/Berlin")
    play.event("0s", "A")
    play.until("2d")
    assert play.lines("completed") == ["23h completed days", "1d completed hours"]


def test_the_event_that_restarts_a_wait_starts_it_again_in_full() -> None:
    """Only where its condition holds; another event does not."""
    play = Play(workflow(A, "[{wait: {for: 1h, restart_on: {event: A, where: event.k == enrollment.event.k}}}]"))
    play.event("0s", "A", {"k": 1})
    play.event("30m", "A", {"k": 1})
    play.event("50m", "A", {"k": 2})
    play.event("55m", "B", {"k": 1})
    play.until("3h")
    assert play.lines("completed") == ["1h30m completed w"]
    assert [one["until"][11:16] for one in play.details("waiting")] == ["10:00", "10:30"]


def test_a_late_event_restarts_no_wait() -> None:
    """It counts, and nothing else."""
    play = Play(workflow(A, "[{wait: {for: 1h, restart_on: {event: B}}}]"))
    play.event("0s", "A")
    play.event("30m", "B", time="-8d")
    play.until("3h")
    assert play.lines("completed") == ["1h completed w"]


@pytest.mark.parametrize(
    ("until", "zone", "after"),
    [
        ("tuesday 10:00", "UTC", "1d1h"),
        ("monday 09:00", "UTC", "7d"),  # strictly after now
        ("10:00", "America/New_York", "6h"),
        ("2026-03-04T09:00", "Asia/Tokyo", "1d15h"),
        ("2026-03-04T09:00+01:00", "Asia/Tokyo", "1d23h"),
    ],
)
def test_until_a_local_time(until: str, zone: str, after: str) -> None:
    """The next one strictly after the record's time, in the customer's zone."""
    play = Play(workflow(A, f"[{{wait: {{until: '{until}'}}}}]"))
    play.identify("0s", timezone=zone)
    play.event("0s", "A")
    play.until("30d")
    assert play.lines("completed") == [f"{after} completed w"]


def test_until_a_local_time_in_the_spring_gap_is_the_first_instant_after_it() -> None:
    """02:30 does not exist on 29 March 2026 in Berlin."""
    play = Play(workflow(A, "[{wait: {until: '02:30'}}]"), start="2026-03-28T20:00:00Z")
    play.identify("0s", timezone="Europe/Berlin")
    play.event("0s", "A")
    play.until("2d")
    assert play.lines("completed") == ["5h completed w"]


def test_until_a_date_of_the_customer_with_an_offset() -> None:
    """A date is its midnight in the customer's zone; a past moment is not a wait."""
    steps = "[{wait: {until: customer.trial_ends_at, offset: -3d}}]"
    play = Play(workflow(A, steps))
    play.identify("0s", trial_ends_at="2026-03-10", timezone="Europe/Berlin")
    play.event("0s", "A")
    play.identify("0s", customer="past", trial_ends_at="2026-03-04")
    play.event("0s", "A", customer="past")
    play.until("30d")
    assert play.lines("completed") == ["4d14h completed w"]
    assert play.lines("completed", customer="past") == ["0s completed w"]


@pytest.mark.parametrize("value", [None, "soon", [1], True])
def test_until_a_moment_that_is_missing_or_none_parks_the_run(value: object) -> None:
    """It would wait for ever or not at all; an operator decides. A retry asks again."""
    play = Play(workflow(A, "[{wait: {until: customer.ends}}]"))
    play.identify("0s", ends=value)
    play.event("0s", "A")
    assert len(play.decisions("failed")) == 1
    play.identify("1h", ends="2026-03-02T11:00:00Z")
    play.retry("1h1m", workflow="w")
    play.until("1d")
    assert play.lines("completed") == ["2h completed w"]


def test_a_wait_between_hours_goes_on_at_once_when_the_window_is_open() -> None:
    """Else when it opens next, on one of the days."""
    steps = "[{wait: {between: '09:00-18:00', days: weekdays}}, {wait: 9h}, {wait: {between: '09:00-18:00'}}]"
    play = Play(workflow(A, steps))
    play.event("0s", "A")
    play.event("0s", "A", customer="early")
    play.until("30d")
    assert play.lines("completed") == ["1d completed w"]
    weekend = Play(workflow(A, steps), start="2026-03-07T12:00:00Z")
    weekend.event("0s", "A")
    weekend.until("1d20h59m")
    assert weekend.lines("waiting") == ["0s waiting w steps.0"]
    weekend.until("1d21h")
    assert weekend.lines("waiting")[1:] == ["1d21h waiting w steps.1"]


def test_a_wait_that_ends_late_lets_the_next_one_start_then() -> None:
    """Waits are due relative to the record that is applied."""
    play = Play(workflow(A, "[{wait: 1h}, {wait: 1h}]"))
    play.event("0s", "A")
    play.late_timer("5h")
    play.until("1d")
    assert play.lines("waiting", "completed") == ["0s waiting w steps.0", "5h waiting w steps.1", "6h completed w"]


# -- wait_for ----------------------------------------------------------------------------------------------------------

FOR_EVENT = """
- wait_for:
    event: B
    where: event.x == enrollment.event.x
    timeout: 2h
    then: [{update: {got: "'then'"}}]
    otherwise: [{update: {got: "'otherwise'"}}, {wait: 1h}]
- update: {after: 1}
"""


def test_wait_for_goes_on_with_then_when_it_happens() -> None:
    """And with what follows after it; the event that happened is `event`, the trigger event `enrollment.event`."""
    play = Play(workflow(A, FOR_EVENT))
    play.event("0s", "A", {"x": 1})
    play.event("1h", "B", {"x": 2})
    play.event("1h30m", "B", {"x": 1})
    play.until("1d")
    assert play.state().traits == {"got": "then", "after": 1}
    assert play.lines("completed") == ["1h30m completed w"]


def test_wait_for_goes_on_with_otherwise_after_the_timeout() -> None:
    """Its steps, also waits, lead on to what follows."""
    play = Play(workflow(A, FOR_EVENT))
    play.event("0s", "A", {"x": 1})
    play.until("1d")
    assert play.state().traits == {"got": "otherwise", "after": 1}
    assert play.lines("completed") == ["3h completed w"]


def test_a_late_event_satisfies_no_wait() -> None:
    """More than `lateness` old; one that is merely late does."""
    play = Play(workflow(A, "[{wait_for: {event: B, timeout: 2h}}]"))
    play.event("0s", "A")
    play.event("1m", "B", time="-8d")
    play.event("2m", "B", time="-6d")
    assert play.lines("completed") == ["2m completed w"]


def test_the_trigger_event_does_not_satisfy_the_wait_it_leads_to() -> None:
    """One event is used once."""
    play = Play(workflow(A, "[{wait_for: {event: A, timeout: 2h}}]"))
    play.event("0s", "A")
    play.event("1m", "A")
    assert play.lines("completed") == ["1m completed w"]


ANY = """
- wait_for:
    any:
      - {event: B, then: [{update: {got: "'b'"}}]}
      - {segment: gold, then: [{update: {got: "'gold'"}}]}
      - {segment: gold, on: leave, where: customer.x == 1, then: [{exit: gone}]}
    timeout: 2h
    then: [{update: {got: "'common'"}}]
"""
GOLD = "segments:\n  gold: {where: customer.tier == 'gold'}\n"


def test_wait_for_any_takes_the_first_that_matches() -> None:
    """An arm without `then` of its own takes that of the `wait_for`."""
    steps = ANY.replace("{event: B, then: [{update: {got: \"'b'\"}}]}", "{event: B}")
    for documents, got in (((GOLD, workflow(A, ANY)), "b"), ((GOLD, workflow(A, steps)), "common")):
        play = Play(*documents)
        play.event("0s", "A")
        play.event("1m", "B")
        assert play.state().traits == {"got": got}


def test_wait_for_a_segment_goes_on_when_it_is_entered() -> None:
    """By whatever record changes the membership."""
    play = Play(GOLD, workflow(A, ANY))
    play.event("0s", "A")
    play.identify("1m", tier="gold")
    assert play.lines("completed") == ["1m completed w"]
    assert play.state().traits["got"] == "gold"


def test_a_segment_that_one_is_in_already_is_not_waited_for() -> None:
    """Nor one that one is out of with `on: leave`, where the condition holds."""
    play = Play(GOLD, workflow(A, ANY))
    play.identify("0s", tier="gold")
    play.event("1s", "A")
    play.identify("0s", customer="c2", x=1)
    play.event("1s", "A", customer="c2")
    assert play.lines("completed") == ["1s completed w"]
    assert play.lines("exited", customer="c2") == ["1s exited w gone"]


OUTCOME = """
- send: {channel: email, template: t}
  id: mail
- wait: 10m
- wait_for:
    outcome: opened
    of: mail
    timeout: 2h
    then: [{exit: engaged}]
"""


def test_wait_for_an_outcome_of_ones_own_message() -> None:
    """Not of another run's message of the same step."""
    play = Play(workflow(A + "\nkey: event.k", OUTCOME))
    play.identify("0s", email="a@b.example")
    play.event("0s", "A", {"k": 1})
    play.event("1s", "A", {"k": 2})
    play.outcome("1h", "opened", message=play.messages[0].id)
    play.until("1d")
    assert [one.enrollment for one in play.decisions("exited")] == ["w/c1/1"]
    assert [one.enrollment for one in play.decisions("completed")] == ["w/c1/2"]


def test_an_outcome_that_came_before_the_wait_is_not_waited_for() -> None:
    """It was opened in the pause: the wait goes on at once."""
    play = Play(workflow(A, OUTCOME))
    play.identify("0s", email="a@b.example")
    play.event("0s", "A")
    play.outcome("5m", "opened", "mail")
    play.until("1d")
    assert play.lines("exited") == ["10m exited w engaged"]


def test_a_click_is_an_open_and_an_open_a_delivery() -> None:
    """Whoever clicks has it open, also when no open was reported."""
    play = Play(workflow(A, OUTCOME))
    play.identify("0s", email="a@b.example")
    play.event("0s", "A")
    play.outcome("1h", "clicked", "mail")
    assert play.lines("exited") == ["1h exited w engaged"]


def test_a_nested_wait_for_waits_in_its_turn() -> None:
    """Each with its own timeout, and both lead on to what follows the outermost."""
    steps = """
    - wait_for:
        event: B
        timeout: 1h
        then:
          - wait_for: {event: C, timeout: 1h, then: [{update: {got: 1}}], otherwise: [{update: {got: 2}}]}
    - update: {end: 1}
    """
    play = Play(workflow(A, steps))
    play.event("0s", "A")
    play.event("30m", "B")
    play.until("5h")
    assert play.lines("completed") == ["1h30m completed w"]
    assert play.state().traits == {"got": 2, "end": 1}
