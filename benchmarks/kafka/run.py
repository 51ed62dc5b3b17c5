"""One measurement: topics, the variant's processes, the input, the watch, and the account of every message and state.

Invariant: when it is done is read from the broker's own clock (topics carry the time of appending), the same for all variants.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from benchmarks.kafka.stream import Stream, append
from benchmarks.kafka.variants import ROOT, Broken, Place, Variant, clean_environment
from benchmarks.processes import cpu_seconds, rss_peak_mb
from engine.errors import ServiceUnreachable
from tests.services.kafka import Cluster, admin, create_topics
from tests.services.kafka_jars import jars, java

POLL_SECONDS = 0.05
QUIET_SECONDS = 0.3
READY_SECONDS_MAX = 120.0
EVENTS_PER_SECOND_MIN = 100
"""A variant that is slower than this is given up."""


@contextlib.contextmanager
def broker() -> Iterator[Cluster | None]:
    """A broker whose topics carry the time of appending; None, after one line that says why, when Java or Kafka cannot be had."""
    try:
        java()
        jars()
    except ServiceUnreachable as error:
        print(f"SKIPPED: {error} {error.mend}", flush=True)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="anlass-bench-") as folder:
        properties = {"log.message.timestamp.type": "LogAppendTime"}
        with Cluster(folder=Path(folder), properties=properties) as cluster:
            yield cluster


@dataclass
class Worker:
    """One running process of a variant."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def ended(self) -> bool:
        """Whether it ended; it stays unreaped, so that its CPU time can still be read."""
        return Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "Z"

    def cpu_seconds(self) -> float:
        """Used so far, or in all when it ended."""
        return cpu_seconds(self.process.pid)

    def last_words(self) -> str:
        """The end of its log."""
        return (self.folder / "log").read_text("utf-8", "replace")[-1_500:]

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not help."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Run:
    """A variant at work on its own topics. Made by `running`."""

    variant: Variant
    stream: Stream
    cluster: Cluster
    prefix: str
    folder: Path
    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    messages: int
    """That must come in all."""
    workers: list[Worker] = field(default_factory=list)

    @property
    def touchpoints(self) -> str:
        """The input topic."""
        return f"{self.prefix}touchpoints"

    @property
    def dispatches(self) -> str:
        """The topic of decided messages."""
        return f"{self.prefix}dispatches"

    def place(self, folder: Path) -> Place:
        """Where something of the variant works; makes its folder."""
        folder.mkdir(parents=True)
        return Place(self.cluster.bootstrap, self.prefix, folder, self.folder / "project", self.stream, self.messages)

    def start_worker(self) -> Worker:
        """Starts one more process of the variant."""
        folder = self.folder / f"worker-{len(self.workers)}"
        place = self.place(folder / "state")
        environment = {**clean_environment(), **self.variant.environment(place)}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                self.variant.command(place), cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.workers.append(Worker(process, folder))
        return self.workers[-1]

    def partitions(self, topic: str) -> list[TopicPartition]:
        """The partitions of one of its topics, all of which have the same number of them."""
        return [TopicPartition(topic, number) for number in range(self.stream.partitions)]

    @property
    def changelog(self) -> str:
        """The name of the changelog; "" when the variant has none."""
        return self.variant.changelog(self.prefix)

    async def count(self, topic: str) -> int:
        """Records ever appended to a topic."""
        return sum((await self.consumer.end_offsets(self.partitions(topic))).values())

    async def await_messages(self, wanted: int, *, seconds_max: float) -> None:
        """Returns when so many messages were decided. Raises Broken when a process ended before, or it takes too long."""
        deadline = time.monotonic() + seconds_max
        while (found := await self.count(self.dispatches)) < wanted:
            ended = [worker for worker in self.workers if worker.process.returncode is None and worker.ended]
            if ended or time.monotonic() > deadline:
                what = "ended" if ended else f"was not done after {seconds_max:.0f} s"
                words = (ended or self.workers)[0].last_words()
                raise Broken(f"{self.variant.name} {what}: {found} of {wanted} messages. {words}")
            await asyncio.sleep(POLL_SECONDS)

    async def await_quiet(self) -> None:
        """Returns when the changelog does not grow any more, and one that closes itself has ended."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        before = -1
        while time.monotonic() < deadline:
            if self.variant.closes_itself:
                if all(worker.ended for worker in self.workers):
                    return
                await asyncio.sleep(POLL_SECONDS)
                continue
            found = await self.count(self.changelog) if self.changelog else 0
            if found == before:
                return
            before = found
            await asyncio.sleep(QUIET_SECONDS)
        raise Broken(f"{self.variant.name} did not come to rest. {self.workers[0].last_words()}")

    async def last_append_s(self) -> float:
        """When the last message or state was appended (epoch seconds, the broker's clock)."""
        latest = 0.0
        for topic in filter(None, (self.dispatches, self.changelog)):
            for place, end in (await self.consumer.end_offsets(self.partitions(topic))).items():
                if end:
                    self.consumer.assign([place])
                    self.consumer.seek(place, max(0, end - 1))
                    latest = max(latest, (await self.consumer.getone()).timestamp / 1_000)
        return latest

    async def read(self, topic: str) -> AsyncIterator[ConsumerRecord]:
        """All records of a topic, in order per partition."""
        places = self.partitions(topic)
        ends = await self.consumer.end_offsets(places)
        self.consumer.assign(places)
        for place in places:
            self.consumer.seek(place, 0)
        missing = {place for place in places if ends[place]}
        while missing:
            for records in (await self.consumer.getmany(timeout_ms=500, max_records=5_000)).values():
                for record in records:
                    yield record
            missing = {place for place in missing if await self.consumer.position(place) < ends[place]}

    async def account(self) -> list[str]:
        """What is wrong with the messages and the states: every event counted once, every message decided once.

        With several workers the markers of the beginning may come again: the first worker decides them, and who takes a
        partition over sends its last effects again (downstream knows the ids).
        """
        wrong: list[str] = []
        expected = self.variant.expected(self.stream)
        came: Counter[str] = Counter()
        miscounted = 0
        async for record in self.read(self.dispatches):
            if told := self.variant.read_message(record.key, record.value):
                came[told[0]] += 1
                miscounted += told[1] is not None and told[1] != expected.get(told[0])
        ids = self.variant.message_ids(self.stream)
        again = {ids[marker] for marker in self.stream.markers & ids.keys()} if len(self.workers) > 1 else set()
        twice = sum(count > 1 for name, count in came.items() if name not in again)
        lost, stray = len(expected.keys() - came.keys()), len(came.keys() - expected.keys())
        if lost or stray or twice or miscounted:
            wrong.append(f"messages: {lost} lost, {stray} stray, {twice} more than once, {miscounted} counted wrong")
        counts = await self.counts()
        if counts is not None:
            off = [customer for customer, count in self.stream.counts.items() if counts.get(customer) != count]
            if off:
                first = [(customer, self.stream.counts[customer], counts.get(customer)) for customer in off[:3]]
                wrong.append(f"states: {len(off)} of {len(self.stream.counts)} counted wrong: {first}")
        return [f"{self.variant.name}: {line}" for line in wrong]

    async def counts(self) -> dict[str, int | None] | None:
        """Customer → events counted in the newest state; None: the variant keeps none."""
        found: dict[str, int | None] = {}
        read = self.variant.read_state
        if read is None:
            return None
        if self.changelog:
            async for record in self.read(self.changelog):
                if record.value is not None and (told := read(record.key, record.value)):
                    found[told[0]] = told[1]
            return found
        if self.variant.states_of is None:
            return None
        for worker in self.workers:
            for key, value in self.variant.states_of(worker.folder):
                if told := read(key, value):
                    found[told[0]] = told[1]
        return found


@contextlib.asynccontextmanager
async def running(variant: Variant, stream: Stream, cluster: Cluster, *, tag: str) -> AsyncIterator[Run]:
    """Topics and clients for one run; ends its processes and deletes its topics at the end."""
    logging.getLogger("aiokafka").setLevel(
        logging.CRITICAL
    )  # a topic that was made just now has no leader yet: it retries
    prefix = f"{tag}."
    if names := variant.topics(prefix):
        await asyncio.to_thread(create_topics, cluster.bootstrap, dict.fromkeys(names, stream.partitions))
    producer = AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, acks="all", max_batch_size=64 * 1024)
    consumer = AIOKafkaConsumer(bootstrap_servers=cluster.bootstrap, enable_auto_commit=False)
    with tempfile.TemporaryDirectory(prefix="anlass-bench-") as folder:
        async with producer, consumer:
            messages = len(variant.expected(stream))
            run = Run(variant, stream, cluster, prefix, Path(folder), producer, consumer, messages)
            try:
                await asyncio.to_thread(variant.prepare, run.place(run.folder / "prepare"))
                yield run
            finally:
                for worker in run.workers:
                    await asyncio.to_thread(worker.stop)
        await asyncio.to_thread(_delete_topics, cluster.bootstrap, prefix)


def _delete_topics(bootstrap: str, prefix: str) -> None:
    with admin(bootstrap) as client:
        client.delete_topics([name for name in client.list_topics() if prefix in name])


async def measure(
    variant: Variant, stream: Stream, cluster: Cluster, *, tag: str, workers: int = 1
) -> tuple[dict[str, float], list[str]]:
    """Numbers of one run, and what was wrong: no event is sent before all workers are ready and know all customers."""
    async with running(variant, stream, cluster, tag=tag) as run:
        started = time.monotonic()
        known, events = ([variant.rewrite(each) for each in part] for part in (stream.known, stream.events))
        await append(run.producer, run.touchpoints, known)
        for _ in range(workers):
            run.start_worker()
        seconds_max = READY_SECONDS_MAX + len(stream.known) / EVENTS_PER_SECOND_MIN
        await run.await_messages(stream.partitions, seconds_max=seconds_max)
        if workers > 1:
            await await_members(run, workers)
        if not variant.closes_itself:
            await run.await_quiet()
        ready_seconds = time.monotonic() - started
        came_again = await run.count(run.dispatches) - stream.partitions
        cpu = [worker.cpu_seconds() for worker in run.workers]
        broker_cpu = cpu_seconds(cluster.pid(0))
        began = await append(run.producer, run.touchpoints, events)
        appended = time.time()
        count = len(stream.events)
        await run.await_messages(run.messages + came_again, seconds_max=60 + count / EVENTS_PER_SECOND_MIN)
        memory = [rss_peak_mb(worker.process.pid) for worker in run.workers if not worker.ended]
        await run.await_quiet()
        used = sum(worker.cpu_seconds() for worker in run.workers) - sum(cpu)
        broker_used = cpu_seconds(cluster.pid(0)) - broker_cpu
        seconds = await run.last_append_s() - began
        wrong = await run.account()
    numbers = {
        "events/s": count / seconds, "CPU us/event": used / count * 1e6, "broker CPU us/event": broker_used / count * 1e6,
        "load s": appended - began, "ready s": ready_seconds,
    }  # fmt: skip
    return numbers | ({"RSS peak MB": sum(memory)} if memory else {}), wrong


async def await_members(run: Run, workers: int) -> None:
    """Returns when the group has so many members and all of them have partitions."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline:
        if await asyncio.to_thread(_members, run.cluster.bootstrap, f"{run.prefix}{run.variant.group}") == workers:
            await asyncio.sleep(2)
            return
        await asyncio.sleep(0.3)
    raise Broken(f"{run.variant.name}: {workers} workers did not form a group. {run.workers[-1].last_words()}")


def _members(bootstrap: str, group: str) -> int:
    with admin(bootstrap) as client:
        found = client.describe_groups([group])[group]
    return len(found["members"]) if found.get("state", found.get("group_state")) == "Stable" else 0
