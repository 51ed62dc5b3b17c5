"""A workflow document to an `engine.core.journey.workflow.Workflow`.

Invariant: every key of the document is taken over or has caused a problem, and the version depends on what the workflow does
and on nothing else.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from engine.core.journey import workflow as core
from engine.core.time.schedule import DAY_MS, parse_clock
from engine.definition.documents.workflow import (
    ExitRuleDocument,
    TriggerDocument,
    TriggerMatchDocument,
    WorkflowDocument,
)
from engine.definition.expression.parse import OF_CUSTOMER, OF_EVENT
from engine.definition.problem import nearest
from engine.definition.site import Path, Site
from engine.definition.step import StepCompiler

PERCENT_MAX = 100


class Compiled(msgspec.Struct, frozen=True):
    """A workflow, and where its steps were written."""

    workflow: core.Workflow
    places: dict[str, Path]
    site: Site


def compile_workflow(document: WorkflowDocument, site: Site) -> Compiled:
    """The compiled workflow. Mistakes are added to the site's problems; with some, the result is only good for checking."""
    site.maybe_duration(document.max_age, ("max_age",))
    steps = StepCompiler(document, site)
    first = steps.sequence(document.steps, ("steps",), prefix=("steps",), after="")
    workflow = core.Workflow(
        name=document.workflow,
        version="",
        purpose=document.purpose,
        trigger=_trigger(document.trigger, site),
        first=first,
        ops=steps.ops,
        key=site.condition(document.key, ("key",), names=OF_EVENT),
        reentry=_reentry(document.reentry, site),
        holdout_percent=_holdout(document.holdout, site),
        exits=tuple(
            core.ExitRule(steps.match(rule, ("exit", index)), _reason(rule)) for index, rule in enumerate(document.exit)
        ),
        goal=_goal(document, site, steps),
        description=document.description,
        versions=document.versions or "",
        step_map=_step_map(document, site, steps),
    )
    return Compiled(msgspec.structs.replace(workflow, version=version_of(workflow)), steps.places, site)


def version_of(workflow: core.Workflow) -> str:
    """12 hex digits of the hash of what the workflow does: its description, notes, `versions:` and `map:` do not matter."""
    plain = _plain(msgspec.structs.replace(workflow, version="", description=""))
    for deploy_only in (
        "versions",
        "step_map",
    ):  # left out, so that versions from before these were known keep their hash
        del plain[deploy_only]
    _drop_defaults(plain)
    return content_hash(plain)


def _drop_defaults(plain: dict[str, Any]) -> None:
    """What was not known in earlier versions counts only where it is used; an archive changes nothing for who is in flight."""
    schedule = plain["trigger"]["schedule"]
    if schedule is not None:
        del schedule["archive"]
        if not schedule["spread_ms"]:
            del schedule["spread_ms"]
    for op in plain["ops"].values():
        for later in ("ab", "at_minutes", "past_next"):
            if op.get(later, ...) is None:
                del op[later]


def content_hash(value: Any) -> str:
    """12 hex digits of the hash of a compiled value; expressions count by their text."""
    return hashlib.sha256(msgspec.json.encode(_plain(value), order="deterministic")).hexdigest()[:12]


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=_as_text, str_keys=True)


def _as_text(value: object) -> str:
    """What msgspec does not know in a compiled value: the functions of expressions, whose text stands beside them."""
    assert callable(value), value
    return ""


def _reason(rule: ExitRuleDocument) -> str:
    return rule.reason or rule.event or rule.outcome or rule.segment or ""


def _trigger(trigger: TriggerDocument, site: Site) -> core.Trigger:
    path: Path = ("trigger",)
    if trigger.event is not None or trigger.segment is not None:
        match = TriggerMatchDocument.model_construct(
            event=trigger.event, segment=trigger.segment, on=trigger.on, where=trigger.where
        )
        return core.Trigger(matches=(_trigger_match(match, path, site),))
    if trigger.any is not None:
        matches = (_trigger_match(match, (*path, "any", index), site) for index, match in enumerate(trigger.any))
        return core.Trigger(matches=tuple(matches))
    if trigger.date is not None:
        date, here = trigger.date, (*path, "date")
        return core.Trigger(
            date=core.DateTrigger(
                trait=date.trait,
                at_minutes=site.parsed((*here, "at"), 0, parse=lambda: parse_clock(date.at), code="time"),
                offset=None if date.offset is None else site.duration(date.offset, (*here, "offset"), signed=True),
                yearly=date.yearly,
            )
        )
    if trigger.schedule is not None:
        schedule, here = trigger.schedule, (*path, "schedule")
        return core.Trigger(
            schedule=core.ScheduleTrigger(
                at=None if schedule.at is None else site.when(schedule.at, (*here, "at")),
                every=None if schedule.every is None else site.recurrence(schedule.every, (*here, "every")),
                segment=schedule.segment or "",
                customer_zone=schedule.zone == "customer",
                spread_ms=_spread_ms(schedule.spread, site, (*here, "spread")),
                archive=schedule.archive,
            )
        )
    return core.Trigger()


def _spread_ms(text: str | None, site: Site, path: Path) -> int:
    """At most a day: or an issue would still go on when the next one begins."""
    spread = site.maybe_duration(text, path)
    if spread is None:
        return 0
    if spread.span_ms > DAY_MS:
        site.error(
            path, "wrong-value", message=f"`{text}` is longer than a day; a broadcast is spread over 24h at most"
        )
        return DAY_MS
    return spread.span_ms


def _trigger_match(match: TriggerMatchDocument, path: Path, site: Site) -> core.EventMatch | core.SegmentMatch:
    where = (*path, "where")
    if match.event is not None:
        return core.EventMatch(match.event, site.condition(match.where, where, names=OF_EVENT))
    assert match.segment is not None
    return core.SegmentMatch(match.segment, match.on == "leave", site.condition(match.where, where, names=OF_CUSTOMER))


def _reentry(text: str, site: Site) -> core.Reentry:
    rule, _, after = text.partition(" ")
    return core.Reentry(rule, site.duration(after, ("reentry",)) if after else None)


def _holdout(text: str | None, site: Site) -> int:
    percent = int(text.removesuffix("%")) if text else 0
    if percent > PERCENT_MAX:
        site.error(
            ("holdout",), "wrong-value", message=f"`{text}` is more than everybody; write a percentage from 0% to 100%"
        )
    return percent


def _goal(document: WorkflowDocument, site: Site, steps: StepCompiler) -> core.Goal | None:
    goal, path = document.goal, ("goal",)
    if goal is None:
        return None
    return core.Goal(
        match=steps.match(goal, path),
        within=site.maybe_duration(goal.within, (*path, "within")),
        value=site.condition(goal.value, (*path, "value")),
    )


def _step_map(document: WorkflowDocument, site: Site, steps: StepCompiler) -> dict[str, str]:
    """Where people on older versions go on. The old ids are of another document; the new ones have to be here."""
    for old, new in document.map.items():
        if new not in steps.ops:
            site.error(("map", old), "unknown-step", message=f"there is no step `{new}` here{nearest(new, steps.ops)}")
    return dict(document.map)
