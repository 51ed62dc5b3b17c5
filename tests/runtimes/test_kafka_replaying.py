"""A customer who is worked out again from a partition's log is who the owner knows, and decided what the journal says."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.customer import CustomerState
from engine.core.record import Erase, Merge, Pause, Record
from engine.runtimes.kafka.replaying import PartitionHistory, Reading, rebuilt
from engine.runtimes.kafka.topics import (
    Deployed,
    JournalLine,
    Mended,
    Removed,
    Shard,
    decode_journal,
    encode_decision,
    partition_of,
)
from engine.runtimes.memory import Memory
from engine.runtimes.rebuild import DIFFERS, Rebuilt
from tests.conformance.shop import T0, catalog
from tests.conformance.test_contract import HOUR, event, identify
from tests.conformance.test_histories import CUSTOMERS, histories
from tests.runtimes.kafka_partitions import Cluster, Partition
from tests.runtimes.test_kafka_plan_histories import MEMORY, play, sizes
from tests.runtimes.test_kafka_plan_histories import History as Played

CATALOGS = {"shop-1": replace(catalog(), id="shop-1"), "shop-2": replace(catalog(), id="shop-2")}


def _read(cluster: Cluster, partition: Partition, customer: str) -> PartitionHistory:
    work = Reading(partition.here, customer)
    for each in partition.log:
        work.learn(each)
    work.learned()
    for each in partition.log:
        work.take(each)
    for number, value in cluster.read.journal:
        if number == partition.here.partition:
            work.hear(value)
    return work.history(CATALOGS)


def _again(cluster: Cluster, customer: str, *, until: int = -1) -> CustomerState | None:
    partition = cluster.partitions[partition_of(customer.encode(), len(cluster.partitions))]
    found = rebuilt(partition.here, CATALOGS, _read(cluster, partition, customer), until=until)
    assert isinstance(found, Rebuilt), found
    return None if found.state is None else replace(found.state, position=0)


def _known(cluster: Cluster, customer: str) -> CustomerState | None:
    return cluster.partitions[partition_of(customer.encode(), len(cluster.partitions))].states().get(customer)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(histories, sizes, st.booleans(), st.sampled_from((1, 3)))
def test_whatever_happened_the_log_and_the_journal_agree(
    history: Played, cuts: list[int], again: bool, partitions: int
) -> None:
    """Merges, erasures, pauses and their walks, timers; every batch cut anyhow, and written once more by another owner."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        cluster = _deployed(Path(folder), partitions=partitions)
        try:
            play(cluster, history, cuts, again=again)
            for name in CUSTOMERS:
                assert _again(cluster, name) == _known(cluster, name)
        finally:
            cluster.close()


def _deployed(folder: Path, *, partitions: int) -> Cluster:
    """As a deploy leaves it: what is in force stands at the beginning of each log."""
    cluster = Cluster(folder, CATALOGS, partitions=partitions, in_force="shop-1")
    for each in cluster.partitions:
        each.append(Deployed(at_ms=T0, catalog="shop-1"))
    return cluster


def _cluster(folder: Path, *records: Record | Deployed | Mended) -> Cluster:
    cluster = _deployed(folder, partitions=1)
    cluster.partitions[0].append(*records)
    cluster.settle([2], again=True)
    return cluster


def test_a_walk_of_many_shards_asks_each_customer_where_it_did(tmp_path: Path) -> None:
    """Of more customers than one shard asks, those in the middle and at the end were asked by later ones."""
    names = [f"c{number:03}" for number in range(230)]
    cluster = _cluster(tmp_path, *(identify(name) for name in names), Deployed(at_ms=T0, catalog="shop-2"))
    cluster.append(*(event(name, "Product Added") for name in names))
    cluster.settle([7], again=True)
    cluster.append(Pause(customer="", at_ms=T0, id="p1", workflow="cart"), event("c150", "Order Completed"))
    cluster.append(Pause(customer="", at_ms=T0, id="p2", workflow="cart", paused=False))
    cluster.settle([3], again=True)
    for name in ("c000", "c099", "c100", "c150", "c229"):
        assert _again(cluster, name) == _known(cluster, name), name
        assert _known(cluster, name).catalog == "shop-2"  # type: ignore[union-attr]
    cluster.close()


def test_what_waited_before_an_erasure_or_a_mending_counts_no_more(tmp_path: Path) -> None:
    """From a mending on it is the state that the operator named; who was erased and comes back is another one."""
    cluster = _cluster(tmp_path, identify("a"), event("a", "Product Added"), Erase(customer="a", at_ms=T0, id="x1"))
    assert _read(cluster, cluster.partitions[0], "a").begins == 3
    assert _again(cluster, "a") is None
    cluster.append(identify("a", at_ms=T0 + 1), event("a", "Product Added", at_ms=T0 + 1))
    cluster.settle([5])
    state = _known(cluster, "a")
    assert state is not None
    assert _again(cluster, "a") == state
    mended = Mended(customer="a", at_ms=T0, state=replace(state, enrollments=()))
    cluster.partitions[0].append(mended)
    found = _read(cluster, cluster.partitions[0], "a")
    assert found.begins == 6
    assert _again(cluster, "a") == replace(state, enrollments=())
    assert _again(cluster, "a", until=6) == state
    cluster.close()


def test_a_merged_customer_is_erased_under_every_id(tmp_path: Path) -> None:
    """What follows within a batch is not on the log: the erasure of one is that of the other as well."""
    cluster = _cluster(
        tmp_path,
        identify("a"),
        event("a", "Product Added"),
        Merge(customer="a", at_ms=T0, id="m1", into="b"),
        event("a", "Order Completed"),
    )
    for name in ("a", "b"):
        assert _again(cluster, name) == _known(cluster, name)
        assert _known(cluster, name) is not None
    cluster.append(Erase(customer="b", at_ms=T0, id="x1"))
    cluster.settle([5])
    assert _read(cluster, cluster.partitions[0], "a").begins == 5
    assert _again(cluster, "a") is None
    cluster.close()


def _before_salts(cluster: Cluster, customer: str) -> PartitionHistory:
    """The history as a version without salts would have written its journal."""
    memory, told = Memory(CATALOGS["shop-1"]), list[JournalLine | Removed]()
    memory.states[customer] = CustomerState(id=customer, first_seen_ms=T0)
    memory.on_decision = lambda position, decision: told.append(
        decode_journal(encode_decision(position, len(told), decision))
    )
    found = _read(cluster, cluster.partitions[0], customer)
    for offset, record in found.inputs:
        if not isinstance(record, Deployed | Mended | Shard):
            memory.position = offset - 1
            memory.step(record)
    return replace(found, told=told)


def test_who_was_known_before_there_were_salts_keeps_the_ids_of_their_messages(tmp_path: Path) -> None:
    """The log does not say which version took it; the journal does."""
    cluster = _cluster(tmp_path, identify("a"), event("a", "Product Added"))
    cluster.run_until(T0 + HOUR, start_ms=T0, sizes=[2])
    here = cluster.partitions[0].here
    new = rebuilt(here, CATALOGS, _read(cluster, cluster.partitions[0], "a"), until=-1)
    old = rebuilt(here, CATALOGS, _before_salts(cluster, "a"), until=-1)
    assert isinstance(new, Rebuilt)
    assert isinstance(old, Rebuilt)
    assert new.state is not None
    assert old.state is not None
    assert (bool(new.state.salts), old.state.salts) == (True, ())
    assert new.messages.keys() != old.messages.keys()
    cluster.close()


def test_a_journal_that_says_otherwise_is_not_explained_away(tmp_path: Path) -> None:
    """A line too many is a difference, whatever is assumed of the salts."""
    cluster = _cluster(tmp_path, identify("a"), event("a", "Product Added"))
    found = _read(cluster, cluster.partitions[0], "a")
    line = next(each for each in found.told if isinstance(each, JournalLine))
    wrong = replace(found, told=[*found.told, replace(line, index=9)])
    assert rebuilt(cluster.partitions[0].here, CATALOGS, wrong, until=-1) == DIFFERS
    cluster.close()
