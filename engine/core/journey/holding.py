"""What is held back: everything of a restored copy until somebody lets it go, of a paused workflow what was due before the pause.

Invariant: what is held is not lost and does not happen; it is let go, or dropped because somebody said so. A copy that is held
decides nothing by the clock alone: only what comes in from outside is evaluated, and what that decides waits as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engine.core.customer import UNTIL_RESUMED_MS

if TYPE_CHECKING:
    from engine.core.catalog import Catalog
    from engine.core.customer import CustomerState
    from engine.core.message import Message
    from engine.core.record import Hold, Pause

replace = msgspec.structs.replace
ALL = ""
"""In the place of a workflow's name."""


class Holding(msgspec.Struct, frozen=True, array_like=True):
    """`since_ms` 0: nothing is held. `dropped`: workflow (or `ALL`) → what was decided or due until then is not done any more."""

    since_ms: int = 0
    released: tuple[str, ...] = ()
    dropped: dict[str, int] = {}


NOTHING = Holding()


def is_held(catalog: Catalog, workflow: str) -> bool:
    """Whether nothing of this workflow may happen by the clock, or leave."""
    holding = catalog.holding
    return holding.since_ms > 0 and workflow not in holding.released


def is_dropped(catalog: Catalog, workflow: str, at_ms: int) -> bool:
    """Whether what was decided, or came due, then is not to be done any more."""
    dropped = catalog.holding.dropped
    return bool(dropped) and at_ms <= max(dropped.get(workflow, 0), dropped.get(ALL, 0))


def waits_for_pause(catalog: Catalog, message: Message) -> bool:
    """Whether its workflow is paused and it was due before: it is held until that goes on."""
    return message.workflow in catalog.paused and message.due_ms <= catalog.paused_ms.get(message.workflow, 0)


def paused(catalog: Catalog, record: Pause) -> Catalog:
    """The catalog once a workflow is paused, or goes on."""
    names, times = catalog.paused - {record.workflow}, dict(catalog.paused_ms)
    times.pop(record.workflow, None)
    holding = catalog.holding
    if record.paused:
        names |= {record.workflow}
        times[record.workflow] = 0 if record.drop else record.at_ms
    elif record.drop:
        holding = replace(holding, dropped={**holding.dropped, record.workflow: record.at_ms})
    return replace(catalog, paused=names, paused_ms=times, holding=holding)


def taken(catalog: Catalog, record: Hold) -> Catalog:
    """The catalog once everything is held, or some of it is let go; itself when that changes nothing."""
    holding = catalog.holding
    if record.on:
        return (
            catalog
            if holding.since_ms
            else replace(catalog, holding=replace(holding, since_ms=record.at_ms, released=()))
        )
    if not holding.since_ms or record.workflow in holding.released:
        return catalog
    if record.workflow == ALL:
        changed = replace(holding, since_ms=0, released=(ALL,))  # tells that something was held once
    else:
        changed = replace(holding, released=tuple(sorted({*holding.released, record.workflow})))
    if record.drop:
        changed = replace(changed, dropped={**holding.dropped, record.workflow: record.at_ms})
    return replace(catalog, holding=changed)


def next_due_ms(catalog: Catalog, state: CustomerState) -> int:
    """As the state's own, without what is held. Memberships of segments change for all workflows, so they wait for the last."""
    if not catalog.holding.since_ms:
        return state.next_due_ms
    due = [
        run.due_ms for run in state.enrollments if run.due_ms and not run.failed and not is_held(catalog, run.workflow)
    ]
    due += [
        held.until_ms
        for held in state.held
        if held.until_ms < UNTIL_RESUMED_MS and not is_held(catalog, held.message.workflow)
    ]
    due += [at_ms for name, at_ms in state.armed.items() if not is_held(catalog, name)]
    due += [change.due_ms for change in state.changes if change.due_ms and not change.ended]  # the customer's own wish
    return min(due, default=0)
