"""Workers join, leave and are killed under an even load: how long does a partition stand still?

Invariant: a pause is the longest time between two messages of one partition that follow each other, by the broker's clock, after
an action and before the next one; the load goes on by due time whatever the workers do.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.kafka.run import READY_SECONDS_MAX, Run, await_members, running
from benchmarks.kafka.stream import Record, append, make_stream
from benchmarks.kafka.variants import Variant
from tests.services.kafka import Cluster

PARTITIONS = 6  # Faust's assignor moves partitions to a third worker only when two have more than a third of them each
WORKERS = 2
SETTLE_SECONDS = 3.0
CYCLE_SECONDS_MAX = 240
BEFORE = "undisturbed"


@dataclass
class Pauses:
    """What was found. Seconds by action, one per partition and action."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    events: int = 0
    again: int = 0
    """Messages that came more than once: allowed, downstream knows their ids."""
    wrong: list[str] = field(default_factory=list)


class _Load:
    """An open loop: `rate` events per second, each of which decides a message."""

    def __init__(self, run: Run, events: Sequence[Record], *, rate: float) -> None:
        self._run = run
        self._events = events
        self._rate = rate
        self.sent = 0
        self._ending = False

    async def go(self) -> None:
        """Sends what is due until `end`; returns when all is acknowledged."""
        start = time.perf_counter()
        answers = []
        while not self._ending:
            due = int((time.perf_counter() - start) * self._rate)
            assert due < len(self._events), "the load is shorter than the scenario"
            for partition, key, value in self._events[self.sent : due]:
                answers.append(await self._run.producer.send(self._run.touchpoints, value, key, partition))
            self.sent = due
            await asyncio.sleep(0.005)
        await asyncio.gather(*answers)

    def end(self) -> None:
        """No more events."""
        self._ending = True


async def pauses_of(variant: Variant, cluster: Cluster, *, tag: str, cycles: int, rate: float) -> Pauses:
    """Each cycle: one joins, it leaves (SIGTERM), one joins, it is killed (SIGKILL), beside two that stay."""
    stream = make_stream(
        round(cycles * CYCLE_SECONDS_MAX * rate), 1_000, partitions=PARTITIONS, seed=11, orders_only=True
    )
    actions: list[tuple[float, str]] = []
    found = Pauses()
    async with running(variant, stream, cluster, tag=tag) as run:
        await append(run.producer, run.touchpoints, stream.known)
        for _ in range(WORKERS):
            run.start_worker()
        await run.await_messages(PARTITIONS, seconds_max=READY_SECONDS_MAX)
        await await_members(run, WORKERS)
        load = _Load(run, stream.events, rate=rate)
        loading = asyncio.create_task(load.go())
        await asyncio.sleep(SETTLE_SECONDS)
        actions.append((time.time(), BEFORE))
        await asyncio.sleep(SETTLE_SECONDS)
        for _ in range(cycles):
            for ending in ("leaves", "is killed"):
                actions.append((time.time(), "joins"))
                worker = run.start_worker()
                await await_members(run, WORKERS + 1)
                await asyncio.sleep(SETTLE_SECONDS)
                actions.append((time.time(), ending))
                if ending == "leaves":
                    await asyncio.to_thread(worker.stop)
                else:
                    worker.process.kill()
                    worker.process.wait()
                await await_members(run, WORKERS)
                await asyncio.sleep(SETTLE_SECONDS)
        actions.append((time.time(), ""))
        load.end()
        await loading
        found.events = load.sent
        times = await _await_all(run, stream.events[: load.sent], found)
        for partition in range(PARTITIONS):
            pauses_in(sorted(times[partition]), actions, found)
    return found


async def _await_all(run: Run, events: Sequence[Record], found: Pauses) -> dict[int, list[float]]:
    """Partition → when its messages came (epoch seconds), once all of them have come or the time is up."""
    ids = run.variant.message_ids(run.stream)
    homes = {ids[json.loads(value)["messageId"]]: partition for partition, _, value in events}
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        times: dict[int, list[float]] = defaultdict(list)
        came: Counter[str] = Counter()
        async for record in run.read(run.dispatches):
            told = run.variant.read_message(record.key, record.value)
            if told and told[0] in homes:
                came[told[0]] += 1
                times[homes[told[0]]].append(record.timestamp / 1_000)
        lost = homes.keys() - came.keys()
        if not lost or time.monotonic() > deadline:
            break
        await asyncio.sleep(1)
    found.again = sum(came.values()) - len(came)
    if lost:
        found.wrong.append(f"{run.variant.name}: {len(lost)} of {len(homes)} messages lost: {sorted(lost)[:3]}")
    return times


def pauses_in(times: Sequence[float], actions: Sequence[tuple[float, str]], found: Pauses) -> None:
    """The pauses of one partition; one that began just before an action, or ended after the next, is of where most of it lies."""
    windows = [(start, end) for (start, _), (end, _) in itertools.pairwise(actions)]
    longest = [0.0] * len(windows)
    for before, after in itertools.pairwise(times):
        shares = [min(after, end) - max(before, start) for start, end in windows]
        most = max(range(len(windows)), key=shares.__getitem__)
        if shares[most] > 0:
            longest[most] = max(longest[most], after - before)
    for (_, action), seconds in zip(actions, longest, strict=False):
        found.seconds[action].append(seconds)
