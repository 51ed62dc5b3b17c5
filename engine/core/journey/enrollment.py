"""One run of one customer through one version of a workflow.

Invariant: an enrollment holds all that is needed to continue it; where it stands is a step id of its own version.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Cause(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The event that entered the customer, as `enrollment.event` shows it. `name` is empty where there was none."""

    id: str
    name: str
    time_ms: int
    properties: dict[str, Any] = {}


class Enrollment(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """Where one run stands. `id` is `workflow/customer/key-or-ordinal`."""

    id: str
    workflow: str
    version: str
    key: str
    entered_ms: int
    event: Cause
    step: str = ""
    """The step it waits at; empty before the first one."""
    due_ms: int = 0
    """When the wait ends (or times out); 0 when it does not wait for a time."""
    failed: str = ""
    """Why it is parked; empty while it runs."""
    holdout: bool = False
    counts: dict[str, int] = {}
    """Step id → how often it ran (sends, for the message id; repeats, for the round)."""
    due_was_ms: int = 0
    """The moment the current steps were due: a late timer makes sends late (`max_age`)."""
    goal_ms: int = 0
    """When its goal was reached; 0 while it was not."""
    since_ms: int = 0
    """When a wait for a moment began: what it says of `now` is of then."""
    shown: Cause | None = None
    """The `event` that a wait for a moment was asked with, where that was not the trigger event."""


AT_TRIGGER = ":trigger"
"""The step of an enrollment that is parked because its trigger could not be asked."""
