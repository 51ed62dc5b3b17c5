"""Failures and limits: a run that cannot go on is parked, touches no other, and can be retried."""

from __future__ import annotations

from engine.core.customer import encode_state
from engine.core.evaluate import STATE_BYTES_MAX
from engine.core.record import End
from tests.core.stage import Play, workflow

A = "trigger: {event: A}"
BAD = {"a": 1, "b": "two"}


def test_a_step_that_fails_parks_its_run_and_touches_no_other() -> None:
    """The reason is the expression's; the other run goes on, and so does the customer."""
    play = Play(
        workflow(A, "[{update: {x: event.a + event.b}}]", name="bad"), workflow(A, "[{wait: 1h}, {update: {y: 1}}]")
    )
    play.event("0s", "A", BAD)
    play.until("1d")
    assert play.lines("failed") == ["0s failed bad steps.0 `event.a + event.b`: cannot add a number and text"]
    assert play.lines("completed") == ["1h completed w"]
    assert [run.failed for run in play.state().enrollments] == ["`event.a + event.b`: cannot add a number and text"]


def test_a_retry_goes_on_with_the_step_that_failed() -> None:
    """What was done before it is not done again; what is sent has the id it would have had."""
    steps = """
    - emit: {event: B}
    - send: {channel: email, template: t, data: {x: "customer.x + 1"}}
      id: mail
    """
    fine = Play(workflow(A, steps))
    fine.identify("0s", email="a@b.example", x=1)
    fine.event("0s", "A")
    play = Play(workflow(A, steps))
    play.identify("0s", email="a@b.example", x="one")
    play.event("0s", "A")
    play.retry("1h", workflow="other")
    play.identify("2h", x=1)
    play.retry("3h", workflow="w")
    assert play.lines("emitted", "failed", "retried", "send", "completed") == [
        "0s emitted w steps.0 B",
        "0s failed w mail `customer.x + 1`: cannot add text and a number",
        "3h retried w mail `customer.x + 1`: cannot add text and a number",
        "3h send w mail email queued",
        "3h completed w",
    ]
    assert [one.id for one in play.messages] == [one.id for one in fine.messages]


def test_a_trigger_that_fails_is_kept_and_asked_again_by_a_retry() -> None:
    """With the event that was kept; the id of the run is the one it gets when it enters."""
    play = Play(workflow("trigger: {event: A, where: event.n > customer.limit}", "[{update: {n: event.n}}]"))
    play.identify("0s", limit="many")
    play.event("0s", "A", {"n": 7})
    play.identify("1h", limit=5)
    play.event("2h", "B")
    play.retry("3h", workflow="w")
    assert [" ".join(line.split()[:4]) for line in play.lines("failed", "entered", "completed")] == [
        "0s failed w trigger",
        "3h entered w",
        "3h completed w",
    ]
    assert play.state().traits["n"] == 7
    assert play.state().enrollments == ()


def test_a_key_that_fails_is_asked_again_by_a_retry_whatever_led_to_the_entry() -> None:
    """A manual entry has no trigger that would be asked."""
    play = Play(workflow("trigger: {manual: true}\nkey: event.n + event.m", "[]"))
    play.enroll("0s", "w", n=1, m="x")
    assert len(play.decisions("failed")) == 1
    play.retry("1h", workflow="w")
    assert len(play.decisions("failed")) == 2


def test_broken_triggers_take_no_place_of_active_runs() -> None:
    """A few are kept for a retry; other workflows go on taking the customer in."""
    play = Play(
        workflow("trigger: {event: A, where: event.a + event.b > 1}", name="bad"), workflow("trigger: {event: B}")
    )
    for _ in range(120):
        play.event("0s", "A", BAD)
    play.event("1s", "B")
    assert play.lines("entered", "not_entered") == ["1s entered w"]
    assert len(play.state().enrollments) == 11


def test_what_is_waited_for_and_fails_parks_the_run_in_its_wait() -> None:
    """A retry goes on waiting, with the timeout it had."""
    play = Play(workflow(A, "[{wait_for: {event: B, where: event.a + event.b > 1, timeout: 5h}}]"))
    play.event("0s", "A")
    play.event("1h", "B", BAD)
    play.until("2h")
    assert len(play.lines("failed")) == 1
    play.retry("3h", enrollment="w/c1/1")
    play.until("1d")
    assert play.lines("completed") == ["5h completed w"]


def test_a_timeout_that_passed_while_a_run_was_parked_comes_with_the_retry() -> None:
    """Nothing is waited for a second time."""
    play = Play(workflow(A, "[{wait_for: {event: B, where: event.a + event.b > 1, timeout: 5h}}]"))
    play.event("0s", "A")
    play.event("1h", "B", BAD)
    play.retry("10h")
    play.until("11h")
    assert play.lines("completed") == ["10h completed w"]


def test_a_workflow_of_exactly_100_steps_is_done_within_one_record() -> None:
    """One more is the step limit; a retry goes on from there."""
    steps = "[" + ", ".join("{update: {x: 1}}" for _ in range(100)) + "]"
    play = Play(workflow(A, steps))
    play.event("0s", "A")
    assert play.lines("failed", "completed") == ["0s completed w"]
    play = Play(workflow(A, steps[:-1] + ", {update: {x: 1}}]"))
    play.event("0s", "A")
    assert play.lines("failed", "completed") == ["0s failed w steps.100 step limit"]
    play.retry("1s")
    assert play.lines("failed", "completed")[1:] == ["1s completed w"]


def test_a_wait_in_a_loop_starts_the_count_of_steps_again() -> None:
    """The limit is for one record."""
    play = Play(workflow(A, "[{repeat: {times: 200, every: 1h, steps: [{update: {x: 1}}]}}]"))
    play.event("0s", "A")
    play.until("30d")
    assert play.lines("failed", "completed") == ["8d7h completed w"]


def test_a_state_beyond_64_kb_refuses_the_record_and_says_so() -> None:
    """Nothing of it is applied; what is small goes on."""
    play = Play(workflow(A, "[]"))
    for number in range(40):
        play.identify("0s", **{f"t{number}": "x" * 2_000})
    assert len(encode_state(play.state())) <= STATE_BYTES_MAX
    assert "state limit" in play.details("failed")[0]["reason"]
    assert "t39" not in play.state().traits
    play.identify("1s", t0=None)
    play.identify("2s", t39="x")
    assert play.state().traits["t39"] == "x"


def test_held_messages_count_for_the_size_of_the_state() -> None:
    """Each has a copy of the traits, for its template."""
    policy = "policy: p\npurposes: {}\nquiet_hours: [{channels: [sms], between: '20:00-08:00'}]\n"
    send = "{send: {channel: sms, template: t}}"
    play = Play(workflow("trigger: {event: A}\nkey: event.k", f"[{send}]"), policy=policy)
    play.identify("0s", phone="+4915112345678", **{f"t{number}": "x" * 1_900 for number in range(14)})
    for k in range(4):
        play.event("12h", "A", {"k": k})
    assert len(encode_state(play.state())) <= STATE_BYTES_MAX
    assert len(play.decisions("failed")) == 3


def test_the_result_of_an_expression_is_a_number_that_can_be_stored() -> None:
    """Doubling for ever parks the run before the number grows out of what a state can hold."""
    play = Play(workflow(A, "[{repeat: {times: 40, steps: [{update: {n: customer.n * customer.n}}]}}]"))
    play.identify("0s", n=3)
    play.event("0s", "A")
    assert encode_state(play.state())
    assert len(play.decisions("failed")) == 1


def test_an_operator_ends_runs() -> None:
    """One, or all of a workflow; with the reason given."""
    play = Play(workflow(A + "\nkey: event.k"), workflow(A, name="v"))
    play.event("0s", "A", {"k": 1})
    play.event("0s", "A", {"k": 2})
    play.record(End(customer="c1", at_ms=play.at_ms("1s"), id="e1", reason="stopped", enrollment="w/c1/2"))
    play.record(End(customer="c1", at_ms=play.at_ms("2s"), id="e2", reason="superseded", workflow="w"))
    assert [(one.enrollment, one.detail["reason"]) for one in play.decisions("exited")] == [
        ("w/c1/2", "stopped"),
        ("w/c1/1", "superseded"),
    ]
    assert [run.workflow for run in play.state().enrollments] == ["v"]


def test_a_late_event_parks_no_trigger() -> None:
    """It would enter nobody anyway; the journal says `late`."""
    play = Play(workflow("trigger: {event: A, where: event.a + event.b > 1}"))
    play.event("0s", "A", BAD, time="-8d")
    assert play.lines("failed", "not_entered") == ["0s not_entered w late"]
    assert play.state().enrollments == ()


def test_a_loop_that_failed_after_its_pause_does_not_pause_again() -> None:
    """What failed is `until`; the retry asks it at once."""
    steps = "[{repeat: {times: 3, every: 2d, until: customer.x > 1, steps: [{emit: {event: Round}}]}}]"
    play = Play(workflow(A, steps))
    play.event("0s", "A")
    play.identify("1d", x="many")
    play.until("3d")
    play.identify("3d", x=1)
    play.retry("3d")
    play.until("30d")
    assert [line.split()[0] for line in play.lines("emitted", "failed", "completed")] == ["0s", "2d", "3d", "5d", "5d"]
