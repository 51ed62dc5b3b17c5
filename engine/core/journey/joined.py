"""What a merge asks of the runs it joins: each knows only what came under its own id until then.

Invariant: every exit rule, goal and wait of a joined run is asked once about what had come under the other id since the run
(or its wait) began; exit rules first. Nothing is asked twice, and no trigger is asked about what is past.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engine.core.customer import HEARD_MAX, CustomerState, HeardEvent
from engine.core.journey import enter
from engine.core.journey import run as runs
from engine.core.journey.enrollment import AT_TRIGGER, Cause
from engine.core.journey.enter import plan
from engine.core.journey.run import Stimulus
from engine.core.journey.steps import already
from engine.core.journey.workflow import WaitFor
from engine.core.record import Event
from engine.core.time.schedule import DAY_MS
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from engine.core.journey.enrollment import Enrollment
    from engine.core.journey.workflow import Workflow
    from engine.core.turn import Turn

HEARD_DAYS = 30
VALUE_BYTES_MAX = 500
"""A larger property is not remembered."""

_encoded = msgspec.msgpack.Encoder().encode


def remember(turn: Turn, event: Event, names: tuple[str, ...]) -> None:
    """Keeps the event with the properties that conditions ask about, in case a merge brings runs that wait for it."""
    properties = {
        name: value for name in names
        if (value := event.properties.get(name)) is not None and len(_encoded(value)) <= VALUE_BYTES_MAX
    }  # fmt: skip
    since_ms = turn.now_ms - HEARD_DAYS * DAY_MS
    kept = tuple(each for each in turn.state.heard[-(HEARD_MAX - 1) :] if each.at_ms >= since_ms)
    turn.state.heard = (*kept, HeardEvent(Cause(event.id, event.name, event.time_ms, properties), turn.now_ms))


def ask(turn: Turn, mine: CustomerState, other: CustomerState) -> None:
    """Asks the runs of both, as they were before, about what only the other id knew; then triggers about new segments."""
    facts, turn.facts = turn.facts, []
    theirs = {run.id for run in other.enrollments} - {run.id for run in mine.enrollments}
    their_facts = _changes(turn, other)
    for run in turn.state.enrollments:
        if run.step == AT_TRIGGER:
            continue
        workflow = plan(turn, run)
        if workflow is None:
            continue
        if run.id in theirs:
            _ask_one(turn, workflow, run, _stimuli(run, mine.heard, their_facts))
        else:
            _ask_one(turn, workflow, run, _stimuli(run, other.heard, facts))
    _ask_goals(turn, mine, other)
    turn.show_event(id="", name="", time_ms=0, properties={})
    enter.by_record(turn, None, facts)


def _changes(turn: Turn, before: CustomerState) -> list[tuple[str, bool]]:
    """What segments the merge entered and left, for the runs of one id."""
    return [
        (name, name in turn.state.segments)
        for name in turn.catalog.segments
        if (name in turn.state.segments) != (name in before.segments)
    ]


def _stimuli(run: Enrollment, heard: tuple[HeardEvent, ...], facts: list[tuple[str, bool]]) -> list[Stimulus]:
    events = [_stimulus(each) for each in heard if each.at_ms >= run.entered_ms]
    return [*events, Stimulus(facts=facts)] if facts else events


def _ask_one(turn: Turn, workflow: Workflow, run: Enrollment, stimuli: list[Stimulus]) -> None:
    try:
        for seen in stimuli:
            _show(turn, seen)
            if runs.exits(turn, workflow, run, seen=seen):
                return
        if run.failed:
            return
        for seen in stimuli:
            _show(turn, seen)
            run = runs.measure(turn, workflow, run, seen=seen)
        for seen in stimuli:
            if not seen.at_ms or seen.at_ms >= (run.due_was_ms or run.entered_ms):
                _show(turn, seen)
                runs.satisfy(turn, workflow, turn.find(run.id) or run, seen=seen)
            if run.id in turn.runnable:
                return
        op = workflow.ops.get(run.step)
        first = already(turn, run, op) if isinstance(op, WaitFor) else None
        if first is not None:
            turn.put(msgspec.structs.replace(run, due_ms=0, due_was_ms=turn.now_ms))
            turn.runnable[run.id] = first
    except ExpressionError as error:
        if run.failed:
            turn.why(f"{run.id}: an exit rule could not be asked")
        else:
            runs.park(turn, turn.find(run.id) or run, run.step, reason=str(error))


def _ask_goals(turn: Turn, mine: CustomerState, other: CustomerState) -> None:
    """Goals of runs that ended and are still measured."""
    for state, heard in ((mine, other.heard), (other, mine.heard)):
        ids = frozenset(watch.enrollment.id for watch in state.goals)
        for each in heard if ids else ():
            seen = _stimulus(each)
            _show(turn, seen)
            runs.show_goals(turn, seen, only=ids)


def _stimulus(heard: HeardEvent) -> Stimulus:
    cause = heard.cause
    event = Event(
        customer="", at_ms=heard.at_ms, id=cause.id, name=cause.name, time_ms=cause.time_ms,
        properties=cause.properties,
    )  # fmt: skip
    return Stimulus(event=event, at_ms=heard.at_ms)


def _show(turn: Turn, seen: Stimulus) -> None:
    event = seen.event
    if event is None:
        turn.show_event(id="", name="", time_ms=0, properties={})
    else:
        turn.show_event(id=event.id, name=event.name, time_ms=event.time_ms, properties=event.properties)
