"""The Kafka runtime under examination: worker, ledger, sink and intake in one process, on a real broker.

Invariant: what is asked is asked of the parts that answer it in production; nothing is kept here that they ought to know.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.clock import ManualClock
from engine.core.catalog import Catalog
from engine.core.customer import CustomerState
from engine.core.effect import Decision
from engine.core.message import Message
from engine.core.record import Flush, Record
from engine.dispatch.ports import NO_LINKS, OPEN, Closed, Links, Pending, Settlement
from engine.runtimes.base import MessageStatus, Query
from engine.runtimes.journal import Database, DatabaseReader
from engine.runtimes.journal.sink import Sink
from engine.runtimes.kafka import admin
from engine.runtimes.kafka.connect import connected
from engine.runtimes.kafka.definitions import Definitions
from engine.runtimes.kafka.dispatcher.outbox import KafkaOutbox
from engine.runtimes.kafka.dispatcher.role import Postroom, PostroomSettings
from engine.runtimes.kafka.front import KafkaFront
from engine.runtimes.kafka.intake.intake import KafkaIntake
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.topics import (
    PREFIX_BYTES,
    Definition,
    Deployed,
    Mended,
    Outgoing,
    Shard,
    Topics,
    decode_input,
    encode_definition,
    encode_input,
    pack_row,
    unpack_prefix,
)
from engine.runtimes.kafka.worker.role import Worker, WorkerSettings
from engine.runtimes.memory import Memory
from engine.telemetry import Metrics
from tests.conformance.harness import Damage, Table

PROJECT = "shop"
SETTLE_SECONDS_MAX = 30.0


class KafkaRuntime(KafkaFront):
    """All ports, on one cluster."""

    def __init__(self, harness: KafkaHarness, intake: KafkaIntake, reader: DatabaseReader) -> None:
        super().__init__(intake, reader, catalog=lambda: harness.outbox.catalog)
        self._harness = harness

    async def start(self) -> None:
        """The harness starts the parts."""

    async def stop(self) -> None:
        """The harness stops the parts."""

    async def ready(self, limit: int, *, closed: Closed = OPEN) -> list[Pending]:
        return await self._harness.outbox.ready(limit, closed=closed)

    async def claim(self, message_ids: Sequence[str], *, links: Links = NO_LINKS) -> frozenset[str]:
        return await self._harness.outbox.claim(message_ids, links=links)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self._harness.outbox.settle(settlements)

    async def interrupted(self) -> list[Message]:
        return await self._harness.outbox.interrupted()

    async def wait_for_work(self, timeout_seconds: float) -> None:
        await self._harness.outbox.wait_for_work(timeout_seconds)

    async def flushed(self) -> list[Flush]:
        return await self._harness.outbox.flushed()

    async def states(self, customers: Sequence[str]) -> dict[str, CustomerState]:
        return await self._harness.outbox.states(customers)

    async def duplicates(self, messages: Sequence[Message]) -> dict[str, bool]:
        return await self._harness.outbox.duplicates(messages)

    async def suppressed(self, addresses: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        return await self._harness.outbox.suppressed(addresses)

    async def state(self, customer: str) -> CustomerState | None:
        await self._harness.sunk()
        return await super().state(customer)

    async def decisions(self, query: Query) -> list[tuple[int, Decision]]:
        await self._harness.sunk()
        return await super().decisions(query)

    async def message(self, message_id: str) -> MessageStatus | None:
        await self._harness.sunk()
        return await super().message(message_id)

    async def messages(self, **asked: Any) -> list[MessageStatus]:
        await self._harness.sunk()
        return await super().messages(**asked)

    async def message_of(self, provider_id: str) -> MessageStatus | None:
        await self._harness.sunk()
        return await super().message_of(provider_id)

    async def written_to(self, address: str, *, limit: int = 100) -> list[MessageStatus]:
        await self._harness.sunk()
        return await super().written_to(address, limit=limit)

    async def counts(self) -> dict[str, Any]:
        await self._harness.sunk()
        return await super().counts()

    async def replay(self, dead_letter_ids: Sequence[int]) -> int:
        raise NotImplementedError("the suite puts no dead letters back")

    async def deploy(
        self, catalog: Catalog, *, sources: Mapping[str, str] | None = None, versions: str = "pin"
    ) -> None:
        await self._harness.publish(catalog, versions=versions)

    async def idle(self) -> None:
        await self._harness.settled()


class KafkaHarness:
    """One cluster's worth of topics."""

    def __init__(self, catalog: Catalog, now_ms: int, *, var: Path, bootstrap: str, prefix: str) -> None:
        self.clock = ManualClock(now_ms)
        self._first = catalog
        self._known = {catalog.id: catalog}
        self._var = var
        self._bootstrap = bootstrap
        self._topics = Topics(prefix)
        self._partitions = 1
        self._exit = contextlib.AsyncExitStack()
        self._runtime: KafkaRuntime | None = None
        self._made = False

    @property
    def runtime(self) -> KafkaRuntime:
        assert self._runtime is not None
        return self._runtime

    @property
    def outbox(self) -> KafkaOutbox:
        """The dispatcher's."""
        return self._postroom.outbox

    def _catalog_in_force(self) -> Catalog:
        """What the owner of the first partition evaluates by."""
        return self._known[self._worker.host.owners[0].catalog_id]

    # ---------------------------------------------------------------------------------------------------------- life

    async def _make(self) -> None:
        await asyncio.to_thread(
            admin.ensure_topics, self._bootstrap, self._topics, partitions=self._partitions, replication=1
        )
        self._made = True
        outlet = Outlet(self._bootstrap, client="test")
        await outlet.start()
        await outlet.send([self._defined(self._first, "pin")])
        await outlet.stop()

    @property
    def topics(self) -> Topics:
        """Its names."""
        return self._topics

    async def make_topics(self) -> None:
        """For records of an earlier version: nothing is deployed but what they say."""
        await asyncio.to_thread(
            admin.ensure_topics, self._bootstrap, self._topics, partitions=self._partitions, replication=1
        )
        self._made = True

    def _defined(self, catalog: Catalog, versions: str) -> Outgoing:
        definition = Definition(
            id=catalog.id, project=PROJECT, deployed_ms=self.clock.now_ms(), files={}, versions=versions
        )
        return Outgoing(self._topics.definitions, 0, PROJECT.encode(), encode_definition(definition))

    async def publish(self, catalog: Catalog, *, versions: str) -> None:
        """As `anlass deploy` does it."""
        self._known[catalog.id] = catalog
        control = encode_input(Deployed(at_ms=self.clock.now_ms(), catalog=catalog.id, versions=versions))
        await self._worker.outlet.send([self._defined(catalog, versions)])
        await self._worker.outlet.send(
            [Outgoing(self._topics.touchpoints, number, None, control) for number in range(self._partitions)]
        )

    async def reopen(self) -> None:
        if not self._made:
            await self._make()
        async with contextlib.AsyncExitStack() as stack:
            self._ends = AIOKafkaConsumer(bootstrap_servers=self._bootstrap)
            await self._ends.start()
            stack.push_async_callback(self._ends.stop)
            database = Database(f"sqlite:///{self._var}/journal.db", clock=self.clock)
            stack.push_async_callback(database.close)
            self._sink = Sink(database, self._topics, bootstrap=self._bootstrap, clock=self.clock)
            await self._sink.start()
            stack.push_async_callback(self._sink.stop)
            definitions = Definitions(
                self._bootstrap, self._topics, project=PROJECT, compile_=lambda each, _: self._known[each.id]
            )
            settings = WorkerSettings(
                bootstrap=self._bootstrap,
                topics=self._topics,
                partitions=self._partitions,
                folder=self._var / "worker",
                parse=lambda *_: [],
                alias=lambda customer: f"erased:{len(customer)}",
                address_key=lambda channel, address: f"{channel}:{address.strip().casefold()}".encode(),
                standbys=0,
            )
            self._worker = Worker(settings, definitions, clock=self.clock, metrics=Metrics())
            await self._worker.start()
            stack.push_async_callback(self._worker.stop)
            room = PostroomSettings(
                bootstrap=self._bootstrap,
                topics=self._topics,
                partitions=self._partitions,
                folder=self._var / "dispatcher",
                address_key=settings.address_key,
                standbys=0,
            )
            self._postroom = Postroom(room, catalog=self._catalog_in_force, clock=self.clock, metrics=Metrics())
            await self._postroom.start()
            stack.push_async_callback(self._postroom.stop)
            intake = KafkaIntake(self._bootstrap, self._topics, partitions=self._partitions)
            await intake.start()
            stack.push_async_callback(intake.stop)
            self._runtime = KafkaRuntime(self, intake, DatabaseReader(database, clock=self.clock))
            self._exit = stack.pop_all()
        await self.settled()

    async def close(self) -> None:
        self._runtime = None
        await self._exit.aclose()

    async def crash(self) -> None:
        for host in (self._worker.host, self._postroom.host):
            for held in list(host._owners.values()):
                held.task.cancel()
        await self.close()

    # ---------------------------------------------------------------------------------------------------------- work

    async def settled(self) -> None:
        """Returns when everything that is on the topics has led to what it leads to."""
        async with asyncio.timeout(SETTLE_SECONDS_MAX):
            while not await self._settled_once():
                await asyncio.sleep(0.01)

    async def _settled_once(self) -> bool:
        ends = await self._end_offsets(self._topics.touchpoints)
        owners = self._worker.host.owners
        if len(owners) < self._partitions or any(
            not owner.ready.is_set()
            or owner.applied < ends[number] - 1
            or owner.waiting_records  # what the last batch decided is still being sent
            or 0 < owner.next_due_ms <= self.clock.now_ms()
            for number, owner in owners.items()
        ):
            return False
        dispatched = await self._end_offsets(self._topics.dispatches)
        rooms = self._postroom.host.owners
        if (
            not self._postroom.suppressions.read
            or len(rooms) < self._partitions
            or any(
                not room.restored.is_set()
                or room.ledger.applied < dispatched[number] - 1
                or room.states_applied < owners[number].applied
                for number, room in rooms.items()
            )
        ):
            return False
        return ends == await self._end_offsets(self._topics.touchpoints)

    async def sunk(self) -> None:
        """Returns when the database has all that is on the topics."""
        await self._sink.caught_up()

    async def _end_offsets(self, topic: str) -> dict[int, int]:
        places = [TopicPartition(topic, number) for number in range(self._partitions)]
        return {place.partition: end for place, end in (await self._ends.end_offsets(places)).items()}

    async def append(self, *records: Record) -> None:
        await self.runtime.append(records)
        await self.settled()

    async def settle(self, *settlements: Settlement) -> None:
        await self.runtime.settle(settlements)
        await self.settled()

    async def advance(self, to_ms: int) -> None:
        while True:
            due = [owner.next_due_ms for owner in self._worker.host.owners.values() if owner.next_due_ms]
            if not due or min(due) > to_ms:
                break
            self._move(min(due))
            await self.settled()
        self._move(to_ms)
        await self.settled()

    def _move(self, to_ms: int) -> None:
        self.clock.move_to(max(to_ms, self.clock.now_ms()))
        for owner in self._worker.host.owners.values():
            owner.wake()

    async def redeliver(self) -> None:
        await self.close()
        await asyncio.to_thread(self._forget_offsets)
        await self.reopen()

    def _forget_offsets(self) -> None:
        with connected(self._bootstrap) as client:
            client.delete_groups([self._topics.group("worker"), self._topics.group("dispatcher")])

    async def log(self) -> list[tuple[int, Record]]:
        """What is on `touchpoints`, and what follows from it: records that decisions append are not written again."""
        memory = Memory(self._first, keep_log=True)
        for record in await self._touchpoints():
            memory.step(record)
        assert memory.log is not None
        return memory.log

    async def _touchpoints(self) -> list[Record]:
        read: list[Any] = [decode_input(each.value) for each in await self._records(self._topics.touchpoints)]
        return [record for record in read if not isinstance(record, Deployed | Shard | Mended)]

    async def plant(self, table: Table, key: str, damage: Damage) -> None:
        await self.close()
        topic = self._topics.states if table == "states" else self._topics.ledger
        row = next(each.value for each in reversed(await self._records(topic)) if each.key == key.encode())
        position, due_ms = unpack_prefix(row)
        outlet = Outlet(self._bootstrap, client="test")
        await outlet.start()
        damaged = pack_row(position + (table == "ledger"), due_ms, damage(row[PREFIX_BYTES:]))
        await outlet.append(topic, 0, [(key.encode(), damaged, ())])
        await outlet.stop()
        await self.reopen()

    def degraded(self) -> list[str]:
        return self._worker.degraded() + self._postroom.degraded()

    async def _records(self, topic: str) -> list[Any]:
        """Everything on the first partition of a topic."""
        place, found = TopicPartition(topic, 0), []
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([place])
            end = (await consumer.end_offsets([place]))[place]
            while await consumer.position(place) < end:
                found += (await consumer.getmany(place, timeout_ms=100)).get(place, [])
        finally:
            await consumer.stop()
        return found
