"""What is committed of what was done, when the group has put a member out meanwhile.

Invariant: broker, group and app are real; the owner stands for any that does at once what it is fed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import MemberToRemove

from engine.runtimes.kafka import progress
from engine.runtimes.kafka.app import Settings, build_app, end_app, start_app
from engine.runtimes.kafka.arrival import Incoming
from engine.runtimes.kafka.connect import connected
from engine.runtimes.kafka.host import Host
from engine.telemetry import Metrics
from tests.services.kafka import create_topics

SECONDS_MAX = 30.0
NEVER_SECONDS = 3_600.0


class _AtOnce:
    """Counts what it is fed."""

    waiting_records = 0

    def __init__(self) -> None:
        self.fed = 0
        self._released = asyncio.Event()

    def feed(self, records: Sequence[Incoming], done: Callable[[], None]) -> None:
        self.fed += len(records)
        done()

    async def run(self) -> None:
        await self._released.wait()

    def assigned_again(self) -> None:
        pass

    def scrub(self) -> None:
        pass

    def release(self) -> None:
        self._released.set()

    def close(self) -> None:
        pass


@pytest.mark.timeout(150)
async def test_what_the_brokers_refused_is_committed_once_they_know_the_member_again(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """As after a broker froze during the group's first commit; no record comes later that would carry the offset on."""
    source, rows, group = f"{topic_prefix}in", f"{topic_prefix}rows", f"{topic_prefix}group"
    await asyncio.to_thread(create_topics, kafka, {source: 1, rows: 1})
    await asyncio.to_thread(_append, kafka, source)
    settings = Settings(
        bootstrap=kafka,
        group=group,
        source=source,
        changelog=rows,
        partitions=1,
        commit_interval_seconds=NEVER_SECONDS,
        session_timeout_seconds=30.0,
        heartbeat_seconds=5.0,  # the commit hears of it first
        folder=tmp_path,
    )
    owner = _AtOnce()
    app: Any = build_app(settings, Host(lambda _partition: owner, lambda _partition: owner), metrics=Metrics())
    await start_app(app, kafka)
    try:
        await _until(lambda: owner.fed == 1)
        await asyncio.to_thread(_put_out, kafka, group)
        assert not await app.consumer.commit()
        assert await asyncio.to_thread(progress.committed, kafka, group, topic=source) == {}
        await _until(lambda: owner.fed == 2)
        assert await app.consumer.commit()
        assert await asyncio.to_thread(progress.committed, kafka, group, topic=source) == {0: 1}
        assert not await app.consumer.commit(), "what the brokers have is not sent again"
    finally:
        await end_app(app)


def _append(bootstrap: str, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    producer.send(topic, b"{}", partition=0).get(SECONDS_MAX)
    producer.close()


def _put_out(bootstrap: str, group: str) -> None:
    with connected(bootstrap) as client:
        members = client.describe_groups([group])[group]["members"]
        client.remove_group_members(group, [MemberToRemove(each["member_id"]) for each in members])


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not holds():
            await asyncio.sleep(0.05)
