"""`python -m tests.chaos --minutes 30`: the soak. `--seed` and `--round` repeat what an earlier one did.

Invariant: status 0 says that nothing was wrong, 1 that something was, with everything that is needed to look into it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from engine.errors import ServiceUnreachable
from tests.chaos.report import write_report
from tests.chaos.round import Plan, Round
from tests.chaos.soak import account, soak, tell
from tests.services.kafka import Cluster

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Chaos on the Kafka runtime.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long in all, an interrupted soak included")
    parser.add_argument("--seed", type=int, help="begin with this one instead of a random one")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "var" / "soak", help="state, and logs of rounds gone wrong"
    )
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "reliability.md")
    parser.add_argument("--round", action="store_true", help="one round of that seed only, --minutes long; no report")
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3), help="of that round")
    chosen = parser.parse_args()
    try:
        if chosen.round:
            plan = Plan(seed=chosen.seed or 0, seconds=chosen.minutes * 60, brokers=chosen.brokers)
            return asyncio.run(_one(plan))
        state = soak(chosen.folder, minutes=chosen.minutes, seed=chosen.seed)
    except ServiceUnreachable as error:
        sys.stderr.write(f"{error}\n")
        return 3
    except KeyboardInterrupt:
        sys.stderr.write(
            "\nInterrupted. The same command goes on with the round that was under way, from its beginning.\n"
        )
        return 130
    write_report(chosen.report, state)
    sys.stdout.write(f"The report is in {chosen.report}.\n")
    return 1 if state.wrong else 0


async def _one(plan: Plan) -> int:
    folder = Path(tempfile.mkdtemp(prefix="anlass-chaos-"))
    async with Cluster(plan.brokers, folder=folder / "kafka") as cluster:
        outcome = await Round(plan, cluster, folder, say=_say).run()
    if not outcome.verdict.wrong:
        _say("\n".join(account(outcome)[1:]))
    tell(outcome, _say)
    _say(f"{outcome.stalls}\nThe logs are in {folder}.")
    return 1 if outcome.verdict.wrong else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
