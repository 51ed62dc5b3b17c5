"""The Kafka intake while brokers die: bounded answers, nothing lost that was acknowledged, recovery without anybody's help."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from engine.clock import SystemClock
from engine.collector import build_collector
from engine.core.record import Event
from engine.errors import StorageError
from engine.runtimes.kafka.admin import ensure_topics
from engine.runtimes.kafka.intake.intake import IntakeOptions, KafkaIntake
from engine.runtimes.kafka.topics import Topics, decode_input
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import CollectorSection
from tests.collector.conftest import Served, catalog, make_parts
from tests.runtimes.test_kafka_intake import event, read
from tests.services.kafka import Cluster

Start = Callable[..., Cluster]


class Behind(MemoryRuntime):
    """What the collector sees of a runtime on Kafka: this intake; the rest is never asked here."""

    def __init__(self, intake: KafkaIntake) -> None:
        super().__init__(catalog())
        self.intake = intake

    @property
    def backlog(self) -> int:
        return self.intake.backlog

    async def append(self, records: Any) -> None:
        await self.intake.append(records)


async def test_a_broker_that_dies_loses_nothing_that_was_acknowledged(kafka_cluster: Start) -> None:
    """Requests go on over a kill and a restart: 503 or 429 with Retry-After in bounded time, at once when it lasts; 200 again
    by itself; and every record that got a 200 is there, each customer's in order.
    """
    cluster = await asyncio.to_thread(kafka_cluster)
    topics = Topics(prefix="t.")
    await asyncio.to_thread(ensure_topics, cluster.bootstrap, topics, partitions=2, replication=1)
    intake = KafkaIntake(cluster.bootstrap, topics, partitions=2, options=IntakeOptions(answer_seconds_max=2))
    await intake.start()
    parts = make_parts(Behind(intake), SystemClock())  # type: ignore[arg-type]
    answers: list[tuple[float, int, float, str, str | None]] = []
    over = asyncio.Event()

    async def shop(http: aiohttp.ClientSession, url: str, customer: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            body = {"userId": customer, "event": "E", "messageId": f"{customer}-{number:06}"}
            begun = time.monotonic()
            async with http.post(f"{url}/v1/track", json=body) as answer:
                await answer.read()
                took = time.monotonic() - begun
                answers.append((begun, answer.status, took, body["messageId"], answer.headers.get("Retry-After")))
            await asyncio.sleep(0.02)

    async with (
        Served(build_collector(CollectorSection(), parts)) as served,
        aiohttp.ClientSession() as http,
        asyncio.TaskGroup() as group,
    ):
        for customer in range(20):
            group.create_task(shop(http, served.url, f"c{customer}"))
        await asyncio.sleep(1)
        await asyncio.to_thread(cluster.kill, 0)
        killed = time.monotonic()
        await asyncio.sleep(5)
        await asyncio.to_thread(cluster.restart, 0)
        restarted = time.monotonic()
        while not any(begun > restarted and status == 200 for begun, status, *_ in answers):
            assert time.monotonic() - restarted < 30, "it does not recover"
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        over.set()
    await intake.stop()
    assert {status for _, status, *_ in answers} == {200, 503}
    assert all(after == "5" for _, status, _, _, after in answers if status == 503)
    assert max(took for _, _, took, *_ in answers) < 4
    quick = [took for begun, status, took, *_ in answers if status == 503 and killed + 3 < begun < restarted]
    assert quick
    assert sorted(quick)[len(quick) // 2] < 0.2
    taken = {name for _, status, _, name, _ in answers if status == 200}
    found = [decode_input(each.value) for each in await read(cluster.bootstrap, topics.touchpoints, len(taken))]
    names = [record.id for record in found if isinstance(record, Event)]
    assert taken <= set(names)
    assert len(names) == len(set(names)), "an idempotent producer writes nothing twice"
    for customer in range(20):
        mine = [name for name in names if name.startswith(f"c{customer}-")]
        assert mine == sorted(mine)


async def test_of_three_brokers_one_may_die_and_with_one_left_nothing_is_acknowledged(kafka_cluster: Start) -> None:
    """After one SIGKILL records are taken again as soon as there are new leaders; after two, two copies cannot be had, so nobody
    gets a 200; when they are back it goes on. Whatever was acknowledged is there.
    """
    cluster = await asyncio.to_thread(kafka_cluster, 3)
    topics = Topics(prefix="t.")
    await asyncio.to_thread(ensure_topics, cluster.bootstrap, topics, partitions=6, replication=3)
    intake = KafkaIntake(cluster.bootstrap, topics, partitions=6, options=IntakeOptions(answer_seconds_max=3))
    await intake.start()
    taken: set[str] = set()
    number = 0

    async def round_of_all_partitions() -> int:
        """How many of thirty requests were acknowledged."""
        nonlocal number
        number += 1
        events = [event(f"c{customer}", number) for customer in range(30)]
        answers = await asyncio.gather(*(intake.append([each]) for each in events), return_exceptions=True)
        assert all(answer is None or isinstance(answer, StorageError) for answer in answers)
        done = {each.id for each, answer in zip(events, answers, strict=True) if answer is None}
        taken.update(done)
        return len(done)

    async def until_all(seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while await round_of_all_partitions() < 30:
                await asyncio.sleep(0.1)

    assert await round_of_all_partitions() == 30
    await asyncio.to_thread(cluster.kill, 0)
    await until_all(30)
    await asyncio.to_thread(cluster.kill, 1)
    await asyncio.sleep(1)
    assert await round_of_all_partitions() == 0
    await asyncio.to_thread(cluster.restart, 1)
    await until_all(40)
    await asyncio.to_thread(cluster.restart, 0)
    await until_all(40)
    await intake.stop()
    found = [decode_input(each.value) for each in await read(cluster.bootstrap, topics.touchpoints, len(taken))]
    names = [record.id for record in found if isinstance(record, Event)]
    assert taken <= set(names)
    assert len(names) == len(set(names))


async def test_stopping_while_the_broker_is_away_ends(kafka_cluster: Start) -> None:
    """SIGTERM during an outage: whoever waits gets an error, and the process can end."""
    cluster = await asyncio.to_thread(kafka_cluster)
    topics = Topics(prefix="t.")
    await asyncio.to_thread(ensure_topics, cluster.bootstrap, topics, partitions=2, replication=1)
    options = IntakeOptions(answer_seconds_max=60, stop_seconds_max=1)
    intake = KafkaIntake(cluster.bootstrap, topics, partitions=2, options=options)
    await intake.start()
    await intake.append([event("c1", 1)])
    await asyncio.to_thread(cluster.kill, 0)
    call = asyncio.create_task(intake.append([event("c1", 2)]))
    await asyncio.sleep(0.5)
    async with asyncio.timeout(10):
        await intake.stop()
        with pytest.raises(StorageError):
            await call
    assert intake.backlog == 0
