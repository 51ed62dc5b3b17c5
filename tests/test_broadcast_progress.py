"""How far a broadcast is: numbers that add up at every moment, from journal, ledger and states."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli.operate.broadcast import broadcast
from engine.clock import ManualClock, from_rfc3339
from engine.core.record import Identify, Outcome, Pause, Winner
from engine.dispatch.ports import Settlement
from engine.operations.broadcasts import IssueStanding, Watch, waiting
from engine.runtimes.memory_ports import MemoryRuntime
from tests.core.stage import START, compiled, workflow
from tests.core.test_broadcast import AB, MEMBERS, SEND

HOUR = 3_600_000
START_MS = from_rfc3339(START)
PEOPLE = 100


def control(paused: bool, at_ms: int) -> Pause:
    return Pause(customer="", at_ms=at_ms, id=f"p{at_ms}", workflow="news", paused=paused)


class Stage:
    """A broadcast at 10:00, to a hundred people, on the memory runtime."""

    def __init__(self, steps: str, more: str = "spread: 2h") -> None:
        head = f"trigger: {{schedule: {{at: '2026-03-02T10:00', segment: gold, {more}}}}}"
        catalog = compiled(workflow(head, steps, name="news"), MEMBERS)
        self.runtime = MemoryRuntime(catalog, clock=ManualClock(START_MS))
        self.watch = Watch(catalog.workflows["news"], project_zone="UTC")

    async def begin(self) -> None:
        traits = {"email": "x@example.com", "gold": True}
        names = [f"c{number}" for number in range(PEOPLE)]
        await self.runtime.append(
            [Identify(customer=name, at_ms=START_MS, id="i", time_ms=START_MS, traits=traits) for name in names]
        )

    async def send(self, number: int, status: str = "sent") -> None:
        now_ms = self.runtime.memory.clock.now_ms()
        ready = await self.runtime.ready(number)
        await self.runtime.settle(
            [Settlement(message_id=each.message.id, status=status, at_ms=now_ms) for each in ready]  # type: ignore[arg-type]
        )

    async def look(self) -> IssueStanding:
        (standing,) = await self.watch.look(self.runtime, now_ms=self.runtime.memory.clock.now_ms())
        return standing


async def test_numbers_add_up_before_during_and_after() -> None:
    """The audience is the same all the time; who is reached grows; the rest is on its way or to come."""
    stage = Stage(SEND)
    await stage.begin()
    before = await stage.look()
    assert (before.audience, before.reached, before.sent, before.issue) == (PEOPLE, 0, 0, "next")
    stage.runtime.advance_to(START_MS + 2 * HOUR)
    await stage.send(10)
    during = await stage.look()
    assert (during.audience, during.issue, during.sent) == (PEOPLE, "2026-03-02-1000", 10)
    assert 20 < during.reached < 80
    assert during.queued == during.reached - 10
    assert during.rate_per_second > 0
    assert START_MS + 2 * HOUR < during.eta_ms <= START_MS + 3 * HOUR
    stage.runtime.advance_to(START_MS + 3 * HOUR)
    await stage.send(5, "failed")
    await stage.send(5, "unknown")
    await stage.send(PEOPLE)
    after = await stage.look()
    assert (after.reached, after.sent, after.failed, after.unknown, after.queued) == (PEOPLE, 90, 5, 5, 0)
    assert after.eta_ms == 0


async def test_a_pause_shows_what_it_holds() -> None:
    """Whose time came meanwhile is counted, and goes over to the reached when it goes on."""
    stage = Stage(SEND)
    await stage.begin()
    stage.runtime.advance_to(START_MS + 2 * HOUR)
    await stage.runtime.append([control(True, START_MS + 2 * HOUR)])
    reached = (await stage.look()).reached
    stage.runtime.advance_to(START_MS + 4 * HOUR)
    held = await stage.look()
    assert (held.audience, held.reached, held.paused) == (PEOPLE, reached, PEOPLE - reached)
    assert await waiting(stage.runtime, "news") == (PEOPLE - reached, 0)
    await stage.runtime.append([control(False, START_MS + 4 * HOUR)])
    done = await stage.look()
    assert (done.reached, done.paused) == (PEOPLE, 0)
    assert await waiting(stage.runtime, "news") == (0, 0)


async def test_variants_are_told_apart() -> None:
    """Messages, sent, opened and clicked of each subject; a click is an open; then who won."""
    stage = Stage(AB, "zone: project")
    await stage.begin()
    stage.runtime.advance_to(START_MS + HOUR)
    await stage.send(PEOPLE)
    tested = await stage.look()
    assert tested.held == PEOPLE - tested.sent
    assert set(tested.variants) == {"a", "b"}
    now_ms = START_MS + HOUR
    sent = [(state.id, one) for state in stage.runtime.memory.states.values() for one in state.messages]
    first = next((owner, one.id) for owner, one in sent if one.variant == "b")
    await stage.runtime.append(
        [Outcome(customer=first[0], at_ms=now_ms, id="o", time_ms=now_ms, outcome="clicked", message=first[1])]
    )
    await stage.runtime.append(
        [Winner(customer="", at_ms=now_ms, id="w", workflow="news", step="mail", variant="b", issue="2026-03-02-1000")]
    )
    won = await stage.look()
    assert (won.winner, won.held) == ("b", 0)
    assert (won.variants["b"]["opened"], won.variants["b"]["clicked"]) == (1, 1)
    assert won.variants["a"]["messages"] + won.variants["b"]["messages"] == PEOPLE


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list"], "news"),
        (["list", "--json"], '{"workflow":"news","issue":null}'),
        (["show", "news"], "did not go out yet"),
        (["show", "news", "--json"], '{"workflow":"news","issue":null}'),
        (["show", "news", "--issue", "2026-01-01-0900"], "has no issue"),
        (["show", "newz"], "did you mean `news`"),
    ],
)
def test_the_command_answers_in_words(tmp_path: Path, arguments: list[str], said: str) -> None:
    """Also where nothing ever ran."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows/policy.yaml").write_text("policy: default\npurposes: {transactional: {consent: none}}\n")
    head = "trigger: {schedule: {at: 2030-01-01T09:00}}"
    (tmp_path / "workflows/news.yaml").write_text(workflow(head, "[{wait: 1h}]", name="news"))
    result = CliRunner().invoke(broadcast, [*arguments, "--project", str(tmp_path)])
    assert said.replace(" ", "") in (result.output + str(result.exception or "")).replace(" ", "")
