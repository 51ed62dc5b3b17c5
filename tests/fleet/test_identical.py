"""One process on SQLite and three workers on Kafka decide the same for the same events, with everything that is shipped.

`IDENTICAL_EVENTS=100000` plays more than the few that every run plays.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.traffic import events, identify
from engine.core.effect import Decision
from engine.core.record import Record
from engine.project.opening import open_rehearsal
from engine.runtimes.base import Query
from engine.runtimes.embedded import EmbeddedRuntime
from engine.runtimes.kafka import progress
from engine.runtimes.kafka.intake.intake import KafkaIntake
from engine.runtimes.kafka.topics import Topics
from tests.fleet.processes import fleet
from tests.fleet.topics_read import journal_of

ROOT = Path(__file__).resolve().parent.parent.parent
EVENTS = int(os.environ.get("IDENTICAL_EVENTS", "6000"))
CUSTOMERS = max(50, EVENTS // 20)
PARTITIONS = 6
CHUNK = 500
DAY_MS = 86_400_000
PAGE = 5_000


def records() -> list[Record]:
    """Tomorrow's traffic, so that no timer comes due while it is played: when one fires the clock says, not the log."""
    start_ms = int(time.time() * 1_000) + DAY_MS
    known: list[Record] = [identify(number, start_ms - 1) for number in range(CUSTOMERS)]
    return [*known, *events(EVENTS, CUSTOMERS, seed=7, start_ms=start_ms, step_ms=20)]


async def on_sqlite(played: Sequence[Record], var: Path) -> dict[str, list[Decision]]:
    """What `anlass run` decides."""
    runtime = EmbeddedRuntime(var, open_rehearsal(ROOT, with_templates=False).catalog)
    await runtime.start()
    try:
        for at in range(0, len(played), CHUNK):
            await runtime.append(played[at : at + CHUNK])
        await runtime.idle()
        by_customer: dict[str, list[Decision]] = {}
        seq = 0
        while page := await runtime.decisions(Query(after_seq=seq, limit=PAGE, oldest_first=True)):
            seq = page[-1][0]
            for _, line in page:
                by_customer.setdefault(line.customer, []).append(line)
        return by_customer
    finally:
        await runtime.stop()


async def put_on_kafka(played: Sequence[Record], bootstrap: str, topics: Topics) -> None:
    """As collectors do it."""
    intake = KafkaIntake(bootstrap, topics, partitions=PARTITIONS)
    await intake.start()
    try:
        for at in range(0, len(played), CHUNK):
            await intake.append(played[at : at + CHUNK])
    finally:
        await intake.stop()


def _owned(page: str) -> int:
    found = re.search(r'^anlass_partitions\{share="owned"\} (\S+)$', page, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


@pytest.mark.timeout(900)
async def test_three_workers_decide_what_one_process_decides(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """Decision for decision, per customer and in order, `why` and message ids included."""
    played = records()
    expected = await on_sqlite(played, tmp_path / "var")
    assert sum(map(len, expected.values())) > EVENTS, "the traffic leads to decisions"
    project = tmp_path / "shop"
    for name in ("workflows", "templates"):
        shutil.copytree(ROOT / name, project / name)
    topics = Topics(topic_prefix)
    with fleet(project, tmp_path, bootstrap=kafka, prefix=topic_prefix, partitions=PARTITIONS) as ours:
        await asyncio.to_thread(ours.deploy)
        workers = [ours.start("worker") for _ in range(3)]
        for worker in workers:
            await asyncio.to_thread(worker.wait_ready)
        await put_on_kafka(played, kafka, topics)
        deadline = time.monotonic() + 300
        while True:
            behind = await asyncio.to_thread(progress.lag, kafka, topics.group("worker"), topic=topics.touchpoints)
            if len(behind) == PARTITIONS and not any(behind.values()):
                break
            assert time.monotonic() < deadline, f"the workers do not follow: {behind}"
            await asyncio.sleep(0.5)
        shares = [_owned(worker.get("/metrics")[1]) for worker in workers]
        decided = await journal_of(kafka, topics.journal, PARTITIONS)
    assert shares == [2, 2, 2], "each worker has its share"
    assert decided.keys() == expected.keys()
    for customer, lines in expected.items():
        assert decided[customer] == lines, customer
