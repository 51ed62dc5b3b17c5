"""One record being applied to one customer: the new state in the making, and the effects so far.

Invariant: containers of the old state are replaced, never changed; a turn that is thrown away leaves no trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engine.core.customer import CustomerState, Sent
from engine.core.effect import WHY_MAX, Append, Decision, Effect
from engine.core.expression.condition import Expression
from engine.core.expression.scope import Scope
from engine.core.journey.enrollment import Cause, Enrollment
from engine.core.record import Event, Record
from engine.core.time.schedule import rfc3339, zone_named, zone_of
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from engine.core.catalog import Catalog
    from engine.core.message import Message

HOPS_MAX = 10
"""Events that may lead to each other at once: each may raise two, so that a small number is many."""
WHY_LINE_MAX = 160
"""Characters of one line of the trace."""


class Turn:
    """The working copy. Its functions are in the modules of this package, one per concern; this holds what they share."""

    __slots__ = (
        "_why",
        "_zone",
        "catalog",
        "effects",
        "enrolled",
        "facts",
        "grew",
        "now_ms",
        "record",
        "runnable",
        "scope",
        "state",
    )  # fmt: skip

    def __init__(self, catalog: Catalog, state: CustomerState, record: Record) -> None:
        """Starts from a shallow copy of `state`."""
        self.catalog = catalog
        self.state = msgspec.structs.replace(state)
        self.record = record
        self.now_ms = record.at_ms
        self.effects: list[Effect] = []
        self.facts: list[tuple[str, bool]] = []  # (segment, entered?) not yet seen by enrollments and triggers
        self.runnable: dict[str, str] = {}  # enrollment id → step to go on with, in order
        self.enrolled = 0  # how often an `enroll` step was done for this record
        self.grew = False  # whether the state may have become too large
        self._why: list[str] = []
        self._zone: ZoneInfo | None = None
        scope = self.scope = Scope(
            customer_id=state.id, now_ms=record.at_ms, project_zone=zone_named(catalog.policy.zone)
        )
        scope.traits = state.traits
        scope.segments = state.segments
        scope.stats = state.stats

    @property
    def zone(self) -> ZoneInfo:
        """The customer's time zone."""
        if self._zone is None:
            self._zone = zone_of(self.state.traits, self.scope.project_zone)
        return self._zone

    # -- the trace ---------------------------------------------------------------------------------------------------

    def why(self, line: str) -> None:
        """Adds a line to the trace of the next decision. Beyond the bound the oldest lines go."""
        self._why.append(line if len(line) <= WHY_LINE_MAX else line[: WHY_LINE_MAX - 1] + "…")
        if len(self._why) > WHY_MAX:
            del self._why[0]

    def decide(self, kind: str, *, run: Enrollment | None = None, step: str = "", **detail: Any) -> None:
        """Writes one line of the journal, with the trace gathered since the last one."""
        self.effects.append(
            Decision(
                at_ms=self.now_ms,
                customer=self.state.id,
                kind=kind,
                workflow="" if run is None else run.workflow,
                version="" if run is None else run.version,
                enrollment="" if run is None else run.id,
                step=step,
                detail=detail,
                why=tuple(self._why),
            )
        )
        self._why.clear()

    def decide_for(self, about: Message | Sent, kind: str, **detail: Any) -> None:
        """Writes a line about a message, whose enrollment may be gone."""
        self.effects.append(
            Decision(
                at_ms=self.now_ms,
                customer=self.state.id,
                kind=kind,
                workflow=about.workflow,
                version=about.version,
                enrollment=about.enrollment,
                step=about.step,
                detail=detail,
                why=tuple(self._why),
            )
        )
        self._why.clear()

    # -- changes -----------------------------------------------------------------------------------------------------

    def set_traits(self, traits: dict[str, Any], times: dict[str, int]) -> None:
        """Replaces the traits; what depends on them is worked out anew."""
        self.state.traits = traits
        self.state.trait_times = times
        self.scope.traits = traits
        self._zone = None
        self.grew = True

    def find(self, enrollment_id: str) -> Enrollment | None:
        """The enrollment of that id, as it is now."""
        for run in self.state.enrollments:
            if run.id == enrollment_id:
                return run
        return None

    def put(self, run: Enrollment) -> None:
        """Stores the enrollment's new value, in its place."""
        self.state.enrollments = tuple(run if old.id == run.id else old for old in self.state.enrollments)

    def drop(self, run: Enrollment) -> None:
        """Removes an enrollment that ended."""
        self.state.enrollments = tuple(old for old in self.state.enrollments if old.id != run.id)
        self.runnable.pop(run.id, None)

    def raise_event(self, event_id: str, name: str, properties: dict[str, Any]) -> None:
        """Puts an event of this customer on the log, to be processed like any other. Raises ExpressionError in a circle."""
        hops = self.record.hops + 1 if isinstance(self.record, Event) else 1
        if hops > HOPS_MAX:
            raise ExpressionError(
                f"emit limit: {HOPS_MAX} events led to each other; a workflow probably emits the event that triggers it"
            )
        self.effects.append(
            Append(
                Event(
                    customer=self.state.id,
                    at_ms=self.now_ms,
                    id=event_id,
                    name=name,
                    time_ms=self.now_ms,
                    properties=properties,
                    hops=hops,
                )
            )
        )

    # -- expressions -------------------------------------------------------------------------------------------------

    def show_event(self, *, id: str, name: str, time_ms: int, properties: dict[str, Any]) -> None:
        """Makes this the `event` of expressions."""
        scope = self.scope
        scope.event_id = id
        scope.event_name = name
        scope.event_ms = time_ms
        scope.properties = properties

    def show_cause(self, cause: Cause) -> None:
        """Makes the trigger event the `event` of expressions."""
        self.show_event(id=cause.id, name=cause.name, time_ms=cause.time_ms, properties=cause.properties)

    def holds(self, condition: Expression | None, run: Enrollment | None) -> bool:
        """Whether the condition holds, seen from an enrollment. Raises ExpressionError."""
        if condition is None:
            return True
        self.scope.enrollment = run
        return bool(condition.run(self.scope))

    def value(self, expression: Expression, run: Enrollment | None) -> Any:
        """The value of an expression as JSON has it (missing: None), seen from an enrollment. Raises ExpressionError."""
        self.scope.enrollment = run
        return expression.value(self.scope)


def moment(at_ms: int) -> str:
    """A time as decisions show it."""
    return rfc3339(at_ms)
