"""Owners of one partition on a real broker, without Faust: fed by hand, with writes that can be made to fail.

Invariant: it only drives owners; what is right is said by the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from engine.clock import Clock
from engine.core.catalog import Catalog
from engine.core.record import Event, Identify, Record
from engine.runtimes.kafka.definitions import Definitions
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.partition.changelog import Changelog, ChangelogPartition
from engine.runtimes.kafka.partition.store import Change, RowStore
from engine.runtimes.kafka.topics import (
    BATCH_BYTES_MAX,
    CHECKPOINT_KEY,
    Definition,
    Outgoing,
    Topics,
    encode_definition,
    encode_input,
    unpack_prefix,
)
from engine.runtimes.kafka.worker.owner import Owner, OwnerNeeds, OwnerOptions
from engine.telemetry import Metrics
from tests.conformance.shop import T0
from tests.runtimes.kafka_partitions import Read, here
from tests.services.kafka import create_topics

PROJECT = "shop"
SETTLE_SECONDS_MAX = 60.0


def event(customer: str, number: int, name: str = "Product Added") -> Event:
    """Taken in at T0."""
    return Event(customer=customer, at_ms=T0, id=f"{customer}-{number}", name=name, time_ms=T0)


def identify(customer: str) -> Identify:
    """With an address."""
    traits = {"email": f"{customer}@example.com"}
    return Identify(customer=customer, at_ms=T0, id=f"i-{customer}", time_ms=T0, traits=traits)


class Crash(BaseException):
    """Stands for the end of the process: nothing may catch it and go on."""


class Faults:
    """Counts writes and dies at the one numbered `at` (0 is the first; None: never): before it, or `after` it."""

    def __init__(self, at: int | None = None, *, after: bool = False) -> None:
        self.at = at
        self.after = after
        self.seen = 0

    def tick(self) -> bool:
        """Before a write: whether to die after it."""
        self.seen += 1
        dies = self.seen - 1 == self.at
        if dies and not self.after:
            raise Crash
        return dies


class FaultyOutlet(Outlet):
    """Dies around one of the batches that it sends; waits for `gate` before each batch for a changelog."""

    faults = Faults()
    gate: asyncio.Event | None = None

    async def _written(self, batch: BatchBuilder, topic: str, partition: int) -> int:
        if self.gate is not None and topic.endswith("states"):
            await self.gate.wait()
        dies = self.faults.tick()
        offset = await super()._written(batch, topic, partition)
        if dies:
            raise Crash
        return offset


class FaultyStore(RowStore):
    """Dies around one of its writes."""

    faults = Faults()

    def write(self, changes: Iterable[Change], checkpoint: bytes, *, offset: int) -> None:
        dies = self.faults.tick()
        super().write(changes, checkpoint, offset=offset)
        if dies:
            raise Crash


class Acting:
    """An owner at work, with what it writes through. `fed` is the offset of the next record that it is to be given."""

    def __init__(self, owner: Owner, store: FaultyStore, outlet: FaultyOutlet) -> None:
        self.owner = owner
        self.store = store
        self.outlet = outlet
        self.task = asyncio.create_task(owner.run())
        self.fed = 0
        self.done: list[int] = []

    async def close(self) -> None:
        """As the end of the process."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Crash):
            await self.task
        self.owner.close()
        await self.outlet.stop()


class Stage:
    """The topics of one partition and everything that the tests do with them."""

    def __init__(self, bootstrap: str, topics: Topics, *, clock: Clock, definitions: Definitions) -> None:
        self.bootstrap = bootstrap
        self.topics = topics
        self.clock = clock
        self.definitions = definitions
        self.pack_records = 3
        self.options = OwnerOptions()
        self._shop = Outlet(bootstrap, client="shop")
        self._log: list[Incoming] = []
        self._acting: list[Acting] = []
        self._reader: AIOKafkaConsumer | None = None

    @property
    def _tp(self) -> TopicPartition:
        return TopicPartition(self.topics.touchpoints, 0)

    async def start(self) -> None:
        await self._shop.start()
        self._reader = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=20
        )
        await self._reader.start()
        self._reader.assign([self._tp])

    async def close(self) -> None:
        for each in self._acting:
            await each.close()
        assert self._reader is not None
        await self._reader.stop()
        await self._shop.stop()

    async def put(self, *values: Record | bytes) -> None:
        """What the shop writes."""
        bodies = [each if isinstance(each, bytes) else encode_input(each) for each in values]
        await self._shop.send([Outgoing(self.topics.touchpoints, 0, b"k", body) for body in bodies])

    async def open(self, folder: Path, *, faults: Faults | None = None, gate: asyncio.Event | None = None) -> Acting:
        """A new owner."""
        outlet = FaultyOutlet(self.bootstrap, client="test")
        outlet.faults, outlet.gate = faults or Faults(), gate
        await outlet.start()
        store = FaultyStore(folder)
        store.faults = outlet.faults
        store.open()
        changelog = Changelog(ChangelogPartition(self.bootstrap, self.topics.states, 0), store, outlet)
        tools = OwnerNeeds(outlet, self.definitions, self.clock, Metrics(), self.options)
        acting = Acting(Owner(here(0, 1, self.topics), store, changelog, tools=tools), store, outlet)
        self._acting.append(acting)
        return acting

    async def close_owner(self, acting: Acting) -> None:
        self._acting.remove(acting)
        await acting.close()

    async def log(self) -> list[Incoming]:
        """Everything on the log now."""
        assert self._reader is not None
        end = (await self._reader.end_offsets([self._tp]))[self._tp]
        while len(self._log) < end:
            for each in (await self._reader.getmany(self._tp, timeout_ms=50)).get(self._tp, []):
                self._log.append(Incoming(each.offset, 0, each.key, each.value, tuple(each.headers)))
        return self._log

    async def feed(self, acting: Acting) -> int:
        """Gives an owner what it was not given yet; returns the offset of the end of the log."""
        log = await self.log()
        while acting.fed < len(log):
            pack = log[acting.fed : acting.fed + self.pack_records]
            acting.fed += len(pack)
            acting.owner.feed(pack, _done(acting.done, acting.fed))
        return len(log)

    async def settle(self, *acting: Acting) -> None:
        """Until these owners have nothing left to do. Raises what ended one of them."""
        async with asyncio.timeout(SETTLE_SECONDS_MAX):
            while True:
                quiet = True
                for each in acting:
                    end = await self.feed(each)
                    if each.task.done():
                        each.task.result()
                        raise AssertionError("an owner ended")
                    due_ms = each.owner.next_due_ms
                    if each.owner.applied < end - 1 or each.owner.waiting_records or not each.owner.ready.is_set():
                        quiet = False
                    if due_ms and due_ms <= self.clock.now_ms():
                        each.owner.wake()
                        quiet = False
                if quiet and len(await self.log()) == end:
                    return
                await asyncio.sleep(0.005)

    async def read(self) -> Read:
        """Everything that anybody can read, but for the log."""
        found = Read(self.topics)
        names = (self.topics.journal, self.topics.dispatches, self.topics.dead_letters, self.topics.suppressions)
        for topic, records in (await read_all(self.bootstrap, names)).items():
            for each in records:
                found.take(Outgoing(topic, 0, each.key, each.value, tuple(each.headers)))
        return found

    async def changelog(self) -> list[tuple[bytes, bytes | None, int]]:
        """As it stands: (key, row, position)."""
        [records] = (await read_all(self.bootstrap, [self.topics.states])).values()
        return [_row(each) for each in records]

    async def from_scratch(self, folder: Path, *, compacted: bool = False) -> dict[bytes, bytes]:
        """Key → row, as a machine without a copy reads the changelog; also after the broker has compacted it."""
        records = await self.changelog()
        if compacted:
            last = {key: number for number, (key, _, _) in enumerate(records)}
            records = [each for number, each in enumerate(records) if last[each[0]] == number]
        store = RowStore(folder)
        store.open()
        store.replay(records, offset=len(records) - 1)
        rows = dict(store.walk(b"", 100_000))
        rows[CHECKPOINT_KEY] = str(store.checkpoint.applied).encode()
        store.destroy()
        return rows


def _done(done: list[int], offset: int) -> Callable[[], None]:
    return lambda: done.append(offset)


def _row(each: Any) -> tuple[bytes, bytes | None, int]:
    if each.key == CHECKPOINT_KEY:
        return each.key, each.value, 0
    if each.value is not None:
        return each.key, each.value, unpack_prefix(each.value)[0]
    return each.key, None, int.from_bytes(dict(each.headers)["p"], "big")


async def read_all(bootstrap: str, topics: Sequence[str]) -> dict[str, list[Any]]:
    """Topic → what stands on its partition 0."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=BATCH_BYTES_MAX
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, 0) for topic in topics]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        found: dict[str, list[Any]] = {topic: [] for topic in topics}
        for tp in places:
            while await consumer.position(tp) < ends[tp]:
                found[tp.topic] += (await consumer.getmany(tp, timeout_ms=100)).get(tp, [])
        return found
    finally:
        await consumer.stop()


def make_topics(bootstrap: str, prefixes: Iterable[str], *, with_definitions: bool = False) -> list[Topics]:
    """The topics of an owner of one partition, for each prefix."""
    made = [Topics(prefix) for prefix in prefixes]
    names = {
        name: 1
        for topics in made
        for name in (
            *(topics.touchpoints, topics.dispatches, topics.journal, topics.dead_letters),
            *(topics.states, topics.suppressions, *([topics.definitions] if with_definitions else [])),
        )
    }
    create_topics(bootstrap, names, max_message_bytes=str(BATCH_BYTES_MAX + 65_536))
    return made


@contextlib.asynccontextmanager
async def defined(bootstrap: str, topics: Topics, catalogs: Sequence[Catalog]) -> AsyncIterator[Definitions]:
    """These catalogs, deployed; the last is in force."""
    known = {each.id: each for each in catalogs}
    outlet = Outlet(bootstrap, client="deploy")
    await outlet.start()
    for each in catalogs:
        body = encode_definition(Definition(id=each.id, project=PROJECT, deployed_ms=0, files={}))
        keys = (f"{PROJECT}/{each.id}".encode(), PROJECT.encode())
        await outlet.send([Outgoing(topics.definitions, 0, key, body) for key in keys])
    await outlet.stop()
    definitions = Definitions(bootstrap, topics, project=PROJECT, compile_=lambda each, _: known[each.id])
    await definitions.start()
    try:
        yield definitions
    finally:
        await definitions.stop()
