"""Pauses and lanes of a running dispatcher, against a real SMTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.clock import ManualClock
from engine.core.message import Message
from engine.core.record import Flush
from engine.dispatch.sending.dispatcher import Dispatcher
from engine.dispatch.sending.lanes import Lanes
from engine.dispatch.sending.limits import Limits, Providers
from engine.health import Condition
from engine.telemetry import Metrics
from tests.channels.conftest import Faults
from tests.dispatch.test_dispatcher import House

PEOPLE = 12


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A house whose pauses are short."""
    monkeypatch.setattr("engine.dispatch.sending.throttle.PAUSE_MS_FIRST", 200)
    built = House(tmp_path)
    await built.server.start()
    await built.runtime.start()
    yield built
    await built.runtime.stop()
    await built.server.stop()


LIMITS = Limits(channels=("email",), rate=100.0, under_way_max=2)
MAIL = Message(
    id="m", customer="c", channel="email", address="ana@shop.example", template="t", purpose="transactional",
    workflow="w", version="v", enrollment="e", step="s", decided_ms=0, due_ms=0,
)  # fmt: skip


def _lanes(limits: Limits) -> tuple[Lanes, ManualClock]:
    clock = ManualClock(1_000)
    return Lanes(Providers((limits,)), clock=clock, metrics=Metrics()), clock


def test_a_lane_that_opens_while_the_outbox_is_asked_is_asked_for_again_at_once() -> None:
    """What waited in it was not offered: to wait for the next lane, of which there is none, would cost a second."""
    lanes, clock = _lanes(LIMITS)
    lanes.closed()
    assert lanes.opens_in_seconds() is None
    lanes.took(MAIL)
    assert ("email", "") in lanes.closed().lanes
    assert lanes.opens_in_seconds() == 0.01
    clock.advance(12)
    assert lanes.opens_in_seconds() == -0.002
    assert lanes.closed().lanes == frozenset()
    assert lanes.opens_in_seconds() is None


def test_a_call_that_ends_while_the_outbox_is_asked_is_noticed() -> None:
    """It opened a lane whose messages were not offered; the next time they are."""
    lanes, _ = _lanes(LIMITS)
    lanes.closed()
    assert lanes.enter(MAIL)
    lanes.closed()
    seen = [lanes.call_ended]
    lanes.leave([MAIL])
    seen.append(lanes.call_ended)
    lanes.closed()
    assert [*seen, lanes.call_ended] == [False, True, False]


async def _refused(house: House) -> int:
    return sum(message.code.startswith("421") for message in await house.runtime.messages())


def _degraded(dispatcher: Dispatcher) -> list[str]:
    return [name for name, _ in dispatcher._metrics.health.degraded]


async def test_a_server_that_is_away_is_asked_by_one_message_after_each_pause(house: House) -> None:
    """Two connections fail at once and count once; 200 ms later one message asks, then one after 400; the rest never left."""
    house.server.faults = Faults(greeting="421 4.3.2 away")
    for number in range(PEOPLE):
        await house.customer(f"c{number}")
        await house.event(f"c{number}")
    async with house.dispatching(under_way_max=2) as dispatcher:
        async with asyncio.timeout(10):
            while await _refused(house) < 4:
                await asyncio.sleep(0.01)
        pauses = dispatcher._lanes.throttle._pauses
        assert pauses["email", ""].length_ms == 800
        assert _degraded(dispatcher) == [str(Condition.MAIL_PAUSED)]
        assert b'anlass_paused_until_seconds{channel="email",domain=""}' in dispatcher._metrics.expose()
        assert await house.statuses() == ["pending"] * PEOPLE
        house.server.faults = Faults()
        now_ms = house.clock.now_ms()
        await house.runtime.append([Flush(customer="", at_ms=now_ms, id="f", channel="email")])
        await house.until(lambda statuses: statuses == ["sent"] * PEOPLE)  # also those that wait for their next attempt
        assert _degraded(dispatcher) == []
        assert b"anlass_paused_until_seconds{" not in dispatcher._metrics.expose()
    recipients = [accepted.recipients[0] for accepted in house.server.accepted]
    assert len(recipients) == len(set(recipients)) == PEOPLE


async def test_a_server_that_comes_back_gets_the_rest_after_the_first_answer(house: House) -> None:
    """Nobody has to do anything, and nobody waits for an hour."""
    house.server.faults = Faults(greeting="421 4.3.2 away")
    for number in range(PEOPLE):
        await house.customer(f"c{number}")
        await house.event(f"c{number}")
    async with house.dispatching(under_way_max=2) as dispatcher:
        async with asyncio.timeout(10):
            while await _refused(house) < 2:
                await asyncio.sleep(0.01)
        house.server.faults = Faults()
        await house.until(lambda statuses: statuses.count("sent") >= PEOPLE - 3)
        assert dispatcher._lanes.throttle.paused(house.clock.now_ms()) == {}


async def test_a_receipt_overtakes_the_newsletters_that_wait(house: House) -> None:
    """It is the first to leave, although it came last."""
    for number in range(PEOPLE):
        await house.customer(f"c{number}")
        await house.event(f"c{number}")
    await house.event("c3", "Paid")
    async with house.dispatching(under_way_max=1):
        await house.until(lambda statuses: statuses == ["sent"] * (PEOPLE + 1))
    marketing = [b"List-Unsubscribe-Post" in accepted.content for accepted in house.server.accepted]
    assert marketing == [False] + [True] * PEOPLE


async def test_many_receipts_leave_one_place_in_ten_to_the_others(house: House) -> None:
    """What is not transactional is late, and does not stand."""
    for number in range(3):
        await house.customer(f"c{number}")
        await house.event(f"c{number}")
    for number in range(30):
        await house.event(f"c{number % 3}", "Paid", what=f"o{number}")
    async with house.dispatching(under_way_max=1):
        await house.until(lambda statuses: statuses == ["sent"] * 33)
    marketing = [b"List-Unsubscribe-Post" in accepted.content for accepted in house.server.accepted]
    assert [at for at, is_marketing in enumerate(marketing) if is_marketing] == [9, 19, 29]
