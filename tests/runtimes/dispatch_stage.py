"""Processes that dispatch from Kafka: dispatcher, outbox, owners of partitions, and a provider that keeps a list.

Invariant: who owns which partition is said by the test, as the group would; everything else is what the role runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition

from channels.contract import Capabilities, ChannelError, OutgoingMessage, Receipt
from engine.core.customer import CustomerState
from engine.dispatch.compose import Composer
from engine.dispatch.dispatcher import Dispatcher, Options
from engine.dispatch.templates import TemplateSet
from engine.dispatch.tokens import SignedLinks, TokenSigner
from engine.runtimes.kafka.arrival import Incoming
from engine.runtimes.kafka.copies import Suppressions
from engine.runtimes.kafka.leaving import stopped
from engine.runtimes.kafka.ledger_owner import LedgerOwner, own_partition
from engine.runtimes.kafka.outbox import KafkaOutbox
from engine.runtimes.kafka.outlet import Outlet
from engine.runtimes.kafka.store import RowStore
from engine.runtimes.kafka.topics import Handover, Outgoing, encode_json, partition_of
from engine.telemetry import Metrics
from tests.dispatch.test_dispatcher import _Renderer
from tests.runtimes.ledger_stage import PARTITIONS, Stage, message

TEMPLATE = "---\nsubject: Hello {{ customer.first_name }}\n---\n<p>Hello, {{ unsubscribe_url }}</p>\n"


def address_key(channel: str, address: str) -> bytes:
    """As the cluster's secret makes it."""
    return hmac.digest(b"secret", f"{channel}:{address.strip().casefold()}".encode(), "sha256")


class Provider:
    """A channel that takes messages, at its pace; `answers` are what it says instead of a receipt, one after the other."""

    name = "email"
    capabilities = Capabilities()

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.answers: list[ChannelError] = []
        self.waiting = 0
        """Sends that found the door closed."""
        self.open_door = asyncio.Event()
        self.open_door.set()

    async def open(self) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Nothing to let go."""

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        self.sent.append(delivery.id)
        self.waiting += not self.open_door.is_set()
        await self.open_door.wait()
        if self.answers:
            raise self.answers.pop(0)
        return Receipt(f"p-{delivery.id}", "accepted")


class Process:
    """One process of the role."""

    def __init__(self, stage: Stage, name: str, provider: Provider) -> None:
        self._stage = stage
        self._folder = stage.folder / name
        self.provider = provider
        self.owners: dict[int, tuple[LedgerOwner, asyncio.Task[None], asyncio.Task[None]]] = {}
        self.outlet: Outlet
        self.outbox: KafkaOutbox
        self.dispatcher: Dispatcher
        self.shares: list[float] = []
        self._running: asyncio.Task[None] | None = None
        self._suppressions: Suppressions

    async def start(self, *partitions: int, **options: int) -> Process:
        """Dispatches from these partitions."""
        stage = self._stage
        self.tools, self.outlet = await stage.tools()
        store = RowStore(self._folder / "suppressions")
        store.open()
        self._suppressions = Suppressions(stage.bootstrap, stage.topics, store, key=address_key)
        await self._suppressions.start()
        self.outbox = KafkaOutbox(self.tools, self._suppressions)
        self.outbox.on_share = self.shares.append
        templates = stage.folder / "templates"
        (templates / "email").mkdir(parents=True, exist_ok=True)
        (templates / "email" / "t.html").write_text(TEMPLATE)
        links = SignedLinks("https://shop.example", TokenSigner(b"0123456789abcdef0123456789abcdef"))
        self.dispatcher = Dispatcher(
            self.outbox,
            {"email": self.provider},
            composer=Composer(_Renderer(TemplateSet.load(templates)), links),
            clock=stage.clock,
            metrics=Metrics(),
            options=Options(stop_seconds_max=0.2, **options),  # type: ignore[arg-type]
        )
        self._running = asyncio.create_task(self.dispatcher.run())
        for number in partitions:
            await self.take(number)
        return self

    async def take(self, number: int) -> LedgerOwner:
        """The group gives us a partition."""
        stage = self._stage
        owner = own_partition(number, stage.bootstrap, self._folder, tools=self.tools, outbox=self.outbox)
        owner._fenced_seconds = 0.3
        running = asyncio.create_task(owner.run())
        await owner.restored.wait()
        self.owners[number] = (owner, running, asyncio.create_task(self._pump(owner)))
        return owner

    async def give(self, number: int) -> None:
        """The group takes a partition away."""
        owner, running, pump = self.owners.pop(number)
        await _cancel(pump)
        owner.release()
        await running
        owner.close()

    async def _pump(self, owner: LedgerOwner) -> None:
        """What the consumer group does: records in order, from the beginning."""
        stage = self._stage
        tp = TopicPartition(stage.topics.dispatches, owner.ledger.number)
        consumer = AIOKafkaConsumer(bootstrap_servers=stage.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([tp])
            while True:
                records = (await consumer.getmany(tp, timeout_ms=100)).get(tp, [])
                if records:
                    taken = asyncio.Event()
                    owner.feed(
                        [Incoming(each.offset, each.timestamp, each.key, each.value) for each in records], taken.set
                    )
                    await taken.wait()
        finally:
            await stopped(consumer)

    async def die(self) -> None:
        """The process is gone: nothing is finished, nothing said."""
        if self._running is None:
            return
        await _cancel(self._running)
        self._running = None
        for owner, running, pump in self.owners.values():
            await _cancel(pump)
            await _cancel(running)
            owner.close()
        self.owners.clear()
        await self._suppressions.stop()
        await self.outlet.stop()

    async def stop(self) -> None:
        """Ends in good order: the dispatcher first, then the partitions."""
        if self._running is not None:
            await self.dispatcher.stop()
            for number in list(self.owners):
                await self.give(number)
        await self.die()

    async def until(self, done: Callable[[], bool], *, seconds: float = 15) -> None:
        """Waits for something to become true."""
        async with asyncio.timeout(seconds):
            while not done():
                await asyncio.sleep(0.01)

    def status(self, name: str) -> str:
        """What our ledgers say of a message; empty: nothing."""
        found = self.outbox.status(name)
        return found.status if found is not None else ""


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(BaseException):
        await task


async def decide(
    stage: Stage, outlet: Outlet, *names: str, offset: int = 0, states: bool = True, **more: object
) -> None:
    """What a worker does: the customers' states, then messages on their way. Each message has a customer of its name."""
    messages = [message(name, **{"customer": f"c-{name}", **more}) for name in names]
    for number in range(PARTITIONS):
        mine = [each for each in messages if partition_of(each.customer.encode(), PARTITIONS) == number]
        if states:
            known = [CustomerState(id=each.customer, traits={"email": each.address}) for each in mine]
            await stage.write_states(*known, applied=offset, number=number)
        await outlet.send(
            [
                Outgoing(stage.topics.dispatches, number, each.customer.encode(), encode_json(Handover(offset, each)))
                for each in mine
            ]
        )
