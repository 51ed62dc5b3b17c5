"""The load: customers of the shop, foreign producers that key as they like, and poison; every acknowledgement is remembered.

Invariant: a record counts as acknowledged only when the broker said so to an idempotent producer with acks=all; until then it
is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
import zlib
from collections.abc import Coroutine, Iterator
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from engine.runtimes.kafka.topics import Topics, partition_of
from tests.chaos.visits import Expected, Visit

VISITS_AT_ONCE_MAX = 120
RETRY_SECONDS = 0.2
POISON_KEY = b"poison-"
LARGE_BYTES = 2 << 20
encode = msgspec.json.encode


@contextlib.contextmanager
def quiet_clients() -> Iterator[None]:
    """A broker that is away is what these tests are about; the clients' lines about it would bury everything else."""
    clients = logging.getLogger("aiokafka")
    level = clients.level
    clients.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        clients.setLevel(level)


class Acknowledged(msgspec.Struct, frozen=True, gc=False):
    """A record that the broker has: where, and a check sum of its bytes."""

    partition: int
    offset: int
    checksum: int


class Load:
    """Runs until `ending` is set; then every visit is finished."""

    def __init__(self, bootstrap: str, topics: Topics, *, partitions: int, seed: int, rate: float = 120.0) -> None:
        """`rate` is about how many records are sent each second."""
        self.expected = Expected()
        self.acknowledged: list[Acknowledged] = []
        self.ending = asyncio.Event()
        self.attempts = 0
        self.poisoned = 0
        self.failures: list[str] = []
        self._bootstrap = bootstrap
        self._topic = topics.touchpoints
        self._partitions = partitions
        self._dice = random.Random(seed)
        self._visit_seconds = 7.5 / rate
        self._visits: set[asyncio.Task[None]] = set()
        self._customers = 0
        self._producer: AIOKafkaProducer | None = None

    async def run(self) -> None:
        """Raises what a visit raised."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            max_request_size=16 << 20,
            request_timeout_ms=20_000,
        )
        await self._producer.start()
        try:
            poisoning = asyncio.create_task(self._poison())
            begun, number = time.monotonic(), 0
            while not self.ending.is_set():
                number += 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(
                        self.ending.wait(), max(0.001, begun + number * self._visit_seconds - time.monotonic())
                    )
                if len(self._visits) < VISITS_AT_ONCE_MAX:
                    self._visit()
            while self._visits:
                await asyncio.wait(self._visits)
            await poisoning
        finally:
            await self._producer.stop()
        if self.failures:
            raise AssertionError(f"the load itself failed: {self.failures[0]}")

    def _visit(self) -> None:
        self._customers += 1
        dice = random.Random(self._dice.getrandbits(64))
        task = asyncio.create_task(Visit(f"c{self._customers}", self._put, self.expected, dice=dice).run())
        self._visits.add(task)
        task.add_done_callback(self._visited)

    def _visited(self, task: asyncio.Task[None]) -> None:
        self._visits.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failures.append(repr(task.exception()))

    async def burst(self, records: int, *, dice: random.Random) -> None:
        """Many events at once that all belong to one partition."""
        target, number = dice.randrange(self._partitions), 0
        sent: list[Coroutine[Any, Any, None]] = []
        while len(sent) < records:
            number += 1
            customer = f"b{self._customers}-{number}"
            if partition_of(customer.encode(), self._partitions) == target:
                self.expected.sends["welcome", customer] += 1
                traits = {"email": f"{customer}@example.com"}
                sent.append(self._burst_of(customer, traits))
        self._customers += 1
        await asyncio.gather(*sent)

    async def _burst_of(self, customer: str, traits: dict[str, Any]) -> None:
        await self._put(customer, "identify", "who", traits=traits)
        await self._put(customer, "track", "up", event="Signed Up", properties={})

    async def _put(
        self, customer: str, kind: str, label: str, *, astray: bool = False, anonymous: bool = False, **fields: Any
    ) -> None:
        whose = {} if kind == "alias" else {"anonymousId" if anonymous else "userId": customer}
        value = encode({"type": kind, "messageId": f"{customer}-{label}", **whose, **fields})
        key: bytes | None = customer.encode()
        partition = partition_of(customer.encode(), self._partitions)
        if astray:  # what librdkafka's default, a producer without a key, and one that keys by something else do
            key, partition = self._dice.choice(
                [
                    (key, zlib.crc32(customer.encode()) % self._partitions),
                    (None, self._dice.randrange(self._partitions)),
                    (f"session-{label}".encode(), partition_of(f"session-{label}".encode(), self._partitions)),
                ]
            )
        await self._send(key, value, partition)

    async def _send(self, key: bytes | None, value: bytes | None, partition: int) -> None:
        """Returns when it is acknowledged."""
        assert self._producer is not None
        while True:
            self.attempts += 1
            try:
                answer = await self._producer.send_and_wait(self._topic, value, key=key, partition=partition)
            except KafkaError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.acknowledged.append(Acknowledged(partition, answer.offset, zlib.crc32(value or b"")))
                return

    async def _poison(self) -> None:
        """About one bad record a second, each of another kind."""
        kinds = [
            b'{"type": "track", "userId": "p1", ',
            b"",
            None,
            b'["event", 5]',
            b'["nonsense"]',
            b'{"type": "track", "userId": "p1"}',
            b'{"type": "shout", "userId": "p2"}',
            encode({"type": "track", "event": "Signed Up", "userId": "x" * 600}),
            b'{"type": "track", "event": "\xff\xfe", "userId": "p3"}',
            b'{"type": "track", "event": "Signed Up", "userId": "p4", "properties": ' + b'{"a":' * 5_000,
            encode({"type": "track", "event": "Signed Up", "userId": "p5", "properties": {"a": "x" * 40_000}}),
            encode({"type": "track", "event": "Signed Up", "userId": "p6", "properties": {"a": "x" * LARGE_BYTES}}),
        ]
        while not self.ending.is_set():
            value = kinds[self.poisoned % len(kinds)]
            self.poisoned += 1
            key = POISON_KEY + str(self.poisoned).encode()
            await self._send(key, value, self._dice.randrange(self._partitions))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), self._dice.uniform(0.3, 1.5))
