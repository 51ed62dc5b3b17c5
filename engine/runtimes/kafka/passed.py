"""Whether the workers are past what was put on the log: for commands that say when they are done.

Invariant: "passed" is said only of offsets that the workers' group has committed, so of records whose effects are durable.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Literal

from engine.runtimes.kafka import progress
from engine.runtimes.kafka.connect import connected
from engine.runtimes.kafka.topics import Topics

POLL_SECONDS = 0.25

Passed = Literal["passed", "behind", "nobody"]
"""`nobody`: no worker is running, so there is nothing to wait for."""


async def passed(bootstrap: str, topics: Topics, *, ends: Mapping[int, int], seconds_max: float) -> Passed:
    """Waits until the workers have applied everything before `ends` (partition → offset). Raises ServiceUnreachable."""
    group, topic = topics.group("worker"), topics.touchpoints
    deadline = time.monotonic() + seconds_max
    with connected(bootstrap) as client:
        while True:
            members, done = await asyncio.to_thread(progress.standing, client, group, topic=topic)
            if all(done.get(number, 0) >= end for number, end in ends.items()):
                return "passed"
            if not members:  # one that was killed belongs to the group until its session is over
                return "nobody"
            if time.monotonic() > deadline:
                return "behind"
            await asyncio.sleep(POLL_SECONDS)
