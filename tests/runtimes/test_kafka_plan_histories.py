"""Any history, the same decisions: the Kafka runtime's planner against `Memory`, on one partition and on three."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.clock import ManualClock
from engine.core.record import Consent, Event, Identify, Outcome, Record
from engine.runtimes.kafka.topics import partition_of
from engine.runtimes.memory import Memory
from tests.conformance.shop import T0, catalog
from tests.conformance.test_histories import CUSTOMERS, MINUTE, histories
from tests.properties import examples
from tests.runtimes.kafka_partitions import Cluster, Share, here

History = list[tuple[int, list[Record]]]

sizes = st.lists(st.integers(1, 7), min_size=1, max_size=4)
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
END_MS = 30 * 24 * 60 * MINUTE


def _at(record: Record, now_ms: int) -> Record:
    if isinstance(record, Event | Identify | Outcome | Consent):
        return replace(record, at_ms=now_ms, time_ms=now_ms + record.time_ms)
    return replace(record, at_ms=now_ms)


def play(cluster: Cluster, history: History, cuts: list[int], *, again: bool) -> None:
    now_ms = T0
    for gap_ms, batch in history:
        cluster.run_until(now_ms + gap_ms, start_ms=now_ms, sizes=cuts, again=again)
        now_ms += gap_ms
        cluster.append(*(_at(record, now_ms) for record in batch))
        cluster.settle(cuts, again=again)
    cluster.run_until(now_ms + END_MS, start_ms=now_ms, sizes=cuts, again=again)
    for each in cluster.partitions:
        each.check_index()


@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow])
@given(histories, sizes, st.booleans())
def test_one_partition_decides_what_memory_decides(history: History, cuts: list[int], again: bool) -> None:
    """However the log is cut into batches, and with every batch delivered twice: Memory's decisions, states, messages, timers."""
    memory = Share(catalog(), here(0, 1))
    memory.clock = ManualClock(T0)
    for gap_ms, batch in history:
        memory.run_until(memory.clock.now_ms() + gap_ms)
        for record in batch:
            memory.step(_at(record, memory.clock.now_ms()))
    memory.run_until(memory.clock.now_ms() + END_MS)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        cluster = Cluster(Path(folder), {"shop-1": catalog()}, partitions=1, in_force="shop-1")
        try:
            play(cluster, history, cuts, again=again)
            for name in CUSTOMERS:
                assert cluster.read.decisions(name) == memory.decisions_of(name)
            assert set(cluster.read.messages) == {each.id for each in memory.messages} - _struck(memory, cluster)
            assert cluster.partitions[0].states() == {
                name: replace(state, position=0) for name, state in memory.states.items()
            }
            assert not cluster.read.dead
        finally:
            cluster.close()


def _struck(memory: Memory, cluster: Cluster) -> set[str]:
    """Messages of who was forgotten within the batch that decided them: nobody ever hears of those."""
    forgotten = {each.customer for each in cluster.read.removed}
    return {each.id for each in memory.messages if each.customer in forgotten} - set(cluster.read.messages)


@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow])
@given(histories, sizes, st.booleans())
def test_each_of_three_partitions_decides_what_memory_decides_of_its_log(
    history: History, cuts: list[int], again: bool
) -> None:
    """Merges and erasures travel between partitions; each customer's decisions are those of the log of their partition."""
    assert len({partition_of(name.encode(), 3) for name in CUSTOMERS}) > 1, "the customers should live apart"
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        cluster = Cluster(Path(folder), {"shop-1": catalog()}, partitions=3, in_force="shop-1")
        try:
            play(cluster, history, cuts, again=again)
            sent = sum(len(each.log) for each in cluster.partitions)
            assert sum(each.checkpoint.applied + 1 for each in cluster.partitions) == sent, "something was left"
            for each in cluster.partitions:
                share = Share(catalog(), each.here)
                share.replay(each.log)
                mine = {name: replace(state, position=0) for name, state in share.states.items()}
                assert each.states() == mine
                for name in CUSTOMERS:
                    if partition_of(name.encode(), 3) == each.here.partition:
                        assert cluster.read.decisions(name) == share.decisions_of(name)
        finally:
            cluster.close()
