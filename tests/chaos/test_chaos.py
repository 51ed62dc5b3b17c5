"""A short round of chaos: workers killed, frozen, ended, joining and leaving, the broker killed and frozen, all under load.

Invariant: as in the soak (`make soak`), what came out is compared with a replay of the log and with what the shop expects; this
is the same round, shorter, from a new seed at each run.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.report import BEGIN, END, section, write_report
from tests.chaos.round import Outcome, Plan, Round
from tests.chaos.schedule import KINDS, PLAIN, make_schedule
from tests.chaos.soak import State, _judged, account, load_state, save_state
from tests.services.kafka import Cluster

SECONDS = 40.0


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """The round that was played, for the tests after it."""
    return {}


@pytest.mark.timeout(420)
def test_nothing_is_lost_and_nothing_decided_twice(
    kafka_cluster: Callable[..., Cluster], outcomes: dict[str, Outcome]
) -> None:
    """After kills of every kind each record led to its decisions once, in order, and only the poison is dead."""
    # Not `tmp_path`: pytest removes that after some runs, and what went wrong must stay to be looked into.
    folder = Path(tempfile.mkdtemp(prefix="anlass-chaos-"))
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(2**32)
    cluster = kafka_cluster()
    plan = Plan(seed=seed, seconds=SECONDS, rate=60.0)
    outcome = outcomes["short"] = asyncio.run(Round(plan, cluster, folder).run())
    told = "\n".join(account(outcome))
    verdict = outcome.verdict
    assert not verdict.wrong, told
    assert sum(outcome.happened.values()) >= len(PLAIN), told
    assert outcome.happened["kill_broker"] + outcome.happened["freeze_broker"] > 0, told
    assert outcome.happened["kill"] + outcome.happened["freeze"] > 0, told
    assert verdict.acknowledged > 500, f"too little load to prove anything: {told}"
    assert verdict.timers > 0, told
    assert verdict.forwarded > 0, told
    assert verdict.dead_letters > 0, told
    assert outcome.delivered.sent > 0, told
    shutil.rmtree(folder)


def test_the_schedule_follows_from_its_seed() -> None:
    """The same seed gives the same disturbances, another seed others; each kind that a short round needs comes first."""
    one = make_schedule(7, seconds=600)
    assert one == make_schedule(7, seconds=600)
    assert one != make_schedule(8, seconds=600)
    assert {each.kind for each in one} == set(KINDS)
    assert {each.kind for each in one[: len(PLAIN)]} == set(PLAIN)


@pytest.mark.parametrize("seed", [3537916994, *range(200)])
def test_a_short_round_has_time_for_each_kind_whatever_the_dice_say(seed: int) -> None:
    """One round in fourteen had room for eight of the nine, and then failed although nothing was wrong."""
    short = make_schedule(seed, seconds=SECONDS)
    assert set(PLAIN) <= {each.kind for each in short}
    assert [each.at_seconds for each in short] == sorted(each.at_seconds for each in short)
    assert short[-1].at_seconds < SECONDS


def test_an_interrupted_soak_goes_on_where_it_was(tmp_path: Path, outcomes: dict[str, Outcome]) -> None:
    """Judged rounds are kept; the next one is the one that would have come; another seed begins anew."""
    state = load_state(tmp_path, minutes=30, seed=None, today="2026-01-01")
    first = state.next_plan()
    if "short" in outcomes:
        state.rounds.append(_judged(outcomes["short"]))
    save_state(tmp_path, state)
    again = load_state(tmp_path, minutes=30, seed=None, today="2026-01-02")
    assert again == state
    assert (again.next_plan() == first) == (not state.rounds)
    assert load_state(tmp_path, minutes=30, seed=state.seed + 1, today="2026-01-02").rounds == []


def test_a_finished_soak_is_not_gone_on_with(tmp_path: Path) -> None:
    """The next one has a seed and a count of its own."""
    done = State(seed=5, minutes=0.1, begun="2026-01-01")
    assert done.finished
    save_state(tmp_path, done)
    assert load_state(tmp_path, minutes=30, seed=None, today="2026-01-02").begun == "2026-01-02"


def test_the_report_replaces_only_its_own_section(tmp_path: Path) -> None:
    """What people wrote around it stays."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    state = State(seed=5, minutes=30, begun="2026-01-01")
    write_report(page, state)
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert section(state) in text
    assert "Seed 5" in text
