"""Whether a topic is there and its partitions have leaders: asked of the brokers, not of a client's memory.

Invariant: nobody waits for it longer than `ANSWER_SECONDS_MAX`, and it says what is at most `SECONDS` old.
"""

from __future__ import annotations

import asyncio
import time

from engine.errors import AnlassError
from engine.runtimes.kafka.connect import connected

SECONDS = 2.0
ANSWER_SECONDS_MAX = 5.0
CONNECT_SECONDS = 3.0


class TopicProbe:
    """Of one topic."""

    def __init__(self, bootstrap: str, topic: str, *, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._partitions = partitions
        self._asking: asyncio.Task[str] | None = None
        self._asked_at = float("-inf")
        self._refused = ""

    async def why_not(self) -> str:
        """Why nothing can be written there now; "" when it can."""
        if time.monotonic() - self._asked_at < SECONDS:
            return self._refused
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(asyncio.to_thread(self._ask), name="anlass-probe")
        done, _ = await asyncio.wait({self._asking}, timeout=ANSWER_SECONDS_MAX)
        self._refused = self._asking.result() if done else f"Kafka at {self._bootstrap} does not answer."
        self._asked_at = time.monotonic()
        return self._refused

    def _ask(self) -> str:
        try:
            with connected(self._bootstrap, connect_seconds=CONNECT_SECONDS) as client:
                found = client.describe_topics([self._topic])[0]
        except AnlassError as error:
            return str(error)
        if found["error_code"]:
            return f"The topic {self._topic} is not there. Restore it, or start a role, which makes what is missing."
        alone = [str(each["partition_index"]) for each in found["partitions"] if each["leader_id"] < 0]
        if alone:
            return f"Partition {', '.join(sorted(alone))} of {self._topic} has no leader: its brokers are away."
        if len(found["partitions"]) < self._partitions:
            return f"The topic {self._topic} has {len(found['partitions'])} partitions instead of {self._partitions}."
        return ""
