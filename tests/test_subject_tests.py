"""Who won a test of subjects: counted in the journal when its time is over, proposed once, kept for all."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from engine.clock import ManualClock
from engine.core.journey.workflow import SubjectTest
from engine.core.record import Identify, Outcome
from engine.core.time.schedule import parse_duration
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import Settings
from engine.telemetry import Metrics
from engine.watches.subject_tests import SubjectTests, winner_of
from engine.watches.watch import WatchNeeds
from tests.core.stage import START, compiled, workflow
from tests.core.test_broadcast import AB, MEMBERS

HOUR = 3_600_000
TEST = SubjectTest(("a", "b", "c"), 30, parse_duration("4h"), "clicked")


@pytest.mark.parametrize(
    ("counts", "variant"),
    [
        ({}, "a"),
        ({"a": (100, 0), "b": (100, 0)}, "a"),
        ({"a": (100, 5), "b": (100, 6)}, "b"),
        ({"a": (100, 6), "b": (100, 6), "c": (100, 6)}, "a"),
        ({"a": (1_000, 50), "b": (100, 6)}, "b"),
        ({"b": (0, 3), "c": (10, 1)}, "c"),
    ],
)
def test_the_highest_rate_wins_and_the_first_of_equal_ones(counts: dict[str, tuple[int, int]], variant: str) -> None:
    """Rates, not numbers: groups differ a little in size."""
    assert winner_of(TEST, counts) == variant


class Watch:
    """A broadcast to 200 people on the memory runtime, and the companion that watches it."""

    def __init__(self, folder: Path, ab: str = AB) -> None:
        catalog = compiled(
            workflow("trigger: {schedule: {at: '2026-03-02T10:00', segment: gold}}", ab, name="news"), MEMBERS
        )
        self.clock = ManualClock(1_772_442_000_000)
        self.runtime = MemoryRuntime(catalog, clock=self.clock)
        around = WatchNeeds(
            settings=Settings(project=folder), runtime=self.runtime, clock=self.clock, metrics=Metrics()
        )
        self.companion = SubjectTests(around)
        self.around = around

    async def begin(self) -> None:
        assert START.startswith("2026-03-02T09:00")
        people = [f"c{number}" for number in range(200)]
        traits = {"email": "x@example.com", "gold": True}
        now_ms = self.clock.now_ms()
        await self.runtime.append(
            [Identify(customer=name, at_ms=now_ms, id="i", time_ms=now_ms, traits=traits) for name in people]
        )
        self.runtime.advance_to(now_ms + HOUR)

    async def signal(self, outcome: str, variant: str, number: int, **detail: object) -> None:
        """So many messages of a variant come to this outcome."""
        known = [(state.id, sent) for state in self.runtime.memory.states.values() for sent in state.messages]
        chosen = [sent for _, sent in known if sent.variant == variant and not sent.outcome][:number]
        assert len(chosen) == number
        owner = {sent.id: customer for customer, sent in known}
        now_ms = self.clock.now_ms()
        await self.runtime.append(
            [
                Outcome(
                    customer=owner[message.id], at_ms=now_ms, id=f"o{message.id}", time_ms=now_ms, outcome=outcome,
                    message=message.id, detail=dict(detail),
                )
                for message in chosen
            ]
        )  # fmt: skip

    def variants(self) -> Counter[str]:
        return Counter(message.variant for state in self.runtime.memory.states.values() for message in state.messages)


async def test_the_better_subject_goes_to_the_rest(tmp_path: Path) -> None:
    """Not before the time is over; then the one with more clicks, and everybody has the mail."""
    watch = Watch(tmp_path)
    await watch.begin()
    tested = watch.variants()
    await watch.signal("clicked", "b", 8)
    await watch.signal("clicked", "a", 3)
    await watch.companion.look()
    assert watch.variants() == tested
    watch.runtime.advance_to(watch.clock.now_ms() + 4 * HOUR)
    await watch.companion.look()
    assert watch.variants() == {"a": tested["a"], "b": 200 - tested["a"]}
    (line,) = [line for _, _, line in watch.runtime._journal if line.kind == "winner"]
    assert line.detail["counts"] == {"a": [tested["a"], 3], "b": [tested["b"], 8]}


async def test_what_a_machine_clicked_does_not_count(tmp_path: Path) -> None:
    """Scanners open everything."""
    watch = Watch(tmp_path)
    await watch.begin()
    tested = watch.variants()
    await watch.signal("clicked", "a", 20, machine=True)
    await watch.signal("clicked", "b", 1)
    watch.runtime.advance_to(watch.clock.now_ms() + 4 * HOUR)
    await watch.companion.look()
    assert watch.variants()["b"] == 200 - tested["a"]


async def test_a_click_is_an_open(tmp_path: Path) -> None:
    """Whoever clicks has opened, though no picture was loaded."""
    watch = Watch(tmp_path, AB.replace("by: clicked", "by: opened"))
    await watch.begin()
    tested = watch.variants()
    await watch.signal("opened", "a", 2)
    await watch.signal("clicked", "b", 4)
    watch.runtime.advance_to(watch.clock.now_ms() + 4 * HOUR)
    await watch.companion.look()
    assert watch.variants()["b"] == 200 - tested["a"]


async def test_a_companion_that_starts_anew_does_not_decide_twice(tmp_path: Path) -> None:
    """It reads in the journal that the test is decided, whatever came since."""
    watch = Watch(tmp_path)
    await watch.begin()
    await watch.signal("clicked", "b", 5)
    watch.runtime.advance_to(watch.clock.now_ms() + 4 * HOUR)
    await watch.companion.look()
    await watch.signal("clicked", "a", 20)
    length = len(watch.runtime.memory.log or [])
    again = SubjectTests(watch.around)
    await again.look()
    await again.look()
    assert len(watch.runtime.memory.log or []) == length


async def test_one_that_comes_much_too_late_says_what_everybody_got(tmp_path: Path) -> None:
    """After the wait all have the first subject; that it says, whatever the clicks are."""
    watch = Watch(tmp_path)
    await watch.begin()
    tested = watch.variants()
    await watch.signal("clicked", "b", 5)
    watch.runtime.advance_to(watch.clock.now_ms() + 6 * HOUR)
    assert watch.variants()["a"] == 200 - tested["b"]
    await watch.companion.look()
    (line,) = [line for _, _, line in watch.runtime._journal if line.kind == "winner"]
    assert line.detail["variant"] == "a"


async def test_reading_a_long_journal_stops_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart all of it is read: between two pages whoever shares the process gets on with their work."""
    monkeypatch.setattr("engine.operations.journal_lines.PAGE", 10)
    watch = Watch(tmp_path)
    await watch.begin()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    working = asyncio.create_task(other())
    await watch.companion.look()
    working.cancel()
    assert turns >= 20
