"""What a compiled expression sees, and what one is.

Invariant: evaluating an expression reads the scope and nothing else; the only thing it writes is `scope.change_ms`,
the moment at which, without any further record, its value may change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from engine.core.arithmetic import json_value
from engine.core.operators import to_ms
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from engine.core.aggregate import EventStats
    from engine.core.enrollment import Enrollment

MISSING = None
"""The value of what is not there; JSON's null is the same. `run` gives it, `json_value` writes it as null."""


class Scope:
    """The names an expression may use, for one record of one customer. Reused and changed in place by the evaluator."""

    __slots__ = (
        "change_ms",
        "customer_id",
        "enrollment",
        "event_id",
        "event_ms",
        "event_name",
        "now_ms",
        "project_zone",
        "properties",
        "segments",
        "stats",
        "traits",
    )

    def __init__(self, *, customer_id: str, now_ms: int, project_zone: ZoneInfo) -> None:
        """A scope without event, enrollment, traits, segments and aggregates; set the attributes."""
        self.customer_id = customer_id
        self.now_ms = now_ms
        self.project_zone = project_zone
        self.event_id = ""
        self.event_name = ""  # empty: there is no event
        self.event_ms = 0
        self.properties: Mapping[str, Any] = {}
        self.traits: Mapping[str, Any] = {}
        self.segments: Mapping[str, int] = {}
        self.stats: Mapping[str, EventStats] = {}
        self.enrollment: Enrollment | None = None
        self.change_ms = 0  # earliest moment at which a value asked for may change by itself; 0 = never


class Expression(msgspec.Struct, frozen=True):
    """A compiled expression. `run(scope)` gives its value (`MISSING` for a missing one) or raises ExpressionError."""

    text: str
    run: Callable[[Scope], Any]
    counted: tuple[tuple[str, str, int], ...] = ()
    """(event, summed property or "", window in whole days rounded up or 0) of each aggregate asked for."""
    traits: tuple[str, ...] = ()
    """Traits asked about; `*` when it can't be told."""
    segments: tuple[str, ...] = ()
    timed: bool = False
    """Whether its value may change with time alone."""

    def holds(self, scope: Scope) -> bool:
        """Whether the value is true (a missing one is not)."""
        return bool(self.run(scope))

    def value(self, scope: Scope) -> Any:
        """Its value as JSON has it: a missing one is None, a time is an RFC 3339 text."""
        return json_value(self.run(scope))

    def moment_ms(self, scope: Scope) -> int | None:
        """Its value as an instant, for `until:`; None when missing. Raises ExpressionError when it is no date or time."""
        value = self.run(scope)
        try:
            return to_ms(scope, value)
        except ExpressionError as error:
            raise ExpressionError(f"`{self.text}`: {error.message}") from None
