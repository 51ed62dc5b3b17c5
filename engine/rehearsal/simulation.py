"""Plays an events file through a project in virtual time: what would happen to whom, when and why.

Invariant: the production evaluator decides; the same file and project give the same lines, byte for byte.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from engine.core.effect import KINDS
from engine.core.time.schedule import Duration, add, parse_duration, zone_named
from engine.rehearsal.stage import RehearsalStage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from engine.core.catalog import Catalog
    from engine.core.effect import Decision
    from engine.core.record import Record
    from engine.dispatch.templates.template_set import TemplateSet

UNTIL_DEFAULT = parse_duration("90d")
"""How long after the last record a simulation goes on, unless nothing is pending before."""
PROGRESS_EVERY = 2_000
_KINDS = frozenset(KINDS)


class Summary(msgspec.Struct, kw_only=True):
    """Counts of one simulation; `until_ms` is the virtual time at which it ended."""

    records: int = 0
    timers: int = 0
    customers: int = 0
    start_ms: int = 0
    until_ms: int = 0
    decisions: Counter[str] = msgspec.field(default_factory=Counter)
    """By kind; sends by `send ANSWER` and `send ANSWER REASON`."""
    workflows: Counter[str] = msgspec.field(default_factory=Counter)
    """Entries by workflow."""
    failures: list[str] = msgspec.field(default_factory=list)

    @property
    def unrendered(self) -> int:
        """Messages whose template could not be rendered."""
        return self.decisions["send suppressed template_error"]


def simulate(
    catalog: Catalog,
    records: Iterable[Record],
    *,
    templates: TemplateSet | None = None,
    until: Duration | None = None,
    on_decision: Callable[[Decision], None] | None = None,
    on_progress: Callable[[Summary], None] | None = None,
) -> Summary:
    """Plays the records in the order of their times (equal ones in the order given), and the timers between and after them.

    `until` counts from the first record; without it the simulation goes on for 90 days after the last one. Ends earlier
    when nothing is pending. Only the kinds of decisions in `interfaces.md` are reported.
    """
    summary = Summary()

    def decided(decision: Decision) -> None:
        _count(summary, decision)
        if on_decision is not None and decision.kind in _KINDS:
            on_decision(decision)

    ordered = sorted(records, key=lambda record: record.at_ms)
    if not ordered:
        return summary
    zone = zone_named(catalog.policy.zone)
    summary.start_ms = ordered[0].at_ms
    until_ms = add(ordered[-1].at_ms, UNTIL_DEFAULT, zone) if until is None else add(summary.start_ms, until, zone)
    stage = RehearsalStage(catalog, start_ms=summary.start_ms, templates=templates, on_decision=decided)
    stage.memory.on_failure = lambda _position, record, error: summary.failures.append(
        f"{record.customer}: {type(record).__name__}: {error!r}"
    )
    for record in ordered:
        if record.at_ms > until_ms:
            break
        stage.memory.run_until(record.at_ms)
        stage.memory.step(record)
        summary.records += 1
        if on_progress is not None and summary.records % PROGRESS_EVERY == 0:
            _measure(summary, stage, record.at_ms)
            on_progress(summary)
    _play_out(stage, summary, until_ms, on_progress)
    _measure(summary, stage, min(until_ms, stage.memory.clock.now_ms()))
    return summary


def _play_out(
    stage: RehearsalStage, summary: Summary, until_ms: int, on_progress: Callable[[Summary], None] | None
) -> None:
    """Fires what is still pending, a day at a time so that progress can be shown."""
    while (due_ms := stage.memory.next_due_ms) and due_ms <= until_ms:
        stage.memory.run_until(min(until_ms, due_ms + 86_400_000))
        if on_progress is not None:
            _measure(summary, stage, stage.memory.clock.now_ms())
            on_progress(summary)


def _measure(summary: Summary, stage: RehearsalStage, now_ms: int) -> None:
    summary.until_ms = now_ms
    summary.customers = len(stage.memory.states)
    summary.timers = stage.memory.position - summary.records


def _count(summary: Summary, decision: Decision) -> None:
    summary.decisions[decision.kind] += 1
    if decision.kind == "entered":
        summary.workflows[decision.workflow] += 1
    elif decision.kind == "send":
        answer, reason = decision.detail.get("answer", ""), decision.detail.get("reason", "")
        summary.decisions[f"send {answer} {reason}".rstrip()] += 1
