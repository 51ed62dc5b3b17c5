"""The clocks: one that the machine moves, one that the test moves."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import ManualClock, SystemClock, from_rfc3339, to_rfc3339


async def test_the_system_clock_sleeps_until_the_time_has_come() -> None:
    """A sleeper wakes at or after its due time, never before, and does not wait for what is past."""
    clock = SystemClock()
    due_ms = clock.now_ms() + 30
    before = clock.monotonic()
    await clock.sleep_until(due_ms)
    assert clock.now_ms() >= due_ms
    assert clock.monotonic() - before < 5
    await clock.sleep_until(0)


async def test_a_manual_clock_wakes_the_sleepers_in_order_of_their_due_times() -> None:
    """Who is due first wakes first, whoever lay down first; who is not due sleeps on."""
    clock = ManualClock(1_000)
    woken: list[int] = []

    async def sleeper(due_ms: int) -> None:
        await clock.sleep_until(due_ms)
        woken.append(due_ms)

    tasks = [asyncio.create_task(sleeper(due_ms)) for due_ms in (3_000, 2_000, 9_000, 500)]
    await asyncio.sleep(0.01)
    assert woken == [500]
    clock.advance(2_000)
    await asyncio.sleep(0.01)
    assert woken == [500, 2_000, 3_000]
    assert clock.now_ms() == 3_000
    assert clock.monotonic() == 2.0
    tasks[2].cancel()
    clock.move_to(10_000)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert woken == [500, 2_000, 3_000]


def test_time_does_not_go_back() -> None:
    """Moving a manual clock back is a mistake of ours."""
    with pytest.raises(AssertionError):
        ManualClock(5).move_to(4)
    with pytest.raises(AssertionError):
        ManualClock(5).advance(-1)


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-27T10:00:00+01:00", 1_774_602_000_000),
        ("2026-03-27T09:00:00.123456Z", 1_774_602_000_123),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_public_times_are_read(text: str, at_ms: int) -> None:
    """RFC 3339 with any offset becomes UTC milliseconds; what is finer is cut off."""
    assert from_rfc3339(text) == at_ms


@pytest.mark.parametrize("text", ["2026-03-27T10:00:00", "soon", "", "2026-13-01T00:00:00Z"])
def test_a_time_without_an_offset_or_sense_is_refused(text: str) -> None:
    """A time that could mean several instants, or none, is not a time."""
    with pytest.raises(ValueError, match=r".+"):
        from_rfc3339(text)


@given(st.integers(min_value=-62_000_000_000_000, max_value=253_000_000_000_000))
def test_public_times_come_back_as_they_went(at_ms: int) -> None:
    """Writing and reading a time changes nothing."""
    assert from_rfc3339(to_rfc3339(at_ms)) == at_ms
