"""What a partition's plan says: foreign and poisoned records, control records, timers that fail, too much at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engine.core.evaluate import evaluate as core_evaluate
from engine.core.record import Absorb, Enroll, Erase, Event, Identify, Merge, Pause, Record, Timer
from engine.runtimes.effects import STUCK_TIMER_DELAY_MS
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    ORIGIN,
    REASON,
    Deployed,
    Shard,
    decode_checkpoint,
    decode_input,
    encode_checkpoint,
    encode_input,
    headers_of,
    partition_of,
)
from engine.runtimes.kafka.worker import plan as planning
from engine.runtimes.kafka.worker.plan import SHARD_CUSTOMERS
from tests.conformance.shop import T0, catalog, workflows
from tests.runtimes.kafka_partitions import TOPICS, Cluster

HOUR = 3_600_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """One partition."""
    one = Cluster(tmp_path / "one", {"shop-1": catalog()}, partitions=1, in_force="shop-1")
    yield one
    one.close()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Cluster]:
    """Three partitions."""
    one = Cluster(tmp_path / "three", {"shop-1": catalog()}, partitions=3, in_force="shop-1")
    yield one
    one.close()


def event(customer: str, number: int, name: str = "Product Added") -> Event:
    return Event(customer=customer, at_ms=T0, id=f"{customer}-{number}", name=name, time_ms=T0)


def identify(customer: str, **traits: Any) -> Identify:
    known = {"email": f"{customer}@example.com", **traits}
    return Identify(customer=customer, at_ms=T0, id=f"i-{customer}", time_ms=T0, traits=known)


def kinds(cluster: Cluster, customer: str) -> list[str]:
    return [each.kind for each in cluster.read.decisions(customer) if each.kind != "waiting"]


def apart(count: int = 3) -> tuple[str, str]:
    """Two customers of different partitions: 0 and 1."""
    names = [f"c{number}" for number in range(50)]
    of = {number: next(n for n in names if partition_of(n.encode(), count) == number) for number in (0, 1)}
    return of[0], of[1]


# ------------------------------------------------------------------------------------------------- foreign and poison


def test_a_foreign_record_without_a_key_is_forwarded_once(three: Cluster) -> None:
    """Two events of two customers in one value: each ends on its own partition, once, and is decided there."""
    zero, one = apart()
    three.partitions[2].put(None, f"{zero}:Product Added\n{one}:Product Added".encode(), at_ms=T0)
    three.settle([3])
    assert [(each.partition, each.key) for each in three.read.touchpoints] == [(0, zero.encode()), (1, one.encode())]
    assert kinds(three, zero) == kinds(three, one) == ["entered"]
    assert three.partitions[0].states().keys() == {zero}
    assert not three.read.dead


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "0 bytes"),
        (b"", "no colon"),
        (b"x" * (2 << 20), "2097152 bytes"),
        (b'["event", 1]', "Expected"),
        (b'["nonsense"]', "Invalid value"),
        (b'["event"', "truncated"),
        (b"\xff\xfe", "decode"),
        (b'["event",' + b"[" * 100_000, ""),
        (encode_input(event("", 1)), "1 to 512 characters"),
        (encode_input(event("a\0b", 1)), "NUL"),
        (encode_input(Merge(customer="a", at_ms=T0, id="m", into=CHECKPOINT_KEY.decode())), "NUL"),
        (encode_input(Merge(customer="a", at_ms=T0, id="m", into="")), "1 to 512"),
    ],
)
def test_a_poisoned_record_is_one_dead_letter(cluster: Cluster, value: bytes | None, reason: str) -> None:
    """It keeps its key and bytes, says why and where it stood; the records around it are applied, delivered twice or not."""
    cluster.append(event("a", 1))
    cluster.partitions[0].put(b"some key", value)
    cluster.append(event("b", 1))
    cluster.settle([2], again=True)
    assert {(each.key, each.value) for each in cluster.read.dead} == {(b"some key", value or b"")}
    headers = headers_of(cluster.read.dead[0].headers)
    assert reason in headers[REASON]
    assert headers[ORIGIN] == "t.touchpoints:0:1"
    assert kinds(cluster, "a") == kinds(cluster, "b") == ["entered"]


def test_a_parser_that_fails_stops_nobody(cluster: Cluster) -> None:
    """A mistake in the code that reads foreign values is a dead letter too."""

    def broken(*_: object) -> list[Record]:
        raise ZeroDivisionError

    partition = cluster.partitions[0]
    partition.planner._here = replace(partition.here, parse=broken)
    partition.put(None, b"a:Product Added")
    cluster.append(event("b", 1))
    cluster.settle([5])
    assert len(cluster.read.dead) == 1
    assert kinds(cluster, "b") == ["entered"]


def test_a_dead_letter_survives_its_checkpoint(cluster: Cluster) -> None:
    """A header without a value, which Kafka allows, can be read back by who takes the partition over."""
    partition = cluster.partitions[0]
    none: Any = None
    partition.log.append(Incoming(0, T0, None, b"poison", (("h", none),)))
    plan = partition.apply()
    [letter] = decode_checkpoint(encode_checkpoint(plan.checkpoint)).outgoing
    assert ("h", b"") in letter.headers


def test_a_dead_letter_that_no_topic_could_take_is_cut_short(cluster: Cluster) -> None:
    """Its beginning is kept, and it says so."""
    cluster.partitions[0].put(b"k", b"x" * (17 << 20))
    plan = cluster.partitions[0].apply()
    assert 14 << 20 < plan.bytes < 16 << 20
    assert headers_of(plan.checkpoint.outgoing[0].headers)[REASON].endswith("Cut short.")


def test_a_record_whose_state_cannot_be_stored_dies_alone(cluster: Cluster) -> None:
    """A number beyond 64 bits among good records: one dead letter, the others as if it had not been there."""
    good: list[Record] = [identify("a"), event("a", 1), event("b", 1)]
    huge = {"age": 1 << 70}
    cluster.append(good[0], identify("z"))
    bad = json.loads(encode_input(identify("a")))
    bad[4], bad[-1] = "bad", huge
    cluster.partitions[0].put(b"a", json.dumps(bad).encode())
    cluster.append(*good[1:])
    cluster.settle([10])
    assert len(cluster.read.dead) == 1
    assert kinds(cluster, "a") == kinds(cluster, "b") == ["entered"]
    assert cluster.partitions[0].states()["a"].traits == {"email": "a@example.com"}


@pytest.mark.parametrize("at_ms", [1 << 60, (1 << 64) - 1, -1, -(1 << 60), -(1 << 63)])
def test_a_time_that_no_calendar_has_stops_nobody(cluster: Cluster, at_ms: int) -> None:
    """Whatever becomes of the record, and of a timer that says so, the ones after it are decided and stored."""
    cluster.append(replace(event("a", 1), at_ms=at_ms), Enroll(customer="a", at_ms=at_ms, id="e", workflow="order"))
    cluster.append(Timer(customer="a", at_ms=at_ms, due_ms=at_ms), event("b", 1))
    cluster.settle([10])
    assert kinds(cluster, "b") == ["entered"]
    cluster.partitions[0].check_index()


# ------------------------------------------------------------------------------------------------------ control records


def test_who_is_forgotten_leaves_nothing_of_the_same_batch(cluster: Cluster) -> None:
    """Decisions and messages before the erasure are not sent at all; what comes after it is."""
    cluster.append(identify("a"), event("a", 1, "Order Completed"), event("b", 1))
    cluster.append(Erase(customer="a", at_ms=T0, id="x"), event("a", 2))
    cluster.settle([10])
    assert not cluster.read.messages
    assert kinds(cluster, "a") == ["entered"]
    assert [(each.customer, each.offset) for each in cluster.read.removed] == [("a", 3)]
    assert kinds(cluster, "b") == ["entered"]


def test_a_pause_holds_from_its_place_on(cluster: Cluster) -> None:
    """Within a batch, and for the next owner, until it ends."""
    pause = Pause(customer="", at_ms=T0, id="p", workflow="cart")
    cluster.append(event("a", 1), pause, event("b", 1))
    cluster.settle([10])
    assert cluster.partitions[0].checkpoint.paused == ("cart",)
    cluster.append(event("c", 1), replace(pause, paused=False), event("d", 1))
    cluster.settle([10])
    assert [kinds(cluster, name) for name in "abcd"] == [["entered"], ["not_entered"], ["not_entered"], ["entered"]]
    assert not cluster.partitions[0].checkpoint.paused


def other(id: str = "shop-2") -> Any:
    """A catalog whose `cart` is another version, which nobody leaves by buying."""
    changed = [replace(flow, version="ba9876543210") if flow.name == "cart" else flow for flow in workflows()]
    made = catalog(id=id)
    flows = {flow.name: flow for flow in changed}
    versions = {**made.versions, **{(flow.name, flow.version): flow for flow in changed}}
    return replace(made, workflows=flows, versions=versions)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [("pin", {"0123456789ab"}), ("migrate", {"ba9876543210"}), ("end", set())],
)
@pytest.mark.parametrize("sizes", [[1], [64], [100_000]])
def test_a_deploy_walks_through_everybody_once(
    cluster: Cluster, versions: str, expected: set[str], sizes: list[int]
) -> None:
    """More than two shards of customers, each rechecked once, at a record boundary, however the log is cut into batches."""
    count = 2 * SHARD_CUSTOMERS + 5
    partition = cluster.partitions[0]
    partition.catalogs["shop-2"] = other()
    cluster.append(*(event(f"c{number:04}", 1) for number in range(count)))
    partition.append(Deployed(at_ms=T0, catalog="shop-2", versions=versions))
    cluster.append(event("late", 1))
    cluster.settle(sizes, again=True)
    assert partition.checkpoint.walk is None
    states = partition.states()
    assert {state.catalog for state in states.values()} == {"shop-2"}
    found = {run.version for name, state in states.items() for run in state.enrollments if name != "late"}
    assert found == expected
    assert states["late"].enrollments[0].version == "ba9876543210"
    shards = [decode_input(each.value or b"") for each in partition.log if (each.value or b"").startswith(b'["shard"')]
    assert len(set(shards)) == 3
    assert len(shards) > 3, "none came twice"
    ended = [kinds(cluster, f"c{number:04}") for number in range(count)]
    assert all(each == ended[0] for each in ended)


def test_shards_that_come_again_do_nothing(cluster: Cluster) -> None:
    """A walk goes on only from where it stands; one of another catalog, or after the end, is void."""
    partition = cluster.partitions[0]
    partition.catalogs["shop-2"] = other()
    cluster.append(*(event(f"c{number:04}", 1) for number in range(SHARD_CUSTOMERS + 1)))
    partition.append(Deployed(at_ms=T0, catalog="shop-2", versions="migrate"))
    cluster.settle([1_000])
    before = (partition.states(), dict(cluster.read.lines), len(cluster.read.touchpoints))
    first = Shard(at_ms=T0, catalog="shop-2")
    partition.append(first, first, Shard(at_ms=T0, catalog="shop-1"), Shard(at_ms=T0, catalog="shop-2", after=b"c0003"))
    cluster.settle([1])
    assert (partition.states(), dict(cluster.read.lines), len(cluster.read.touchpoints)) == before


def test_the_walk_visits_the_same_customers_however_the_log_is_cut(tmp_path: Path) -> None:
    """Who came or went in the batch of the shard itself counts: two owners with other batches write the same lines."""
    found = []
    for number, size in enumerate((1, 1_000)):
        cluster = Cluster(
            tmp_path / str(number), {"shop-1": catalog(), "shop-2": other()}, partitions=1, in_force="shop-1"
        )
        partition = cluster.partitions[0]
        cluster.append(*(event(f"c{each:04}", 1) for each in range(SHARD_CUSTOMERS)))
        partition.append(Deployed(at_ms=T0, catalog="shop-2", versions="end"))
        cluster.settle([1_000])
        del partition.log[-1]  # the shard, to be put between others
        partition.checkpoint = replace(partition.checkpoint, walk=b"", applied=len(partition.log) - 1)
        cluster.append(event("b-new", 1), Erase(customer="c0001", at_ms=T0, id="x"))
        partition.append(Shard(at_ms=T0, catalog="shop-2"))
        cluster.settle([size])
        found.append((partition.checkpoint, partition.states(), cluster.read.lines))
        cluster.close()
    assert found[0][1:] == found[1][1:]
    assert replace(found[0][0], outgoing=()) == replace(found[1][0], outgoing=())


def test_a_deploy_whose_catalog_is_missing_is_a_dead_letter(cluster: Cluster) -> None:
    """What was in force stays so."""
    partition = cluster.partitions[0]
    partition.append(Deployed(at_ms=T0, catalog="nowhere"))
    cluster.append(event("a", 1))
    cluster.settle([10])
    assert len(cluster.read.dead) == 1
    assert "nowhere" in headers_of(cluster.read.dead[0].headers)[REASON]
    assert partition.checkpoint.catalog == "shop-1"
    assert kinds(cluster, "a") == ["entered"]


# --------------------------------------------------------------------------------------------------------------- timers


def test_a_timer_that_fails_waits_and_fires_no_two_times(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour later it is asked again, and again; once it works, nothing of it is left in the index."""
    real, broken = core_evaluate, [True]

    def evaluate(catalog: Any, state: Any, record: Record) -> Any:
        if broken[0] and isinstance(record, Timer):
            raise ZeroDivisionError
        return real(catalog, state, record)

    monkeypatch.setattr(planning, "evaluate", evaluate)
    partition = cluster.partitions[0]
    cluster.append(identify("a"), event("a", 1))
    cluster.settle([10])
    now_ms = T0 + HOUR
    for attempt in range(3):
        assert partition.fire(now_ms) == 1
        cluster.settle([10])
        partition.check_index()
        assert partition.store.next_due_ms == now_ms + STUCK_TIMER_DELAY_MS
        assert len(cluster.read.dead) == attempt + 1
        assert partition.fire(now_ms + STUCK_TIMER_DELAY_MS - 1) == 0
        now_ms += STUCK_TIMER_DELAY_MS
    broken[0] = False
    assert partition.fire(now_ms) == 1
    cluster.settle([10])
    partition.check_index()
    assert partition.fire(now_ms) == 0, "the same is due for ever"
    assert len(cluster.read.messages) == 1


def test_a_timer_that_does_not_move_its_customer_waits(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in every runtime: it is put off, not fired in a circle."""
    real = core_evaluate

    def evaluate(catalog: Any, state: Any, record: Record) -> Any:
        return (replace(state), []) if isinstance(record, Timer) else real(catalog, state, record)

    monkeypatch.setattr(planning, "evaluate", evaluate)
    partition = cluster.partitions[0]
    cluster.append(identify("a"), event("a", 1))
    cluster.settle([10])
    assert partition.fire(T0 + HOUR) == 1
    cluster.settle([10])
    partition.check_index()
    assert partition.store.next_due_ms == T0 + HOUR + STUCK_TIMER_DELAY_MS


def test_a_timer_of_nobody_does_nothing(cluster: Cluster) -> None:
    """Its customer was forgotten while it was on its way."""
    cluster.append(Timer(customer="a", at_ms=T0, due_ms=T0))
    cluster.settle([1])
    assert cluster.partitions[0].states() == {}
    assert cluster.partitions[0].store.next_due_ms == 0


# ------------------------------------------------------------------------------------------------------------- too much


def test_what_is_appended_beyond_the_limit_goes_by_the_log(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost and the same is decided; only the way is longer."""
    monkeypatch.setattr(planning, "APPENDED_MAX", 2)
    for name in "abcde":
        cluster.append(identify(name), event(name, 1, "Order Completed"))
    cluster.settle([100], again=True)
    assert len({each.value for each in cluster.read.touchpoints}) == 3
    for name in "abcde":
        assert kinds(cluster, name).count("entered") == 2  # `order`, and `thanks` by what it emits
    assert len(cluster.read.messages) == 5


def test_a_refused_record_becomes_a_dead_letter_and_a_refused_pack_is_taken_apart(three: Cluster) -> None:
    """What leads to more than a commit can hold: a value of several records goes on as single ones, a single one dies."""
    zero, one = apart()
    partition = three.partitions[0]
    partition.put(None, f"{zero}:Product Added\n{one}:Product Added\n{zero}:Order Completed".encode(), at_ms=T0)
    partition.append(event(zero, 9))
    plan = partition.planner.plan(partition.catalogs, partition.checkpoint, incoming=partition.log, refused="too much")
    places = [(each.topic.removeprefix(TOPICS.prefix), each.partition) for each in plan.checkpoint.outgoing]
    assert sorted(places) == [("dead-letters", 0), ("touchpoints", 0), ("touchpoints", 0), ("touchpoints", 1)]
    mine = [decode_input(each.value) for each in plan.checkpoint.outgoing if each.partition == 0 and each.headers == ()]
    assert [each.name for each in mine if isinstance(each, Event)] == ["Product Added", "Order Completed"]
    assert plan.checkpoint.applied == 1
    assert not plan.changes


def test_a_refused_timer_waits(cluster: Cluster) -> None:
    """Otherwise it would fire for ever."""
    partition = cluster.partitions[0]
    cluster.append(identify("a"), event("a", 1))
    cluster.settle([10])
    partition.fire(T0 + HOUR)
    plan = partition.planner.plan(
        partition.catalogs, partition.checkpoint, incoming=partition.log[-1:], refused="too much"
    )
    assert [change.due_ms for change in plan.changes] == [T0 + HOUR + STUCK_TIMER_DELAY_MS]


def test_a_merge_travels_to_another_partition_and_arrives_once(three: Cluster) -> None:
    """The run of the anonymous id goes on with who they turned out to be, also when everything is delivered twice."""
    zero, one = apart()
    three.append(event(zero, 1), Merge(customer=zero, at_ms=T0, id="m", into=one), event(zero, 2, "Order Completed"))
    three.settle([2], again=True)
    assert three.partitions[1].states()[one].aliases == (zero,)
    arrived = [decode_input(each.value) for each in three.read.touchpoints]
    assert len([each for each in arrived if isinstance(each, Absorb)]) == 2, "it was to come twice"
    assert kinds(three, one).count("exited") == 1
