"""Watches what the workflows send, and pauses one that sends far more than usual, or that bounces or is complained about.

Invariant: it changes nothing but by a `Pause` record with its reason, and never pauses what is paused. What an operator
let go on is judged by what it does after that, and what it did before counts as usual: so it does not trip again at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from engine.core.record import Pause
from engine.dispatch.sending.guardrail import (
    BUCKET_MS,
    Numbers,
    Pace,
    Trip,
    bucket_of,
    judge,
    usual_of,
    wants_day,
    wants_usual,
)
from engine.runtimes.base import Paused
from engine.telemetry import Action, get_log

if TYPE_CHECKING:
    from engine.core.policy_values import BlastRadius
    from engine.watches.watch import WatchNeeds

POLL_SECONDS = 2.0
DAY_MS = 86_400_000
ASK_AGAIN_MS = 600_000
"""A pause that the journal does not tell of by then, which may lag behind, is asked for again."""
_log = get_log("guardrail")


class Guardrail:
    """One look every two seconds: one question about the last hour, more only where something may be too much."""

    name = "guardrail"

    def __init__(self, around: WatchNeeds) -> None:
        self._runtime = around.runtime
        self._clock = around.clock
        self._metrics = around.metrics
        self._causes: set[str] = set()
        self._asked: dict[str, int] = {}  # workflow → when its pause was put on the log

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> list[Trip]:
        """Judges all workflows once, and pauses those that trip."""
        now_ms = self._clock.now_ms()
        rule = self._runtime.catalog.policy.blast_radius
        said = {each.workflow: each for each in await self._runtime.pauses()}
        self._measure(said)
        since_ms = bucket_of(now_ms - rule.within.span_ms)
        until_ms = bucket_of(now_ms) + BUCKET_MS
        found = []
        for recent in await self._runtime.pace(since_ms=since_ms, until_ms=until_ms, span_ms=until_ms - since_ms):
            last = said.get(recent.workflow)
            if (last is not None and last.paused) or self._is_on_its_way(recent.workflow, last, now_ms):
                continue
            trip = await self._judge(rule, recent, since_ms=since_ms, until_ms=until_ms, last=last)
            if trip is not None:
                found.append(trip)
        if found:
            await self._runtime.append([_pause(trip, now_ms) for trip in found])
            self._asked.update((trip.workflow, now_ms) for trip in found)
        for trip in found:
            self._metrics.guardrail_trips.labels(trip.cause).inc()
            _log.error(Action.GUARDRAIL_TRIPPED, workflow=trip.workflow, reason=trip.reason)
        return found

    def _is_on_its_way(self, workflow: str, last: Paused | None, now_ms: int) -> bool:
        """Whether we asked for a pause that the journal does not tell of yet: a second one could undo an operator's resume."""
        asked_ms = self._asked.get(workflow)
        if asked_ms is None or (last is not None and last.at_ms >= asked_ms):
            return False
        return now_ms < asked_ms + ASK_AGAIN_MS

    async def _judge(
        self, rule: BlastRadius, recent: Pace, *, since_ms: int, until_ms: int, last: Paused | None
    ) -> Trip | None:
        name = recent.workflow
        if last is not None and last.at_ms >= since_ms:  # it was let go on: from the next stretch on
            since_ms = bucket_of(last.at_ms) + BUCKET_MS
            recent = await self._all_of(name, since_ms, until_ms)
        usual, day_sent = None, 0
        if wants_usual(rule, recent):
            span_ms = rule.within.span_ms
            count = rule.of.span_ms // span_ms
            before = await self._runtime.pace(since_ms=since_ms - count * span_ms, until_ms=since_ms, span_ms=span_ms)
            usual = usual_of(before, name)
        if wants_day(rule, recent):
            day_sent = (await self._all_of(name, until_ms - DAY_MS, until_ms)).sent
        numbers = Numbers(recent=recent, day_sent=day_sent, usual=usual)
        return judge(rule, numbers, is_broadcast=self._is_broadcast(name))

    async def _all_of(self, workflow: str, since_ms: int, until_ms: int) -> Pace:
        """The workflow's counts of one stretch; nothing for one that has not begun."""
        if since_ms >= until_ms:
            return Pace(workflow=workflow, from_ms=since_ms)
        rows = await self._runtime.pace(
            since_ms=since_ms, until_ms=until_ms, span_ms=until_ms - since_ms, workflow=workflow
        )
        return rows[0] if rows else Pace(workflow=workflow, from_ms=since_ms)

    def _is_broadcast(self, name: str) -> bool:
        """Whether it goes to a segment at a time: who defines it knows how many that are."""
        workflow = self._runtime.catalog.workflows.get(name)
        return workflow is not None and workflow.trigger.schedule is not None

    def _measure(self, said: dict[str, Paused]) -> None:
        paused = [each.cause for each in said.values() if each.paused]
        self._causes.update(paused)
        for cause in self._causes:
            self._metrics.workflows_paused.labels(cause).set(paused.count(cause))


def _pause(trip: Trip, now_ms: int) -> Pause:
    return Pause(
        customer="", at_ms=now_ms, id=f"guardrail:{now_ms}:{trip.workflow}", workflow=trip.workflow, reason=trip.reason
    )
