"""Rounds of chaos for as long as one likes: `make soak MINUTES=30`. An interrupted soak goes on where it was.

Invariant: a round counts once it is judged; what it counted is in `state.json` before the next one begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.chaos.delivery import Delivered
from tests.chaos.judge import Verdict
from tests.chaos.measure import Stalls
from tests.chaos.round import Outcome, Plan, Round
from tests.services.kafka import Cluster

ROUND_SECONDS = 240.0
ROUND_SECONDS_MIN = 45.0
EVERY_SECONDS = 8.0
"""Between two disturbances, on average: about what it takes to recover, so that some come in the middle of that."""
BROKERS = (1, 3)
"""Rounds take turns."""


class Judged(msgspec.Struct, kw_only=True):
    """What is kept of a round."""

    plan: Plan
    seconds: float
    verdict: Verdict
    delivered: Delivered
    stalls: Stalls
    happened: dict[str, int]
    folder: str


class State(msgspec.Struct, kw_only=True):
    """Where a soak stands."""

    seed: int
    minutes: float
    begun: str
    rounds: list[Judged] = []

    @property
    def seconds(self) -> float:
        """Under load and disturbances, until now."""
        return sum(each.plan.seconds for each in self.rounds)

    @property
    def finished(self) -> bool:
        """Whether another round would be too short to tell anything."""
        return self.minutes * 60 - self.seconds < ROUND_SECONDS_MIN

    @property
    def wrong(self) -> list[str]:
        """Everything that was wrong, with the round's seed."""
        return [f"round {each.plan.seed}: {what}" for each in self.rounds for what in each.verdict.wrong]

    def next_plan(self) -> Plan:
        """The next round: its seed follows from ours and its number."""
        number = len(self.rounds)
        return Plan(
            seed=random.Random(f"{self.seed}:{number}").randrange(2**32),
            seconds=max(ROUND_SECONDS_MIN, min(ROUND_SECONDS, self.minutes * 60 - self.seconds)),
            brokers=BROKERS[number % len(BROKERS)],
            dispatchers=2,
            every_seconds=EVERY_SECONDS,
        )


def load_state(folder: Path, *, minutes: float, seed: int | None, today: str) -> State:
    """The soak that was interrupted in `folder`, or a new one; a given seed that is another one begins anew."""
    path = folder / "state.json"
    if path.exists():
        state = msgspec.json.decode(path.read_bytes(), type=State)
        if not state.finished and seed in {None, state.seed}:
            state.minutes = minutes
            return state
    fresh = seed if seed is not None else random.SystemRandom().randrange(2**32)
    return State(seed=fresh, minutes=minutes, begun=today)


def save_state(folder: Path, state: State) -> None:
    """Whole or not at all."""
    draft = folder / "state.new"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1))
    draft.replace(folder / "state.json")


def soak(folder: Path, *, minutes: float, seed: int | None) -> State:
    """Runs rounds until it was `minutes` under load. Ctrl-C ends it; what was judged stays."""
    folder.mkdir(parents=True, exist_ok=True)
    state = load_state(folder, minutes=minutes, seed=seed, today=time.strftime("%Y-%m-%d"))
    done = f", {len(state.rounds)} rounds are done" if state.rounds else ""
    _say(f"Soak of {minutes:g} minutes, seed {state.seed}{done}. State and logs: {folder}")
    while not state.finished:
        plan = state.next_plan()
        number = len(state.rounds) + 1
        _say(f"Round {number}: seed {plan.seed}, {plan.brokers} broker{'s' * (plan.brokers > 1)}, {plan.seconds:.0f} s")
        outcome = asyncio.run(_round(plan, folder / f"round-{number}"))
        state.rounds.append(_judged(outcome))
        save_state(folder, state)
        tell(outcome, _say)
    return state


async def _round(plan: Plan, folder: Path) -> Outcome:
    with _fresh(folder):
        async with Cluster(plan.brokers, folder=folder / "kafka") as cluster:
            outcome = await Round(plan, cluster, folder, say=_say).run()
        (folder / "schedule.txt").write_text("\n".join(outcome.log) + "\n", "utf-8")
        if outcome.verdict.wrong:
            (folder / "wrong.txt").write_text("\n".join(outcome.verdict.wrong) + "\n", "utf-8")
        else:
            shutil.rmtree(folder)
    return outcome


@contextlib.contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    """What an interrupted round left is removed first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield


def _judged(outcome: Outcome) -> Judged:
    return Judged(
        plan=outcome.plan,
        seconds=outcome.seconds,
        verdict=msgspec.structs.replace(outcome.verdict, decided={}),
        delivered=outcome.delivered,
        stalls=outcome.stalls,
        happened=dict(Counter(outcome.happened)),
        folder=outcome.folder,
    )


def tell(outcome: Outcome, say: object) -> None:
    """A line for a sound round; everything for another."""
    assert callable(say), "says lines"
    verdict = outcome.verdict
    if not verdict.wrong:
        say(
            f"  sound: {verdict.acknowledged} acknowledged, {verdict.lines} decisions, {verdict.messages} messages,"
            f" {verdict.dead_letters} dead letters, {sum(outcome.happened.values())} disturbances, {outcome.seconds:.0f} s"
        )
        return
    for line in account(outcome):
        say(line)


def account(outcome: Outcome) -> list[str]:
    """What one needs to look into a round that went wrong: seed, schedule, where the logs are, and what is wrong."""
    plan = outcome.plan
    return [
        f"  WRONG: seed {plan.seed}, {plan.brokers} brokers, {plan.seconds:g} s; the logs are in {outcome.folder}",
        "  the schedule as it was carried out:",
        *(f"    {line}" for line in outcome.log),
        *(f"  - {line[:2_000]}" for line in outcome.verdict.wrong),
    ]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
