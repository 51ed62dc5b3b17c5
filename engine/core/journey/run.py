"""Moving enrollments: what an event, a segment fact or an outcome does to those that wait, and running those that can move.

Invariant: an enrollment that fails is parked with its reason and touches no other; every operation is handled, which the
type checker proves (`assert_never`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec

from engine.core.customer import GoalWatch
from engine.core.journey import due, holding, sending
from engine.core.journey.due import Failed
from engine.core.journey.enrollment import AT_TRIGGER
from engine.core.journey.enter import plan
from engine.core.journey.outcome import amounts_to
from engine.core.journey.steps import Moved, perform, resume
from engine.core.journey.workflow import EventMatch, OutcomeMatch, Repeat, SegmentMatch, Wait, WaitFor
from engine.core.record import Event, Outcome
from engine.core.time.schedule import add, rfc3339
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.core.customer import Sent
    from engine.core.journey.enrollment import Enrollment
    from engine.core.journey.workflow import Match, Op, Workflow
    from engine.core.turn import Turn

STEPS_MAX = 100
"""Steps of one enrollment for one record."""
GOALS_MAX = 10

replace = msgspec.structs.replace


class Stimulus:
    """What enrollments are shown: an event, facts about segments, or the outcome of a message."""

    __slots__ = ("at_ms", "event", "facts", "outcome", "sent")

    def __init__(
        self, *, event: Event | None = None, facts: list[tuple[str, bool]] | None = None, outcome: Outcome | None = None,
        sent: Sent | None = None, at_ms: int = 0,
    ) -> None:  # fmt: skip
        """Any of them may be missing. `at_ms`: when it came, if that was before this record (0: with it)."""
        self.at_ms = at_ms
        self.event = event
        self.facts = facts or []
        self.outcome = outcome
        self.sent = sent


def _meets(turn: Turn, match: Match, run: Enrollment, seen: Stimulus) -> bool:
    """Whether what was seen is what is waited for. Raises ExpressionError."""
    match match:
        case EventMatch(name=name, where=where):
            return seen.event is not None and seen.event.name == name and turn.holds(where, run)
        case OutcomeMatch(outcome=outcome, of=of, where=where):
            sent = seen.sent
            return (
                seen.outcome is not None
                and sent is not None
                and amounts_to(seen.outcome.outcome, outcome)
                and sent.enrollment == run.id
                and of in ("", sent.step)
                and turn.holds(where, run)
            )
        case SegmentMatch(name=name, leave=leave, where=where):
            return (name, not leave) in seen.facts and turn.holds(where, run)
        case _:
            assert_never(match)


_named: dict[int, tuple[Workflow, dict[str, frozenset[str]]]] = {}
_NAMED_MAX = 2_000


def _events_of(workflow: Workflow, step: str) -> frozenset[str]:
    """The names of all events that can matter to an enrollment at this step. Kept by identity: asked for every event."""
    known = _named.get(id(workflow))
    if known is None or known[0] is not workflow:
        if len(_named) >= _NAMED_MAX:
            _named.clear()
        known = _named[id(workflow)] = workflow, _event_names(workflow)
    names = known[1]
    return names.get(step) or names[""]


def _event_names(workflow: Workflow) -> dict[str, frozenset[str]]:
    """Step id → names; under "" those that matter at every step."""
    always: list[Match] = [rule.match for rule in workflow.exits]
    if workflow.goal is not None:
        always.append(workflow.goal.match)
    names = {"": _names(always)}
    for op in workflow.ops.values():
        if isinstance(op, WaitFor):
            names[op.id] = names[""] | _names(arm.match for arm in op.arms)
        elif isinstance(op, Wait):
            names[op.id] = names[""] | _names(op.restart_on)
    return names


def _names(matches: Iterable[Match]) -> frozenset[str]:
    return frozenset(match.name for match in matches if isinstance(match, EventMatch))


def show(turn: Turn, seen: Stimulus) -> None:
    """Shows what was seen to every enrollment, in order of entry: exit rules, goal, then what its step waits for."""
    if turn.state.goals:
        show_goals(turn, seen)
    only_event = seen.outcome is None and not seen.facts
    name = "" if seen.event is None else seen.event.name
    for run in turn.state.enrollments:
        if run.step == AT_TRIGGER or run.id in turn.runnable:
            continue
        workflow = plan(turn, run)
        if only_event and workflow is not None and name not in _events_of(workflow, run.step):
            continue
        if run.failed:
            if workflow is not None:
                _show_parked(turn, workflow, run, seen=seen)
        elif workflow is None:
            park(turn, run, run.step, reason=f"version {run.version} of {run.workflow} is not known here")
        else:
            try:
                _show_one(turn, workflow, run, seen)
            except ExpressionError as error:
                park(turn, turn.find(run.id) or run, run.step, reason=str(error))


def _show_parked(turn: Turn, workflow: Workflow, run: Enrollment, *, seen: Stimulus) -> None:
    """A run that failed can still be ended, so that a retry does not bring back what is long over. It fails only once."""
    try:
        exits(turn, workflow, run, seen=seen)
    except ExpressionError:
        turn.why(f"{run.id}: an exit rule could not be asked")


def exits(turn: Turn, workflow: Workflow, run: Enrollment, *, seen: Stimulus) -> bool:
    """Ends the run when an exit rule is met. What ends it may be its goal; one that can't be asked does not keep it."""
    for rule in workflow.exits:
        if _meets(turn, rule.match, run, seen):
            break
    else:
        return False
    try:
        run = measure(turn, workflow, run, seen=seen)
    except ExpressionError as error:
        turn.decide("failed", run=run, step="goal", reason=str(error))
    turn.why(f"exit rule: {describe(rule.match)}")
    _finish(turn, workflow, run, "exited", reason=rule.reason)
    sending.withdraw(turn, run.id, reason=rule.reason)
    return True


def _show_one(turn: Turn, workflow: Workflow, run: Enrollment, seen: Stimulus) -> None:
    if workflow.exits and exits(turn, workflow, run, seen=seen):
        return
    satisfy(turn, workflow, measure(turn, workflow, run, seen=seen), seen=seen)


def satisfy(turn: Turn, workflow: Workflow, run: Enrollment, *, seen: Stimulus) -> None:
    """Shows it to the step that the run waits at: it goes on, or its wait starts again. Raises ExpressionError."""
    op = workflow.ops.get(run.step)
    if isinstance(op, WaitFor):
        for arm in op.arms:
            if _meets(turn, arm.match, run, seen):
                turn.why(f"{op.id}: {describe(arm.match)}")
                turn.put(replace(run, due_ms=0, due_was_ms=turn.now_ms))
                turn.runnable[run.id] = arm.then
                return
    elif isinstance(op, Wait) and op.duration is not None and any(_meets(turn, m, run, seen) for m in op.restart_on):
        due_ms = add(seen.at_ms or turn.now_ms, op.duration, turn.zone)
        turn.why(f"{op.id}: starts again")
        turn.put(replace(run, due_ms=due_ms))
        turn.decide("waiting", run=run, step=op.id, until=rfc3339(due_ms))


def describe(match: Match) -> str:
    """What is waited for, as people read it."""
    where = f" where {match.where.text}" if match.where is not None else ""
    match match:
        case EventMatch(name=name):
            return f"event {name}{where}"
        case OutcomeMatch(outcome=outcome, of=of):
            return f"outcome {outcome}{' of ' + of if of else ''}{where}"
        case SegmentMatch(name=name, leave=leave):
            return f"segment {name} {'left' if leave else 'entered'}{where}"
        case _:
            assert_never(match)


def measure(turn: Turn, workflow: Workflow, run: Enrollment, *, seen: Stimulus) -> Enrollment:
    """Measures the goal, once an enrollment."""
    goal = workflow.goal
    if goal is None or run.goal_ms or not _meets(turn, goal.match, run, seen):
        return run
    at_ms = seen.at_ms or turn.now_ms
    if goal.within is not None and at_ms > add(run.entered_ms, goal.within, turn.zone):
        return run
    value = None if goal.value is None else turn.value(goal.value, run)
    run = replace(run, goal_ms=at_ms)
    turn.put(run)
    turn.decide("goal", run=run, **({} if value is None else {"value": value}))
    return run


def show_goals(turn: Turn, seen: Stimulus, *, only: frozenset[str] | None = None) -> None:
    """Goals of enrollments that ended but are still measured; `only` those of these enrollments."""
    at_ms, kept = seen.at_ms or turn.now_ms, []
    for watch in turn.state.goals:
        if only is not None and (watch.enrollment.id not in only or at_ms < watch.enrollment.entered_ms):
            kept.append(watch)
            continue
        if watch.until_ms < at_ms:
            continue
        workflow = plan(turn, watch.enrollment)
        if workflow is None:
            continue
        try:
            reached = measure(turn, workflow, watch.enrollment, seen=seen).goal_ms
        except ExpressionError as error:
            turn.decide("failed", run=watch.enrollment, step="goal", reason=str(error))
            continue
        if not reached:
            kept.append(watch)
    turn.state.goals = tuple(kept)


def _finish(turn: Turn, workflow: Workflow, run: Enrollment, kind: str, **detail: str) -> None:
    """Ends an enrollment; its goal goes on being measured for as long as it says."""
    turn.drop(run)
    turn.decide(kind, run=run, **detail)
    goal = workflow.goal
    if goal is not None and goal.within is not None and not run.goal_ms:
        until_ms = add(run.entered_ms, goal.within, turn.zone)
        if until_ms > turn.now_ms:
            turn.state.goals = (*turn.state.goals[-(GOALS_MAX - 1) :], GoalWatch(run, until_ms))


def park(turn: Turn, run: Enrollment, step: str, *, reason: str) -> None:
    """Parks an enrollment as failed; an operator can retry it."""
    turn.runnable.pop(run.id, None)
    turn.put(replace(run, failed=reason, step=step))
    turn.decide("failed", run=run, step=step, reason=reason)


def wake(turn: Turn) -> None:
    """Lets every enrollment whose wait is over go on, the earliest due first."""
    come = [run for run in turn.state.enrollments if run.due_ms and run.due_ms <= turn.now_ms and not run.failed]
    for run in sorted(come, key=lambda run: run.due_ms):
        if holding.is_held(turn.catalog, run.workflow):
            continue
        if holding.is_dropped(turn.catalog, run.workflow, run.due_ms):
            turn.drop(run)
            turn.decide("exited", run=run, reason="dropped")
            sending.withdraw(turn, run.id, reason="dropped")
            continue
        workflow = plan(turn, run)
        op = None if workflow is None else workflow.ops.get(run.step)
        if workflow is None or op is None:
            park(turn, run, run.step, reason=f"step {run.step} of version {run.version} is not known here")
            continue
        try:
            if isinstance(op, Wait) and not due.over(turn, run, op):
                continue
        except (ExpressionError, Failed) as error:  # the retry asks the step itself again
            park(turn, replace(run, due_ms=0), op.id, reason=error.reason if isinstance(error, Failed) else str(error))
            continue
        turn.put(replace(run, due_ms=0, due_was_ms=run.due_ms))
        if isinstance(op, Repeat):
            turn.runnable[run.id] = resume(op)
        else:
            turn.runnable[run.id] = op.otherwise if isinstance(op, WaitFor) else op.next


def again(turn: Turn, run: Enrollment) -> str:
    """The step with which a run that failed goes on: the one that failed. A loop's pause is not waited again."""
    workflow = plan(turn, run)
    op = None if workflow is None else workflow.ops.get(run.step)
    return resume(op) if isinstance(op, Repeat) and op.id in run.counts else run.step


def run_all(turn: Turn) -> None:
    """Runs every enrollment that can move, in order, until each waits or ends."""
    while turn.runnable:
        enrollment_id, step = next(iter(turn.runnable.items()))
        del turn.runnable[enrollment_id]
        run = turn.find(enrollment_id)
        if run is None:
            continue
        workflow = plan(turn, run)
        if workflow is None:
            park(turn, run, run.step, reason=f"version {run.version} of {run.workflow} is not known here")
            continue
        _run_one(turn, workflow, run, step)


def _run_one(turn: Turn, workflow: Workflow, run: Enrollment, step: str) -> None:
    """Until it waits or ends. `event` is the record's event, or the trigger event where another record led here."""
    if not isinstance(turn.record, Event):
        turn.show_cause(run.event)
    for _ in range(STEPS_MAX):
        if not step:
            break
        resuming = step.startswith(">")
        op: Op = workflow.ops[step.removeprefix(">")]
        begun = resuming or (isinstance(op, Repeat) and op.id in run.counts)  # `when` is asked before the first round
        try:
            if not begun and op.when is not None and not turn.holds(op.when, run):
                turn.why(f"{op.id}: skipped, not {op.when.text}")
                step = op.next
                continue
            result = perform(turn, run, op, resuming=resuming)
        except ExpressionError as error:
            park(turn, turn.find(run.id) or run, op.id, reason=str(error))
            return
        except Failed as failed:
            park(turn, turn.find(run.id) or run, op.id, reason=failed.reason)
            return
        run = result.run
        if isinstance(result, Moved):
            step = result.next
        elif result.exited is not None:
            _finish(turn, workflow, run, "exited", reason=result.exited)
            return
        else:
            run = replace(run, step=op.id, due_ms=result.due_ms)
            turn.put(run)
            turn.decide("waiting", run=run, step=op.id, until=rfc3339(result.due_ms))
            return
    if step:
        park(turn, run, step.removeprefix(">"), reason="step limit")
    else:
        _finish(turn, workflow, run, "completed")
