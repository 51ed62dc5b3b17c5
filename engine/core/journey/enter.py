"""Who enters a workflow: triggers, keys, re-entry, limits; and when dates and schedules come due.

Invariant: every attempt of a customer who meets a trigger is answered once: `entered`, `not_entered` with its reason, or
`failed` when it could not be asked.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from engine.core.customer import Entries
from engine.core.expression.comparison import point
from engine.core.facts import profile
from engine.core.journey import broadcast, holding
from engine.core.journey.enrollment import AT_TRIGGER, Cause, Enrollment
from engine.core.journey.workflow import EventMatch, SegmentMatch
from engine.core.record import Event
from engine.core.time.schedule import ZERO, add, local_datetime, once, parse_date, yearly
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from engine.core.expression.condition import Expression
    from engine.core.journey.workflow import DateTrigger, ScheduleTrigger, Workflow
    from engine.core.turn import Turn

ACTIVE_MAX = 100
KEYS_MAX = 100
"""Keys remembered a workflow, newest kept."""
KEY_CHARS_MAX = 100
PARKED_MAX = 10
"""Triggers of a customer that could not be asked and wait for an operator."""
_AT_WHERE, _AT_KEY = "trigger-", "key-"


def by_record(turn: Turn, event: Event | None, facts: list[tuple[str, bool]], *, late: bool = False) -> None:
    """Asks every workflow that this event, or entering or leaving one of these segments, may enter: in name order.

    `late`: the event is too old to trigger anything, also by way of a segment that it fills.
    """
    interest = None if event is None else turn.catalog.interests.get(event.name)
    names = () if interest is None else interest.triggers
    if facts:
        asking = {name for segment, _ in facts for name in turn.catalog.segment_triggers.get(segment, ())}
        names = tuple(sorted(asking.union(names)))
    for name in names:
        workflow = turn.catalog.workflows[name]
        for match in workflow.trigger.matches:
            cause = _cause(turn, match, event, facts=facts)
            if cause is not None and _met(turn, workflow, match, cause=cause, late=late):
                attempt(turn, workflow, cause, late=late)
                break


def _cause(
    turn: Turn, match: EventMatch | SegmentMatch, event: Event | None, *, facts: list[tuple[str, bool]]
) -> Cause | None:
    """What would enter the customer by this match; None when it is not what happened."""
    if isinstance(match, EventMatch):
        if event is None or match.name != event.name:
            return None
        return Cause(event.id, event.name, event.time_ms, event.properties)
    if (match.name, not match.leave) not in facts:
        return None
    return Cause(f"segment:{match.name}:{turn.now_ms}", "", turn.now_ms, {"segment": match.name})


def _met(turn: Turn, workflow: Workflow, match: EventMatch | SegmentMatch, *, cause: Cause, late: bool = False) -> bool:
    try:
        met = turn.holds(match.where, None)
    except ExpressionError as error:
        if late:
            return True  # `attempt` answers `late`: there is nothing that a retry could do
        _park(turn, workflow, cause, reason=str(error), label=_AT_WHERE)
        return False
    if match.where is not None and met:
        turn.why(f"trigger: {match.where.text}")
    return met


def attempt(turn: Turn, workflow: Workflow, cause: Cause, *, late: bool = False, due_ms: int = 0) -> None:
    """Enters the customer, or says why not."""
    key = ""
    if workflow.key is not None and not late:
        try:
            key = _key(turn, workflow.key, cause)
        except ExpressionError as error:
            _park(turn, workflow, cause, reason=str(error), label=_AT_KEY)
            return
    entries = turn.state.entries.get(workflow.name)
    reason = _refusal(turn, workflow, key, entries, late=late)
    if reason:
        more: dict[str, Any] = {"key": key} if key else {}
        if issue := cause.properties.get("issue") if cause.id.startswith(broadcast.CAUSE) else None:
            more["issue"] = issue
        turn.decide("not_entered", run=_unborn(turn, workflow, cause), reason=reason, **more)
        return
    run = _enroll(turn, workflow, key, entries, cause=cause, due_ms=due_ms)
    more = {"holdout": True} if run.holdout else {}
    if issue := broadcast.issue_in(run):
        more["issue"] = issue
    turn.decide("entered", run=run, **more)
    turn.runnable[run.id] = workflow.first


def _refusal(turn: Turn, workflow: Workflow, key: str, entries: Entries | None, *, late: bool) -> str:
    """Why the customer may not enter now, "" when they may."""
    state = turn.state
    if late:
        return "late"
    if workflow.name in turn.catalog.paused:
        return "paused"
    for run in state.enrollments:
        if run.workflow != workflow.name or run.step == AT_TRIGGER:
            continue
        if workflow.key is None or run.key == key or run.key.startswith(f"{key}~"):
            return "active"
    last_ms = _last_entry(entries, key)
    if last_ms is not None:
        if workflow.reentry.rule == "never":
            return "reentry"
        after = workflow.reentry.after
        if after is not None and turn.now_ms < add(last_ms, after, turn.zone):
            return "reentry"
    active = len(state.enrollments)
    if active >= ACTIVE_MAX:  # what only waits to be asked again takes no place
        active = sum(run.step != AT_TRIGGER for run in state.enrollments)
    return "limit" if active >= ACTIVE_MAX else ""


def _last_entry(entries: Entries | None, key: str) -> int | None:
    if entries is None:
        return None
    if not key:
        return entries.last_ms if entries.count else None
    known = entries.keys.get(key)
    return None if known is None else known[1]


def _enroll(
    turn: Turn, workflow: Workflow, key: str, entries: Entries | None, *, cause: Cause, due_ms: int
) -> Enrollment:
    """Adds the enrollment, and remembers the entry."""
    state = turn.state
    entries = entries or Entries(0, 0)
    count, keys = entries.count + 1, entries.keys
    label = str(count)
    if key:
        nth = keys.get(key, (0, 0))[0] + 1
        label = key if nth == 1 else f"{key}~{nth}"
        kept = {known: value for known, value in keys.items() if known != key}
        while len(kept) >= KEYS_MAX:
            del kept[next(iter(kept))]
        keys = {**kept, key: (nth, turn.now_ms)}
    state.entries = {**state.entries, workflow.name: Entries(count, turn.now_ms, keys)}
    salt = f"holdout:{workflow.name}"
    run = Enrollment(
        id=f"{workflow.name}/{state.id}/{label}",
        workflow=workflow.name,
        version=workflow.version,
        key=label,
        entered_ms=turn.now_ms,
        event=cause,
        holdout=bool(workflow.holdout_percent) and point(salt, state.id, 100) < workflow.holdout_percent,
        due_was_ms=due_ms or turn.now_ms,
    )
    state.enrollments = (*state.enrollments, run)
    turn.grew = True
    return run


def _unborn(turn: Turn, workflow: Workflow, cause: Cause) -> Enrollment:
    """Stands for an enrollment that did not come about, in the journal."""
    return Enrollment(
        id="", workflow=workflow.name, version=workflow.version, key="", entered_ms=turn.now_ms, event=cause
    )


def _park(turn: Turn, workflow: Workflow, cause: Cause, *, reason: str, label: str) -> None:
    """The trigger could not be asked: parks an enrollment that an operator can retry after a fix. The newest are kept."""
    key = label + hashlib.sha256(cause.id.encode()).hexdigest()[:8]
    run = Enrollment(
        id=f"{workflow.name}/{turn.state.id}/{key}", workflow=workflow.name, version=workflow.version, key=key,
        entered_ms=turn.now_ms, event=cause, step=AT_TRIGGER, failed=reason,
    )  # fmt: skip
    parked = [one.id for one in turn.state.enrollments if one.step == AT_TRIGGER and one.id != run.id]
    gone = {run.id, *parked[: max(0, len(parked) + 1 - PARKED_MAX)]}
    turn.state.enrollments = (*(one for one in turn.state.enrollments if one.id not in gone), run)
    turn.grew = True
    turn.decide("failed", run=run, step="trigger", reason=reason)


def retry_trigger(turn: Turn, run: Enrollment) -> None:
    """Asks the trigger of a parked enrollment again, with the event that was kept."""
    turn.drop(run)
    workflow = turn.catalog.workflows.get(run.workflow)
    if workflow is None:
        turn.decide("exited", run=run, reason="superseded")
        return
    turn.show_cause(run.event)
    if run.key.startswith(_AT_KEY):  # the trigger was met, only its key could not be told
        attempt(turn, workflow, run.event)
        return
    for match in workflow.trigger.matches:
        if isinstance(match, EventMatch) and match.name != run.event.name:
            continue
        if _met(turn, workflow, match, cause=run.event):
            attempt(turn, workflow, run.event)
            return


def _key(turn: Turn, expression: Expression, cause: Cause) -> str:
    """The key that the trigger event gives, whatever record is being applied. Raises ExpressionError."""
    scope = turn.scope
    if scope.properties is cause.properties and (scope.event_id, scope.event_name) == (cause.id, cause.name):
        return _key_text(turn.value(expression, None))
    shown = Cause(scope.event_id, scope.event_name, scope.event_ms, dict(scope.properties))
    turn.show_cause(cause)
    try:
        return _key_text(turn.value(expression, None))
    finally:
        turn.show_cause(shown)


def _key_text(value: object) -> str:
    """The key as text. A missing one counts as a key of its own, so that such events do not mix with others'."""
    text = "-" if value is None else str(value)
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    text = text.replace("/", "_").replace("~", "_")
    if len(text) > KEY_CHARS_MAX:
        return hashlib.sha256(text.encode()).hexdigest()[:32]
    return text or "-"


# -- dates and schedules -----------------------------------------------------------------------------------------------


def arm(turn: Turn) -> None:
    """Works out when each date and schedule next comes for this customer; what is due already stays so."""
    state, armed = turn.state, {}
    for name in turn.catalog.timed:
        pending = state.armed.get(name, 0)
        if pending and pending <= turn.now_ms:
            armed[name] = pending
            continue
        due_ms = next_due(turn, turn.catalog.workflows[name])
        if due_ms is not None:
            armed[name] = due_ms
    if armed != state.armed:
        state.armed = armed


def next_due(turn: Turn, workflow: Workflow) -> int | None:
    """When the workflow's date or schedule next comes for this customer, strictly after now."""
    if workflow.trigger.date is not None:
        return _date_due(turn, workflow.trigger.date, after_ms=turn.now_ms)
    schedule = workflow.trigger.schedule
    return None if schedule is None else broadcast.next_own_ms(turn, workflow)


def _date_due(turn: Turn, date: DateTrigger, *, after_ms: int) -> int | None:
    day = parse_date(turn.state.traits.get(date.trait), turn.zone)
    if day is None:
        return None
    offset = date.offset or ZERO
    if date.yearly:
        return yearly(day, date.at_minutes, offset=offset, zone=turn.zone, after_ms=after_ms)
    due_ms = once(day, date.at_minutes, offset=offset, zone=turn.zone)
    return due_ms if due_ms > after_ms else None


def fire_armed(turn: Turn) -> None:
    """Enters the customer where a date or schedule has come, then works out the next one."""
    due = [
        (at_ms, name)
        for name, at_ms in turn.state.armed.items()
        if at_ms <= turn.now_ms and not holding.is_held(turn.catalog, name)
    ]
    if not due:
        return
    names = {name for _, name in due}
    turn.state.armed = {name: at_ms for name, at_ms in turn.state.armed.items() if name not in names}
    for at_ms, name in sorted(due, key=lambda item: item[1]):
        if holding.is_dropped(turn.catalog, name, at_ms):
            continue
        workflow = turn.catalog.workflows.get(name)
        if workflow is None or name not in turn.catalog.timed:
            continue
        schedule = workflow.trigger.schedule
        if schedule is None:
            if not _moved(turn, workflow, at_ms) and not _came_already(turn, workflow, at_ms):
                cause = Cause(f"date:{name}:{at_ms}", "", at_ms, {})
                turn.show_cause(cause)
                attempt(turn, workflow, cause, due_ms=at_ms)
            continue
        start_ms = broadcast.start_of(turn, workflow, at_ms)
        if not broadcast.belongs(turn.state, schedule, start_ms):
            continue
        if schedule.customer_zone and _came_already(turn, workflow, start_ms):
            continue
        _broadcast(turn, workflow, schedule, at_ms=at_ms, start_ms=start_ms)
    arm(turn)


def _moved(turn: Turn, workflow: Workflow, at_ms: int) -> bool:
    """Asks a date that has come once more: whether the customer's date is another by now, or gone."""
    date = workflow.trigger.date
    due_ms = None if date is None else _date_due(turn, date, after_ms=at_ms - 1)
    return due_ms is None or due_ms > turn.now_ms


def _came_already(turn: Turn, workflow: Workflow, at_ms: int) -> bool:
    """Whether this hour of this day came already: a customer who moves west sees the same local time twice."""
    local = local_datetime(at_ms, turn.zone).replace(tzinfo=None)
    digest = profile.digest(f"came\x1f{workflow.name}\x1f{local.isoformat()}")
    if profile.seen_before(turn.state, digest):
        return True
    profile.remember(turn.state, digest, turn.now_ms)
    return False


def _broadcast(turn: Turn, workflow: Workflow, schedule: ScheduleTrigger, *, at_ms: int, start_ms: int) -> None:
    """Enters the customer into an issue; while it is paused remembers that. Of a recurring one the newest is remembered.

    Of two ids that became one person the other may have had the issue already: nobody gets it twice.
    """
    issue = broadcast.issue_of(schedule, start_ms, broadcast.zone_in(turn, schedule))
    had = profile.digest(f"issue\x1f{workflow.name}\x1f{issue}")
    if profile.seen_before(turn.state, had):
        return
    cause = Cause(f"{broadcast.CAUSE}{workflow.name}:{at_ms}", "", at_ms, {"issue": issue})
    turn.show_cause(cause)
    if workflow.name in turn.catalog.paused:
        turn.state.waiting = {**turn.state.waiting, workflow.name: at_ms}
    else:
        profile.remember(turn.state, had, turn.now_ms)
    attempt(turn, workflow, cause, due_ms=at_ms)


def resume(turn: Turn) -> None:
    """Enters the customer into the broadcasts that came while they were paused and go on now."""
    waiting = turn.state.waiting
    going_on = [name for name in sorted(waiting) if name not in turn.catalog.paused]
    if not going_on:
        return
    turn.state.waiting = {name: at_ms for name, at_ms in waiting.items() if name not in going_on}
    for name in going_on:
        workflow, at_ms = turn.catalog.workflows.get(name), waiting[name]
        schedule = None if workflow is None else workflow.trigger.schedule
        if workflow is None or schedule is None:
            continue
        start_ms = broadcast.start_of(turn, workflow, at_ms)
        if broadcast.belongs(turn.state, schedule, start_ms):  # who has left the segment since does not get it
            _broadcast(turn, workflow, schedule, at_ms=at_ms, start_ms=start_ms)


def manual(turn: Turn, name: str, properties: dict[str, object], *, record_id: str) -> None:
    """An operator, or the API, enters the customer."""
    workflow = turn.catalog.workflows.get(name)
    if workflow is None:
        turn.decide("failed", reason=f"there is no workflow {name!r}")
        return
    cause = Cause(record_id, "", turn.now_ms, dict(properties))
    turn.show_cause(cause)
    attempt(turn, workflow, cause)


def plan(turn: Turn, run: Enrollment) -> Workflow | None:
    """The version of the workflow that the enrollment runs on."""
    return turn.catalog.versions.get((run.workflow, run.version))
