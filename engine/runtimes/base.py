"""What a runtime is to everybody else: the ports that collector, dispatcher, console and command line know.

Invariant: when a call that writes returns, what it wrote is durable; when it raises, nothing of it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from engine.core.catalog import Catalog
from engine.core.consent.proof import ConsentRecord
from engine.core.customer import CustomerState
from engine.core.effect import Decision
from engine.core.facts.address import canonical, kept_as
from engine.core.message import Message
from engine.core.record import Record
from engine.dispatch.ports import FINAL, Outbox, Pending, Settlement, Status
from engine.dispatch.sending.guardrail import Pace

__all__ = [
    "FINAL",
    "PAUSES",
    "DeadLetter",
    "ErasureReceipt",
    "Front",
    "History",
    "Intake",
    "MessageStatus",
    "Outbox",
    "Pace",
    "Paused",
    "Pending",
    "Query",
    "Reader",
    "Replayed",
    "Runtime",
    "Settlement",
    "Status",
    "enrollment_counts",
    "paces",
    "same_address",
    "same_addresses",
    "summary",
]


PAUSES = ("paused", "resumed")
"""Kinds of decisions about a workflow as a whole."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Input that could not be applied: the original bytes, where they came from and why."""

    at_ms: int
    origin: str
    """`http:/v1/track`, `log`, `callback:…`."""
    reason: str
    body: bytes
    customer: str = ""
    id: int = 0
    """Given by the runtime."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of putting dead letters back: numbers put back, of unknown letters, and of letters that never were records."""

    put_back: tuple[int, ...]
    unknown: tuple[int, ...]
    never_records: tuple[int, ...]


class ErasureReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept about an erasure. `finished_ms` is 0 while the log still holds records."""

    requested_ms: int
    finished_ms: int
    rows_removed: int
    customer_hash: str
    """Of the id, with a key that does not leave the store."""
    alias: str
    """What stands in for the id in what was kept."""


class MessageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the ledger knows it."""

    message: Message
    status: Status
    attempts: int
    reason: str
    code: str
    provider_id: str
    updated_ms: int
    links: dict[str, str] = {}
    """Where its tracked links lead, by their keys; empty for a message that is not tracked."""


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """What was last said about a workflow: `paused`, or that it goes on; when, and why."""

    workflow: str
    paused: bool
    at_ms: int
    reason: str = ""

    @property
    def cause(self) -> str:
        """The reason's first word, of a closed list; see `Pause`."""
        return self.reason.partition(":")[0] or "operator"


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The newest records of one customer, newest first. `whole` is False where older ones were not looked for."""

    records: tuple[Record, ...]
    looked: int
    """Records of the log that were looked at, whoever they are about."""
    whole: bool


class Intake(Protocol):
    """Where records come in."""

    async def append(self, records: Sequence[Record]) -> None:
        """Puts records on the log; durable when it returns. Order within a customer is kept.

        Raises Backlog when too much is waiting (nothing was taken), StorageFull when the disk is full.
        """

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        """Keeps input that can't be applied; durable when it returns."""

    @property
    def backlog(self) -> int:
        """Records taken in and not yet evaluated."""

    async def probe(self) -> str:
        """Why `append` would not take a record now, found by trying; "" when it would."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which decisions are asked for; empty fields do not restrict. Newest first unless `oldest_first`."""

    customer: str = ""
    workflow: str = ""
    enrollment: str = ""
    message: str = ""
    kinds: tuple[str, ...] = ()
    after_seq: int = 0
    limit: int = 200
    oldest_first: bool = False


class Reader(Protocol):
    """What operators ask."""

    async def state(self, customer: str) -> CustomerState | None:
        """The customer, or None."""

    async def decisions(self, query: Query) -> list[tuple[int, Decision]]:
        """Journal lines with their sequence numbers."""

    async def message(self, message_id: str) -> MessageStatus | None:
        """A message and what became of it."""

    async def messages(
        self, *, customer: str = "", status: str = "", workflow: str = "", before: str = "", limit: int = 200
    ) -> list[MessageStatus]:
        """Messages, newest first: of a customer, with a status, of a workflow, decided before the message `before`."""

    async def consents(self, *, customer: str = "", address: str = "") -> list[ConsentRecord]:
        """The consent ledger's entries of a customer, or of an address (also of one whose customer was erased), oldest first."""

    async def message_of(self, provider_id: str) -> MessageStatus | None:
        """The newest message that its provider knows by this id."""

    async def written_to(self, address: str, *, limit: int = 100) -> list[MessageStatus]:
        """The newest message to this address of each customer and channel, newest first: who has been written to there."""

    async def customers(self, *, after: str = "", limit: int = 1_000) -> list[CustomerState]:
        """Customers in the order of their ids, from the first one behind `after` on."""

    async def statuses(self, messages: Sequence[str]) -> dict[str, tuple[Status, int]]:
        """Message id → its status, and since when; without those that are not known."""

    async def dead_letters(self, *, limit: int = 200) -> list[DeadLetter]:
        """Dead letters, oldest first."""

    async def pace(self, *, since_ms: int, until_ms: int, span_ms: int, workflow: str = "") -> list[Pace]:
        """What workflows did (or the one named) from `since_ms` up to and without `until_ms`, in stretches of `span_ms`."""

    async def pauses(self) -> list[Paused]:
        """Workflows that were ever paused, by name: whether they are, since when and why."""

    async def counts(self) -> dict[str, Any]:
        """Counts for a summary: events, customers, enrollments by workflow and status, decisions by kind, messages by
        channel and status, dead letters, timers pending and overdue.
        """


class Front(Intake, Reader, Protocol):
    """What the collector and the console know: records in, questions, and the definitions in force."""

    @property
    def catalog(self) -> Catalog:
        """The definitions in force."""


class Runtime(Intake, Outbox, Reader, Protocol):
    """All of it, with a life."""

    async def start(self) -> None:
        """Opens the store, recovers (claimed messages of a dead process become `unknown`), fires timers from then on."""

    async def stop(self) -> None:
        """Finishes the batch under way and closes. Idempotent."""

    async def deploy(
        self, catalog: Catalog, *, sources: Mapping[str, str] | None = None, versions: str = "pin"
    ) -> None:
        """Puts a catalog in force at a record boundary, and rechecks every customer against it, in the background.

        `sources` (file name → text) are kept, so that a later start can compile this version again while it is in use.
        `versions` (`pin`, `migrate`, `end`) says what becomes of enrollments of older versions, where the workflow itself
        does not; a restart goes on with it where the rechecks had come to.
        """

    async def idle(self) -> None:
        """Returns when every record on the log has been evaluated (timers in the future do not count)."""

    async def replay(self, dead_letter_ids: Sequence[int]) -> int:
        """Takes dead letters out and returns how many were appended again."""


def paces(rows: Iterable[Sequence[Any]], *, since_ms: int, span_ms: int) -> list[Pace]:
    """What `Reader.pace` answers, from a store's rows: workflow, number of the stretch, counts."""
    return [
        Pace(
            workflow=workflow, from_ms=since_ms + int(stretch) * span_ms, queued=int(queued), sent=int(sent),
            bounced=int(bounced), complained=int(complained),
        )
        for workflow, stretch, queued, sent, bounced, complained in rows
    ]  # fmt: skip


def same_address(address: str) -> str:
    """The form in which an address is kept to be looked up: mailboxes are the same in any case and in both forms of a domain."""
    return canonical(address) if "@" in address else address.strip().casefold()


def same_addresses(address: str) -> list[str]:
    """All the forms under which rows may hold an address: today's first, then those of older versions."""
    return list(kept_as(address)) if "@" in address else [address.strip().casefold()]


def summary(rows: Iterable[Sequence[Any]], *, dead_letters: int, overdue: int) -> dict[str, Any]:
    """What `Reader.counts` answers, from a store's counters: (`total` | `message` | `decision`, part, value)."""
    totals: dict[str, int] = {}
    decisions: dict[str, int] = defaultdict(int)
    enrollments: dict[str, dict[str, int]] = {}
    messages: dict[str, dict[str, int]] = defaultdict(dict)
    for name, part, value in rows:
        left, _, right = part.partition(":")
        if name == "total":
            totals[left] = value
        elif name == "message":
            if value:  # what moved on is 0 where it was
                messages[left][right] = value
        else:
            decisions[left] += value
            if right and left not in PAUSES:  # those are about nobody
                enrollments.setdefault(right, {})[left] = value
    return {
        "events": totals.get("records", 0),
        "customers": totals.get("customers", 0),
        "enrollments": {workflow: enrollment_counts(kinds) for workflow, kinds in sorted(enrollments.items())},
        "decisions": dict(sorted(decisions.items())),
        "messages": {channel: dict(sorted(by.items())) for channel, by in sorted(messages.items())},
        "dead_letters": dead_letters,
        "timers": {"pending": totals.get("timers", 0), "overdue": overdue},
    }


def enrollment_counts(kinds: Mapping[str, int]) -> dict[str, int]:
    """How a workflow's enrollments stand, from how often each kind of decision was taken about them."""
    entered, exited, completed = (kinds.get(kind, 0) for kind in ("entered", "exited", "completed"))
    failed = max(0, kinds.get("failed", 0) - kinds.get("retried", 0))
    active = max(0, entered - exited - completed)
    return {"entered": entered, "active": active, "exited": exited, "completed": completed, "failed": failed}
