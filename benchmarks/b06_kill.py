"""B6: SIGKILL at random points under load; what is lost, what is unknown, and how soon the next process sends again.

Invariant: as in `tests/kill`, the account is worked out without the evaluator.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.account import CONNECTIONS
from benchmarks.harness import Report, percentile, probe
from benchmarks.killing import run_kill_loop

KILLS = 20


def main() -> int:
    """Half of the kills hit engines that were started cold, as an operator would."""
    report = Report(
        "b06",
        f"kill -9 x{KILLS} at random points under load, {CONNECTIONS} SMTP connections, synchronous NORMAL",
        targets={
            "wrong": "0", "under way at a kill, max": f"<= {CONNECTIONS}", "first dispatch s, max": "<= 2",
        },
    )  # fmt: skip
    report.probes.append(probe())
    with tempfile.TemporaryDirectory() as folder:
        account = run_kill_loop(Path(folder), kills=KILLS // 2, cold_kills=KILLS // 2, seed=6)
    report.wrong += account.wrong
    first = account.first_dispatch_seconds
    report.add(
        "cold start",
        {
            "wrong": len(account.wrong),
            "events": account.events,
            "posts": account.posts,
            "messages": account.messages,
            "unknown in all": account.unknown,
            "resent in all": account.resent,
            "arrived twice in all": account.arrived_twice,
            "under way at a kill, max": account.claimed_max,
            "ready s, median": percentile(account.ready_seconds, 0.5),
            "first dispatch s, median": percentile(first, 0.5),
            "first dispatch s, max": max(first),
        },
    )
    warm = account.warm_dispatch_seconds
    report.add("imports done", {"first dispatch s, median": percentile(warm, 0.5), "first dispatch s, max": max(warm)})
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
