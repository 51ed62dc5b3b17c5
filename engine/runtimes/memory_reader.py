"""What is asked of the memory runtime: the port `Reader`, over what it keeps.

Invariant: reads only.
"""

import hmac
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from engine.core.consent.proof import ConsentRecord
from engine.core.customer import CustomerState
from engine.core.effect import Decision
from engine.core.message import Message
from engine.dispatch.ports import Status
from engine.runtimes.base import (
    PAUSES,
    DeadLetter,
    MessageStatus,
    Pace,
    Paused,
    Query,
    enrollment_counts,
    paces,
    same_address,
)
from engine.runtimes.consents import looked_up
from engine.runtimes.memory import Memory


class LedgerLine(msgspec.Struct, kw_only=True):
    """A line of the ledger."""

    message: Message
    number: int
    updated_ms: int
    status: Status = "pending"
    not_before_ms: int = 0
    attempts: int = 0
    first_attempt_ms: int = 0
    reason: str = ""
    code: str = ""
    provider_id: str = ""
    links: dict[str, str] = {}


class MemoryReader:
    """Answers from lists and dicts that `MemoryRuntime` fills."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._pauses: dict[str, Paused] = {}
        self._paces: Counter[tuple[str, int, str]] = Counter()
        self._journal: list[tuple[int, int, Decision]] = []
        self._ledger: dict[str, LedgerLine] = {}
        self._consents: list[tuple[int, ConsentRecord]] = []
        self._letters: list[DeadLetter] = []

    async def state(self, customer: str) -> CustomerState | None:
        return self.memory.states.get(customer)

    async def decisions(self, query: Query) -> list[tuple[int, Decision]]:
        lines = [
            (seq, decision)
            for seq, _, decision in self._journal
            if seq > query.after_seq
            and query.customer in ("", decision.customer)
            and query.workflow in ("", decision.workflow)
            and query.enrollment in ("", decision.enrollment)
            and query.message in ("", decision.detail.get("message"))
            and (not query.kinds or decision.kind in query.kinds)
        ]
        return (lines if query.oldest_first else lines[::-1])[: query.limit]

    async def message(self, message_id: str) -> MessageStatus | None:
        entry = self._ledger.get(message_id)
        return next(_statuses([entry])) if entry is not None else None

    async def messages(
        self, *, customer: str = "", status: str = "", workflow: str = "", before: str = "", limit: int = 200
    ) -> list[MessageStatus]:
        older = list(self._ledger)
        older = older[: older.index(before) if before in older else 0] if before else older
        found = [
            entry
            for entry in map(self._ledger.__getitem__, older)
            if customer in ("", entry.message.customer)
            and status in ("", entry.status)
            and workflow in ("", entry.message.workflow)
        ]
        return list(_statuses(found[::-1][:limit]))

    async def consents(self, *, customer: str = "", address: str = "") -> list[ConsentRecord]:
        texts = looked_up(address, keyed_hash)
        return [
            record
            for _, record in self._consents
            if (record.customer == customer if customer else record.address in texts)
        ]

    async def message_of(self, provider_id: str) -> MessageStatus | None:
        found = [entry for entry in self._ledger.values() if provider_id and entry.provider_id == provider_id]
        return next(_statuses(found[-1:]), None)

    async def written_to(self, address: str, *, limit: int = 100) -> list[MessageStatus]:
        wanted = same_address(address)
        found = [entry for entry in self._ledger.values() if wanted and same_address(entry.message.address) == wanted]
        newest = {(entry.message.customer, entry.message.channel): entry for entry in found}
        return list(_statuses(sorted(newest.values(), key=lambda entry: -entry.number)[:limit]))

    async def customers(self, *, after: str = "", limit: int = 1_000) -> list[CustomerState]:
        names = sorted(name for name in self.memory.states if name > after)
        return [self.memory.states[name] for name in names[:limit]]

    async def statuses(self, messages: Sequence[str]) -> dict[str, tuple[Status, int]]:
        found = {message: self._ledger[message] for message in messages if message in self._ledger}
        return {message: (entry.status, entry.updated_ms) for message, entry in found.items()}

    async def dead_letters(self, *, limit: int = 200) -> list[DeadLetter]:
        return self._letters[:limit]

    async def pace(self, *, since_ms: int, until_ms: int, span_ms: int, workflow: str = "") -> list[Pace]:
        found: dict[tuple[int, str], Counter[str]] = {}
        for (name, bucket_ms, what), number in self._paces.items():
            if since_ms <= bucket_ms < until_ms and workflow in ("", name):
                found.setdefault(((bucket_ms - since_ms) // span_ms, name), Counter())[what] += number
        rows = [
            (name, stretch, by["queued"], by["sent"], by["bounced"], by["complained"])
            for (stretch, name), by in sorted(found.items())
        ]
        return paces(rows, since_ms=since_ms, span_ms=span_ms)

    async def pauses(self) -> list[Paused]:
        return [self._pauses[name] for name in sorted(self._pauses)]

    async def counts(self) -> dict[str, Any]:
        decisions = Counter(decision.kind for _, _, decision in self._journal)
        enrollments: dict[str, Counter[str]] = {}
        for _, _, decision in self._journal:
            if decision.workflow and decision.kind not in PAUSES:
                enrollments.setdefault(decision.workflow, Counter())[decision.kind] += 1
        messages: dict[str, Counter[str]] = {}
        for entry in self._ledger.values():
            messages.setdefault(entry.message.channel, Counter())[entry.status] += 1
        return {
            "events": self.memory.position,
            "customers": len(self.memory.states),
            "enrollments": {name: enrollment_counts(kinds) for name, kinds in sorted(enrollments.items())},
            "decisions": dict(sorted(decisions.items())),
            "messages": {channel: dict(sorted(by.items())) for channel, by in sorted(messages.items())},
            "dead_letters": len(self._letters),
            "timers": {"pending": self.memory.timers_pending, "overdue": 0},
        }


def keyed_hash(text: str) -> bytes:
    """With a key that is the same in every memory."""
    return hmac.digest(b"a key of this memory", text.encode("utf-8", "surrogatepass"), "sha256")


def _statuses(entries: Iterable[LedgerLine]) -> Iterator[MessageStatus]:
    for entry in entries:
        yield MessageStatus(
            message=entry.message,
            status=entry.status,
            attempts=entry.attempts,
            reason=entry.reason,
            code=entry.code,
            provider_id=entry.provider_id,
            updated_ms=entry.updated_ms,
            links=entry.links,
        )
