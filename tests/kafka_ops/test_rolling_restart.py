"""Workers are restarted one after the other under load: nothing is lost, nothing is decided twice, nobody waits for long."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from engine.core.record import Event
from engine.runtimes.kafka.topics import JournalLine, Topics, decode_journal, encode_input, partition_of
from tests.kafka_ops.conftest import PARTITIONS
from tests.kafka_ops.role_process import RoleProcess

EVENTS_PER_SECOND = 80
CUSTOMERS = 40
GAP_SECONDS_MAX = 8.0
"""Of a partition, on a machine that does much else beside; B7 measures it."""
pytestmark = pytest.mark.timeout(240)


class Load:
    """Sends events steadily, and reads what was decided about them."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._enough = asyncio.Event()
        self.sent: dict[str, str] = {}
        """Event → its customer."""
        self.arrived: dict[int, list[float]] = defaultdict(list)
        """Partition → when a line of it arrived, monotonic seconds."""
        self.lines: dict[tuple[int, int, int], JournalLine] = {}
        self.repeated = 0

    async def send(self) -> None:
        """Until `stop_sending`."""
        async with AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all") as producer:
            while not self._enough.is_set():
                number = len(self.sent)
                customer, at_ms = f"c{number % CUSTOMERS}", time.time_ns() // 1_000_000
                event = Event(customer=customer, at_ms=at_ms, id=f"e{number}", name="Tick", time_ms=at_ms)
                partition = partition_of(customer.encode(), PARTITIONS)
                await producer.send_and_wait(
                    self._topics.touchpoints, encode_input(event), key=customer.encode(), partition=partition
                )
                self.sent[event.id] = customer
                await asyncio.sleep(1 / EVENTS_PER_SECOND)

    def stop_sending(self) -> None:
        self._enough.set()

    async def read(self) -> None:
        """Until cancelled."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([TopicPartition(self._topics.journal, number) for number in range(PARTITIONS)])
            async for record in consumer:
                line = decode_journal(record.value)
                assert isinstance(line, JournalLine)
                place = (record.partition, line.offset, line.index)
                if place in self.lines:
                    self.repeated += 1
                    assert self.lines[place] == line, "written again, it is the same line"
                self.lines[place] = line
                self.arrived[record.partition].append(time.monotonic())
        finally:
            await consumer.stop()

    @property
    def entered(self) -> list[JournalLine]:
        """What was decided, each decision once."""
        return [line for line in self.lines.values() if line.kind == "entered"]

    async def all_decided(self) -> None:
        """Returns when there is a decision for each event."""
        async with asyncio.timeout(30):
            while len(self.entered) < len(self.sent):
                await asyncio.sleep(0.1)

    def longest_gap_seconds(self) -> float:
        """Between two lines of a partition."""
        return max(later - earlier for times in self.arrived.values() for earlier, later in itertools.pairwise(times))


async def _shared_out(workers: list[RoleProcess]) -> None:
    async with asyncio.timeout(40):
        while sorted([await worker.owned() for worker in workers]) != [PARTITIONS // 2] * 2:
            await asyncio.sleep(0.2)
    for worker in workers:
        await worker.ready()


async def test_a_rolling_restart_leaves_no_gap_and_repeats_nothing(
    kafka: str, topic_prefix: str, role: Callable[..., RoleProcess]
) -> None:
    """Two workers, each stopped by SIGTERM and started again, while events come all the time."""
    workers = [role("worker"), role("worker")]
    for worker in workers:
        await worker.ready()
    await _shared_out(workers)
    load = Load(kafka, Topics(topic_prefix))
    reading = asyncio.create_task(load.read())
    sending = asyncio.create_task(load.send())
    await asyncio.sleep(2)
    for at in (0, 1):
        stopped = workers[at]
        assert await stopped.stop() == 0, stopped.log
        actions = [line["action"] for line in stopped.lines]
        assert actions[-1] == "stopped"
        assert actions.count("partition_taken") == actions.count("partition_released")
        assert "batch_failed" not in actions
        workers[at] = role("worker")
        await workers[at].ready()
        await _shared_out(workers)
    await asyncio.sleep(1)
    load.stop_sending()
    await sending
    await load.all_decided()
    await asyncio.sleep(0.5)  # for what would be decided a second time
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)

    counted: dict[str, list[str]] = defaultdict(list)
    for line in sorted(load.entered, key=lambda line: line.offset):
        counted[line.customer].append(line.enrollment)
    expected: dict[str, int] = defaultdict(int)
    for customer in load.sent.values():
        expected[customer] += 1
    for customer, count in expected.items():
        assert counted[customer] == [f"echo/{customer}/{number}" for number in range(1, count + 1)]
    assert set(load.arrived) == set(range(PARTITIONS))
    gap_seconds = load.longest_gap_seconds()
    print(f"{len(load.sent)} events, longest gap {gap_seconds:.2f} s, {load.repeated} lines written again")  # noqa: T201
    assert gap_seconds < GAP_SECONDS_MAX
    metrics = await workers[0].metrics()
    assert metrics["anlass_rebalances_total"] >= 1
    assert metrics["anlass_rebalance_seconds_count"] == metrics["anlass_rebalances_total"]
    assert metrics['anlass_lag_records{partition="0",topic="touchpoints"}'] >= 0
    assert metrics['anlass_batch_seconds_count{part="write"}'] > 0
    assert metrics["anlass_produce_seconds_count"] > 0
