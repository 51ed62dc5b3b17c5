"""B11: `anlass simulate` over 90 days with all shipped workflows, through the function that the command calls.

Invariant: the production evaluator decides; one core, virtual time.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from benchmarks.harness import Report, cpu_self_seconds, rss_self_peak_mb, sized
from benchmarks.traffic import ROOT, events, identify
from engine.bootstrap import open_rehearsal
from engine.core.record import Record
from engine.core.time.schedule import parse_duration
from engine.rehearsal.simulation import simulate

CUSTOMERS = sized(10_000)
EVENTS_PER_CUSTOMER = 30
START_MS = 1_767_225_600_000
DAYS = 90


def main() -> int:
    """Rounds of the same simulation; all must decide the same."""
    catalog = open_rehearsal(ROOT, with_templates=False).catalog
    count = CUSTOMERS * EVENTS_PER_CUSTOMER
    records: list[Record] = [identify(number, START_MS) for number in range(CUSTOMERS)]
    step_ms = DAYS * 86_400_000 // (count + 1)
    records += events(count, CUSTOMERS, seed=11, start_ms=START_MS + 1, step_ms=step_ms)
    report = Report(
        "b11",
        f"simulate: {CUSTOMERS:,} customers x {DAYS} days x all shipped workflows, {EVENTS_PER_CUSTOMER} events each",
        targets={"records and timers/s": ">= 30,000", "s for 10,000 customers": "<= 60"},
    )
    seen: list[Counter[str]] = []

    def run() -> dict[str, float]:
        start, cpu = time.perf_counter(), cpu_self_seconds()
        summary = simulate(catalog, records, until=parse_duration(f"{DAYS}d"))
        seconds, cpu = time.perf_counter() - start, cpu_self_seconds() - cpu
        seen.append(summary.decisions)
        if summary.failures or summary.decisions != seen[0]:
            report.wrong.append(f"failures {summary.failures[:2]}, or another answer than in the first round")
        total = summary.records + summary.timers
        return {
            "records and timers/s": total / seconds,
            "CPU us/record": cpu / total * 1e6,
            "s for 10,000 customers": seconds * 10_000 / CUSTOMERS,
            "records": summary.records,
            "timers": summary.timers,
            "entered": summary.decisions["entered"],
            "sends queued": summary.decisions["send queued"],
            "RSS peak MB": rss_self_peak_mb(),
        }

    report.rounds({"simulate": run})
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
