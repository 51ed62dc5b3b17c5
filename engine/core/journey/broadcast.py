"""Broadcasts: who gets an issue, at which own time, what a pause holds, and which subject is whose.

Invariant: everything here follows from the customer's state, the catalog and the record: the same customer has the same time and
the same variant of an issue on every runtime. A pause, however long, skips nobody and repeats nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engine.core.customer import UNTIL_RESUMED_MS
from engine.core.effect import Decision, of_pause
from engine.core.expression.comparison import point
from engine.core.journey import holding
from engine.core.record import Flush, Hold, Pause, Settled
from engine.core.time.schedule import local_datetime, next_local

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from engine.core.catalog import Catalog
    from engine.core.customer import CustomerState, Sent
    from engine.core.journey.enrollment import Enrollment
    from engine.core.journey.workflow import ScheduleTrigger, SubjectTest, Workflow
    from engine.core.message import Message
    from engine.core.record import Control
    from engine.core.turn import Turn

CAUSE = "schedule:"
"""How the id of what enters a customer into a broadcast begins."""
WINNERS_MAX = 1_000
_STARTS_MAX = 4
"""Starts that are looked at: a spread is a day at most, and a schedule comes at most once a day."""
_POINTS = 10_000

replace = msgspec.structs.replace


# -- whose turn it is, and when ----------------------------------------------------------------------------------------


def zone_in(turn: Turn, schedule: ScheduleTrigger) -> ZoneInfo:
    """The zone whose clock starts the broadcast for this customer."""
    return turn.zone if schedule.customer_zone else turn.scope.project_zone


def issue_of(schedule: ScheduleTrigger, start_ms: int, zone: ZoneInfo) -> str:
    """The name of an issue: its local start as written in the schedule, `2026-12-01-0900`, the same in every zone."""
    when = schedule.when
    if when.local is not None:
        return f"{when.local:%Y-%m-%d-%H%M}"
    local = local_datetime(start_ms, zone)
    if when.instant_ms is None:  # where a clock change leaves this time out, it starts later under the same name
        local = local.replace(hour=when.minute // 60, minute=when.minute % 60)
    return f"{local:%Y-%m-%d-%H%M}"


def own_ms(turn: Turn, workflow: Workflow, start_ms: int) -> int:
    """The customer's own time of the issue that starts then: spread evenly, and always the same."""
    schedule = _schedule(workflow)
    if not schedule.spread_ms:
        return start_ms
    issue = issue_of(schedule, start_ms, zone_in(turn, schedule))
    return start_ms + point(f"spread:{workflow.name}:{issue}", turn.state.id, schedule.spread_ms)


def next_own_ms(turn: Turn, workflow: Workflow) -> int | None:
    """When the broadcast next comes for this customer, strictly after now; None: never, as things are."""
    schedule = _schedule(workflow)
    zone, after_ms = zone_in(turn, schedule), turn.now_ms - schedule.spread_ms
    for _ in range(_STARTS_MAX):
        start_ms = next_local(schedule.when, after_ms, zone)
        if start_ms is None:
            return None
        at_ms = own_ms(turn, workflow, start_ms)
        if at_ms > turn.now_ms and belongs(turn.state, schedule, start_ms):
            return at_ms
        if start_ms > turn.now_ms:  # not even the next one: no member
            return None
        after_ms = start_ms
    message = "a schedule comes at most once a day"
    raise AssertionError(message)


def start_of(turn: Turn, workflow: Workflow, at_ms: int) -> int:
    """The start of the issue that came for this customer at `at_ms`; `at_ms` itself when the schedule says so no more."""
    schedule = _schedule(workflow)
    if not schedule.spread_ms:
        return at_ms
    zone, after_ms = zone_in(turn, schedule), at_ms - schedule.spread_ms - 1
    for _ in range(_STARTS_MAX):
        start_ms = next_local(schedule.when, after_ms, zone)
        if start_ms is None or start_ms > at_ms:
            break
        if own_ms(turn, workflow, start_ms) == at_ms:
            return start_ms
        after_ms = start_ms
    return at_ms


def belongs(state: CustomerState, schedule: ScheduleTrigger, start_ms: int) -> bool:
    """Whether the customer is in the segment, and was before the issue began: who joined since is not included."""
    if not schedule.segment:
        return state.first_seen_ms < start_ms
    since_ms = state.segments.get(schedule.segment)
    return since_ms is not None and since_ms < start_ms


def _schedule(workflow: Workflow) -> ScheduleTrigger:
    schedule = workflow.trigger.schedule
    assert schedule is not None, workflow.name
    return schedule


def issue_in(run: Enrollment) -> str:
    """The issue that a run is of; "" when it is of none."""
    issue = run.event.properties.get("issue", "") if run.event.id.startswith(CAUSE) else ""
    return issue if isinstance(issue, str) else ""


def words(message: Message | Sent) -> dict[str, str]:
    """What the journal says of a message besides: its issue, and its variant."""
    said = {"issue": message.issue, "variant": message.variant}
    return {name: value for name, value in said.items() if value}


# -- control records ---------------------------------------------------------------------------------------------------


def in_force(catalog: Catalog, record: Control) -> tuple[Catalog, list[Decision], bool]:
    """The catalog with a control record in it, what the journal says of it, and whether customers may have waited for it.

    The same record twice changes nothing the second time; of two winners of a test the first one counts.
    """
    if isinstance(record, Pause):
        if (record.workflow in catalog.paused) == record.paused:
            return catalog, [], False
        return holding.paused(catalog, record), [of_pause(record)], not record.paused
    if isinstance(record, Hold):
        held = holding.taken(catalog, record)
        return held, [], held is not catalog and not record.on
    if isinstance(record, Flush | Settled):
        return catalog, [], False
    key = test_key(record.workflow, record.issue, record.step)
    if key in catalog.winners:
        return catalog, [], False
    kept = list(catalog.winners.items())[-(WINNERS_MAX - 1) :]
    detail = {"variant": record.variant, "issue": record.issue}
    if record.counts:
        detail["counts"] = {name: list(counts) for name, counts in record.counts.items()}  # type: ignore[assignment]
    line = Decision(
        at_ms=record.at_ms, customer="", kind="winner", workflow=record.workflow, step=record.step, detail=detail
    )
    return replace(catalog, winners={**dict(kept), key: record.variant}), [line], True


def is_broadcast(catalog: Catalog, name: str) -> bool:
    """Whether the workflow is one of which a pause holds everything."""
    workflow = catalog.workflows.get(name)
    return workflow is not None and workflow.trigger.schedule is not None


def holds(catalog: Catalog, name: str) -> bool:
    """Whether it is a broadcast that is paused now."""
    return name in catalog.paused and is_broadcast(catalog, name)


def waits(catalog: Catalog, state: CustomerState) -> bool:
    """Whether a Resume may mean something to this customer; where something was ever held, its timer is set anew."""
    return (
        bool(state.waiting)
        or (catalog.holding != holding.NOTHING and state.next_due_ms > 0)
        or any(held.until_ms == UNTIL_RESUMED_MS or awaits_winner(held.message) for held in state.held)
    )


# -- tests of subjects -------------------------------------------------------------------------------------------------


def test_key(workflow: str, issue: str, step: str) -> str:
    """What a winner is remembered by."""
    return f"{workflow}/{issue}/{step}"


def winner(catalog: Catalog, message: Message) -> str:
    """The variant that won the message's test; "" while there is none."""
    if not catalog.winners:
        return ""
    won = catalog.winners.get(test_key(message.workflow, message.issue, message.step), "")
    return won or catalog.winners.get(test_key(message.workflow, "", message.step), "")


def awaits_winner(message: Message) -> bool:
    """Whether its subject is not decided yet."""
    return bool(message.subjects) and not message.variant


def variant_of(message: Message, test: SubjectTest) -> str:
    """The variant with which the customer is part of the test; "" for one of the rest. Even over customers."""
    share = test.percent * _POINTS // 100
    at = point(f"ab:{message.workflow}:{message.issue}:{message.step}", message.customer, _POINTS)
    return test.subjects[at * len(test.subjects) // share] if at < share else ""


test_key.__test__ = False  # type: ignore[attr-defined]
