"""Which messages of a partition may leave next: an index in memory of those that are pending, without the messages.

Invariant: every pending message has one slot, and the slot is in exactly one place: gated (our copy of the customers' states is
not as far as the record that led to it), waiting (its time has not come), or in its lane. Reading costs what `limit` costs and
what is excluded, however much waits.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Collection, Iterable

from engine.core.journey.holding import NOTHING, Holding
from engine.dispatch.ports import Closed, shared_out
from engine.dispatch.sending.throttle import Lane

Rank = tuple[int, int, int]
"""(1 unless it is transactional, -priority, number): smaller leaves first."""


class QueuedMessage:
    """A pending message, as far as its place in the queue needs it."""

    __slots__ = ("channel", "decided_ms", "domain", "gone", "key", "not_before_ms", "offset", "rank", "workflow")

    def __init__(
        self, key: bytes, rank: Rank, *, lane: Lane, offset: int, times_ms: tuple[int, int], workflow: str = ""
    ) -> None:
        """`times_ms` are when it was decided and when it may leave (0: at once)."""
        self.workflow = sys.intern(workflow)
        self.key = key
        self.rank = rank
        self.channel, self.domain = lane
        self.offset = offset
        self.decided_ms, self.not_before_ms = times_ms
        self.gone = False

    def __lt__(self, other: QueuedMessage) -> bool:
        return self.key < other.key


_Entry = tuple[Rank, QueuedMessage]
_Head = tuple[Rank, str]


class _Channel:
    """One channel's lanes, by destination domain. `_heads` orders them by their first slot; old heads are found stale."""

    def __init__(self) -> None:
        self._lanes: dict[str, list[_Entry]] = {}
        self._head: dict[str, Rank] = {}
        self._heads: list[_Head] = []

    def push(self, slot: QueuedMessage) -> None:
        heapq.heappush(self._lanes.setdefault(slot.domain, []), (slot.rank, slot))
        self._show(slot.domain)

    def _show(self, domain: str) -> Rank | None:
        """Drops what is gone from the front of a lane, and makes its head known; None: the lane is empty."""
        lane = self._lanes[domain]
        while lane and lane[0][1].gone:
            heapq.heappop(lane)
        if not lane:
            del self._lanes[domain]
            self._head.pop(domain, None)
            return None
        rank = lane[0][0]
        if self._head.get(domain) != rank:
            self._head[domain] = rank
            heapq.heappush(self._heads, (rank, domain))
        return rank

    def first(self, limit: int, closed: frozenset[str]) -> list[QueuedMessage]:
        """The first slots of the lanes that are not closed; they stay where they are."""
        heads: dict[str, Rank] = {}  # taken from `_heads`, to be put back
        ahead: list[_Head] = []
        found: list[_Entry] = []
        while len(found) < limit:
            if self._heads and (not ahead or self._heads[0] < ahead[0]):
                rank, domain = heapq.heappop(self._heads)
                if domain in heads or self._head.get(domain) != rank or self._show(domain) != rank:
                    continue
                heads[domain] = rank
                if domain not in closed:
                    heapq.heappush(ahead, (rank, domain))
            elif ahead:
                _, domain = heapq.heappop(ahead)
                lane = self._lanes[domain]
                found.append(heapq.heappop(lane))
                while lane and lane[0][1].gone:
                    heapq.heappop(lane)
                if lane:
                    heapq.heappush(ahead, (lane[0][0], domain))
            else:
                break
        for entry in found:
            heapq.heappush(self._lanes[entry[1].domain], entry)
        for domain, rank in heads.items():
            heapq.heappush(self._heads, (rank, domain))
        return [slot for _, slot in found]


class PendingQueue:
    """The pending messages of one partition."""

    def __init__(self) -> None:
        self._slots: dict[bytes, QueuedMessage] = {}
        self._gated: list[tuple[int, Rank, QueuedMessage]] = []
        self._waiting: list[tuple[int, Rank, QueuedMessage]] = []
        self._channels: dict[
            tuple[str, int], _Channel
        ] = {}  # by channel, and whether it is transactional (0) or not (1)
        self._open_until = -1

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: bytes) -> bool:
        return key in self._slots

    def put(self, slot: QueuedMessage) -> None:
        """Takes a slot, instead of the one that its message had."""
        self.drop(slot.key)
        self._slots[slot.key] = slot
        if slot.offset > self._open_until:
            heapq.heappush(self._gated, (slot.offset, slot.rank, slot))
        else:
            self._schedule(slot)

    def drop(self, key: bytes) -> None:
        """The message is no longer pending."""
        slot = self._slots.pop(key, None)
        if slot is not None:
            slot.gone = True

    def open_until(self, offset: int) -> bool:
        """States are known up to this record; whether that lets a message through."""
        self._open_until = max(self._open_until, offset)
        opened = False
        while self._gated and self._gated[0][0] <= self._open_until:
            slot = heapq.heappop(self._gated)[2]
            if not slot.gone:
                self._schedule(slot)
                opened = True
        return opened

    def first(self, limit: int, closed: Closed, now_ms: int, *, holding: Holding = NOTHING) -> list[QueuedMessage]:
        """Slots of messages that may leave now, as `Outbox.ready` of the port; while all is held, of what is released.

        That is looked for among all: it is not for long, and then few are in a hurry.
        """
        self._promote(now_ms)
        if holding.since_ms:
            return self._released(limit, closed, now_ms, released=holding.released)
        express, bulk = (self._first(limit, closed.to(bulk=bulk), kind=int(bulk)) for bulk in (False, True))
        return shared_out(express, bulk, limit)

    def _first(self, limit: int, exclude: Iterable[Lane], *, kind: int) -> list[QueuedMessage]:
        shut: dict[str, set[str]] = {}
        for channel, domain in exclude:
            shut.setdefault(channel, set()).add(domain)
        found: list[QueuedMessage] = []
        for (name, is_bulk), lined_up in self._channels.items():
            lanes = shut.get(name, set())
            if is_bulk == kind and "" not in lanes:
                found += lined_up.first(limit, frozenset(lanes))
        found.sort(key=lambda slot: slot.rank)
        return found[:limit]

    def _released(self, limit: int, closed: Closed, now_ms: int, *, released: Collection[str]) -> list[QueuedMessage]:
        if not released:
            return []
        found = sorted(
            (
                slot
                for slot in self._slots.values()
                if slot.workflow in released
                and slot.offset <= self._open_until
                and slot.not_before_ms <= now_ms
                and closed.to(bulk=bool(slot.rank[0])).isdisjoint({(slot.channel, ""), (slot.channel, slot.domain)})
            ),
            key=lambda slot: slot.rank,
        )
        bulk = [slot for slot in found if slot.rank[0]]
        return shared_out(found[: len(found) - len(bulk)], bulk, limit)

    def put_off(self, limit: int) -> list[bytes]:
        """Keys of messages that wait for their time, the first of them."""
        return [slot.key for _, _, slot in heapq.nsmallest(limit, self._waiting) if not slot.gone]

    @property
    def next_due_ms(self) -> int:
        """When the next waiting message may leave; 0: none waits."""
        while self._waiting and self._waiting[0][2].gone:
            heapq.heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else 0

    def _schedule(self, slot: QueuedMessage) -> None:
        if slot.not_before_ms:
            heapq.heappush(self._waiting, (slot.not_before_ms, slot.rank, slot))
        else:
            self._line_up(slot)

    def _line_up(self, slot: QueuedMessage) -> None:
        self._channels.setdefault((slot.channel, slot.rank[0]), _Channel()).push(slot)

    def _promote(self, now_ms: int) -> None:
        while self._waiting and self._waiting[0][0] <= now_ms:
            slot = heapq.heappop(self._waiting)[2]
            if not slot.gone:
                self._line_up(slot)
