"""Watches the tests of subjects and says who won: counts the signals in the journal when a test's time is over.

Invariant: it only proposes, with a control record; the first proposal on the log counts, so that it may be made again after a
restart. A test that nobody decided within the wait is decided for the first subject, as those who waited have got it by then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from engine.core.journey.broadcast import test_key
from engine.core.journey.outcome import amounts_to
from engine.core.journey.workflow import Send, SubjectTest
from engine.core.record import Winner
from engine.core.time.schedule import add, zone_named
from engine.operations.journal_lines import lines_of
from engine.runtimes.base import Reader
from engine.telemetry import Action, get_log

if TYPE_CHECKING:
    from engine.core.catalog import Catalog
    from engine.watches.watch import WatchNeeds

POLL_SECONDS = 2.0
PROPOSE_AGAIN_MS = 60_000
_log = get_log("subject-tests")


class Running(msgspec.Struct, kw_only=True):
    """A test that nobody decided yet: since when, and where its journal begins."""

    workflow: str
    issue: str
    step: str
    test: SubjectTest
    begun_ms: int
    seq: int
    proposed_ms: int = 0


Counts = dict[str, tuple[int, int]]
"""Variant → (messages queued, those of them with the signal)."""


def tests_in(catalog: Catalog) -> dict[tuple[str, str], SubjectTest]:
    """(workflow, step) → its test, also of versions that are not the newest."""
    versions = [*catalog.versions.values(), *catalog.workflows.values()]
    return {
        (workflow.name, op.id): op.ab
        for workflow in versions
        for op in workflow.ops.values()
        if isinstance(op, Send) and op.ab is not None
    }


def winner_of(test: SubjectTest, counts: Counts) -> str:
    """The variant with the highest rate; of equal ones, and without any signal, the first."""
    rates = {name: counts.get(name, (0, 0)) for name in test.subjects}
    return max(test.subjects, key=lambda name: rates[name][1] / rates[name][0] if rates[name][0] else 0.0)


async def count(reader: Reader, running: Running) -> Counts:
    """Reads the test's lines from its beginning. What a machine opened or clicked does not count."""
    queued: dict[str, set[str]] = {name: set() for name in running.test.subjects}
    signals: dict[str, set[str]] = {name: set() for name in running.test.subjects}
    kinds = ("send", "outcome")
    async for _, line in lines_of(reader, running.workflow, kinds=kinds, after_seq=running.seq - 1):
        detail = line.detail
        variant = detail.get("variant", "")
        if line.step != running.step or detail.get("issue", "") != running.issue or variant not in queued:
            continue
        if line.kind == "send" and detail.get("answer") == "queued":
            queued[variant].add(detail["message"])
        elif (
            line.kind == "outcome"
            and amounts_to(detail.get("outcome", ""), running.test.by)
            and not detail.get("machine")
        ):
            signals[variant].add(detail["message"])
    return {name: (len(queued[name]), len(signals[name])) for name in running.test.subjects}


class SubjectTests:
    """The companion; one for the whole project."""

    name = "subject-tests"

    def __init__(self, around: WatchNeeds) -> None:
        """Nothing is read before `run`."""
        self._runtime = around.runtime
        self._clock = around.clock
        self._seen: dict[str, int] = {}
        self._running: dict[str, Running] = {}
        self._decided: set[str] = set()

    async def run(self) -> None:
        """Looks every two seconds."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> None:
        """Reads what is new of every workflow with a test, and proposes a winner where one is due."""
        tests = tests_in(self._runtime.catalog)
        for workflow in sorted({workflow for workflow, _ in tests}):
            await self._read(workflow, tests)
        for key, running in list(self._running.items()):
            if key not in self._decided:
                await self._decide(running)

    async def _read(self, workflow: str, tests: dict[tuple[str, str], SubjectTest]) -> None:
        after = self._seen.get(workflow, 0)
        async for seq, line in lines_of(self._runtime, workflow, kinds=("send", "winner"), after_seq=after):
            self._seen[workflow] = seq
            issue = line.detail.get("issue", "")
            key = test_key(workflow, issue, line.step)
            if line.kind == "winner":
                self._decided.add(key)
                self._running.pop(key, None)
                continue
            test = tests.get((workflow, line.step))
            if test is None or not line.detail.get("variant") or key in self._decided or key in self._running:
                continue
            self._running[key] = Running(
                workflow=workflow, issue=issue, step=line.step, test=test, begun_ms=line.at_ms, seq=seq
            )

    async def _decide(self, running: Running) -> None:
        now_ms, catalog = self._clock.now_ms(), self._runtime.catalog
        end_ms = add(running.begun_ms, running.test.after, zone_named(catalog.policy.zone))
        if now_ms < end_ms or now_ms < running.proposed_ms + PROPOSE_AGAIN_MS:
            return
        counts = await count(self._runtime, running)
        late = now_ms > end_ms + catalog.winner_wait_ms
        variant = running.test.subjects[0] if late else winner_of(running.test, counts)
        record_id = f"winner:{running.workflow}:{running.issue}:{running.step}:{now_ms}"
        record = Winner(
            customer="", at_ms=now_ms, id=record_id, workflow=running.workflow, step=running.step, variant=variant,
            issue=running.issue, counts=counts,
        )  # fmt: skip
        await self._runtime.append([record])
        running.proposed_ms = now_ms
        _log.info(Action.SUBJECT_WON, workflow=running.workflow, issue=running.issue, variant=variant)
