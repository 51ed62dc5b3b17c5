"""A ledger on a real broker, owned by as many as a test wants, with writes that can be made to fail.

Invariant: it only drives the ledger; what is right is said by the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec.structs import replace

from engine.clock import Clock, ManualClock
from engine.core.catalog import Catalog
from engine.core.customer import CustomerState, encode_state
from engine.core.message import Message
from engine.core.record import Outcome, Record
from engine.dispatch.ports import Settlement, Status
from engine.errors import StorageError
from engine.runtimes.kafka.admin import ensure_topics
from engine.runtimes.kafka.dispatcher.ledger import LedgerPartition, LedgerTools
from engine.runtimes.kafka.dispatcher.ledger_entry import LedgerEntry
from engine.runtimes.kafka.dispatcher.ledger_log import LedgerLog, LedgerStore
from engine.runtimes.kafka.intake.outlet import Outlet, Row
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.partition.changelog import ChangelogPartition
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    Checkpoint,
    Forgotten,
    MessageHandover,
    Outgoing,
    Topics,
    decode_input,
    encode_checkpoint,
    encode_json,
    pack_row,
    partition_of,
)
from engine.telemetry import Metrics
from tests.conformance.shop import T0, catalog

PARTITIONS = 2
T = TypeVar("T")


class Crash(BaseException):
    """Stands for the end of the process: nothing may catch it and go on."""


class FaultyOutlet(Outlet):
    """Counts the writes that it is asked for, and dies before the one numbered `at` (0 is the first; None: never).

    `after`: it dies once the broker has it, before anybody hears so.
    """

    at: int | None = None
    after = False
    seen = 0

    async def append(self, topic: str, partition: int, rows: Sequence[Row]) -> int:
        die = self._tick()
        if die and not self.after:
            raise Crash
        offset = await super().append(topic, partition, rows)
        if die:
            raise Crash
        return offset

    async def send(self, outgoing: Sequence[Outgoing]) -> dict[tuple[str, int], int]:
        die = self._tick()
        if die and not self.after:
            raise Crash
        ends = await super().send(outgoing)
        if die:
            raise Crash
        return ends

    def _tick(self) -> bool:
        self.seen += 1
        return self.seen - 1 == self.at


class FullDisk(LedgerStore):
    """A store whose next reads or writes fail."""

    failing = 0
    unreadable = 0

    def rows(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        if self.unreadable:
            self.unreadable -= 1
            raise StorageError("It broke.")
        return super().rows(keys)

    def write(self, *args: Any, **more: Any) -> None:
        if self.failing:
            self.failing -= 1
            raise StorageError("No room.")
        super().write(*args, **more)


class Held:
    """A partition that somebody owns, with its loop running."""

    def __init__(self, ledger: LedgerPartition, store: FullDisk, outlet: FaultyOutlet) -> None:
        self.ledger = ledger
        self.store = store
        self.outlet = outlet
        self.working: asyncio.Task[None] | None = None

    async def die(self) -> None:
        """The process is gone: nothing is finished."""
        await self._end()
        await self.outlet.stop()

    async def alive(self, call: Coroutine[Any, Any, T]) -> T:
        """What a call answers. Raises Crash when the process died over it, or right after."""
        assert self.working is not None
        asked = asyncio.create_task(call)
        await asyncio.wait({asked, self.working}, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(3):  # what it does after it has answered
            await asyncio.sleep(0)
        if self.working.done():
            await asyncio.gather(asked, return_exceptions=True)
            raise Crash
        return await asked

    async def close(self) -> None:
        """Ends it in good order."""
        await self.ledger.release(5)
        await self.die()

    async def _end(self) -> None:
        if self.working is not None:
            self.working.cancel()
            with contextlib.suppress(BaseException):
                await self.working
        self.ledger.close()


class Stage:
    """Topics of their own on the shared broker. `ahead`: the states are known as far as any message needs."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.topics = Topics(prefix)
        self.folder = self._folder = folder
        self._prefix = prefix
        self.clock: Clock = ManualClock(T0)
        self.catalog: Catalog = catalog()
        self.offsets = itertools.count()
        self.held: list[Held] = []
        ensure_topics(bootstrap, self.topics, partitions=PARTITIONS, replication=1)

    def renew(self, prefix: str) -> None:
        """Topics and disks of their own again."""
        self.topics = Topics(f"{self._prefix}{prefix}")
        self.folder = self._folder / prefix
        ensure_topics(self.bootstrap, self.topics, partitions=PARTITIONS, replication=1)

    @property
    def manual(self) -> ManualClock:
        """The clock that a test moves."""
        assert isinstance(self.clock, ManualClock)
        return self.clock

    async def tools(self) -> tuple[LedgerTools, FaultyOutlet]:
        """What one process's partitions share."""
        outlet = FaultyOutlet(self.bootstrap, client="test")
        await outlet.start()
        tools = LedgerTools(
            topics=self.topics,
            partitions=PARTITIONS,
            outlet=outlet,
            clock=self.clock,
            metrics=Metrics(),
            catalog=lambda: self.catalog,
        )
        return tools, outlet

    async def own(
        self, name: str = "a", *, number: int = 0, at: int | None = None, after: bool = False, ahead: bool = True
    ) -> Held:
        """Takes the partition over on the disk `name`. Raises Crash."""
        tools, outlet = await self.tools()
        outlet.at, outlet.after = at, after
        store = FullDisk(self.folder / name / str(number))
        store.open()
        log = LedgerLog(ChangelogPartition(self.bootstrap, self.topics.ledger, number), store, outlet)
        held = Held(LedgerPartition(number, store, log, tools=tools), store, outlet)
        self.held.append(held)
        try:
            await held.ledger.restore()
        except Crash:
            await held.die()
            raise
        held.working = asyncio.create_task(held.ledger.work())
        if ahead:
            held.ledger.states_known(1 << 40)
        return held

    async def stop(self) -> None:
        """Ends whatever is still there."""
        for held in self.held:
            await held.die()

    def incoming(self, what: Any, *, offset: int | None = None) -> Incoming:
        """A record of `dispatches`, as it is consumed."""
        value = what if isinstance(what, bytes) or what is None else encode_json(what)
        return Incoming(next(self.offsets) if offset is None else offset, T0, b"k", value)

    async def write_states(
        self, *states: CustomerState, applied: int, number: int = 0, paused: tuple[str, ...] = ()
    ) -> None:
        """Writes a batch as a worker does."""
        tools, outlet = await self.tools()
        rows: list[Row] = [(CHECKPOINT_KEY, encode_checkpoint(Checkpoint(applied=applied, paused=paused)), ())]
        rows += [(state.id.encode(), pack_row(applied, 0, encode_state(state)), ()) for state in states]
        await outlet.append(tools.topics.states, number, rows)
        await outlet.stop()

    async def read(self, topic: str, number: int = 0) -> list[Any]:
        """Everything that stands on a partition."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        tp = TopicPartition(topic, number)
        await consumer.start()
        try:
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            found: list[Any] = []
            while await consumer.position(tp) < end:
                found += (await consumer.getmany(tp, timeout_ms=200)).get(tp, [])
            return found
        finally:
            await consumer.stop()

    async def records(self, number: int = 0) -> list[Record]:
        """What customers were told."""
        return [decode_input(each.value) for each in await self.read(self.topics.touchpoints, number)]  # type: ignore[misc]

    async def outcomes(self, number: int = 0) -> list[tuple[str, str]]:
        """(message, outcome) of what customers were told."""
        return [(each.message, each.outcome) for each in await self.records(number) if isinstance(each, Outcome)]


def entry_of(held: Held | LedgerPartition, name: str) -> LedgerEntry:
    """What a ledger says of a message that it knows."""
    entry = (held.ledger if isinstance(held, Held) else held).entry(name)
    assert entry is not None, f"{name} is not known"
    return entry


def message(name: str, **more: Any) -> Message:
    """A decided mail; its customer is `c-` and the name unless said otherwise."""
    base = Message(
        id=name, customer=f"c-{name}", enrollment="e", workflow="order", version="v", step="s", channel="email",
        address=f"{name}@example.com", template="t", purpose="transactional", decided_ms=T0, due_ms=T0,
        context={"customer": {"first_name": "Ana"}},
    )  # fmt: skip
    return replace(base, **more)


def handover(name: str, *, offset: int = 0, **more: Any) -> MessageHandover:
    """A message on its way to the dispatcher."""
    return MessageHandover(offset, message(name, **more))


def forgotten(customer: str, offset: int) -> Forgotten:
    """A customer to forget."""
    return Forgotten(offset, customer, "erased:x", T0)


def answer(name: str, status: Status = "sent", **more: Any) -> Settlement:
    """A provider's answer."""
    return Settlement(message_id=name, status=status, at_ms=more.pop("at_ms", T0 + 1), **more)


def bounced(name: str) -> Outcome:
    """What a customer hears of a refused message."""
    return Outcome(
        customer=f"c-{name}", at_ms=T0 + 1, id=f"{name}:bounced", time_ms=T0 + 1, outcome="bounced", message=name
    )


def customer_on(number: int, partitions: int = PARTITIONS, *, salt: str = "") -> str:
    """A customer's id that belongs to a partition."""
    ids = (f"c{salt}{each}" for each in itertools.count())
    return next(each for each in ids if partition_of(each.encode(), partitions) == number)
