"""Says in the log which enrollments a batch parked as failed.

Invariant: one line per workflow and step and batch, however many customers it concerns; the journal holds each of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.effect import Decision
from engine.telemetry import Action, Log

LINES_MAX = 20
"""A batch says no more than this; a broken definition would otherwise write a line for each step of each workflow."""


def log_failures(log: Log, failed: Sequence[Decision]) -> None:
    """One line for each workflow and step, with the first enrollment as an example. Reasons may hold data: none is written."""
    groups: dict[tuple[str, str], list[Decision]] = {}
    for decision in failed:
        groups.setdefault((decision.workflow, decision.step), []).append(decision)
    for (workflow, step), decisions in list(groups.items())[:LINES_MAX]:
        first = decisions[0]
        log.error(
            Action.ENROLLMENT_FAILED,
            workflow=workflow,
            step=step,
            enrollment=first.enrollment,
            customer=first.customer,
            count=len(decisions),
        )
