"""Broadcasts over several partitions: one winner for all of them, and nobody skipped, however records are cut into batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.core.record import Identify, Pause, Winner
from engine.runtimes.kafka.topics import encode_input
from engine.runtimes.kafka.worker.controls import DECIDES
from tests.conformance.shop import T0
from tests.conformance.test_broadcasts import HOUR, news
from tests.runtimes.kafka_partitions import Cluster

NAMES = [f"c{number:03}" for number in range(260)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three partitions, with customers on all of them; the test of subjects has begun."""
    made = Cluster(tmp_path / "three", {"news-1": news()}, partitions=3, in_force="news-1")
    traits = {"email": "x@example.com"}
    made.append(*(Identify(customer=name, at_ms=T0, id="i", time_ms=T0, traits=traits) for name in NAMES))
    made.settle([50])
    yield made
    made.close()


def fire(cluster: Cluster, now_ms: int) -> None:
    """Every timer that is due by then."""
    while sum(each.fire(now_ms) for each in cluster.partitions):
        cluster.settle([40])


def winner(variant: str) -> Winner:
    return Winner(
        customer="", at_ms=T0 + 5 * HOUR, id=f"w-{variant}", workflow="tested", step="mail", variant=variant,
        issue="2026-03-27-1026",
    )  # fmt: skip


def reached(cluster: Cluster, workflow: str) -> Counter[str]:
    return Counter(each.customer for each in cluster.read.messages.values() if each.workflow == workflow)


@pytest.mark.parametrize("sizes", [[1], [7, 1, 30], [1_000]])
@pytest.mark.parametrize("again", [False, True])
def test_all_partitions_release_the_same_winner(cluster: Cluster, sizes: list[int], *, again: bool) -> None:
    """Two proposals that contradict each other reach the partitions in different orders: one decides, once, for all."""
    fire(cluster, T0 + 2 * HOUR)
    tested = reached(cluster, "tested")
    for number, partition in enumerate(cluster.partitions):
        order = ("b", "a") if number == DECIDES else ("a", "b")
        for variant in order:
            partition.put(None, encode_input(winner(variant)))
    cluster.settle(sizes, again=again)
    sent = [each for each in cluster.read.messages.values() if each.workflow == "tested"]
    assert Counter(each.customer for each in sent) == dict.fromkeys(NAMES, 1)
    assert {each.variant for each in sent if each.customer not in tested} == {"b"}
    lines = [line for line in cluster.read.lines.values() if line.kind == "winner"]
    assert [line.detail["variant"] for line in lines] == ["b"]
    assert {partition.checkpoint.winners for partition in cluster.partitions} == {
        (("tested/2026-03-27-1026/mail", "b"),)
    }


@pytest.mark.parametrize("sizes", [[1], [7, 1, 30], [1_000]])
@pytest.mark.parametrize("again", [False, True])
def test_a_walk_finds_everybody_who_waits(cluster: Cluster, sizes: list[int], *, again: bool) -> None:
    """More customers than one step of the walk asks, a second resume in the middle of the first, each batch delivered twice."""
    pause = Pause(customer="", at_ms=T0, id="p1", workflow="news")
    cluster.append(pause)
    cluster.settle([50])
    fire(cluster, T0 + 4 * HOUR)
    assert not reached(cluster, "news")
    resume = Pause(customer="", at_ms=T0 + 4 * HOUR, id="p2", workflow="news", paused=False)
    stop = Pause(customer="", at_ms=T0 + 4 * HOUR, id="p3", workflow="news")
    cluster.append(resume, stop, resume)
    cluster.settle(sizes, again=again)
    assert reached(cluster, "news") == dict.fromkeys(NAMES, 1)
    assert {partition.checkpoint.resume for partition in cluster.partitions} == {None}
