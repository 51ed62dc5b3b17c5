"""Owns one partition of the ledger: takes handovers from `dispatches`, lets messages be claimed and settled.

Invariant: what a call says has happened is on the changelog, written while this process owned the partition. Requests that
come while a batch is written make one batch together, because each costs a round trip to the broker; the next batch is not
written before everything that the last one sends (outcomes to `touchpoints`, dead letters) is acknowledged.

Every takeover ends what a former owner had begun: a message found claimed becomes `unknown` (or, where its purpose may be sent
again, pending a moment later). If that owner lives and hears the answer, it hands it over by `dispatches` (`Answered`), and the
ledger takes it if there was no other attempt. So the answer is not lost, there is one writer, and nothing is sent twice by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from engine.clock import Clock
from engine.core.catalog import Catalog
from engine.core.journey.holding import NOTHING, Holding
from engine.core.message import Message
from engine.core.record import Flush
from engine.dispatch.ports import NO_LINKS, Closed, Links, Pending, Settlement
from engine.errors import LimitExceeded, StorageError
from engine.runtimes.base import MessageStatus
from engine.runtimes.kafka.dispatcher import inbox
from engine.runtimes.kafka.dispatcher import inbox as handed
from engine.runtimes.kafka.dispatcher.asked import PendingChange, fail, keys_of_messages
from engine.runtimes.kafka.dispatcher.draft import Draft, Put
from engine.runtimes.kafka.dispatcher.ledger_entry import LedgerEntry, read_entry, status_of, stored_entry
from engine.runtimes.kafka.dispatcher.ledger_log import LedgerLog, LedgerStore
from engine.runtimes.kafka.dispatcher.ledger_queue import PendingQueue, QueuedMessage
from engine.runtimes.kafka.dispatcher.ledger_shelf import Shelf, keys_of
from engine.runtimes.kafka.dispatcher.transitions import CLAIMED_DUE_MS, outline_or_none, recovered, slot_of
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.partition.changelog import Fenced
from engine.runtimes.kafka.topics import OWNER_KEY, PREFIX_BYTES, Checkpoint, Outgoing, Topics
from engine.runtimes.keeping import before_ms, kept
from engine.runtimes.unreadable import UnreadableRow
from engine.telemetry import Action, Metrics, get_log

GROUP_MAX = 64  # requests that one commit carries out
ROWS_PER_STEP = 500
RETRY_SECONDS = 0.5
FLUSHED_MAX = 5_000
"""Messages of a partition whose backoff one flush ends."""


class LedgerTools(msgspec.Struct, frozen=True, kw_only=True):
    """What all partitions of a process share. `on_forget` is told first, in another thread, who is to be forgotten."""

    topics: Topics
    partitions: int
    outlet: Outlet
    clock: Clock
    metrics: Metrics
    catalog: Callable[[], Catalog]
    ledger_days: int = 90
    on_forget: Callable[[str], None] = lambda _customer: None


class LedgerPartition:
    """One partition: `restore`, then everything else while `work` runs."""

    def __init__(self, number: int, store: LedgerStore, log: LedgerLog, *, tools: LedgerTools) -> None:
        self.number = number
        self.queue = PendingQueue()
        self.shelf = Shelf(number, tools.topics.dead_letters, metrics=tools.metrics)
        self.claims: dict[bytes, tuple[str, int]] = {}  # under way: key → customer, number of the attempt (from 1)
        self.interrupted: list[Message] = []  # found claimed when the partition was taken over
        self.restore_seconds = 0.0
        self.releasing = False
        self.flushed: list[Flush] = []
        """Pauses that an operator ended, and nobody has asked about yet."""
        self.on_work: Callable[[], None] = lambda: None
        """Called when a message may have become ready."""
        self.commits = 0
        self._store = self.store = store
        self.scrub = store.scrub
        self._log = log
        self._tools = tools
        self._forgotten = handed.Forgets()
        self._asked: deque[PendingChange] = deque()
        self._wake = asyncio.Event()
        self._quiet = asyncio.Event()  # nothing is asked, written or under way
        self._quiet.set()
        self._ended: StorageError | None = None
        self._pruned = b""
        self._known_until = -1
        self._lines = get_log("ledger")

    @property
    def applied(self) -> int:
        """Offset of the last record of `dispatches` that was taken."""
        return self._log.checkpoint.applied

    @property
    def aside(self) -> set[str]:
        """Messages that cannot be read."""
        return self.shelf.aside.union(self._log.checkpoint.aside)

    @property
    def depth(self) -> int:
        """Messages that are pending or claimed."""
        return len(self.queue) + len(self.claims)

    # ------------------------------------------------------------------------------------------------------- taking over

    async def restore(self) -> None:
        """Takes the partition over: reads what is new, sends again what the last batch sends, ends what was under way."""
        started = self._tools.clock.monotonic()
        count = await self._log.take_over()
        await self._send(self._log.checkpoint.outgoing)
        await self._recover()
        await self._index_open()
        self.restore_seconds = self._tools.clock.monotonic() - started
        self._tools.metrics.recovery_seconds.observe(self.restore_seconds)
        self._lines.info(Action.PARTITION_RESTORED, partition=self.number, records=count, applied=self.applied)

    async def _recover(self) -> None:
        while True:
            due = self._store.due(CLAIMED_DUE_MS, ROWS_PER_STEP)
            if not due:
                return
            draft = self._draft([key for _, key in due])
            now_ms, unknown = self._tools.clock.now_ms(), self._tools.catalog().policy.unknown
            for _, key in due:
                entry = draft.get(key)
                if entry is None:
                    self.shelf.put(draft, key, now_ms)
                    continue
                resend = unknown.get(entry.message.purpose) == "resend"
                changed, records = recovered(entry, resend=resend, now_ms=now_ms)
                draft.put(key, changed, records)
                if not resend:
                    self.interrupted.append(entry.message)
                    self._lines.warning(Action.MESSAGE_BECAME_UNKNOWN, message=entry.message.id)
            checkpoint = await self._write(draft)
            await self._send(checkpoint.outgoing)

    async def _index_open(self) -> None:
        """Fills the queue from the rows, without the messages' content."""
        self.queue = await self.shelf.queue_of(self._store, self._known_until)

    def reset(self) -> None:
        """After another process took the partition over, and before `restore` takes it back."""
        self._ended = None
        self.claims.clear()
        self._quiet.set()

    # ----------------------------------------------------------------------------------------------------------- working

    async def work(self) -> None:
        """Carries out what is asked until cancelled. Raises Fenced when another process turns out to be the owner."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._asked:
                    await self._carry_out([self._asked.popleft() for _ in range(min(GROUP_MAX, len(self._asked)))])
                if not self.claims:
                    self._quiet.set()
        except BaseException as error:
            self._end(error if isinstance(error, StorageError) else StorageError("The partition was given away."))
            raise

    def _end(self, error: StorageError) -> None:
        self._ended = error
        self._quiet.set()
        while self._asked:
            fail([self._asked.popleft()], error)

    async def _carry_out(self, group: list[PendingChange]) -> None:
        outgoing: Sequence[Outgoing] = ()
        try:
            draft = self._draft([key for asked in group for key in asked.keys])
            answers = [asked.change(draft) for asked in group]
            if draft.changed:
                outgoing = (await self._write(draft)).outgoing
        except LimitExceeded as error:
            if len(group) == 1:
                fail(group, error)
                return
            for asked in group:  # together they are too much; each of them may be small enough
                await self._carry_out([asked])
            return
        except StorageError as error:
            fail(group, error)
            if isinstance(error, Fenced):
                raise
            self._lines.error(Action.BATCH_FAILED, partition=self.number, cause=error)
            return
        except BaseException:
            fail(group, StorageError("The partition was given away."))
            raise
        for asked, answer in zip(group, answers, strict=True):
            if not asked.done.done():
                asked.done.set_result(answer)
        await self._send(outgoing)

    def _draft(self, keys: Sequence[bytes]) -> Draft:
        return Draft(self._store.rows(list(dict.fromkeys(keys))), self._log.checkpoint.applied)

    async def _write(self, draft: Draft) -> Checkpoint:
        tools = self._tools
        outgoing = draft.outgoing(tools.topics, tools.partitions)
        aside = tuple(sorted(self.aside - draft.removed)) if self.aside else ()
        checkpoint = msgspec.structs.replace(
            self._log.checkpoint, applied=draft.applied, outgoing=outgoing, aside=aside
        )
        await self._log.commit(draft.changes(self._log.next_position), checkpoint)
        self.commits += 1
        opened = False
        for put in draft.puts():
            opened |= self._index(put)
        if opened:
            self.on_work()
        return checkpoint

    def _index(self, put: Put) -> bool:
        """Follows a written row in memory; whether a message became pending by it."""
        key, entry = put
        self.claims.pop(key, None)
        if entry is not None and entry.status == "pending":
            self.queue.put(slot_of(key, entry))
            return True
        self.queue.drop(key)
        if entry is not None and entry.status == "claimed":
            self.claims[key] = (entry.message.customer, entry.attempts)
        return False

    async def _send(self, outgoing: Sequence[Outgoing]) -> None:
        """Tries until it is done: it is on the changelog, so it has happened."""
        while outgoing:
            try:
                await self._tools.outlet.send(outgoing)
                return
            except StorageError as error:
                self._lines.error(Action.BATCH_FAILED, partition=self.number, cause=error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _ask(self, keys: Sequence[bytes], change: Callable[[Draft], Any]) -> Any:
        if self._ended is not None:
            raise self._ended
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked.append(PendingChange(keys, change, done))
        self._quiet.clear()
        self._wake.set()
        return await done

    # ------------------------------------------------------------------------------------------------- the dispatcher's

    def states_known(self, offset: int) -> None:
        """Our copy of the customers' states holds everything up to this record of `touchpoints`."""
        self._known_until = max(self._known_until, offset)
        if self.queue.open_until(offset):
            self.on_work()

    def first(self, limit: int, closed: Closed, now_ms: int, *, holding: Holding = NOTHING) -> list[QueuedMessage]:
        """Places of messages that may leave now, as in the port."""
        if self.releasing or self._ended is not None:
            return []
        return self.queue.first(limit, closed, now_ms, holding=holding)

    def load(self, keys: Sequence[bytes]) -> dict[bytes, Pending]:
        """Those of the messages that are still pending."""
        found = {}
        for key, row in self._store.rows(keys).items():
            try:
                entry = read_entry(row[PREFIX_BYTES:], key)
            except UnreadableRow:
                self.shelf.damaged.add(key)
                self.queue.drop(key)
                continue
            if entry.status == "pending" and key in self.queue:
                found[key] = Pending(
                    message=entry.message, attempt=entry.attempts, first_attempt_ms=entry.first_attempt_ms
                )
        return found

    async def shelve(self) -> None:
        """Sets aside what was found that cannot be read: its bytes are a dead letter, and it is not found again."""
        keys, now_ms = sorted(self.shelf.damaged), self._tools.clock.now_ms()
        if keys:
            await self._ask(keys, lambda draft: self.shelf.put_all(draft, keys, now_ms))
            self.shelf.damaged.difference_update(keys)

    async def ready(self, limit: int, closed: Closed, now_ms: int) -> list[Pending]:
        """Messages that may leave now, as in the port."""
        keys = [slot.key for slot in self.first(limit, closed, now_ms)]
        found = self.load(keys)
        return [found[key] for key in keys if key in found]

    async def claim(self, message_ids: Sequence[str], *, links: Links = NO_LINKS) -> frozenset[str]:
        """As in the port. While the partition is being released nothing is claimed."""
        if self.releasing or not message_ids:
            return frozenset()
        now_ms = self._tools.clock.now_ms()
        try:
            change = functools.partial(Draft.claim, message_ids=message_ids, now_ms=now_ms, links=links)
            return frozenset(await self._ask(keys_of_messages(message_ids), change))
        except LimitExceeded:
            if len(message_ids) == 1:
                raise
            middle = len(message_ids) // 2
            parts = (message_ids[:middle], message_ids[middle:])
            return frozenset().union(*[await self.claim(part, links=links) for part in parts])

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        try:
            await self._ask(
                keys_of_messages([each.message_id for each in settlements]), lambda draft: draft.settle(settlements)
            )
        except LimitExceeded:
            if len(settlements) == 1:
                raise
            middle = len(settlements) // 2
            await self.settle(settlements[:middle])
            await self.settle(settlements[middle:])

    def knows(self, message_id: str) -> bool:
        """Whether the message is, or was, in this partition's ledger."""
        key = message_id.encode()
        return key in self.queue or key in self.claims or bool(self._store.rows([key]))

    # ----------------------------------------------------------------------------------------------------- the records'

    async def take(self, records: Sequence[Incoming]) -> None:
        """Takes records of `dispatches` in their order; those that were taken before are left out.

        Raises StorageError; then a first part of them may have been taken.
        """
        new = [each for each in records if each.offset > self.applied]
        for part in inbox.parts(new, f"{self._tools.topics.dispatches}:{self.number}"):
            await asyncio.to_thread(list, map(self._tools.on_forget, part.forgets))
            doomed = await keys_of(self._store, part.forgets) if part.forgets else {}
            keys = [*part.keys, *(key for found in doomed.values() for key in found)]
            if part.flushes:
                keys += self.queue.put_off(FLUSHED_MAX)
            here = handed.DeadLetterTarget(self._tools.topics.dead_letters, self.number, self._tools.clock.now_ms())
            await self._ask(keys, functools.partial(self._take, part=part, doomed=doomed, here=here))
            if part.flushes:
                self.flushed += part.flushes
                self.on_work()

    def _take(
        self, draft: Draft, *, part: handed.HandedPart, doomed: dict[str, list[bytes]], here: handed.DeadLetterTarget
    ) -> None:
        dead = handed.apply(draft, part, doomed, forgotten=self._forgotten, here=here)
        if dead:
            self._tools.metrics.dead_letters.inc(dead)
            self._lines.error(Action.RECORD_DEAD_LETTERED, partition=self.number, count=dead)

    async def prune(self) -> int:
        """Looks at the next few hundred entries, and removes those that are final for too long; returns how many."""
        rows = self._store.walk(self._pruned, ROWS_PER_STEP)
        self._pruned = rows[-1][0] if len(rows) == ROWS_PER_STEP else b""
        days = kept(self._tools.catalog().policy.retention, messages=self._tools.ledger_days).messages
        oldest_ms = before_ms(days, self._tools.clock.now_ms()) or 0
        outlines = [(key, outline_or_none(row)) for key, row in rows if key != OWNER_KEY]
        old = [key for key, outline in outlines if outline is not None and inbox.is_old(outline, oldest_ms)]
        if old:
            await self._ask(old, lambda draft: draft.prune(old, oldest_ms))
        return len(old)

    # --------------------------------------------------------------------------------------------------------- leaving

    async def release(self, seconds_max: float) -> bool:
        """Hands nothing more out, and waits until what is under way is settled; whether all of it was."""
        self.releasing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                await self._quiet.wait()
        return not self.claims

    # --------------------------------------------------------------------------------------------------------- answers

    def entry(self, message_id: str) -> LedgerEntry | None:
        """What the ledger says of a message."""
        key = message_id.encode()
        row = self._store.rows([key]).get(key)
        return None if row is None else stored_entry(row, key)

    def status(self, message_id: str) -> MessageStatus | None:
        """What the ledger says of a message, as a runtime tells it."""
        entry = self.entry(message_id)
        return None if entry is None else status_of(entry)

    def close(self) -> None:
        """Closes the rows, once `work` is over."""
        self._end(self._ended or StorageError("The partition was given away."))
        self._store.close()
