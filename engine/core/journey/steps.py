"""What each operation of a workflow does.

Invariant: an operation either moves on to a named step, waits until a moment, or ends the enrollment; it never blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec

from engine.core.expression.comparison import point
from engine.core.facts import profile, segment
from engine.core.facts.usable import with_usable
from engine.core.journey import due, enter, outcome, sending
from engine.core.journey.due import Failed
from engine.core.journey.workflow import (
    Branch,
    Emit,
    EnterWorkflow,
    Exit,
    Op,
    OutcomeMatch,
    Repeat,
    SegmentMatch,
    Send,
    Split,
    Task,
    Update,
    Wait,
    WaitFor,
)
from engine.core.message import message_id
from engine.core.time.schedule import add, rfc3339

if TYPE_CHECKING:
    from engine.core.journey.enrollment import Enrollment
    from engine.core.turn import Turn


ENROLLED_MAX = 100
"""`enroll` steps within one record: workflows that enroll each other come to an end."""


class Moved(msgspec.Struct, frozen=True, gc=False):
    """Goes on with the step `next` ("" = the end)."""

    run: Enrollment
    next: str


class Stopped(msgspec.Struct, frozen=True, gc=False):
    """Waits until `due_ms`, or ended as `exited`."""

    run: Enrollment
    due_ms: int = 0
    exited: str | None = None


def resume(op: Repeat) -> str:
    """The step that means: the pause between two rounds is over."""
    return f">{op.id}"


def perform(turn: Turn, run: Enrollment, op: Op, *, resuming: bool) -> Moved | Stopped:
    """Does one operation. Raises ExpressionError or Failed."""
    match op:
        case Wait():
            return _wait(turn, run, op)
        case WaitFor():
            return _wait_for(turn, run, op)
        case Send():
            return Moved(sending.decide(turn, run, op), op.next)
        case Branch():
            return _branch(turn, run, op)
        case Split():
            return _split(turn, run, op)
        case Update():
            return _update(turn, run, op)
        case Emit():
            return _emit(turn, run, op)
        case Task():
            return _task(turn, run, op)
        case EnterWorkflow():
            return _enter(turn, run, op)
        case Repeat():
            return _repeat(turn, run, op, resuming=resuming)
        case Exit():
            return Stopped(run, exited=op.reason)
        case _:
            assert_never(op)


def _enter(turn: Turn, run: Enrollment, op: EnterWorkflow) -> Moved:
    workflow = turn.catalog.workflows.get(op.workflow)
    if workflow is None:
        raise Failed(f"there is no workflow {op.workflow!r} any more")
    turn.enrolled += 1
    if turn.enrolled > ENROLLED_MAX:
        raise Failed("step limit")
    turn.why(f"enrolled by {run.id} at {op.id}")
    enter.attempt(turn, workflow, run.event)
    return Moved(run, op.next)


def _wait(turn: Turn, run: Enrollment, op: Wait) -> Moved | Stopped:
    due_ms = due.first(turn, run, op)
    if due_ms <= turn.now_ms:
        turn.why(f"{op.id}: nothing to wait for, {rfc3339(due_ms)} has come")
        return Moved(run, due.onward(op, due_ms, turn.now_ms))
    return Stopped(due.begun(turn, run, op), due_ms)


def _wait_for(turn: Turn, run: Enrollment, op: WaitFor) -> Moved | Stopped:
    first = already(turn, run, op)
    if first is not None:
        return Moved(run, first)
    due_ms = add(turn.now_ms, op.timeout, turn.zone)
    return Stopped(run, due_ms) if due_ms > turn.now_ms else Moved(run, op.otherwise)


def already(turn: Turn, run: Enrollment, op: WaitFor) -> str | None:
    """Where a wait goes on at once: a segment the customer is in (or out of) is not waited for, nor an outcome that came."""
    for arm in op.arms:
        match = arm.match
        if isinstance(match, SegmentMatch):
            if (match.name in turn.state.segments) != match.leave and turn.holds(match.where, run):
                turn.why(f"{op.id}: already {'out of' if match.leave else 'in'} segment {match.name}")
                return arm.then
        elif isinstance(match, OutcomeMatch) and _came_already(turn, run, match):
            turn.why(f"{op.id}: {match.outcome} already")
            return arm.then
    return None


def _came_already(turn: Turn, run: Enrollment, match: OutcomeMatch) -> bool:
    """Whether the newest message in question has come to that already. What a condition asks about is not kept."""
    for sent in reversed(turn.state.messages):
        if sent.enrollment == run.id and match.of in ("", sent.step):
            return match.where is None and outcome.amounts_to(sent.outcome, match.outcome)
    return False


def _branch(turn: Turn, run: Enrollment, op: Branch) -> Moved:
    for index, arm in enumerate(op.arms):
        if turn.holds(arm.condition, run):
            turn.why(f"{op.id}: branch {index}, {'else' if arm.condition is None else arm.condition.text}")
            return Moved(run, arm.first)
    turn.why(f"{op.id}: no branch holds")
    return Moved(run, op.next)


def _split(turn: Turn, run: Enrollment, op: Split) -> Moved:
    at = point(op.name, turn.state.id, sum(variant.weight for variant in op.variants))
    for variant in op.variants:
        at -= variant.weight
        if at < 0:
            turn.decide("split", run=run, step=op.id, name=op.name, variant=variant.name)
            return Moved(run, variant.first)
    message = "the weights of a split add up to its total"
    raise AssertionError(message)


def _update(turn: Turn, run: Enrollment, op: Update) -> Moved:
    values = {name: turn.value(expression, run) for name, expression in op.traits}
    changed = profile.set_traits(turn, with_usable(turn, values), turn.now_ms)
    turn.decide("updated", run=run, step=op.id, traits=values)
    if changed:
        segment.refresh(turn, segment.of_traits(turn, changed))
        enter.arm(turn)
        due.follow(turn, changed)
        sending.follow(turn, changed)
    return Moved(run, op.next)


def _counted(turn: Turn, run: Enrollment, op: Op) -> tuple[Enrollment, int]:
    """The enrollment with this step counted once more, and how often it ran before."""
    occurrence = run.counts.get(op.id, 0)
    run = msgspec.structs.replace(run, counts={**run.counts, op.id: occurrence + 1})
    turn.put(run)
    return run, occurrence


def _emit(turn: Turn, run: Enrollment, op: Emit) -> Moved:
    values = ((name, turn.value(expression, run)) for name, expression in op.properties)
    properties = {name: value for name, value in values if value is not None}
    run, occurrence = _counted(turn, run, op)
    event_id = message_id(run.id, op.id, occurrence, salt=turn.state.salt)
    turn.raise_event(event_id, op.event, properties)
    turn.decide("emitted", run=run, step=op.id, event=op.event, properties=properties)
    return Moved(run, op.next)


def _task(turn: Turn, run: Enrollment, op: Task) -> Moved:
    title = turn.value(op.title, run)
    run, occurrence = _counted(turn, run, op)
    detail = {"task": message_id(run.id, op.id, occurrence, salt=turn.state.salt), "title": str(title or "")}
    if op.assignee:
        detail["assignee"] = op.assignee
    if op.queue:
        detail["queue"] = op.queue
    if op.due is not None:
        detail["due"] = rfc3339(add(turn.now_ms, op.due, turn.zone))
    turn.decide("task", run=run, step=op.id, **detail)
    return Moved(run, op.next)


def _repeat(turn: Turn, run: Enrollment, op: Repeat, *, resuming: bool) -> Moved | Stopped:
    """Rounds done are counted under the step's id, and forgotten when the loop ends."""
    rounds = run.counts.get(op.id, 0)
    if rounds and rounds < op.times and op.every is not None and not resuming:
        due_ms = add(turn.now_ms, op.every, turn.zone)
        if due_ms > turn.now_ms:  # a pause of no length is none: as in real time, so in virtual
            return Stopped(run, due_ms)
    over = rounds >= op.times
    if not over and op.until is not None and turn.holds(op.until, run):
        turn.why(f"{op.id}: until {op.until.text}")
        over = True
    counts = {step: count for step, count in run.counts.items() if step != op.id}
    if not over:
        counts[op.id] = rounds + 1
    run = msgspec.structs.replace(run, counts=counts)
    turn.put(run)
    return Moved(run, op.next if over else op.body)
