"""Exit rules and goals: what ends a run in the middle of a wait, and what counts as success."""

from __future__ import annotations

from tests.core.stage import Play, workflow

A = "trigger: {event: A}"


def test_an_exit_rule_ends_the_run_in_the_middle_of_a_wait() -> None:
    """With the reason after `as`, else what happened; the other customer's order does nothing."""
    head = (
        A + "\nkey: event.cart\nexit: [{event: B, where: event.cart == enrollment.event.cart, as: bought}, {event: C}]"
    )
    play = Play(workflow(head, "[{wait: 1d}, {update: {x: 1}}]"))
    play.event("0s", "A", {"cart": "k1"})
    play.event("0s", "A", {"cart": "k2"})
    play.event("1h", "B", {"cart": "k1"})
    play.event("2h", "C")
    play.until("30d")
    assert [(one.enrollment, one.detail["reason"]) for one in play.decisions("exited")] == [
        ("w/c1/k1", "bought"),
        ("w/c1/k2", "C"),
    ]
    assert play.state().traits == {}


def test_an_exit_by_segment_and_by_outcome() -> None:
    """Entering or leaving one; an outcome of this run's message."""
    play = Play(
        "segments:\n  gold: {where: customer.tier == 'gold'}\n",
        workflow(A + "\nexit: [{segment: gold, as: promoted}]", name="one"),
        workflow(
            A + "\nexit: [{outcome: bounced, of: mail, as: unreachable}]",
            "[{send: {channel: email, template: t}, id: mail}, {wait: 1d}]",
            name="two",
        ),
    )
    play.identify("0s", email="a@b.example")
    play.event("0s", "A")
    play.identify("30m", tier="gold")
    play.outcome("2h", "bounced", "mail")
    assert play.lines("exited") == ["30m exited one promoted", "2h exited two unreachable"]


def test_the_exit_comes_before_what_the_step_waits_for() -> None:
    """One event that is both ends the run."""
    play = Play(workflow(A + "\nexit: [{event: B}]", "[{wait_for: {event: B, timeout: 1d, then: [{update: {x: 1}}]}}]"))
    play.event("0s", "A")
    play.event("1s", "B")
    assert play.lines("exited", "completed") == ["1s exited w B"]
    assert play.state().traits == {}


def test_the_trigger_event_does_not_end_the_run_it_starts() -> None:
    """And a late event ends none."""
    play = Play(workflow(A + "\nexit: [{event: A}, {event: B}]"))
    play.event("0s", "A")
    play.event("1s", "B", time="-8d")
    assert play.lines("exited") == []
    play.event("2s", "A")
    assert play.lines("exited", "entered") == ["0s entered w", "2s exited w A", "2s entered w"]


def test_runs_are_shown_a_record_in_order_of_entry() -> None:
    """Not in name order."""
    play = Play(
        workflow(A + "\nexit: [{event: X}]", name="z"), workflow("trigger: {event: B}\nexit: [{event: X}]", name="a")
    )
    play.event("0s", "A")
    play.event("1s", "B")
    play.event("2s", "X")
    assert play.lines("exited") == ["2s exited z X", "2s exited a X"]


def test_a_run_that_failed_is_ended_by_its_exit_rule() -> None:
    """Else a retry would remind somebody of a cart that is long bought."""
    play = Play(workflow(A + "\nexit: [{event: B, as: bought}]", "[{wait: 1h}, {update: {x: event.a + event.b}}]"))
    play.event("0s", "A", {"a": 1, "b": "two"})
    play.event("2h", "B")
    play.retry("3h", workflow="w")
    assert play.lines("failed", "exited", "retried") == [
        play.lines("failed")[0],
        "2h exited w bought",
    ]


def test_a_held_message_of_a_run_that_an_exit_rule_ended_is_not_sent() -> None:
    """The reminder that waits for the morning is not due any more when the cart is bought at night."""
    policy = "policy: p\npurposes: {}\nquiet_hours: [{channels: [sms], between: '20:00-08:00'}]\n"
    steps = "[{send: {channel: sms, template: t}}, {wait: 3d}]"
    head = A + "\nexit: [{event: B, as: bought}]"
    play = Play(workflow(head, steps), policy=policy)
    for customer in ("c1", "c2"):
        play.identify("0s", customer=customer, phone="+4915112345678")
        play.event("12h", "A", customer=customer)
    play.event("13h", "B")
    play.until("2d")
    assert play.lines("send", "exited") == [
        "12h send w steps.0 sms held quiet_hours",
        "13h exited w bought",
        "13h send w steps.0 sms suppressed too_late",
    ]
    assert play.lines("send", customer="c2")[1:] == ["23h send w steps.0 sms queued"]


def test_a_goal_is_measured_once_with_its_value() -> None:
    """While the run lasts, and until `within` after the entry also when it has ended."""
    head = A + "\ngoal: {event: B, within: 3d, value: event.total}\nexit: [{event: C}]"
    play = Play(workflow(head, "[{wait: 1h}]"))
    play.event("0s", "A")
    play.event("1m", "C")
    play.event("2d", "B", {"total": 30})
    play.event("2d1h", "B", {"total": 40})
    play.event("10d", "A")
    play.event("13d1m", "B", {"total": 50})
    assert play.lines("goal") == ["2d goal w 30"]


def test_the_event_that_ends_the_run_may_be_its_goal() -> None:
    """Buying both ends the reminders and is what they were for."""
    head = A + "\ngoal: {event: B, value: event.total}\nexit: [{event: B, as: bought}]"
    play = Play(workflow(head))
    play.event("0s", "A")
    play.event("1m", "B", {"total": 30})
    play.event("2m", "B", {"total": 30})
    assert play.lines("goal", "exited") == ["1m goal w 30", "1m exited w bought"]


def test_a_goal_that_cannot_be_asked_does_not_keep_a_run_from_its_exit() -> None:
    """Exit rules come first."""
    head = A + "\ngoal: {event: B, value: event.a + event.b}\nexit: [{event: B, as: bought}]"
    play = Play(workflow(head))
    play.event("0s", "A")
    play.event("1m", "B", {"a": 1, "b": "two"})
    assert play.lines("exited") == ["1m exited w bought"]
    assert play.state().enrollments == ()
