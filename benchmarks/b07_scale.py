"""B7: 1, 2 and 4 partitions with as many workers, and how long a partition stands still when workers come and go.

Invariant: as in B2 on Kafka; and in the second part no message may be missing, while one may come again.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Mapping

from benchmarks.harness import Report, percentile, probe, quiet, scale, sized
from benchmarks.kafka.ours import ours
from benchmarks.kafka.rebalance import BEFORE, PARTITIONS, pauses_of
from benchmarks.kafka.run import broker, measure
from benchmarks.kafka.stream import Stream, make_stream
from benchmarks.kafka.variants import Broken
from tests.services.kafka import Cluster

EVENTS = sized(200_000, least=1_000)
CUSTOMERS = sized(50_000, least=250)
SIZES = (1, 2, 4)
CYCLES = max(1, round(10 * scale()))
EVENTS_PER_SECOND = 400


def run_once(stream: Stream, cluster: Cluster, *, report: Report) -> Mapping[str, float]:
    """One run on fresh topics with a worker per partition; what was wrong goes to the report."""
    tag = f"b07-{len(report.probes)}"
    numbers, wrong = asyncio.run(measure(ours(), stream, cluster, tag=tag, workers=stream.partitions))
    report.wrong += wrong
    return numbers


def scaling(cluster: Cluster) -> Report:
    """Throughput by size."""
    report = Report(
        "b07",
        f"scale: {EVENTS:,} events, {CUSTOMERS:,} customers, as many workers as partitions, one broker on the same machine",
        notes=[
            "the broker and the load share the cores: CPU us per event says what a worker costs with cores of its own"
        ],
    )
    streams = {size: make_stream(EVENTS, CUSTOMERS, partitions=size) for size in SIZES}
    runs = {
        _name(size): functools.partial(run_once, stream, cluster, report=report) for size, stream in streams.items()
    }
    try:
        report.rounds(runs)
    except Broken as error:
        report.wrong.append(f"given up: {error}")
        return report
    for size in SIZES[1:]:
        faster = report.ratio("events/s", _name(size), _name(1))
        report.notes.append(
            f"{size} against 1: {faster:.2f} times the events/s{' (target >= 1.8)' if size == 2 else ''}"
        )
    return report


def _name(size: int) -> str:
    return f"{size} partition{'s' * (size > 1)} and worker{'s' * (size > 1)}"


def rebalancing(cluster: Cluster) -> Report:
    """Pauses by action."""
    report = Report(
        "b07_rebalance",
        f"a third worker joins, leaves, joins, is killed: {CYCLES} times; {PARTITIONS} partitions, "
        f"{EVENTS_PER_SECOND} events/s, each decides a message",
        targets={"pause s, p99": "<= 5 for joins and leaves"},
        notes=["a pause: longest time without a message on a partition after the action; one sample per partition"],
    )
    report.probes.append(probe())
    try:
        found = asyncio.run(pauses_of(ours(), cluster, tag="b07-pause", cycles=CYCLES, rate=EVENTS_PER_SECOND))
    except Broken as error:
        report.wrong.append(f"given up: {error}")
        return report
    for action, seconds in found.seconds.items():
        name = action if action == BEFORE else f"a worker {action}"
        report.add(
            name,
            {
                "pause s, p50": percentile(seconds, 0.5), "pause s, p99": percentile(seconds, 0.99),
                "samples": len(seconds),
            },
        )  # fmt: skip
    report.add("all", {"events": found.events, "messages that came again": found.again})
    report.wrong += found.wrong
    return report


def main() -> int:
    """Both parts on one broker."""
    quiet()
    with broker() as cluster:
        if cluster is None:
            return 0
        return max(scaling(cluster).finish(), rebalancing(cluster).finish())


if __name__ == "__main__":
    sys.exit(main())
