"""What a decision asks of the outside: made durable together with the state, carried out afterwards.

Invariant: effects are complete. Whoever carries one out needs neither the catalog of that moment nor the state.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.core.message import Message
from engine.core.record import Pause, Record
from engine.core.time.schedule import rfc3339


class Dispatch(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="dispatch"):
    """Put this message into the outbox. Known ids are ignored."""

    message: Message


class Decision(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False, tag="decision"):
    """One line of the journal. `kind` is one of those in `interfaces.md`, or of `KINDS_MORE`.

    `detail` has the kind's own fields (`answer`, `reason`, `until_ms`, `message`, `channel`, `template`, `traits`, `event`,
    `title`, `segment`, …); `why` is the trace: what was asked and how it was answered, at most `WHY_MAX` short lines.
    """

    at_ms: int
    customer: str
    kind: str
    workflow: str = ""
    version: str = ""
    enrollment: str = ""
    step: str = ""
    detail: dict[str, Any] = {}
    why: tuple[str, ...] = ()


class Append(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="append"):
    """Put this record on the log: it is processed like any other, after what is already there for its customer."""

    record: Record


class Suppress(msgspec.Struct, frozen=True, array_like=True, tag="suppress"):
    """Nothing more goes to this address, whoever has it. `reason` is `bounced` or `complained`, say."""

    channel: str
    address: str
    reason: str
    at_ms: int


class Forget(msgspec.Struct, frozen=True, array_like=True, tag="forget"):
    """Remove what is kept of this customer outside the state: log, journal, outbox, mailbox, previews."""

    customer: str


Effect = Dispatch | Decision | Append | Suppress | Forget

KINDS = (
    "entered", "not_entered", "waiting", "send", "exited", "completed", "failed",
    "updated", "emitted", "task", "segment_entered", "segment_left",
)  # fmt: skip
"""What `simulate` and `test` print."""

KINDS_MORE = (
    "task_assigned", "task_done",
    "goal", "consent", "outcome", "split", "merged", "retried", "erased", "suppressed_address", "migrated", "not_migrated",
    "winner", "paused", "resumed", "trait_refused", "lifted_address", "value_skipped",
)  # fmt: skip
"""What the journal holds besides, for operators."""

ANSWERS = ("queued", "held", "suppressed")
REASONS = (
    "no_address", "no_consent", "unsubscribed", "suppressed_address", "frequency_cap", "quiet_hours_dropped", "too_late",
    "holdout", "template_error", "workflow_paused", "sandbox", "duplicate_address", "dropped",
)  # fmt: skip
"""Why a send was suppressed: the closed list."""

WHY_MAX = 12


def refused_value(decision: Decision) -> tuple[str, str] | None:
    """What a value was that could not be read, and why, in words of closed lists; None for other lines."""
    if decision.kind not in ("trait_refused", "value_skipped"):
        return None
    what = decision.detail.get("trait", "number")
    return str(what), str(decision.detail.get("reason", "")).partition(";")[0]


def of_pause(record: Pause) -> Decision:
    """The line of the journal that says that a workflow was paused, or goes on. It is about no customer."""
    kind = "paused" if record.paused else "resumed"
    return Decision(
        at_ms=record.at_ms, customer="", kind=kind, workflow=record.workflow, detail={"reason": record.reason}
    )


def as_line(decision: Decision) -> dict[str, Any]:
    """The decision as `simulate`, `test`, `show` and the journal topic print it: one flat JSON object.

    The fixed fields come first and are always there; then the kind's own; `why` last, where there is a trace.
    """
    line: dict[str, Any] = {
        "at": rfc3339(decision.at_ms),
        "customer": decision.customer,
        "workflow": decision.workflow,
        "version": decision.version,
        "enrollment": decision.enrollment,
        "kind": decision.kind,
        "step": decision.step,
    }
    line |= {name: value for name, value in decision.detail.items() if name not in line}
    if decision.why:
        line["why"] = list(decision.why)
    return line
