"""Workflows and rules that can be carried out and never do what they are for: times that have passed, messages that cannot leave
in time, outcomes and goals that nobody will ever hear of.

Invariant: pure; the time it is asked about is given.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from jinja2 import nodes

from engine.core.channel import ADDRESS_TRAITS, OWN_CHANNELS
from engine.core.consent.tracking import PURPOSE
from engine.core.journey import workflow as core
from engine.core.policy import Policy, QuietRule
from engine.core.time.schedule import When, resolve_local, zone_named
from engine.core.time.window import Window
from engine.definition.check import ProjectDraft, matches_of
from engine.definition.compile import Compiled
from engine.definition.doubts.reading import names_in, path_of, trees
from engine.definition.problem import WARNING, Problem
from engine.definition.site import Path, Site

_TRACKED = ("opened", "clicked")
_DAY_MINUTES = 24 * 60
_PATHS = (nodes.Getattr, nodes.Getitem)


class _Doubt(msgspec.Struct, frozen=True):
    path: Path
    code: str
    message: str


def plans(project: ProjectDraft, *, now_ms: int) -> Iterator[Problem]:
    """The warnings about all workflows and the policy."""
    policy = project.policy
    assert policy is not None
    if project.policy_site is not None:
        yield from (_problem(project.policy_site, doubt) for doubt in _caps(policy))
    for compiled in project.written:
        for check in (
            _past(compiled, policy, now_ms),
            _nights(compiled, policy),
            _unheard(compiled, policy),
            _goal(compiled),
        ):
            yield from (_problem(compiled.site, doubt) for doubt in check)


def _problem(site: Site, doubt: _Doubt) -> Problem:
    spot = site.spot(doubt.path)
    return Problem(spot.file, spot.line, spot.column, WARNING, doubt.code, doubt.message)


def _caps(policy: Policy) -> Iterator[_Doubt]:
    for index, cap in enumerate(policy.frequency):
        if not cap.at_most:
            what = f"{cap.purpose} " if cap.purpose else ""
            by = f" by {cap.channel}" if cap.channel else ""
            message = f"`at_most: 0` lets no {what}message leave{by}; write at least 1, or remove the rule"
            yield _Doubt(("frequency", index, "at_most"), "never-sends", message)


def _past(compiled: Compiled, policy: Policy, now_ms: int) -> Iterator[_Doubt]:
    workflow = compiled.workflow
    if workflow.holdout_percent >= 100:  # noqa: PLR2004 - everybody
        yield _Doubt(("holdout",), "never-sends", "a control group of 100 % is everybody: nobody gets a message")
    schedule = workflow.trigger.schedule
    if schedule is not None and schedule.at is not None and _has_passed(schedule.at, policy, now_ms):
        message = "this time has passed, so nothing is ever sent; write a future one, or `every:`"
        yield _Doubt(("trigger", "schedule", "at"), "past", message)
    for step, op in workflow.ops.items():
        if isinstance(op, core.Wait) and op.local is not None and _has_passed(op.local, policy, now_ms):
            message = "this time has passed, so nobody waits here; write a future one, or a time of day"
            yield _Doubt((*compiled.places[step], "wait", "until"), "past", message)


def _has_passed(when: When, policy: Policy, now_ms: int) -> bool:
    if when.instant_ms is not None:
        return when.instant_ms < now_ms
    return when.local is not None and resolve_local(when.local, zone_named(policy.zone)) < now_ms


def _nights(compiled: Compiled, policy: Policy) -> Iterator[_Doubt]:
    for step, op in compiled.workflow.ops.items():
        if not isinstance(op, core.Send) or op.max_age is None or op.quiet_hours in ("drop", "ignore"):
            continue
        for channel in op.channels:
            nights = [
                _minutes(rule.hours.nightly)
                for rule in policy.quiet
                if _is_held(rule, op, channel) and rule.hours.nightly is not None
            ]
            longest = max(nights, default=0)
            if op.max_age.span_ms < longest * core.MINUTE_MS:
                message = (
                    f"`max_age` is shorter than the quiet hours of {channel} ({longest // 60}h{longest % 60:02}m): what is held "
                    "in the evening is too old in the morning and never leaves; make it longer, or write `quiet_hours: drop`"
                )
                own: Path = (*compiled.places[step], "send", "max_age")
                written = compiled.site.source.spot(own) != compiled.site.source.spot(own[:-1])
                yield _Doubt(own if written else ("max_age",), "max-age-night", message)
                break


def _is_held(rule: QuietRule, send: core.Send, channel: str) -> bool:
    if (send.quiet_hours or rule.then) != "hold" or (rule.purposes and send.purpose not in rule.purposes):
        return False
    return channel in rule.channels if rule.channels else channel not in OWN_CHANNELS


def _minutes(window: Window) -> int:
    return (window.end - window.start) % _DAY_MINUTES or _DAY_MINUTES


def _unheard(compiled: Compiled, policy: Policy) -> Iterator[_Doubt]:
    """Opens and clicks that nobody records: there is no consent to ask for, or no mail in which they could be seen."""
    ops = compiled.workflow.ops
    for match, path in matches_of(compiled):
        if isinstance(match, core.OutcomeMatch):
            sends = [op for op in ops.values() if isinstance(op, core.Send) and match.of in ("", op.id)]
            if not sends:
                message = f"no message of this workflow can be {match.outcome}: it sends none"
                yield _Doubt((*path, "outcome"), "outcome-never-heard", message)
            elif match.outcome in _TRACKED and (why := _untracked(sends, policy)):
                yield _Doubt(
                    (*path, "outcome"), "tracking-off", f"nobody hears that a message was {match.outcome}: {why}"
                )
    for step, op in ops.items():
        if isinstance(op, core.Send) and op.ab is not None and (why := _untracked([op], policy)):
            path = (*compiled.places[step], "send", "ab")
            yield _Doubt(path, "tracking-off", f"no subject can win by how often it was {op.ab.by}: {why}")


def _untracked(sends: list[core.Send], policy: Policy) -> str:
    if PURPOSE not in policy.purposes:
        return "the policy has no purpose `tracking` that customers could agree to; add `tracking: {consent: opt_in}`"
    if not any(ADDRESS_TRAITS.get(channel) == "email" for send in sends for channel in send.channels):
        return "opens and clicks are recorded in mails only"
    return ""


def _goal(compiled: Compiled) -> Iterator[_Doubt]:
    workflow, goal = compiled.workflow, compiled.workflow.goal
    if goal is None:
        return
    waits = any(isinstance(op, core.Wait | core.WaitFor) or _pauses(op) for op in workflow.ops.values())
    if goal.within is None and not waits:
        message = (
            "the workflow ends at once, and without `within` a goal is measured only while it runs; write `within: 7d`"
        )
        yield _Doubt(("goal",), "goal-never-measured", message)
    elif goal.within is not None and goal.within.span_ms <= 0:
        yield _Doubt(
            ("goal", "within"),
            "goal-never-measured",
            "a goal within no time is never reached; write how long it counts, such as `7d`",
        )
    where = goal.match.where
    caused = any(isinstance(match, core.EventMatch) for match in workflow.trigger.matches)
    if where is not None and workflow.trigger.date is not None and not caused:
        for tree in trees(where.text):
            if any(path_of(node)[:2] == ("enrollment", "event") for node in tree.find_all(_PATHS)):
                message = (
                    "a workflow that starts on a date has no event, so that `enrollment.event` is always missing here"
                )
                yield _Doubt(("goal", "where"), "goal-never-measured", message)
                break
    if goal.value is not None and not isinstance(goal.match, core.EventMatch):
        names = {named.kind for tree in trees(goal.value.text) for named in names_in(tree)}
        if "property" in names and "enrollment.event" not in goal.value.text:
            yield _Doubt(
                ("goal", "value"),
                "goal-never-measured",
                "this goal is not an event, so that `event` has no value to measure here",
            )


def _pauses(op: core.Op) -> bool:
    return isinstance(op, core.Repeat) and op.every is not None
