"""One worker with a million pending timers on Kafka: memory and time to restore from the changelog, to open its copy, to fire.

    python -m benchmarks.kafka.timers HOST:PORT [CUSTOMERS] [PARTITIONS]

Invariant: each number is taken in a process of its own, so that no run lives on another one's memory.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.clock import ManualClock
from engine.core.customer import encode_state
from engine.core.evaluate import evaluate
from engine.core.record import Event, Identify
from engine.runtimes.kafka.definitions import Definitions
from engine.runtimes.kafka.intake.outlet import Outlet, Row
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.partition.changelog import Changelog, ChangelogPartition
from engine.runtimes.kafka.partition.outgoing import PlanNeeds
from engine.runtimes.kafka.partition.store import RowStore
from engine.runtimes.kafka.topics import CHECKPOINT_KEY, Checkpoint, Topics, encode_checkpoint, pack_row, partition_of
from engine.runtimes.kafka.worker.owner import Owner, OwnerNeeds
from engine.telemetry import Metrics
from tests.conformance.shop import T0, catalog
from tests.services.kafka import create_topics

ROWS_PER_BATCH = 2_000
FIRED = 20_000
HOUR_MS = 3_600_000


def rss_mb() -> float:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def fill(bootstrap: str, topics: Topics, *, customers: int, partitions: int) -> None:
    """Writes customers who wait for an hour, as a worker would have."""
    keyed = (topics.touchpoints, topics.states, topics.dispatches, topics.journal, topics.dead_letters)
    create_topics(bootstrap, dict.fromkeys(keyed, partitions), max_message_bytes=str(17 << 20))
    outlet = Outlet(bootstrap, client="fill")
    await outlet.start()
    rows: list[list[Row]] = [[] for _ in range(partitions)]
    shop = catalog()
    for number in range(customers):
        name = f"customer-{number:08}"
        traits = {"email": f"{name}@example.com", "name": "Ana", "city": "Berlin"}
        state, _ = evaluate(shop, None, Identify(customer=name, at_ms=T0, id=f"i{number}", time_ms=T0, traits=traits))
        event = Event(customer=name, at_ms=T0, id=f"e{number}", name="Product Added", time_ms=T0)
        state, _ = evaluate(shop, state, event)
        assert state is not None
        part = rows[partition_of(name.encode(), partitions)]
        part.append((name.encode(), pack_row(number, state.next_due_ms, encode_state(state)), ()))
        if len(part) == ROWS_PER_BATCH:
            await _put(outlet, topics, rows.index(part), part)
    for number, part in enumerate(rows):
        await _put(outlet, topics, number, part)
    await outlet.stop()


async def _put(outlet: Outlet, topics: Topics, number: int, part: list[Row]) -> None:
    checkpoint = encode_checkpoint(Checkpoint(catalog="shop-1"))
    await outlet.append(topics.states, number, [(CHECKPOINT_KEY, checkpoint, ()), *part])
    part.clear()


async def own(bootstrap: str, topics: Topics, *, folder: Path, partitions: int) -> None:
    """Owns all partitions: prints how long it took until all were restored, what that took, and how quickly timers fire."""
    clock, outlet = ManualClock(T0), Outlet(bootstrap, client="own")
    await outlet.start()
    definitions = Definitions(bootstrap, topics, project="shop", compile_=lambda *_: catalog())
    definitions.catalogs["shop-1"] = catalog()
    definitions._known["shop-1"] = None  # type: ignore[assignment]  # noqa: SLF001 - it is not on a topic
    base = rss_mb()
    started = time.perf_counter()
    owners: list[Owner] = []
    tasks: list[asyncio.Task[None]] = []
    for number in range(partitions):
        here = PlanNeeds(
            topics=topics,
            partition=number,
            partitions=partitions,
            parse=lambda *_: [],
            alias=lambda customer: customer,
            address_key=lambda channel, address: f"{channel}:{address}".encode(),
        )
        store = RowStore(folder / str(number))
        store.open()
        changelog = Changelog(ChangelogPartition(bootstrap, topics.states, number), store, outlet)
        owners.append(Owner(here, store, changelog, tools=OwnerNeeds(outlet, definitions, clock, Metrics())))
        tasks.append(asyncio.create_task(owners[-1].run()))
    for owner in owners:
        await owner.ready.wait()
    seconds = time.perf_counter() - started
    size_mb = await asyncio.to_thread(_size_mb, folder)
    print(
        f"ready after {seconds:.1f} s; RSS at most {rss_mb():.0f} MB (before: {base:.0f} MB); on disk {size_mb:.0f} MB"
    )
    assert all(owner.next_due_ms == T0 + HOUR_MS for owner in owners), "the timers are not there"
    await _fire(bootstrap, topics, owners, clock=clock)
    print(f"RSS at most {rss_mb():.0f} MB after firing")
    for task, owner in zip(tasks, owners, strict=True):
        owner.release()
        await task
        owner.close()
    await outlet.stop()


def _size_mb(folder: Path) -> float:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file()) / 1e6


async def _fire(bootstrap: str, topics: Topics, owners: list[Owner], *, clock: ManualClock) -> None:
    from aiokafka import AIOKafkaConsumer, TopicPartition  # noqa: PLC0415 - not part of what is measured before

    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    places = [TopicPartition(topics.touchpoints, number) for number in range(len(owners))]
    consumer.assign(places)
    await consumer.seek_to_end(*places)
    for tp in places:
        await consumer.position(tp)
    clock.advance(HOUR_MS)
    fired, started, slowest, last = 0, time.perf_counter(), 0.0, time.perf_counter()
    for owner in owners:
        owner.wake()
    while fired < FIRED:
        for tp, records in (await consumer.getmany(timeout_ms=100)).items():
            incoming = [Incoming(each.offset, each.timestamp, each.key, each.value) for each in records]
            owners[tp.partition].feed(incoming, lambda: None)
            fired += len(records)
        slowest, last = max(slowest, time.perf_counter() - last), time.perf_counter()
    print(f"{fired / (time.perf_counter() - started):,.0f} timers fired per second; the longest pause {slowest:.2f} s")
    await consumer.stop()


def main() -> None:
    """Fills, then restores in a new process, then opens the copy in another."""
    if sys.argv[1] == "own":
        bootstrap, prefix, copy, count = sys.argv[2:]
        asyncio.run(own(bootstrap, Topics(prefix), folder=Path(copy), partitions=int(count)))
        return
    bootstrap = sys.argv[1]
    customers = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    partitions = int(sys.argv[3]) if len(sys.argv) > 3 else 4
    topics = Topics(f"b04-{time.time_ns()}.")
    started = time.perf_counter()
    asyncio.run(fill(bootstrap, topics, customers=customers, partitions=partitions))
    print(f"{customers:,} customers on {partitions} partitions written in {time.perf_counter() - started:.0f} s")
    folder = tempfile.mkdtemp(prefix="anlass-b04-")
    try:
        for what in ("from the changelog", "from the copy"):
            print(what, flush=True)
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.kafka.timers",
                    "own",
                    bootstrap,
                    topics.prefix,
                    folder,
                    str(partitions),
                ],
                check=True,
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
