"""B2 on Kafka: ours, stock Faust and Quix Streams side by side, on the same events and the same work.

Invariant: a variant whose messages or states are not exactly what the input says has no speed: the run ends with status 1.
"""

from __future__ import annotations

import asyncio
import functools
import statistics
import sys
from collections.abc import Callable, Mapping

from benchmarks.harness import Report, quiet, sized
from benchmarks.kafka import variants
from benchmarks.kafka.ours import collected, ours
from benchmarks.kafka.peers import peers_python
from benchmarks.kafka.run import broker, measure
from benchmarks.kafka.stream import Stream, make_stream
from benchmarks.kafka.variants import Broken, Variant
from engine.errors import ServiceUnreachable
from tests.services.kafka import Cluster

EVENTS = sized(200_000, least=1_000)
CUSTOMERS = sized(50_000, least=250)
PARTITIONS = 4
FAUST, BARE = "stock Faust", "Quix, state without changelog"


def chosen() -> list[Variant]:
    """All that can be run here; peers that cannot be installed are left out, with a line that says so."""
    found = [collected(), ours(), variants.floor()]
    try:
        python = peers_python()
    except ServiceUnreachable as error:
        print(f"SKIPPED peers: {error} {error.mend}", flush=True)
        return found
    return [
        *found,
        variants.quix(python, "stateless", "Quix, stateless"),
        variants.quix(python, "bare", BARE),
        variants.quix(python, "changelog", "Quix, state and changelog"),
        variants.faust(python),
    ]


def run_once(variant: Variant, stream: Stream, cluster: Cluster, *, report: Report) -> Mapping[str, float]:
    """One run on fresh topics; what was wrong goes to the report."""
    number = len(report.probes)
    numbers, wrong = asyncio.run(measure(variant, stream, cluster, tag=f"b02-{number}"))
    report.wrong += wrong
    return numbers


def ratios(report: Report, over: str) -> list[str]:
    """Lines that compare one variant with all others, within the rounds that both of them ended."""
    lines = []
    for under in report.values:
        for metric in ("events/s", "CPU us/event"):
            pairs = zip(report.values[over][metric], report.values[under][metric], strict=False)
            all_of_them = [first / second if metric == "events/s" else second / first for first, second in pairs]
            spread = f"[{min(all_of_them):.2f} - {max(all_of_them):.2f}]"
            what = "events/s" if metric == "events/s" else "events per CPU second"
            if under != over:
                lines.append(f"{over} / {under}: {statistics.median(all_of_them):.2f} {spread} in {what}")
    return lines


def main() -> int:
    """All variants in turn on one broker."""
    quiet()
    with broker() as cluster:
        if cluster is None:
            return 0
        stream = make_stream(EVENTS, CUSTOMERS, partitions=PARTITIONS)
        report = Report(
            "b02_kafka",
            f"saturated on Kafka: {EVENTS:,} events of {stream.bytes_mean:.0f} bytes, {CUSTOMERS:,} customers, "
            f"{PARTITIONS} partitions, one worker, acks=all, one broker",
            notes=[
                "until the last message and the last state are on their topics; the broker's CPU is not in a variant's"
            ],
        )
        runs: dict[str, Callable[[], Mapping[str, float]]] = {
            variant.name: functools.partial(run_once, variant, stream, cluster, report=report) for variant in chosen()
        }
        try:
            report.rounds(runs)
        except Broken as error:
            report.wrong.append(f"given up: {error}")
    for name in ("ours", collected().name):
        report.notes += ratios(report, name) if name in report.values else []
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
