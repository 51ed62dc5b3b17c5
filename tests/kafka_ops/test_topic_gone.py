"""A topic that somebody deleted under a collector: it says so, answers 503, and does not spin."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from engine.runtimes.kafka.connect import connected
from engine.runtimes.kafka.topics import Topics
from tests.kafka_ops.role_process import RoleProcess

WATCHED_SECONDS = 10.0
LINES_MAX = 60
"""Repeats count as well: without a pause between two questions there were 17,489 in as long."""


@pytest.mark.timeout(150)
async def test_a_collector_whose_topic_is_gone_says_so_quietly(
    env: dict[str, str], role: Callable[..., RoleProcess]
) -> None:
    """Not ready, 503 to events, and a few lines of log in ten seconds however often the client repeats itself."""
    collector = role("collector")
    await collector.ready()
    with connected(env["ANLASS_KAFKA"]) as client:
        client.delete_topics([Topics(env["ANLASS_KAFKA__PREFIX"]).touchpoints])
    before, began = len(collector.lines), time.monotonic()
    asked = asyncio.create_task(asyncio.to_thread(_post, collector.url))
    said = ""
    while time.monotonic() - began < WATCHED_SECONDS:
        said = await asyncio.to_thread(collector._get, "/readyz")
        await asyncio.sleep(0.5)
    told = collector.lines[before:]
    count = sum(1 + int(line.get("repeated", 0)) for line in told)
    print(f"{len(told)} lines, {count} with repeats: {said}")  # noqa: T201 - read by who looks into it
    assert "ready" not in json.loads(said).get("status", ""), said
    assert count <= LINES_MAX, told[:5]
    assert await asked == 503
    assert collector.process.poll() is None


def _post(url: str) -> int:
    body = json.dumps({"batch": [{"type": "track", "userId": "ann", "messageId": "a1", "event": "Tick"}]}).encode()
    request = urllib.request.Request(f"{url}/v1/batch", body, {"Content-Type": "application/json"})  # noqa: S310 - our own
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
