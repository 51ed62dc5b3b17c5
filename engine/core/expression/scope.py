"""What a compiled expression sees: the names it may use, for one record of one customer.

Invariant: evaluating an expression reads the scope and nothing else; the only thing it writes is `change_ms`, the moment at
which, without any further record, its value may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from engine.core.facts.aggregate import EventStats
    from engine.core.journey.enrollment import Enrollment


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
