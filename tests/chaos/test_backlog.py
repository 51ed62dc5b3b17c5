"""A partition with far more waiting than a worker takes at once: everything is read, in order, nothing is left out.

Invariant: the worker is the real process; the records stand on the log before it starts.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from engine.runtimes.kafka import progress
from engine.runtimes.kafka.group.app import HIGH_WATER_RECORDS
from engine.runtimes.kafka.topics import JournalLine, Topics, decode_journal, partition_of
from tests.chaos.crew import Member, deploy, environment_of
from tests.chaos.reading import read_logs
from tests.chaos.visits import make_project

BACKLOG_RECORDS = 5 * HIGH_WATER_RECORDS
PARTITIONS = 2
READ_SECONDS_MAX = 120.0


@pytest.mark.timeout(240)
async def test_a_backlog_on_one_partition_is_read_without_a_gap(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """More than the high-water mark waits: the partition is held back and goes on, and every sign-up is decided once."""
    topics = Topics(topic_prefix)
    environment = environment_of(kafka, topic_prefix, partitions=PARTITIONS, session_seconds=10)
    await asyncio.to_thread(deploy, make_project(tmp_path / "project"), environment)
    names = [name for number in range(3 * BACKLOG_RECORDS) if partition_of((name := f"c{number}").encode(), 2) == 0]
    customers = names[:BACKLOG_RECORDS]
    await _sign_up(kafka, topics.touchpoints, customers)
    worker = Member("worker-0", tmp_path, environment)
    worker.start()
    try:
        deadline = time.monotonic() + READ_SECONDS_MAX
        while sum(
            (await asyncio.to_thread(progress.lag, kafka, topics.group("worker"), topic=topics.touchpoints)).values()
        ):
            assert worker.runs, worker.last_words()
            assert time.monotonic() < deadline, worker.last_words()
            await asyncio.sleep(0.5)
    finally:
        worker.kill()
    journal = (await read_logs(kafka, topics, partitions=PARTITIONS)).journal
    lines = [decode_journal(each.value or b"") for each in journal[0]]
    welcomed = [line.customer for line in lines if isinstance(line, JournalLine) and line.kind == "send"]
    missing = sorted(set(customers) - set(welcomed), key=customers.index)
    assert not missing, f"{len(missing)} of {len(customers)} were left out, the first: {missing[:3]}"
    assert welcomed == customers


async def _sign_up(bootstrap: str, topic: str, customers: list[str]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=20)
    await producer.start()
    try:
        sent = []
        for customer in customers:
            body = {"type": "track", "event": "Signed Up", "userId": customer, "messageId": customer}
            sent.append(await producer.send(topic, msgspec.json.encode(body), key=customer.encode(), partition=0))
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
