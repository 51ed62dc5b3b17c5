"""Steps that do something at once: when, branch, repeat, update, emit, task, exit."""

from __future__ import annotations

from engine.core.message import message_id
from engine.core.record import Event
from tests.core.stage import Play, workflow

A = "trigger: {event: A}"


def test_when_skips_the_step_unless_it_holds() -> None:
    """Also a step with steps below it."""
    steps = """
    - update: {one: 1}
      when: event.x == 1
    - branch: [{else: [{update: {two: 2}}]}]
      when: customer.one is defined
    """
    play = Play(workflow(A, steps))
    play.event("0s", "A", {"x": 2})
    play.event("1s", "A", {"x": 1}, customer="c2")
    assert play.state().traits == {}
    assert play.state("c2").traits == {"one": 1, "two": 2}


BRANCH = """
- branch:
    - if: event.x > 10
      steps: [{update: {got: "'large'"}}]
    - if: event.x > 5
      steps: [{exit: medium}]
    - else: [{wait: 1h}, {update: {got: "'small'"}}]
- update: {end: 1}
"""


def test_the_first_branch_that_holds_is_taken_and_all_lead_on() -> None:
    """`else` where none holds; a missing value holds nowhere."""
    play = Play(workflow(A, BRANCH))
    for customer, x in (("large", 11), ("medium", 7), ("small", 1), ("none", None)):
        play.event("0s", "A", {"x": x}, customer=customer)
    play.until("2h")
    assert play.state("large").traits == {"got": "large", "end": 1}
    assert play.lines("exited", customer="medium") == ["0s exited w medium"]
    assert play.state("small").traits == play.state("none").traits == {"got": "small", "end": 1}


def test_no_branch_that_holds_leads_on() -> None:
    """Without `else`."""
    play = Play(workflow(A, "[{branch: [{if: event.x, steps: [{exit: no}]}]}, {update: {end: 1}}]"))
    play.event("0s", "A")
    assert play.lines("completed") == ["0s completed w"]


def test_repeat_does_its_rounds_with_pauses_between_them() -> None:
    """No pause before the first or after the last."""
    play = Play(workflow(A, "[{repeat: {times: 3, every: 2d, steps: [{send: {channel: email, template: t}}]}}]"))
    play.identify("0s", email="a@b.example")
    play.event("0s", "A")
    play.until("30d")
    assert [line.split()[0] for line in play.lines("send", "completed")] == ["0s", "2d", "4d", "4d"]
    assert len({message.id for message in play.messages}) == 3


def test_until_is_asked_before_each_round_also_the_first() -> None:
    """After the pause, with what is known then."""
    steps = "[{repeat: {times: 5, every: 1d, until: customer.done, steps: [{emit: {event: Round}}]}}]"
    play = Play(workflow(A, steps))
    play.event("0s", "A")
    play.identify("1d12h", done=True)
    play.until("30d")
    assert play.lines("emitted", "completed") == [
        "0s emitted w steps.0.steps.0 Round",
        "1d emitted w steps.0.steps.0 Round",
        "2d completed w",
    ]
    play.event("30d", "A")
    assert play.lines("emitted", "completed")[3:] == ["30d completed w"]


def test_repeats_within_repeats_count_for_themselves() -> None:
    """The inner one starts anew in each round of the outer one; waits inside are waited."""
    steps = """
    - repeat:
        times: 2
        steps:
          - repeat: {times: 3, steps: [{wait: 1h}, {emit: {event: Round}}]}
    """
    play = Play(workflow(A, steps))
    play.event("0s", "A")
    play.until("30d")
    assert len(play.lines("emitted")) == 6
    assert play.lines("completed") == ["6h completed w"]


def test_when_of_a_repeat_is_asked_once() -> None:
    """What the rounds do to its condition does not end the loop in the middle: that is what `until` is for."""
    steps = """
    - repeat: {times: 2, every: 1h, steps: [{update: {x: 1}}, {emit: {event: Round}}]}
      when: customer.x is not defined
    """
    play = Play(workflow(A, steps))
    play.event("0s", "A")
    play.until("30d")
    assert len(play.lines("emitted")) == 2


def test_update_sets_traits_and_a_missing_value_removes_one() -> None:
    """Text is an expression, other values stand for themselves; the journal has all of them."""
    play = Play(workflow(A, "[{update: {name: event.name, level: 3, old: event.nothing, on: true}}]"))
    play.identify("0s", old=1)
    play.event("1s", "A")
    assert play.state().traits == {"name": "A", "level": 3, "on": True}
    assert play.details("updated") == [{"traits": {"name": "A", "level": 3, "old": None, "on": True}}]


def test_an_update_moves_segments_which_move_other_workflows_within_the_record() -> None:
    """From an update to a segment to a run that waits for it and to a workflow that it triggers."""
    play = Play(
        "segments:\n  gold: {where: customer.tier == 'gold'}\n",
        workflow(A, "[{wait_for: {segment: gold, timeout: 1d}}]", name="waits"),
        workflow("trigger: {event: B}", "[{update: {tier: \"'gold'\"}}]", name="updates"),
        workflow("trigger: {segment: gold}", "[]", name="greets"),
    )
    play.event("0s", "A")
    play.event("1s", "B")
    assert play.lines("entered", "segment_entered", "completed")[1:] == [
        "1s entered updates",
        "1s segment_entered gold",
        "1s completed updates",
        "1s entered greets",
        "1s completed waits",
        "1s completed greets",
    ]


def test_workflows_that_move_each_other_by_segments_come_to_an_end() -> None:
    """The journal says that it went too far; nothing raises."""
    segments = "segments:\n  on: {where: customer.x == 1}\n"
    play = Play(
        segments,
        workflow("trigger: {segment: on}", "[{update: {x: 0}}]", name="down"),
        workflow("trigger: {segment: on, on: leave}", "[{update: {x: 1}}]", name="up"),
    )
    play.identify("0s", x=1)
    assert "segments changed more than" in play.details("failed")[-1]["reason"]


def test_emit_puts_an_event_on_the_log_that_is_processed_like_any_other() -> None:
    """A record of its own with an id of its own; a missing property is left out."""
    play = Play(
        workflow(A, "[{emit: {event: B, properties: {x: event.x, y: event.y}}}, {update: {order: \"'first'\"}}]"),
        workflow("trigger: {event: B}", "[{update: {x: event.x, order: \"'second'\"}}]", name="v"),
    )
    play.event("0s", "A", {"x": 7})
    emitted = [record for record in play.log if isinstance(record, Event) and record.name == "B"]
    assert [(record.properties, record.id) for record in emitted] == [
        ({"x": 7}, message_id("w/c1/1", "steps.0", 0, salt=play.state().salt))
    ]
    assert play.state().traits == {"x": 7, "order": "second"}


def test_a_task_says_who_is_to_do_what_until_when() -> None:
    """Its completion comes back as the event `Task Completed`."""
    steps = """
    - task: {title: "Call {{ customer.name }}", assignee: ana, due: 2d, queue: care}
      id: call
    - wait_for: {event: Task Completed, timeout: 7d, then: [{exit: called}]}
    """
    play = Play(workflow(A, steps))
    play.identify("0s", name="Bo")
    play.event("0s", "A")
    task = play.details("task")[0]
    assert {**task, "task": ""} == {
        "task": "",
        "title": "Call Bo",
        "assignee": "ana",
        "due": "2026-03-04T09:00:00Z",
        "queue": "care",
    }
    play.event("1d", "Task Completed", {"task": task["task"]})
    assert play.lines("exited") == ["1d exited w called"]


def test_exit_ends_the_run_where_it_stands() -> None:
    """Nothing after it is done, and nothing is pending."""
    play = Play(workflow(A, "[{branch: [{else: [{exit: enough}, {update: {x: 1}}]}]}, {update: {y: 1}}]"))
    play.event("0s", "A")
    assert play.lines("exited", "completed") == ["0s exited w enough"]
    assert play.state().traits == {}
    assert play.state().next_due_ms == 0
    assert play.state().enrollments == ()
