"""The outbox of a dispatcher on Kafka: the partitions of the ledger that this process owns, as one.

Invariant: a message is handed out only while its partition is ours, our copy of its customer's state has seen the record that
led to it, all suppressed addresses were read, and no earlier attempt of ours is still under way. A question about a partition
that is gone fails; it is never answered with "unknown customer", which would end the message.

An answer for a partition that was lost meanwhile is handed to the new owner by `dispatches` (see `ledger`): as a record on
`touchpoints` it would reach the customer's state, but the ledger would go on saying `unknown`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from engine.clock import Clock
from engine.core.catalog import Catalog
from engine.core.customer import CustomerState
from engine.core.message import Message
from engine.core.record import Flush
from engine.dispatch.ports import NO_LINKS, OPEN, Closed, Links, Pending, Settlement, shared_out
from engine.errors import StorageError
from engine.runtimes.base import MessageStatus
from engine.runtimes.kafka.dispatcher.copies import Said, StateCopy, Suppressions, said_by
from engine.runtimes.kafka.dispatcher.ledger import LedgerPartition, LedgerTools
from engine.runtimes.kafka.dispatcher.ledger_queue import QueuedMessage
from engine.runtimes.kafka.topics import Answered, Outgoing, encode_json, partition_of
from engine.telemetry import Action, get_log

RETRY_SECONDS = 1.0
_log = get_log("outbox")


class KafkaOutbox:
    """Implements `engine.dispatch.ports.Outbox` over what `add` brings and `remove` takes away."""

    def __init__(self, tools: LedgerTools, suppressions: Suppressions) -> None:
        self._tools = tools
        self._clock: Clock = tools.clock
        self._suppressions = suppressions
        self._owned: dict[int, tuple[LedgerPartition, StateCopy]] = {}
        self._lost: dict[str, tuple[int, str, int]] = {}  # message under way → partition, customer, attempts
        self._held_until: dict[int, int] = {}
        self._work = asyncio.Event()
        self._catalog: tuple[Catalog, Said, Catalog] | None = None
        self.on_share: Callable[[float], None] = lambda _share: None
        """Called with the part of all partitions that is ours, when that has changed and is not nothing."""
        suppressions.on_read = self._work.set

    # -------------------------------------------------------------------------------------------------------- partitions

    @property
    def partitions(self) -> list[int]:
        """Those that messages are taken from."""
        return sorted(self._owned)

    @property
    def share(self) -> float:
        """The part of all partitions that is ours: also of every rate."""
        return len(self._owned) / self._tools.partitions

    @property
    def depth(self) -> int:
        """Messages here that are pending or claimed."""
        return sum(ledger.depth for ledger, _ in self._owned.values())

    def add(self, ledger: LedgerPartition, copy: StateCopy) -> None:
        """Takes messages from a partition that is restored."""
        assert ledger.number not in self._owned, ledger.number
        self._owned[ledger.number] = (ledger, copy)
        ledger.on_work = self._work.set
        copy.on_applied = ledger.states_known
        ledger.states_known(copy.applied)
        self._work.set()
        self.on_share(self.share)

    def remove(self, ledger: LedgerPartition) -> None:
        """Takes nothing more from a partition. Answers about what is under way go to its new owner. Idempotent."""
        owned = self._owned.get(ledger.number)
        if owned is None or owned[0] is not ledger:
            return
        del self._owned[ledger.number]
        for key, (customer, attempts) in ledger.claims.items():
            self._lost[key.decode()] = (ledger.number, customer, attempts)
        if self._owned:
            self.on_share(self.share)

    # ---------------------------------------------------------------------------------------------------------- the port

    async def ready(self, limit: int, *, closed: Closed = OPEN) -> list[Pending]:
        if not self._suppressions.read:
            return []
        now_ms = self._clock.now_ms()
        for ledger, copy in self._owned.values():
            ledger.shelf.let_go(ledger.queue, ledger.store, copy.waits)
            if ledger.shelf.damaged:
                await ledger.shelve()
        found: list[tuple[QueuedMessage, LedgerPartition]] = []
        holding = self.catalog.holding
        for ledger, copy in self._owned.values():
            if copy.applied < self._held_until.get(ledger.number, -1):
                continue  # a copy, of which nothing leaves before it knows that it is held
            slots = ledger.first(limit + len(self._lost), closed, now_ms, holding=holding)
            found += [(slot, ledger) for slot in slots if slot.key.decode() not in self._lost]
        found.sort(key=lambda each: (each[0].rank[:2], each[0].decided_ms))
        found = shared_out(
            [each for each in found if not each[0].rank[0]], [each for each in found if each[0].rank[0]], limit
        )
        loaded: dict[bytes, Pending] = {}
        for ledger in {id(ledger): ledger for _, ledger in found}.values():
            loaded |= ledger.load([slot.key for slot, of in found if of is ledger])
            if ledger.shelf.damaged:
                await ledger.shelve()
        for slot, ledger in found:
            owned = self._owned.get(ledger.number)
            customer = loaded[slot.key].message.customer if slot.key in loaded else ""
            if owned is not None and customer in owned[1].aside:
                ledger.shelf.hold(ledger.queue, customer, slot.key)
                del loaded[slot.key]
        return [loaded[slot.key] for slot, _ in found if slot.key in loaded]

    async def claim(self, message_ids: Sequence[str], *, links: Links = NO_LINKS) -> frozenset[str]:
        asked = self._route(message_ids, key=lambda message_id: message_id)
        asked.pop(None, None)
        answers = await asyncio.gather(
            *(ledger.claim(ids, links=links) for ledger, ids in asked.items() if ledger is not None),
            return_exceptions=True,
        )
        claimed: frozenset[str] = frozenset()
        errors = []
        for answer in answers:
            if isinstance(answer, BaseException):
                errors.append(answer)
            else:
                claimed |= answer
        if errors and not claimed:
            raise errors[0]
        return claimed  # what another partition could not write stays pending, and is offered again

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """As in the port, over several partitions: when some have written and others could not, those are tried again."""
        left, written = list(settlements), False
        while left:
            asked = self._route(left, key=lambda each: each.message_id)
            calls: list[Awaitable[None]] = []
            groups: list[list[Settlement]] = []
            for ledger, group in asked.items():
                calls.append(self._hand_over(group) if ledger is None else ledger.settle(group))
                groups.append(group)
            answers = await asyncio.gather(*calls, return_exceptions=True)
            errors = [answer for answer in answers if isinstance(answer, BaseException)]
            left = [
                each
                for group, answer in zip(groups, answers, strict=True)
                if isinstance(answer, BaseException)
                for each in group
            ]
            written = written or len(errors) < len(answers)
            if errors and (not written or not isinstance(errors[0], StorageError)):
                raise errors[0]
            if left:
                await asyncio.sleep(RETRY_SECONDS)

    async def interrupted(self) -> list[Message]:
        found: list[Message] = []
        for ledger, _ in self._owned.values():
            found += ledger.interrupted
            ledger.interrupted.clear()
        return found

    async def flushed(self) -> list[Flush]:
        found: list[Flush] = []
        for ledger, _ in self._owned.values():
            found += ledger.flushed
            ledger.flushed.clear()
        return found

    def hold_until(self, offsets: Mapping[int, int]) -> None:
        """Nothing leaves from these partitions before their states have seen these records of `touchpoints`."""
        self._held_until = dict(offsets)

    async def wait_for_work(self, timeout_seconds: float) -> None:
        due = [ledger.queue.next_due_ms for ledger, _ in self._owned.values()]
        now_ms = self._clock.now_ms()
        until = min((each - now_ms for each in due if each > now_ms), default=None)
        if until is not None:
            timeout_seconds = min(timeout_seconds, until / 1_000)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._work.wait()
        self._work.clear()

    async def states(self, customers: Sequence[str]) -> dict[str, CustomerState]:
        lanes: dict[int, list[str]] = {}
        for customer in customers:
            lanes.setdefault(partition_of(customer.encode(), self._tools.partitions), []).append(customer)
        found: dict[str, CustomerState] = {}
        for number, names in lanes.items():
            owned = self._owned.get(number)
            if owned is None:
                raise StorageError(f"Partition {number} was given away meanwhile.")
            found |= owned[1].states(names)
        return found

    async def duplicates(self, messages: Sequence[Message]) -> dict[str, bool]:
        found = {message.id: self._suppressions.is_second(message) for message in messages}
        return {message: second is True for message, second in found.items() if second is not False}

    async def suppressed(self, addresses: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        return self._suppressions.find(addresses)

    @property
    def catalog(self) -> Catalog:
        base, said = self._tools.catalog(), said_by([copy for _, copy in self._owned.values()])
        if self._catalog is None or self._catalog[0] is not base or self._catalog[1] != said:
            changed = replace(base, paused=base.paused | said.paused, paused_ms=said.paused_ms, holding=said.holding)
            self._catalog = (base, said, changed)
        return self._catalog[2]

    # ----------------------------------------------------------------------------------------------------------- answers

    def status(self, message_id: str) -> MessageStatus | None:
        """What the ledger says of a message, when it is in one of our partitions."""
        for ledger, _ in self._owned.values():
            found = ledger.status(message_id)
            if found is not None:
                return found
        return None

    # ------------------------------------------------------------------------------------------------------------- inside

    def _route(self, items: Iterable[Any], key: Callable[[Any], str]) -> dict[LedgerPartition | None, list[Any]]:
        """Groups by the partition that holds the message; None: none of ours."""
        asked: dict[LedgerPartition | None, list[Any]] = {}
        for item in items:
            message_id = key(item)
            owner = next((ledger for ledger, _ in self._owned.values() if ledger.knows(message_id)), None)
            if message_id in self._lost:  # the attempt is one of an ownership that is over, even if it is ours again
                owner = None
            asked.setdefault(owner, []).append(item)
        return asked

    async def _hand_over(self, settlements: Sequence[Settlement]) -> None:
        """Gives answers to those who own the partitions now."""
        letters = []
        for each in settlements:
            known = self._lost.get(each.message_id)
            if known is None:  # it was not under way: whoever has it now asks the policy again
                _log.info(Action.MESSAGE_SUPERSEDED, message=each.message_id, status=each.status)
                continue
            number, customer, attempts = known
            value = encode_json(Answered(customer, attempts, each))
            letters.append(Outgoing(self._tools.topics.dispatches, number, customer.encode(), value))
        if letters:
            await self._tools.outlet.send(letters)
        for each in settlements:
            if self._lost.pop(each.message_id, None) is not None:
                _log.info(Action.ANSWER_HANDED_OVER, message=each.message_id, status=each.status)
