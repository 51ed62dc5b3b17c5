"""When a `wait` ends: worked out on arrival, anew when a trait it depends on changes, and once more when it fires.

Invariant: a wait ends at a moment that its words give for the customer's traits and clock of that moment; what cannot be told
while it lasts (a trait was erased) is left until it fires, and only then parks the run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from engine.core.journey.enrollment import Cause
from engine.core.journey.enter import plan
from engine.core.journey.workflow import Wait
from engine.core.time.schedule import add, next_local, next_open, resolve_local, rfc3339
from engine.core.time.when_allowed import holidays_of
from engine.core.time.zone import ZONE_TRAITS
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from collections.abc import Collection

    from engine.core.journey.enrollment import Enrollment
    from engine.core.time.schedule import When
    from engine.core.turn import Turn

_OF_EVENT = re.compile(r"(?<!enrollment\.)\bevent\b")

replace = msgspec.structs.replace


class Failed(Exception):
    """The step cannot be done with this customer's data; the enrollment is parked."""

    def __init__(self, reason: str) -> None:
        """`reason` is for the operator."""
        super().__init__(reason)
        self.reason = reason


def first(turn: Turn, run: Enrollment, op: Wait) -> int:
    """When a wait that begins now ends. Raises ExpressionError or Failed."""
    if op.duration is not None:
        return add(turn.now_ms, op.duration, turn.zone)
    if op.local is not None:
        return _local(turn, op.local)
    if op.window is not None:
        opens_ms = next_open(op.window, turn.now_ms, turn.zone, holidays=holidays_of(turn.catalog, turn.state))
        if opens_ms is None:
            raise Failed(f"{op.id}: the window never opens")
        return opens_ms
    at_ms = _moment(turn, run, op)
    if at_ms is None:
        raise _missing(op)
    return at_ms


def _local(turn: Turn, when: When) -> int:
    """The next such local time, or the one instant that it is, passed or not."""
    if when.local is not None:
        return resolve_local(when.local, turn.zone)
    if when.instant_ms is not None:
        return when.instant_ms
    due_ms = next_local(when, turn.now_ms, turn.zone)
    return turn.now_ms if due_ms is None else due_ms


def begun(turn: Turn, run: Enrollment, op: Wait) -> Enrollment:
    """The run with what is needed to ask the wait again: when it began, and the event that led to it."""
    if op.until is None:
        return run
    scope, shown = turn.scope, None
    if _OF_EVENT.search(op.until.text) and (scope.event_id, scope.event_name) != (run.event.id, run.event.name):
        shown = Cause(scope.event_id, scope.event_name, scope.event_ms, dict(scope.properties))
    return replace(run, since_ms=turn.now_ms, shown=shown)


def onward(op: Wait, due_ms: int, now_ms: int) -> str:
    """The step after a wait whose moment was there already: with `past: skip` what hangs on it is left out."""
    return op.next if op.past_next is None or due_ms >= now_ms else op.past_next


def _moment(turn: Turn, run: Enrollment, op: Wait) -> int | None:
    assert op.until is not None, "a wait waits for something"
    turn.scope.enrollment = run
    at_ms = op.until.moment_ms(turn.scope, at_minutes=op.at_minutes)
    return at_ms if at_ms is None or op.offset is None else add(at_ms, op.offset, turn.zone)


def _missing(op: Wait) -> Failed:
    return Failed(f"{op.id}: {'' if op.until is None else op.until.text} is missing")


def _anew(turn: Turn, run: Enrollment, op: Wait) -> int | None:
    """When the wait ends as things are now; None: the value is missing. Raises ExpressionError."""
    if op.local is not None:
        if next_local(op.local, run.due_ms - 1, turn.zone) == run.due_ms:
            return run.due_ms
        return _local(turn, op.local)
    if op.window is not None:
        opens_ms = next_open(op.window, turn.now_ms, turn.zone, holidays=holidays_of(turn.catalog, turn.state))
        return run.due_ms if opens_ms is None else opens_ms
    assert op.until is not None, "a wait for a length of time is not asked again"
    own = not ZONE_TRAITS.issuperset(op.until.traits)
    if not own and (op.until.counted or (not run.since_ms and (op.until.timed or _OF_EVENT.search(op.until.text)))):
        return run.due_ms  # what it was asked with is no longer known, or counts on: the moment was fixed then
    scope = turn.scope
    event = (scope.event_id, scope.event_name, scope.event_ms, scope.properties)
    turn.show_cause(run.shown or run.event)
    scope.now_ms = run.since_ms or turn.now_ms
    try:
        return _moment(turn, run, op)
    finally:
        scope.now_ms = turn.now_ms
        scope.event_id, scope.event_name, scope.event_ms, scope.properties = event


def over(turn: Turn, run: Enrollment, op: Wait) -> bool:
    """Asks a wait that fires once more. False: it goes on waiting. Raises ExpressionError or Failed."""
    if op.duration is not None:
        return True
    due_ms = _anew(turn, run, op)
    if due_ms is None:
        raise _missing(op)
    if due_ms <= turn.now_ms:
        return True
    turn.why(f"{op.id}: not yet, {rfc3339(run.due_ms)} is not its time any more")
    _until(turn, run, op, due_ms)
    return False


def follow(turn: Turn, changed: Collection[str]) -> None:
    """Works out anew when the waits end that depend on these traits. What has come is shown to `turn.runnable`."""
    zone = not ZONE_TRAITS.isdisjoint(changed)
    for run in turn.state.enrollments:
        if run.due_ms <= turn.now_ms or run.failed or run.id in turn.runnable:
            continue  # what is due already is asked when its timer comes
        workflow = plan(turn, run)
        op = None if workflow is None else workflow.ops.get(run.step)
        if isinstance(op, Wait) and _depends(op, changed, zone=zone):
            _follow_one(turn, run, op)


def _depends(op: Wait, changed: Collection[str], *, zone: bool) -> bool:
    if op.until is None:
        return zone and op.duration is None
    return zone or "*" in op.until.traits or not set(op.until.traits).isdisjoint(changed)


def _follow_one(turn: Turn, run: Enrollment, op: Wait) -> None:
    try:
        due_ms = _anew(turn, run, op)
    except ExpressionError as error:
        turn.why(f"{op.id}: {error.message}")
        return
    if due_ms is None or due_ms == run.due_ms:
        return
    if due_ms > turn.now_ms:
        turn.why(f"{op.id}: was to end at {rfc3339(run.due_ms)}")
        _until(turn, run, op, due_ms)
        return
    turn.why(f"{op.id}: {rfc3339(due_ms)} has come")
    turn.put(replace(run, due_ms=0, due_was_ms=turn.now_ms))
    turn.runnable[run.id] = onward(op, due_ms, turn.now_ms)


def _until(turn: Turn, run: Enrollment, op: Wait, due_ms: int) -> None:
    turn.put(replace(run, due_ms=due_ms))
    turn.decide("waiting", run=run, step=op.id, until=rfc3339(due_ms))
