"""Compiled parts to a catalog: what each event name, segment and trait means to the whole.

Invariant: the same definitions give the same catalog with the same id; `Catalog.segments` lists each segment after those that
its condition asks about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from engine.core.catalog import Catalog, Interest, Segment
from engine.core.consent.may_send import PURCHASE_EVENT
from engine.core.expression.condition import Expression
from engine.core.journey import workflow as core
from engine.core.policy import Policy
from engine.definition.compile import content_hash

_WORD = re.compile(r"([A-Za-z_]\w*)|['\"]([^'\"]*)['\"]")
"""Names in an expression, and what stands in quotes: more than its properties, and never fewer."""


def assemble(
    workflows: Iterable[core.Workflow],
    segments: Mapping[str, Segment],
    *,
    policy: Policy,
    extra_versions: Sequence[core.Workflow] = (),
) -> Catalog:
    """The catalog of these current workflows, and of older versions that are still in use."""
    current = {workflow.name: workflow for workflow in sorted(workflows, key=lambda workflow: workflow.name)}
    versions = {(workflow.name, workflow.version): workflow for workflow in [*extra_versions, *current.values()]}
    ordered = dependencies_first(segments)
    timed = (name for name, workflow in current.items() if workflow.trigger.date or workflow.trigger.schedule)
    in_force = [
        (name, workflow.version) for name, workflow in current.items()
    ]  # which of the versions, not only the names
    identity = [sorted(versions), in_force, list(ordered.values()), policy]
    return Catalog(
        id=content_hash(identity),
        workflows=current,
        versions=versions,
        segments=ordered,
        policy=policy,
        interests=_interests(current, list(versions.values()), ordered, policy=policy),
        segment_triggers=_segment_triggers(current),
        segment_traits=_segment_traits(ordered),
        timed=tuple(timed),
        channels=_channels(list(versions.values()), policy),
    )


def _channels(workflows: Sequence[core.Workflow], policy: Policy) -> frozenset[str]:
    sends = (op for workflow in workflows for op in workflow.ops.values() if isinstance(op, core.Send))
    sent = {channel for send in sends for channel in send.channels}
    asked = {channel for purpose in policy.purposes.values() for channel in purpose.double}
    return frozenset(sent | asked)


def dependencies_first(segments: Mapping[str, Segment]) -> dict[str, Segment]:
    """The segments by name, each after those it asks about. Those in a cycle come last (and are a problem elsewhere)."""
    waiting = {name: asked_segments(segments[name], segments) for name in sorted(segments)}
    ordered: dict[str, Segment] = {}
    while waiting:
        ready = [name for name, asked in waiting.items() if asked <= ordered.keys()] or list(waiting)
        for name in ready:
            # `customer.segments` is written out, so that a change of any of them is seen as a change of this one's inputs.
            where = msgspec.structs.replace(segments[name].where, segments=tuple(sorted(waiting.pop(name))))
            ordered[name] = Segment(name, where)
    return ordered


def asked_segments(segment: Segment, segments: Mapping[str, Segment]) -> set[str]:
    """The segments that a segment's condition asks about; `customer.segments` asks about all others."""
    asked = set(segment.where.segments)
    if "*" in asked:
        asked |= segments.keys() - {segment.name}
    return asked & segments.keys()


def _interests(
    current: Mapping[str, core.Workflow],
    versions: Sequence[core.Workflow],
    segments: Mapping[str, Segment],
    *,
    policy: Policy,
) -> dict[str, Interest]:
    names: set[str] = set()
    triggers: dict[str, set[str]] = {}
    expressions: list[Expression] = [segment.where for segment in segments.values()]
    for workflow in versions:
        names.update(match.name for match in matches_of(workflow) if isinstance(match, core.EventMatch))
        expressions += expressions_of(workflow)
    for workflow in current.values():
        for match in workflow.trigger.matches:
            if isinstance(match, core.EventMatch):
                triggers.setdefault(match.name, set()).add(workflow.name)
    asked = [counted for expression in expressions for counted in expression.counted]
    if any(purpose.consent == "existing_customer" for purpose in policy.purposes.values()):
        asked.append((PURCHASE_EVENT, "", 0))  # the policy asks who has bought
    asking: dict[str, list[str]] = {}
    for segment in segments.values():
        for event in {event for event, _, _ in segment.where.counted}:
            asking.setdefault(event, []).append(segment.name)
    names.update(event for event, _, _ in asked)
    remembered = _remembered(versions)
    return {
        name: Interest(
            counted=_summed(name, asked),
            window_days_max=max((days for event, _, days in asked if event == name), default=0),
            segments=tuple(asking.get(name, ())),
            triggers=tuple(sorted(triggers.get(name, ()))),
            remembered=remembered.get(name),
        )
        for name in sorted(names)
    }


def _remembered(versions: Iterable[core.Workflow]) -> dict[str, tuple[str, ...]]:
    """Of each event that can end a run, satisfy its wait or be its goal: every word of the conditions on it."""
    found: dict[str, set[str]] = {}
    for workflow in versions:
        value = "" if workflow.goal is None or workflow.goal.value is None else workflow.goal.value.text
        for match in _of_runs(workflow):
            if isinstance(match, core.EventMatch):
                text = f"{value} {'' if match.where is None else match.where.text}"
                words = {plain or quoted for plain, quoted in _WORD.findall(text)}
                found.setdefault(match.name, set()).update(words)
    return {name: tuple(sorted(words)) for name, words in found.items()}


def _summed(name: str, asked: Iterable[tuple[str, str, int]]) -> tuple[str, ...] | None:
    properties = [summed for event, summed, _ in asked if event == name]
    return tuple(sorted({summed for summed in properties if summed})) if properties else None


def _segment_triggers(current: Mapping[str, core.Workflow]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for workflow in current.values():
        for name in {match.name for match in workflow.trigger.matches if isinstance(match, core.SegmentMatch)}:
            found.setdefault(name, []).append(workflow.name)
    return {name: tuple(sorted(workflows)) for name, workflows in sorted(found.items())}


def _segment_traits(segments: Mapping[str, Segment]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for segment in segments.values():
        for trait in segment.where.traits:
            found.setdefault(trait, []).append(segment.name)
    return {trait: tuple(names) for trait, names in sorted(found.items())}


def matches_of(workflow: core.Workflow) -> Iterator[core.Match]:
    """Everything that the workflow reacts to."""
    yield from workflow.trigger.matches
    yield from _of_runs(workflow)


def _of_runs(workflow: core.Workflow) -> Iterator[core.Match]:
    """What means something to one who is in it."""
    yield from (rule.match for rule in workflow.exits)
    if workflow.goal is not None:
        yield workflow.goal.match
    for op in workflow.ops.values():
        if isinstance(op, core.Wait):
            yield from op.restart_on
        elif isinstance(op, core.WaitFor):
            yield from (arm.match for arm in op.arms)


def expressions_of(workflow: core.Workflow) -> Iterator[Expression]:
    """Every expression of the workflow."""
    alone = [workflow.key, workflow.goal.value if workflow.goal else None]
    alone += [match.where for match in matches_of(workflow)]
    for op in workflow.ops.values():
        alone += [op.when, *_own_expressions(op)]
    yield from (expression for expression in alone if expression is not None)


def _own_expressions(op: core.Op) -> list[Expression | None]:
    match op:
        case core.Wait() | core.Repeat():
            return [op.until]
        case core.Send():
            return [op.to, *(expression for _, expression in op.data)]
        case core.Branch():
            return [arm.condition for arm in op.arms]
        case core.Update():
            return [expression for _, expression in op.traits]
        case core.Emit():
            return [expression for _, expression in op.properties]
        case core.Task():
            return [op.title]
        case core.WaitFor() | core.Split() | core.EnterWorkflow() | core.Exit():
            return []
