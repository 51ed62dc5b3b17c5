"""Messages of a partition's ledger that are not offered: those that cannot be read, and those whose customer is set aside.

Invariant: a row that cannot be read stays as it is; its message is neither sent nor taken for one that is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from engine.runtimes.kafka.dispatcher.draft import Draft
from engine.runtimes.kafka.dispatcher.ledger_log import LedgerStore
from engine.runtimes.kafka.dispatcher.ledger_queue import PendingQueue
from engine.runtimes.kafka.dispatcher.transitions import outline_or_none, slot_of
from engine.runtimes.kafka.topics import OWNER_KEY, Outgoing, dead_letter_headers
from engine.telemetry import Action, Metrics, get_log

ROWS_PER_STEP = 500
_log = get_log("ledger")


class Shelf:
    """Of one partition. `topic` is the one of dead letters."""

    def __init__(self, number: int, topic: str, *, metrics: Metrics) -> None:
        self._number = number
        self._topic = topic
        self._metrics = metrics
        self.damaged: set[bytes] = set()
        """Keys of rows that were found to be unreadable, and are to be set aside."""
        self.aside: set[str] = set()
        """Messages whose rows were."""
        self._held: dict[str, list[bytes]] = {}

    def put(self, draft: Draft, key: bytes, now_ms: int) -> None:
        """Sets a row aside in a draft: its bytes are a dead letter, and no index leads to it any more."""
        reason, name = draft.shelve(key), key.decode(errors="replace")
        if not reason or name in self.aside:
            return
        self.aside.add(name)
        headers = dead_letter_headers(reason, f"message:{name}", now_ms)
        draft.send(Outgoing(self._topic, self._number, key, draft.row(key), headers))
        self._metrics.dead_letters.inc()
        _log.error(Action.ROW_QUARANTINED, row="message", key=name, partition=self._number, reason=reason)

    def put_all(self, draft: Draft, keys: Sequence[bytes], now_ms: int) -> None:
        """As `put`, several."""
        for key in keys:
            self.put(draft, key, now_ms)

    async def queue_of(self, store: LedgerStore, known_until: int) -> PendingQueue:
        """The queue of what is pending in the rows, without the messages' content."""
        queue = PendingQueue()
        queue.open_until(known_until)
        after = b""
        while found := store.walk_due(after, ROWS_PER_STEP):
            after = found[-1][0]
            for key, row in store.rows([key for _, key in found]).items():
                outline = outline_or_none(row)
                if outline is None:
                    self.damaged.add(key)
                else:
                    queue.put(slot_of(key, outline))
            await asyncio.sleep(0)
        return queue

    def hold(self, queue: PendingQueue, customer: str, key: bytes) -> None:
        """The customer is set aside: the message waits with them."""
        queue.drop(key)
        self._held.setdefault(customer, []).append(key)

    def let_go(self, queue: PendingQueue, store: LedgerStore, waits: Callable[[str], bool]) -> None:
        """Queues again what was held for customers who do not wait any longer."""
        for customer in [customer for customer in self._held if not waits(customer)]:
            for key, row in store.rows(self._held.pop(customer)).items():
                outline = outline_or_none(row)
                if outline is not None and outline.status == "pending":
                    queue.put(slot_of(key, outline))


async def keys_of(store: LedgerStore, forgets: frozenset[str]) -> dict[str, list[bytes]]:
    """Customer → the keys of all their entries. Erasures are rare, so there is no index: the rows are walked.

    A row that cannot be read is theirs when it holds their id: it is not kept of somebody who is forgotten.
    """
    found: dict[str, list[bytes]] = {customer: [] for customer in forgets}
    needles = {customer: customer.encode() for customer in forgets}
    after = b""
    while rows := store.walk(after, ROWS_PER_STEP):
        after = rows[-1][0]
        for key, row in rows:
            if key == OWNER_KEY or not any(needle in row for needle in needles.values()):
                continue
            outline = outline_or_none(row)
            for customer in forgets if outline is None else forgets & {outline.message.customer}:
                if needles[customer] in row:
                    found[customer].append(key)
        await asyncio.sleep(0)
    return found
