"""How far a broadcast is: whom it reached, what is held, sent and failed, how fast it goes and when it will be done.

Invariant: read from journal, ledger and states alone, and only what is new since the last look, so that watching costs little.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from engine.clock import Clock, SystemClock
from engine.core.time.schedule import zone_named
from engine.dispatch.ports import FINAL, Status
from engine.operations.journal_lines import lines_of
from engine.runtimes.base import Reader

if TYPE_CHECKING:
    from engine.core.effect import Decision
    from engine.core.journey.workflow import Workflow

KINDS = ("entered", "not_entered", "send", "outcome", "winner")
RATE_MS = 60_000
"""Over how long the rate is taken."""
PAGE = 2_000
DAY_MS = 86_400_000
COUNT_PAUSE = 20
"""Looking at every customer takes at most one part in so many of the time."""


class IssueStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One issue as it stands. Counts are of people (`audience`, `reached`, `paused`) and messages (the others)."""

    workflow: str
    issue: str
    audience: int
    """Who is to get it, as far as is known now: who entered, who waits for the end of a pause, whose own time is to come."""
    reached: int
    paused: int
    """Whose time came while it was paused, and who waits for it to go on."""
    held: int
    """Messages that wait: for a winner, for quiet hours, for the end of a pause."""
    queued: int
    sent: int
    failed: int
    suppressed: int
    unknown: int
    rate_per_second: float
    """Messages that left in the last minute."""
    eta_ms: int
    """When it will be done at that rate; 0: it is done, or nothing can be said."""
    winner: str = ""
    variants: dict[str, dict[str, int]] = {}
    """Variant → messages, sent, opened, clicked."""
    suppressions: dict[str, int] = {}


class _Issue:
    """What is known of one issue by now."""

    def __init__(self) -> None:
        self.entered: set[str] = set()
        self.paused: set[str] = set()
        self.answers: dict[str, str] = {}
        self.reasons: Counter[str] = Counter()
        self.statuses: dict[str, tuple[Status, int]] = {}
        self.variants: dict[str, str] = {}
        self.outcomes: dict[str, set[str]] = {"opened": set(), "clicked": set()}
        self.winner = ""

    def take(self, line: Decision) -> None:
        """One line of the journal."""
        detail, message = line.detail, line.detail.get("message", "")
        if line.kind == "entered":
            self.entered.add(line.customer)
            self.paused.discard(line.customer)
        elif line.kind == "not_entered" and detail.get("reason") == "paused":
            self.paused.add(line.customer)
        elif line.kind == "winner":
            self.winner = detail["variant"]
        elif line.kind == "send":
            self.answers[message] = detail["answer"]
            if detail["answer"] == "suppressed":
                self.reasons[detail["reason"]] += 1
            if variant := detail.get("variant"):
                self.variants[message] = variant
        elif detail.get("outcome") in self.outcomes and not detail.get("machine"):
            self.outcomes[detail["outcome"]].add(message)
            if detail["outcome"] == "clicked":
                self.outcomes["opened"].add(message)

    @property
    def open(self) -> list[str]:
        """Queued messages of which it is not known yet what became."""
        return [
            message
            for message, answer in self.answers.items()
            if answer == "queued" and self.statuses.get(message, ("pending", 0))[0] not in FINAL
        ]

    def by_variant(self) -> dict[str, dict[str, int]]:
        """The counts of each variant."""
        found: dict[str, dict[str, int]] = {}
        for message, variant in sorted(self.variants.items(), key=lambda item: item[1]):
            counts = found.setdefault(variant, dict.fromkeys(("messages", "sent", "opened", "clicked"), 0))
            counts["messages"] += 1
            counts["sent"] += self.statuses.get(message, ("pending", 0))[0] == "sent"
            for outcome, messages in self.outcomes.items():
                counts[outcome] += message in messages
        return found


class Watch:
    """Follows one broadcast. `look` reads what is new and says how its issues stand, the newest first."""

    def __init__(self, workflow: Workflow, *, project_zone: str, clock: Clock | None = None) -> None:
        assert workflow.trigger.schedule is not None, workflow.name
        self._workflow = workflow
        self._schedule = workflow.trigger.schedule
        self._zone = zone_named(project_zone)
        self._seen = 0
        self._issues: dict[str, _Issue] = {}
        self._to_come: Counter[str] = Counter()
        self._last_ms = 0
        self._clock = clock or SystemClock()
        self._counted_ms = 0
        self._count_seconds = 0.0
        self._entered_then = 0

    async def look(self, reader: Reader, *, now_ms: int) -> list[IssueStanding]:
        """How every issue stands that somebody has come to, or will within a day."""
        async for seq, line in lines_of(reader, self._workflow.name, kinds=KINDS, after_seq=self._seen):
            self._seen = seq
            issue = line.detail.get("issue")
            if issue:
                self._issues.setdefault(issue, _Issue()).take(line)
        await self._count_to_come(reader, now_ms)
        for issue in self._issues.values():
            waiting = issue.open
            for at in range(0, len(waiting), PAGE):
                issue.statuses |= await reader.statuses(waiting[at : at + PAGE])
        names = sorted({*self._issues, *self._to_come}, reverse=True)
        return [self._standing(name, self._issues.get(name, _Issue()), now_ms=now_ms) for name in names]

    async def _count_to_come(self, reader: Reader, now_ms: int) -> None:
        """Whose own time is armed; of a recurring broadcast those who have not come to the running issue yet.

        It looks at every customer, so it is done again only after much longer than it took; in between those who entered are
        taken off.
        """
        newest = max(self._issues, default="")
        entered = self._issues[newest].entered if newest else set()
        if self._counted_ms and now_ms - self._counted_ms < self._count_seconds * 1_000 * COUNT_PAUSE:
            came, self._entered_then = max(0, len(entered) - self._entered_then), len(entered)
            for name in (newest, "next"):
                fewer = min(came, self._to_come[name])
                self._to_come[name] -= fewer
                came -= fewer
            self._to_come += Counter()  # none of zero
            return
        started = self._clock.monotonic()
        await self._count(reader, now_ms, newest=newest, entered=entered)
        self._counted_ms, self._count_seconds = now_ms, self._clock.monotonic() - started
        self._entered_then = len(entered)

    async def _count(self, reader: Reader, now_ms: int, *, newest: str, entered: set[str]) -> None:
        self._to_come.clear()
        self._last_ms = now_ms
        horizon_ms = now_ms + self._schedule.spread_ms + DAY_MS
        after = ""
        while page := await reader.customers(after=after, limit=PAGE):
            after = page[-1].id
            for state in page:
                at_ms = state.armed.get(self._workflow.name, 0)
                if not at_ms or at_ms > horizon_ms:
                    continue
                running = newest and state.id not in entered and at_ms <= now_ms + self._schedule.spread_ms
                self._to_come[newest if running else "next"] += 1
                if running:
                    self._last_ms = max(self._last_ms, at_ms)

    def _standing(self, name: str, issue: _Issue, *, now_ms: int) -> IssueStanding:
        counts = Counter(status for status, _ in issue.statuses.values())
        answers = Counter(issue.answers.values())
        since_ms = now_ms - RATE_MS
        recent = [at_ms for status, at_ms in issue.statuses.values() if status == "sent" and at_ms > since_ms]
        span_ms = max(now_ms - min(recent, default=now_ms), 1_000)
        rate = len(recent) * 1_000 / span_ms if recent else 0.0
        to_come = self._to_come[name]
        queued = answers["queued"] - sum(counts[status] for status in FINAL)
        left = to_come + len(issue.paused) + answers["held"] + queued
        eta_ms = 0 if not left or not rate else max(now_ms + int(left * 1_000 / rate), self._last_ms)
        return IssueStanding(
            workflow=self._workflow.name,
            issue=name,
            audience=len(issue.entered) + len(issue.paused) + to_come,
            reached=len(issue.entered),
            paused=len(issue.paused),
            held=answers["held"],
            queued=queued,
            sent=counts["sent"],
            failed=counts["failed"],
            suppressed=answers["suppressed"] + counts["suppressed"],
            unknown=counts["unknown"],
            rate_per_second=round(rate, 1),
            eta_ms=eta_ms,
            winner=issue.winner,
            variants=issue.by_variant(),
            suppressions=dict(issue.reasons.most_common()),
        )


async def waiting(reader: Reader, workflow: str) -> tuple[int, int]:
    """(customers whose issue came while it was paused, messages that are held for it): what a pause holds now."""
    people = messages = 0
    after = ""
    while page := await reader.customers(after=after, limit=PAGE):
        after = page[-1].id
        for state in page:
            people += workflow in state.waiting
            held = [each.message for each in state.held if each.reason == "workflow_paused"]
            messages += sum(message.workflow == workflow and bool(message.issue) for message in held)
    return people, messages
