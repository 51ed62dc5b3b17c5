"""The memory runtime behind the ports of `base`, so that whatever talks to a runtime can be tested without a disk.

Invariant: it answers as the embedded runtime does, except that nothing survives it.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

import msgspec

from engine.clock import ManualClock
from engine.core.catalog import Catalog
from engine.core.consent.proof import records_of
from engine.core.consent.suppression import answer, names
from engine.core.customer import CustomerState
from engine.core.effect import Decision
from engine.core.journey import duplicates
from engine.core.journey.holding import is_held
from engine.core.journey.migrate import VERSIONS
from engine.core.message import Message, is_bulk
from engine.core.record import Control, Flush, Pause, Recheck, Record, Settled, decode_record, encode_record
from engine.dispatch.ports import NO_LINKS, OPEN, Closed, Links, Pending, Settlement, shared_out
from engine.dispatch.sending import guardrail
from engine.dispatch.sending.feedback import NOWHERE, SENT_ELSEWHERE
from engine.errors import StorageError
from engine.runtimes.base import (
    DeadLetter,
    Paused,
)
from engine.runtimes.consents import without_person
from engine.runtimes.effects import flushes
from engine.runtimes.memory import Memory
from engine.runtimes.memory_reader import LedgerLine, MemoryReader, keyed_hash
from engine.runtimes.unreadable import set_aside_sentence, why_waiting


class MemoryRuntime(MemoryReader):
    """All ports on `Memory`. Time moves by `advance_to`; everything is evaluated before a call returns."""

    def __init__(self, catalog: Catalog, *, clock: ManualClock | None = None) -> None:
        super().__init__(Memory(catalog, clock=clock, keep_log=True))
        self.memory.on_decision = self._decided
        self.memory.on_dispatch = self._dispatched
        self.memory.on_forget = self._forgot
        self.memory.on_failure = self._failed
        self.memory.on_pause = self._paused
        self.memory.on_control = self._controlled
        self._flushed: list[Flush] = []
        self.memory.on_wait = self._waits
        self._journal_seq = 0
        self._letter_id = 0
        self._work = asyncio.Event()

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def idle(self) -> None:
        self.memory.run_until(self.memory.clock.now_ms())

    def advance_to(self, now_ms: int) -> None:
        """Moves the clock and fires every timer on the way."""
        self.memory.run_until(now_ms)
        self._work.set()

    # ---------------------------------------------------------------------------------------------------- intake

    async def append(self, records: Sequence[Record]) -> None:
        for record in records:
            self.memory.step(record)

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            self._letter(letter)

    @property
    def backlog(self) -> int:
        return 0

    async def probe(self) -> str:
        return ""

    async def replay(self, dead_letter_ids: Sequence[int]) -> int:
        wanted = [each for each in self._letters if each.id in dead_letter_ids and each.origin.startswith("log:")]
        self._letters = [each for each in self._letters if each not in wanted]
        await self.append([decode_record(each.body) for each in wanted])
        return len(wanted)

    async def deploy(
        self, catalog: Catalog, *, sources: Mapping[str, str] | None = None, versions: str = "pin"
    ) -> None:
        """As in the port. There is no later start, so `sources` are not needed."""
        assert versions in VERSIONS, versions
        before = self.memory.catalog
        self.memory.catalog = msgspec.structs.replace(
            catalog,
            paused=catalog.paused | before.paused,
            paused_ms=before.paused_ms,
            winners=before.winners,
            holding=before.holding,
        )
        now_ms = self.memory.clock.now_ms()
        for number, customer in enumerate(list(self.memory.states), 1):
            recheck_id = f"{catalog.id}:{self.memory.position}:{number}"
            self.memory.step(
                Recheck(customer=customer, at_ms=now_ms, id=recheck_id, catalog=catalog.id, versions=versions)
            )

    def set_aside(self, customer: str, reason: str, body: bytes = b"") -> None:
        """As if this customer's row could not be read."""
        self.memory.aside.add(customer)
        self._letter(DeadLetter(at_ms=0, origin=f"state:{customer}", reason=reason, body=body, customer=customer))

    async def mend(self, customer: str) -> None:
        """As if it could again: what waited is applied."""
        self.memory.aside.discard(customer)
        due_ms = self.memory.states[customer].next_due_ms if customer in self.memory.states else 0
        self.memory.arm(customer, due_ms)
        await self.replay([each.id for each in self._letters if each.customer == customer])

    def degraded(self) -> list[str]:
        """As of the other runtimes."""
        return [set_aside_sentence(len(self.memory.aside))] if self.memory.aside else []

    # ---------------------------------------------------------------------------------------------------- outbox

    async def ready(self, limit: int, *, closed: Closed = OPEN) -> list[Pending]:
        now_ms = self.memory.clock.now_ms()
        due = [
            entry
            for entry in self._ledger.values()
            if entry.message.customer not in self.memory.aside
            and entry.status == "pending"
            and entry.not_before_ms <= now_ms
            and not is_held(self.catalog, entry.message.workflow)
        ]
        due.sort(key=lambda entry: (-entry.message.priority, entry.number))
        express, bulk = (
            [
                entry
                for entry in due
                if is_bulk(entry.message) is bulk and not _excluded(entry.message, closed.to(bulk=bulk))
            ]
            for bulk in (False, True)
        )
        return [
            Pending(message=entry.message, attempt=entry.attempts, first_attempt_ms=entry.first_attempt_ms)
            for entry in shared_out(express, bulk, limit)
        ]

    async def claim(self, message_ids: Sequence[str], *, links: Links = NO_LINKS) -> frozenset[str]:
        now_ms = self.memory.clock.now_ms()
        claimed = []
        for message_id in message_ids:
            entry = self._ledger.get(message_id)
            if entry is None or entry.status != "pending":
                continue
            entry.status, entry.updated_ms = "claimed", now_ms
            entry.attempts += 1
            entry.first_attempt_ms = entry.first_attempt_ms or now_ms
            entry.links = {**entry.links, **links.get(message_id, {})}
            claimed.append(message_id)
        return frozenset(claimed)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        for each in settlements:
            entry = self._ledger.get(each.message_id)
            open_still = ("pending", "claimed") if each.status == "unknown" else ("pending", "claimed", "unknown")
            if entry is None or entry.status not in open_still:
                continue
            if each.status == "sent":
                self._paces[entry.message.workflow, guardrail.bucket_of(each.at_ms), "sent"] += 1
            entry.status, entry.updated_ms = each.status, each.at_ms
            entry.not_before_ms = each.not_before_ms
            entry.reason, entry.code = each.reason, each.code
            entry.provider_id = each.provider_id or entry.provider_id
            for record in each.records:
                self.memory.step(record)
        self._work.set()

    async def interrupted(self) -> list[Message]:
        return []

    async def flushed(self) -> list[Flush]:
        found, self._flushed = self._flushed, []
        return found

    async def wait_for_work(self, timeout_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._work.wait()
        self._work.clear()

    async def states(self, customers: Sequence[str]) -> dict[str, CustomerState]:
        if not self.memory.aside.isdisjoint(customers):
            raise StorageError("A customer was set aside meanwhile.")
        return {customer: self.memory.states[customer] for customer in customers if customer in self.memory.states}

    async def duplicates(self, messages: Sequence[Message]) -> dict[str, bool]:
        states, found = self.memory.states, {}
        for message in messages:
            others = [
                (entry.message, entry.status)
                for entry in self._ledger.values()
                if duplicates.same_issue(message, entry.message)
            ]
            holders = {record.customer for record in await self.consents(address=message.address)}
            holders |= {message.customer, *(other.customer for other, _ in others)}
            known = {name: states[name] for name in holders if name in states}
            if duplicates.is_second(message, known, others, catalog=self.catalog):
                found[message.id] = True
        return found

    async def suppressed(self, addresses: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        known, since = self.memory.suppressed, self.memory.suppressed_ms
        keys = {pair: (pair[0], names(*pair)[0].partition(":")[2]) for pair in addresses}
        return {pair: answer(known[key], since[key]) for pair, key in keys.items() if key in known}

    @property
    def catalog(self) -> Catalog:
        return self.memory.catalog

    # --------------------------------------------------------------------------------------- what Memory tells us

    def _decided(self, position: int, decision: Decision) -> None:
        self._journal_seq += 1
        self._journal.append((self._journal_seq, position, decision))
        known = {record.id for _, record in self._consents} if decision.kind == "consent" else ()
        self._consents += [(position, record) for record in records_of(decision) if record.id not in known]
        counted = guardrail.count(decision)
        if counted is not None:
            self._paces[counted] += 1

    def _paused(self, record: Pause) -> None:
        self._pauses[record.workflow] = Paused(
            workflow=record.workflow, paused=record.paused, at_ms=record.at_ms, reason=record.reason
        )

    def _controlled(self, record: Control) -> None:
        if isinstance(record, Flush):
            self._flushed.append(record)
            for entry in self._ledger.values():
                if entry.attempts and flushes(record, entry.message, entry.reason):
                    entry.not_before_ms = 0
        elif isinstance(record, Settled):
            for message in record.messages:
                self._sent_elsewhere(message, record.at_ms)
        elif isinstance(record, Pause) and not record.paused:
            for entry in self._ledger.values():
                if entry.reason == "workflow_paused":
                    entry.not_before_ms = 0
        self._work.set()

    def _sent_elsewhere(self, message: str, at_ms: int) -> None:
        entry = self._ledger.setdefault(
            message, LedgerLine(message=NOWHERE, number=len(self._ledger), updated_ms=at_ms)
        )
        if entry.status in {"pending", "unknown"}:
            entry.status, entry.updated_ms, entry.reason = "sent", at_ms, SENT_ELSEWHERE

    def _dispatched(self, message: Message) -> None:
        later_ms = message.due_ms if message.due_ms > message.decided_ms else 0
        entry = LedgerLine(
            message=message, number=len(self._ledger), updated_ms=message.decided_ms, not_before_ms=later_ms
        )
        self._ledger.setdefault(message.id, entry)
        self._work.set()

    def _forgot(self, customer: str, position: int) -> None:
        alias = f"erased:{keyed_hash(f'customer:{customer}').hex()[:16]}"
        self._consents = [
            (at, without_person(record, alias=alias, keyed_hash=keyed_hash))
            if record.customer == customer and at <= position
            else (at, record)
            for at, record in self._consents
        ]
        self._journal = [line for line in self._journal if line[2].customer != customer or line[1] >= position]
        self._ledger = {key: entry for key, entry in self._ledger.items() if entry.message.customer != customer}
        self._letters = [each for each in self._letters if each.customer != customer]

    def _failed(self, position: int, record: Record, error: Exception) -> None:
        self._kept(position, record, f"{type(error).__name__}: {error}")

    def _waits(self, position: int, record: Record) -> None:
        self._kept(position, record, why_waiting("state"))

    def _kept(self, position: int, record: Record, reason: str) -> None:
        self._letter(
            DeadLetter(
                at_ms=record.at_ms,
                origin=f"log:{position}",
                reason=reason,
                body=encode_record(record),
                customer=record.customer,
            )
        )

    def _letter(self, letter: DeadLetter) -> None:
        self._letter_id += 1
        self._letters.append(msgspec.structs.replace(letter, id=self._letter_id))


def _excluded(message: Message, exclude: frozenset[tuple[str, str]]) -> bool:
    domain = message.address.rpartition("@")[2].lower() if "@" in message.address else ""
    return (message.channel, domain) in exclude or (message.channel, "") in exclude
