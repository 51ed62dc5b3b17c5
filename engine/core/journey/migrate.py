"""What a deploy means to people in flight: they stay on their version, move to the current one, or end.

Invariant: nobody is lost. A run that cannot move stays on its version and the journal says so; one that is on the current
version is never touched, so that doing it again changes nothing. `fate` alone decides; the plan of a deploy asks the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engine.core.journey import sending
from engine.core.journey.enrollment import AT_TRIGGER
from engine.core.journey.enter import plan
from engine.core.journey.steps import Moved, perform, resume
from engine.core.journey.workflow import OutcomeMatch, Repeat, SegmentMatch, Wait, WaitFor
from engine.core.time.schedule import ZERO, Duration, add, rfc3339
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from engine.core.catalog import Catalog
    from engine.core.journey.enrollment import Enrollment
    from engine.core.journey.workflow import Match, Op, Workflow
    from engine.core.record import Recheck
    from engine.core.turn import Turn

VERSIONS = ("pin", "migrate", "end")
"""What a deploy, or a workflow's own `versions:`, may say."""
SUPERSEDED = "superseded"
"""The reason of who is ended by a deploy."""

replace = msgspec.structs.replace


class Fate(msgspec.Struct, frozen=True):
    """What becomes of who waits at a step: `current` (on the newest version already), `stays`, `moves` (to `step`),
    `ends`, or `stuck`: it would have to move and cannot, and stays.
    """

    kind: Literal["current", "stays", "moves", "ends", "stuck"]
    step: str = ""


def rule_of(catalog: Catalog, workflow: str, versions: str) -> str:
    """`pin`, `migrate` or `end`: what the workflow's file says, else what the deploy says. Who is gone cannot be moved to."""
    current = catalog.workflows.get(workflow)
    if current is None:
        return "end" if versions == "end" else "pin"
    return current.versions or versions


def fate(catalog: Catalog, workflow: str, *, version: str, step: str, versions: str) -> Fate:
    """What a deploy of `catalog` that says `versions` makes of a run of `workflow` at that version and step."""
    current = catalog.workflows.get(workflow)
    if current is not None and current.version == version:
        return Fate("current", step)
    rule = rule_of(catalog, workflow, versions)
    if rule == "end":
        return Fate("ends")
    if rule == "pin" or current is None:
        return Fate("stays", step)
    if step == AT_TRIGGER:
        return Fate("moves", step)
    mapped = current.step_map.get(step, "")
    if mapped in current.ops:
        return Fate("moves", mapped)
    there = current.ops.get(step)
    old = catalog.versions.get((workflow, version))
    stood_at = None if old is None else old.ops.get(step)
    # Who waited is not to find himself in the middle of something else that happens to have the same id.
    waited = stood_at is None or _waits(stood_at)
    if there is None or (waited and not _waits(there)):
        return Fate("stuck", step)
    return Fate("moves", step)


def apply(turn: Turn, record: Recheck) -> None:
    """Does with every enrollment what the deploy says. A recheck speaks only for the catalog that it names."""
    if record.catalog not in ("", turn.catalog.id):
        return
    for run in turn.state.enrollments:
        what = fate(turn.catalog, run.workflow, version=run.version, step=run.step, versions=record.versions)
        match what.kind:
            case "current" | "stays":
                pass
            case "ends":
                turn.drop(run)
                turn.decide("exited", run=run, reason=SUPERSEDED)
                sending.withdraw(turn, run.id, reason=SUPERSEDED)
            case "stuck":
                reason = "that step does not wait in the current version, and `map:` does not name it"
                to = turn.catalog.workflows[run.workflow].version
                turn.decide("not_migrated", run=run, step=run.step, to_version=to, reason=reason)
            case "moves":
                _move(turn, run, what.step)


def _move(turn: Turn, run: Enrollment, step: str) -> None:
    current, old = turn.catalog.workflows[run.workflow], plan(turn, run)
    was = None if old is None else old.ops.get(run.step)
    now = current.ops.get(step)
    moved = replace(run, version=current.version, step=step, counts=_counts(run, old, current))
    detail: dict[str, Any] = {"from_version": run.version}
    if step != run.step:
        detail["from_step"] = run.step
    if now is None:  # a trigger that could not be asked waits for an operator
        turn.put(moved)
        turn.decide("migrated", run=moved, step=step, **detail)
        return
    due_ms = _due(turn, run, was, now=now)
    if run.failed:  # it waits for an operator; a wait whose end cannot be told is begun anew by the retry
        turn.put(replace(moved, due_ms=due_ms or 0))
        turn.decide("migrated", run=moved, step=step, failed=run.failed, **detail)
        return
    if due_ms is not None and (due_ms == run.due_ms or due_ms > turn.now_ms) and not _came(turn, moved, was, now=now):
        turn.put(replace(moved, due_ms=due_ms))
        turn.decide("migrated", run=moved, step=step, until=rfc3339(due_ms), **detail)
        return
    over = due_ms is not None and due_ms != run.due_ms and due_ms <= turn.now_ms
    turn.put(replace(moved, due_ms=0, due_was_ms=turn.now_ms))
    turn.decide("migrated", run=moved, step=step, **detail)
    turn.runnable[run.id] = _onward(now) if over else step


def _counts(run: Enrollment, old: Workflow | None, current: Workflow) -> dict[str, int]:
    """How often each step ran. A loop keeps its round under its new id; what was not a loop does not give one a round."""
    counts: dict[str, int] = {}
    for step, count in run.counts.items():
        was_loop = old is not None and isinstance(old.ops.get(step), Repeat)
        to = current.step_map.get(step, step) if was_loop else step
        if was_loop or not isinstance(current.ops.get(to), Repeat):
            counts[to] = count
    return counts


def _waits(op: Op) -> bool:
    return isinstance(op, Wait | WaitFor | Repeat)


def _timing(op: Op) -> object:
    """What tells how long the step waits; equal for two compilations of the same words."""
    match op:
        case Wait():
            return op.duration, op.local, op.until and op.until.text, op.offset, op.window, op.at_minutes
        case WaitFor():
            return op.timeout
        case Repeat():
            return op.every
        case _:
            return None


def _span(op: Op) -> Duration | None:
    """How long the step waits from its beginning; None when that is not how it waits."""
    match op:
        case Wait():
            return op.duration
        case WaitFor():
            return op.timeout
        case Repeat():
            return op.every or ZERO
        case _:
            return None


def _due(turn: Turn, run: Enrollment, was: Op | None, *, now: Op) -> int | None:
    """When the wait ends in the current version, counted from its beginning; None: the step is to be asked anew."""
    if not run.due_ms or not _waits(now):
        return None
    if was is None or (type(was) is type(now) and _timing(was) == _timing(now)):
        return run.due_ms
    span, spent = _span(now), _span(was)
    if span is None:
        return None
    begun_ms = (run.due_was_ms or run.entered_ms) if spent is None else add(run.due_ms, -spent, turn.zone)
    return add(begun_ms, span, turn.zone)


def _came(turn: Turn, run: Enrollment, was: Op | None, *, now: Op) -> bool:
    """Whether something that only the current version waits for is there already, as for one who arrives at the step."""
    if not isinstance(now, WaitFor) or (isinstance(was, WaitFor) and _matches(was) == _matches(now)):
        return False
    turn.show_cause(run.event)
    try:
        return isinstance(perform(turn, run, now, resuming=False), Moved)
    except ExpressionError:
        return True  # the step is asked, fails in the same way, and the run is parked


def _matches(op: WaitFor) -> list[tuple[object, ...]]:
    return [_words(arm.match) for arm in op.arms]


def _words(match: Match) -> tuple[object, ...]:
    where = None if match.where is None else match.where.text
    if isinstance(match, OutcomeMatch):
        return "outcome", match.outcome, match.of, where
    return "segment" if isinstance(match, SegmentMatch) else "event", match.name, getattr(match, "leave", False), where


def _onward(op: Op) -> str:
    """Where a wait that is over goes on."""
    if isinstance(op, Repeat):
        return resume(op)
    return op.otherwise if isinstance(op, WaitFor) else op.next
