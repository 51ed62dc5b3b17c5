"""Whether a workflow sends far more than usual, or its messages bounce or are complained about: a pure judge.

Invariant: the same numbers give the same verdicts. What is counted is counted by workflow and stretch of five minutes, from the
decisions themselves, so that both runtimes judge by the same numbers; nothing in it is about a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from engine.core.effect import Decision
    from engine.core.policy_values import BlastRadius

BUCKET_MS = 300_000
"""What is counted together."""
COMPLAINTS_MIN = 3
"""Two people who are annoyed within an hour are not a spike, however few messages there were."""
DAY_SHARE = 10
"""Bounces come late: they are held against a tenth of the day's messages at least."""
KEPT_MS = 62 * 86_400_000
"""Older counts are asked by nobody."""

Column = Literal["queued", "bounced", "complained"]
Cause = Literal["sends", "bounces", "complaints"]


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What a workflow did in the stretch that begins at `from_ms`: messages decided, sent, bounced, complained about."""

    workflow: str
    from_ms: int
    queued: int = 0
    sent: int = 0
    bounced: int = 0
    complained: int = 0


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """What the judge knows of one workflow. `recent` is the stretch that is judged, `day` the day up to now."""

    recent: Pace
    day_sent: int = 0
    usual: int | None = None
    """Messages of its busiest stretch before, of the project's where it has none; None: nothing was ever sent, or not asked."""


class Trip(msgspec.Struct, frozen=True, kw_only=True):
    """Why a workflow is to be paused, in words for people: the reason begins with the cause."""

    workflow: str
    cause: Cause
    reason: str


def bucket_of(at_ms: int) -> int:
    """The beginning of the stretch that a moment is counted in."""
    return at_ms - at_ms % BUCKET_MS


def column_of(kind: str, detail: Mapping[str, object]) -> Column | None:
    """What a decision counts as; None: not at all."""
    if kind == "send":
        return "queued" if detail.get("answer") == "queued" else None
    if kind != "outcome":
        return None
    match detail.get("outcome"):
        case "bounced":
            return "bounced"
        case "complained":
            return "complained"
        case _:
            return None


def count(decision: Decision) -> tuple[str, int, Column] | None:
    """Workflow, stretch and column that a decision adds one to."""
    column = column_of(decision.kind, decision.detail) if decision.workflow else None
    return None if column is None else (decision.workflow, bucket_of(decision.at_ms), column)


def wants_usual(rule: BlastRadius, recent: Pace) -> bool:
    """Whether the usual has to be known: most of the time there is too little to be too much."""
    return bool(rule.times) and recent.queued > rule.least


def wants_day(rule: BlastRadius, recent: Pace) -> bool:
    """Whether the day's messages have to be known."""
    return bool(rule.bounces and recent.bounced > rule.bounces * rule.least) or bool(
        rule.complaints and recent.complained >= COMPLAINTS_MIN
    )


def usual_of(stretches: Iterable[Pace], workflow: str) -> int | None:
    """The busiest stretch of the workflow's own; of all together where it has none; None where nobody has any."""
    own: dict[int, int] = {}
    everybody: dict[int, int] = {}
    for each in stretches:
        if each.queued:
            everybody[each.from_ms] = everybody.get(each.from_ms, 0) + each.queued
            if each.workflow == workflow:
                own[each.from_ms] = own.get(each.from_ms, 0) + each.queued
    return max((own or everybody).values(), default=None)


def judge(rule: BlastRadius, numbers: Numbers, *, is_broadcast: bool = False) -> Trip | None:
    """The verdict on one workflow. A broadcast's audience is known: how many it sends to is not held against it."""
    recent, within = numbers.recent, rule.within
    answered = recent.sent + recent.bounced
    base = max(rule.least, answered, numbers.day_sent // DAY_SHARE)
    if rule.complaints and recent.complained >= max(COMPLAINTS_MIN, rule.complaints * base):
        reason = (
            f"complaints: {recent.complained} within {within}, of {base} messages; {rule.complaints:.2%} is too many"
        )
        return Trip(workflow=recent.workflow, cause="complaints", reason=reason)
    if rule.bounces and recent.bounced > rule.bounces * base:
        reason = (
            f"bounces: {recent.bounced} within {within}, of {base} messages; more than {rule.bounces:.2%} is too many"
        )
        return Trip(workflow=recent.workflow, cause="bounces", reason=reason)
    if is_broadcast or not rule.times or numbers.usual is None:
        return None
    if recent.queued > max(rule.least, rule.times * numbers.usual):
        reason = (
            f"sends: {recent.queued} messages within {within}, at most {numbers.usual} in the {rule.of} before; "
            f"{rule.times:g} times that is too many"
        )
        return Trip(workflow=recent.workflow, cause="sends", reason=reason)
    return None
