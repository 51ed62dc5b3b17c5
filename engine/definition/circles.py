"""Workflows that lead to each other without an end: by `emit`, `enroll`, and traits that let a segment change.

Invariant: an error is a circle that a customer who does nothing goes round by itself, in less than a day, with a message in it;
what hangs on a condition is a warning, and what `reentry`, a pause or an act of the customer bounds is neither.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from engine.core.catalog import Segment
from engine.core.expression.condition import Expression
from engine.core.expression.scope import Scope
from engine.core.journey import workflow as core
from engine.core.time.schedule import DAY_MS, ZERO
from engine.core.time.zone import UTC
from engine.definition.compile import Compiled
from engine.definition.expression.comparison import now_shift
from engine.definition.problem import Problems
from engine.errors import ExpressionError

ACTS = frozenset({"opened", "clicked", "replied", "unsubscribed", "complained"})
"""Outcomes that take a person."""
_HOURS_SHOWN_MS = 3_600_000
_PASSED_MAX, _WAYS_MAX = 8, 500
"""How many ways through one workflow, and on from one, are looked at."""
_ASKS = re.compile(r"\b(event|customer|enrollment|now)\b|\(")


class Hop(NamedTuple):
    """From one workflow into another: by which step, how long after the entry at least, and how sure it is."""

    source: str
    step: str
    target: str
    trigger: int
    """Which of the target's triggers; -1: it is enrolled."""
    what: str
    pause_ms: int
    certain: bool
    rest_ms: int
    """How long the source goes on after it, at least."""


def find_circles(workflows: Mapping[str, Compiled], segments: Mapping[str, Segment], problems: Problems) -> None:
    """Adds an error, or a warning, for every way on which a message is sent again and again."""
    hops = {name: list(_hops(compiled, workflows, segments)) for name, compiled in workflows.items()}
    told: set[frozenset[str]] = set()
    for certain in (True, False):
        kept = {name: [hop for hop in found if hop.certain or not certain] for name, found in hops.items()}
        for name, compiled in sorted(workflows.items()):
            if not any(isinstance(compiled.workflow.ops[step], core.Send) for step in _reached(compiled.workflow)):
                continue
            way = next((way for way in _ways(name, kept) if _goes_round(way, segments, workflows)), None)
            if way is None:
                continue
            names = frozenset(hop.source for hop in way)
            if names not in told:
                told.add(names)
                _report(way, workflows, problems, certain=certain)


def _report(way: list[Hop], workflows: Mapping[str, Compiled], problems: Problems, *, certain: bool) -> None:
    shown = [_said(hop, workflows) for hop in way]
    pause_ms = sum(hop.pause_ms for hop in way)
    every = "at once" if not pause_ms else f"every {_span(pause_ms)}"
    first = workflows[way[0].source]
    spot = first.site.spot(first.places[way[0].step])
    route = ", then ".join(shown)
    if certain:
        message = f"this leads back to itself and sends {every}: {route}; put a pause of a day into it, or `reentry`"
        problems.error(spot, "endless", message=message)
    else:
        message = f"unless a condition ends it, this leads back to itself and sends {every}: {route}"
        problems.warning(spot, "endless", message=message)


def _said(hop: Hop, workflows: Mapping[str, Compiled]) -> str:
    source, target = workflows[hop.source], workflows[hop.target]
    at = source.site.spot(source.places[hop.step])
    place = f"`{hop.source}` {hop.what} ({at.file}:{at.line})"
    if hop.trigger < 0:
        return place
    listed = "any" in target.site.source.data["trigger"]
    spot = target.site.spot(("trigger", "any", hop.trigger) if listed else ("trigger",))
    return f"{place}, which enters `{hop.target}` ({spot.file}:{spot.line})"


def _span(span_ms: int) -> str:
    minutes = span_ms // 60_000
    if span_ms < 60_000:  # noqa: PLR2004 - a minute
        return f"{max(span_ms // 1000, 1)}s"
    return f"{minutes // 60}h{minutes % 60:02d}m" if span_ms >= _HOURS_SHOWN_MS else f"{minutes}m"


# ------------------------------------------------------------------------------------------------- between workflows


def _hops(compiled: Compiled, workflows: Mapping[str, Compiled], segments: Mapping[str, Segment]) -> Iterator[Hop]:
    workflow = compiled.workflow
    pauses = _pauses(workflow, workflow.first)
    found: list[tuple[Hop, bool]] = []
    for step, op in workflow.ops.items():
        if step not in pauses or not isinstance(op, core.Emit | core.EnterWorkflow | core.Update):
            continue
        rest_ms = _pauses(workflow, op.next).get("", DAY_MS)
        for target, trigger, what, by_condition in _leads(op, workflow, workflows, segments):
            pause_ms = max(pauses[step], _reentry_ms(workflows[target].workflow))
            hop = Hop(workflow.name, step, target, trigger, what, pause_ms, certain=False, rest_ms=rest_ms)
            found.append((hop, op.when is None and not by_condition))
    for hop, plain in found:
        same = {other.step for other, sure in found if sure and other.target == hop.target}
        yield hop._replace(certain=plain and workflow.first in _inevitable(workflow, same))


def _leads(
    op: core.Op, source: core.Workflow, workflows: Mapping[str, Compiled], segments: Mapping[str, Segment]
) -> Iterator[tuple[str, int, str, bool]]:
    """Whom the operation enters: workflow, trigger, in words, and whether a condition decides."""
    if isinstance(op, core.EnterWorkflow):
        itself = op.workflow == source.name
        if itself and (source.key is None or not source.key.timed):  # who is in it under this key is not entered again
            return
        if op.workflow in workflows:
            yield op.workflow, -1, f"enrolls in `{op.workflow}`", itself
        return
    for target, compiled in workflows.items():
        for index, match in enumerate(compiled.workflow.trigger.matches):
            if isinstance(op, core.Emit) and isinstance(match, core.EventMatch) and match.name == op.event:
                holds = _holds(op, match.where)
                if holds is not False:
                    yield target, index, f"emits `{op.event}`", holds is None
            elif isinstance(match, core.SegmentMatch) and match.name in segments:
                if not isinstance(op, core.Update):
                    continue
                member = _member(op, segments[match.name].where)
                if member is not match.leave and member != "untouched":
                    what = f"updates a trait of the segment `{match.name}`"
                    yield target, index, what, member is None


def _member(op: core.Update, where: Expression) -> bool | str | None:
    """Whether the update makes a member: None when it depends on more than constants, `untouched` when it is not asked about."""
    names = {name for name, _ in op.traits}
    if names.isdisjoint(where.traits):
        return "untouched"
    if not names.issuperset(where.traits):
        return None
    return _answer(where, op.traits, traits=True)


def _holds(op: core.Emit, where: Expression | None) -> bool | None:
    """Whether the emitted event meets the condition of a trigger: None when it depends on more than constants."""
    if where is None:
        return True
    return None if where.traits else _answer(where, op.properties, event=op.event)


def _answer(
    where: Expression, values: tuple[tuple[str, Expression], ...], *, event: str = "", traits: bool = False
) -> bool | None:
    if where.segments or where.counted or where.timed:
        return None
    constants = {name: _constant(value) for name, value in values}
    if any(value is None for value in constants.values()):
        return None
    scope = Scope(customer_id="", now_ms=0, project_zone=UTC)
    scope.event_id, scope.event_name = event, event
    known = {name: value[0] for name, value in constants.items() if value is not None}
    if traits:
        scope.traits = known
    else:
        scope.properties = known
    try:
        return where.holds(scope)
    except ExpressionError:
        return False


def _constant(value: Expression) -> tuple[object] | None:
    """The value of an expression that asks about nothing, in a tuple."""
    if _ASKS.search(value.text):
        return None
    try:
        return (value.value(Scope(customer_id="", now_ms=0, project_zone=UTC)),)
    except ExpressionError:
        return None


def _reentry_ms(workflow: core.Workflow) -> int:
    if workflow.reentry.rule == "never":
        return DAY_MS
    return 0 if workflow.reentry.after is None else workflow.reentry.after.span_ms


def _ways(start: str, hops: Mapping[str, list[Hop]]) -> Iterator[list[Hop]]:
    """The ways back to where it begins that take less than a day, those with the least pause first.

    The shortest may not close, because somebody is still in it, where a longer one does: each workflow is passed several times.
    """
    passed: Counter[str] = Counter()
    waiting: list[tuple[int, int, str, list[Hop]]] = [(0, 0, start, [])]
    order = 0
    while waiting:
        spent_ms, _, name, way = heapq.heappop(waiting)
        if way and name == start:
            yield way
            continue
        passed[name] += 1
        if passed[name] > (_PASSED_MAX if order < _WAYS_MAX else 1):
            continue
        for hop in hops.get(name, ()):
            total_ms = spent_ms + hop.pause_ms
            been = any(hop.target == earlier.source for earlier in way[1:]) or hop.target == name != start
            if total_ms < DAY_MS and not been:
                order += 1
                heapq.heappush(waiting, (total_ms, order, hop.target, [*way, hop]))


def _goes_round(way: list[Hop], segments: Mapping[str, Segment], workflows: Mapping[str, Compiled]) -> bool:
    """Whether the circle can close: nobody is in a workflow still when it comes back to it, and segments change both ways."""
    total_ms = sum(hop.pause_ms for hop in way)
    for hop in way:
        if hop.rest_ms > total_ms - hop.pause_ms and workflows[hop.source].workflow.key is None:
            return False
        match = None if hop.trigger < 0 else workflows[hop.target].workflow.trigger.matches[hop.trigger]
        if isinstance(match, core.SegmentMatch) and not _flips(segments[match.name], way, workflows):
            return False
    return True


def _flips(segment: Segment, way: list[Hop], workflows: Mapping[str, Compiled]) -> bool:
    """Whether the updates on the way give a trait of the segment more than one value, so that it is left and entered again."""
    values = {
        (trait, value.text)
        for name in {hop.source for hop in way}
        for op in workflows[name].workflow.ops.values()
        if isinstance(op, core.Update)
        for trait, value in op.traits
        if trait in segment.where.traits
    }
    traits = [trait for trait, _ in values]
    return len(traits) > len(set(traits))


# ------------------------------------------------------------------------------------------------ within a workflow


def _edges(workflow: core.Workflow, op: core.Op) -> Iterator[tuple[str, int]]:
    """Where a customer who does nothing goes on, and after which pause at least."""
    if op.when is not None and not isinstance(op, core.Repeat):
        yield op.next, 0
    match op:
        case core.Wait():
            yield op.next, _wait_ms(op)
            if op.past_next is not None:
                yield op.past_next, 0
        case core.WaitFor():
            yield op.otherwise, op.timeout.span_ms
            for arm in op.arms:
                match = arm.match
                act = isinstance(match, core.EventMatch) or (
                    isinstance(match, core.OutcomeMatch) and match.outcome in ACTS
                )
                yield arm.then, DAY_MS if act else 0
        case core.Branch():
            yield from ((arm.first, 0) for arm in op.arms)
            if all(arm.condition is not None for arm in op.arms):
                yield op.next, 0
        case core.Split():
            yield from ((variant.first, 0) for variant in op.variants if variant.weight)
        case core.Repeat():
            yield op.body, 0
            yield op.next, _rounds_ms(workflow, op)
        case core.Exit():
            yield "", 0
        case _:
            yield op.next, 0


def _wait_ms(op: core.Wait) -> int:
    """The least pause: of a local time a day, because each turn waits for the next one; a window may be open."""
    if op.duration is not None:
        return op.duration.span_ms
    if op.local is not None:
        return 0 if op.local.local is not None or op.local.instant_ms is not None else DAY_MS
    if op.until is None:
        return 0
    shift = now_shift(op.until.text)
    return DAY_MS if shift is None else max(0, shift.span_ms + (op.offset or ZERO).span_ms)


def _rounds_ms(workflow: core.Workflow, op: core.Repeat) -> int:
    """The pauses of all rounds; a loop that can end before its first has none."""
    if op.until is not None or op.when is not None:
        return 0
    pauses = _pauses(workflow, op.body, stop=op.id)
    every_ms = 0 if op.every is None else op.every.span_ms
    return op.times * pauses.get(op.id, 0) + (op.times - 1) * every_ms


def _pauses(workflow: core.Workflow, first: str, stop: str = "") -> dict[str, int]:
    """The least pause until each step (and "", the end), from the first; beyond `stop` nothing is followed."""
    found: dict[str, int] = {}
    waiting = [(0, first)]
    while waiting:
        spent_ms, step = heapq.heappop(waiting)
        if step in found:
            continue
        found[step] = spent_ms
        if step and step != stop:
            for after, pause_ms in _edges(workflow, workflow.ops[step]):
                heapq.heappush(waiting, (spent_ms + pause_ms, after))
    return found


def _reached(workflow: core.Workflow) -> set[str]:
    return {step for step in _pauses(workflow, workflow.first) if step}


def _inevitable(workflow: core.Workflow, goals: set[str]) -> set[str]:
    """The steps from which every way leads to one of `goals`, whatever conditions say (a cohort is who is always in it)."""
    found = set(goals)
    grew = True
    while grew:
        grew = False
        for step, op in workflow.ops.items():
            if step not in found and _must(workflow, op, found):
                found.add(step)
                grew = True
    return found


def _must(workflow: core.Workflow, op: core.Op, found: set[str]) -> bool:
    after = {to for to, pause_ms in _edges(workflow, op) if pause_ms < DAY_MS}
    if isinstance(op, core.Branch) or op.when is not None or (isinstance(op, core.Repeat) and op.until is not None):
        return bool(after) and after <= found
    return not after.isdisjoint(found)
