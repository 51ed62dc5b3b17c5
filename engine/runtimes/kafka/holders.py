"""Who holds which definitions: a process that renders or watches says so, and a deploy asks before it says "in force".

Each is alone in a consumer group of its own: the broker knows from that whether it lives, and the metadata of what it commits is
the id that it holds. Invariant: an id is said only after the catalog and its templates are shown.
"""

from __future__ import annotations

import asyncio
import os
import socket

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from kafka import KafkaAdminClient

from engine.runtimes.kafka.connect import METADATA_AGE_MS
from engine.runtimes.kafka.leaving import stopped
from engine.runtimes.kafka.topics import Topics

SESSION_MS = 10_000
POLL_MS = 500
RETRY_SECONDS = 1.0
NAMED = "holds."
"""Begins the names of these groups, after the topics' prefix."""


class Announcement:
    """Says what this process holds, from `start` until `stop`; a broker that is away only delays it."""

    def __init__(self, bootstrap: str, topics: Topics, *, role: str) -> None:
        self._bootstrap = bootstrap
        self._tp = TopicPartition(topics.definitions, 0)
        who = f"{role}.{socket.gethostname()}.{os.getpid()}"
        self._group = topics.group(f"{NAMED}{who}")
        self._task: asyncio.Task[None] | None = None
        self.held = ""
        """The id to say."""

    def start(self) -> None:
        """Returns at once."""
        self._task = asyncio.create_task(self._say_always(), name="anlass-holds")

    async def stop(self) -> None:
        """Leaves the group. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _say_always(self) -> None:
        while True:
            try:
                await self._say()
            except KafkaError:  # the client has logged it; whoever deploys hears that we say nothing
                await asyncio.sleep(RETRY_SECONDS)

    async def _say(self) -> None:
        consumer = AIOKafkaConsumer(
            self._tp.topic,
            bootstrap_servers=self._bootstrap,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=SESSION_MS,
            metadata_max_age_ms=METADATA_AGE_MS,
        )
        said = ""
        try:
            await consumer.start()
            while True:
                await consumer.getmany(
                    timeout_ms=POLL_MS
                )  # nothing is read here; a member that never asks is taken for stuck
                if self.held != said and self._tp in consumer.assignment():
                    held = self.held
                    await consumer.commit({self._tp: (0, held)})
                    said = held
        finally:
            await stopped(consumer)


def holders(client: KafkaAdminClient, topics: Topics) -> dict[str, str]:
    """`role at host, process number` → id of what it holds ("": nothing yet), of all that live."""
    begin, tp = topics.group(NAMED), (topics.definitions, 0)
    groups = [each["group_id"] for each in client.list_groups() if each["group_id"].startswith(begin)]
    found: dict[str, str] = {}
    if not groups:
        return found
    described = client.describe_groups(groups)
    for group in groups:
        if not described[group]["members"]:
            continue
        role, _, rest = group.removeprefix(begin).partition(".")
        host, _, number = rest.rpartition(".")
        offsets = client.list_group_offsets({group: None}).get(group, {})
        held = {(each.topic, each.partition): at.metadata or "" for each, at in offsets.items()}
        found[f"{role} at {host}, process {number}"] = held.get(tp, "")
    return found
