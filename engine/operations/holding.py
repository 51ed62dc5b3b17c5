"""What waits in a copy that is held, or for a pause, by workflow; and how a cluster's copy begins to be held.

Invariant: it only reads; counts are of what is stored now, whatever runs beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engine.clock import SystemClock
from engine.core.customer import UNTIL_RESUMED_MS
from engine.core.record import Hold
from engine.core.time.schedule import rfc3339
from engine.health import Condition, Health
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.topics import Outgoing, encode_input

if TYPE_CHECKING:
    from engine.core.customer import CustomerState
    from engine.project.cluster import Cluster
    from engine.runtimes.base import Reader

PAGE = 1_000
MESSAGES_MAX = 1_000_000
SEGMENTS = "(segments)"
"""Stands for memberships that a window changes: they belong to no workflow."""


class WaitingWork(msgspec.Struct, kw_only=True):
    """What waits of one workflow: messages in the outbox, and what is due of customers; times are those of the oldest."""

    workflow: str
    messages: int = 0
    decided_ms: int = 0
    due: int = 0
    due_ms: int = 0


async def waiting_by_workflow(reader: Reader, *, now_ms: int) -> list[WaitingWork]:
    """Every workflow of which something waits now, by name. Reads every customer: it takes a while where there are many."""
    found: dict[str, WaitingWork] = {}

    def of(workflow: str) -> WaitingWork:
        return found.setdefault(workflow, WaitingWork(workflow=workflow))

    for each in await reader.messages(status="pending", limit=MESSAGES_MAX):
        row = of(each.message.workflow)
        row.messages += 1
        row.decided_ms = min(row.decided_ms or each.message.decided_ms, each.message.decided_ms)
    after = ""
    while customers := await reader.customers(after=after, limit=PAGE):
        after = customers[-1].id
        for state in customers:
            for workflow, at_ms in _due(state, now_ms):
                row = of(workflow)
                row.due += 1
                row.due_ms = min(row.due_ms or at_ms, at_ms)
    return sorted(found.values(), key=lambda row: row.workflow)


def _due(state: CustomerState, now_ms: int) -> list[tuple[str, int]]:
    """(workflow, since when) of what would happen by the clock now."""
    due = [(run.workflow, run.due_ms) for run in state.enrollments if run.due_ms and not run.failed]
    due += [(name, at_ms) for name, at_ms in state.armed.items()]
    due += [
        (held.message.workflow, held.message.decided_ms if held.until_ms == UNTIL_RESUMED_MS else held.until_ms)
        for held in state.held
    ]
    if state.segments_due_ms:
        due.append((SEGMENTS, state.segments_due_ms))
    return [(workflow, at_ms) for workflow, at_ms in due if at_ms <= now_ms]


def say_held(health: Health, since_ms: int) -> None:
    """Names, or stops naming, that everything is held."""
    if since_ms:
        words = f"Everything has been held since {rfc3339(since_ms)}; `anlass held` lists what waits and lets it go."
        health.report(Condition.HELD, words)
    else:
        health.clear(Condition.HELD)


async def begin_hold(cluster: Cluster) -> dict[int, int]:
    """Puts on every partition that everything is held from here on; partition → offset of that record."""
    now_ms = SystemClock().now_ms()
    value = encode_input(Hold(customer="", at_ms=now_ms, id=f"operator:{now_ms}"))
    outlet = Outlet(cluster.bootstrap, client="anlass-hold")
    await outlet.start()
    try:
        topic = cluster.topics.touchpoints
        ends = await outlet.send([Outgoing(topic, number, None, value) for number in range(cluster.partitions)])
    finally:
        await outlet.stop()
    return {number: offset for (_, number), offset in ends.items()}
