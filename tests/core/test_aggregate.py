"""Aggregates against a list of everything that ever happened."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.core.facts import aggregate
from engine.core.facts.aggregate import NEWEST_MAX, EventStats
from engine.core.time import schedule
from engine.core.time.schedule import Duration, parse_duration, parse_time
from engine.core.time.zone import UTC, zone_named
from tests.properties import examples

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")


def ms(text: str) -> int:
    at_ms = parse_time(text)
    assert at_ms is not None
    return at_ms


def fed(times: list[int], *, now_ms: int, window_days_max: int, totals: list[float] | None = None) -> EventStats:
    stats = EventStats()
    for index, time_ms in enumerate(times):
        values = None if totals is None else {"total": totals[index]}
        stats = aggregate.add(stats, time_ms, now_ms=now_ms, values=values, window_days_max=window_days_max)
    return stats


NOW_MS = ms("2026-10-26T08:00Z")  # a day after the clocks went back in Europe
minutes_ago = st.integers(-3 * 1440, 9 * 1440)
withins = st.sampled_from(["1h", "36h", "1d", "2d", "7d", "1d12h", "1w"])
zones = st.sampled_from(ZONES)
cents = st.integers(-100_000, 100_000)


@given(st.lists(st.tuples(minutes_ago, cents), max_size=NEWEST_MAX), withins, zones, minutes_ago)
def test_up_to_a_hundred_occurrences_are_exact(
    occurrences: list[tuple[int, int]], within_text: str, zone_name: str, asked: int
) -> None:
    """Count and sum equal those of the whole list, in any order of arrival, with and without a window."""
    within, zone, now_ms = parse_duration(within_text), zone_named(zone_name), NOW_MS - max(asked, 0) * 60_000 // 9
    times = [NOW_MS - minutes * 60_000 for minutes, _ in occurrences]
    stats = fed(times, now_ms=now_ms, window_days_max=10, totals=[amount / 100 for _, amount in occurrences])

    def counted(at_ms: int, limit: Duration | None) -> list[int]:
        return [
            amount
            for time_ms, (_, amount) in zip(times, occurrences, strict=True)
            if time_ms <= at_ms and (limit is None or schedule.leaves_at(time_ms, limit, zone) > at_ms)
        ]

    for limit in (within, None):
        expected = counted(now_ms, limit)
        assert aggregate.count(stats, now_ms, within=limit, zone=zone)[0] == len(expected)
        total = aggregate.sum_of(stats, "total", now_ms, within=limit, zone=zone)[0]
        assert total == float(Fraction(sum(expected), 100))
    past = [time_ms for time_ms in times if time_ms <= now_ms]
    assert aggregate.last(stats, now_ms)[0] == (max(past) if past else None)


@given(st.lists(minutes_ago, max_size=40), withins, zones)
def test_the_next_change_is_the_exact_instant(minutes: list[int], within_text: str, zone_name: str) -> None:
    """Nothing changes before it; something enters or leaves at it; without one nothing ever changes."""
    within, zone = parse_duration(within_text), zone_named(zone_name)
    times = [NOW_MS - minute * 60_000 for minute in minutes]
    stats = fed(times, now_ms=NOW_MS, window_days_max=8)
    expected = [
        moment_ms
        for time_ms in times
        for moment_ms in [time_ms if time_ms > NOW_MS else schedule.leaves_at(time_ms, within, zone)]
        if moment_ms > NOW_MS
    ]
    value, change_ms = aggregate.count(stats, NOW_MS, within=within, zone=zone)
    assert change_ms == (min(expected) if expected else None)
    assert aggregate.sum_of(stats, "total", NOW_MS, within=within, zone=zone) == (0.0, None)
    if change_ms is not None:
        assert aggregate.count(stats, change_ms - 1, within=within, zone=zone)[0] == value
    future = [time_ms for time_ms in times if time_ms > NOW_MS]
    for answer in (aggregate.count(stats, NOW_MS), aggregate.last(stats, NOW_MS)):
        assert answer[1] == (min(future) if future else None)


@given(
    st.lists(st.integers(-100, 100), max_size=12),
    st.integers(-100, 100),
    st.sampled_from(["2026-03-28T01:00Z", "2026-03-29T01:00Z", "2026-10-24T01:00Z", "2026-10-25T01:00Z"]),
    st.sampled_from(["1d", "2d", "1d1h"]),
)
def test_windows_are_exact_in_the_hours_of_a_clock_change(
    minutes: list[int], asked: int, around: str, within_text: str
) -> None:
    """Where occurrences leave a window in another order than they came, and where many leave at once."""
    within, zone = parse_duration(within_text), zone_named("Europe/Berlin")
    start_ms = ms(around)
    times = [start_ms + minute * 60_000 for minute in minutes]
    now_ms = start_ms + within.span_ms + asked * 60_000
    stats = fed(times, now_ms=now_ms, window_days_max=3)
    staying = [leaves for leaves in (schedule.leaves_at(time_ms, within, zone) for time_ms in times) if leaves > now_ms]
    value, change_ms = aggregate.count(stats, now_ms, within=within, zone=zone)
    assert value == len(staying)
    assert change_ms == (min(staying) if staying else None)


@settings(max_examples=examples(25))  # long lists
@given(st.lists(st.integers(0, 42 * 24), min_size=NEWEST_MAX + 1, max_size=260), st.integers(1, 40), st.randoms())
def test_beyond_a_hundred_the_answer_is_exact_to_the_day(hours: list[int], days: int, order: object) -> None:
    """Between the counts of a window one UTC day longer and the window itself; totals stay exact."""
    shuffle = order.shuffle  # type: ignore[attr-defined]
    times = [NOW_MS - hour * HOUR_MS for hour in hours]
    stats = fed(times, now_ms=NOW_MS, window_days_max=40, totals=[0.1] * len(times))
    shuffle(times)
    again = fed(times, now_ms=NOW_MS, window_days_max=40, totals=[0.1] * len(times))
    assert again == stats
    assert len(stats.newest) == NEWEST_MAX
    within = Duration(days)

    def listed(longer_ms: int) -> int:
        return sum(time_ms + days * DAY_MS + longer_ms > NOW_MS for time_ms in times)

    value, change_ms = aggregate.count(stats, NOW_MS, within=within)
    assert listed(0) <= value <= listed(DAY_MS)
    assert aggregate.sum_of(stats, "total", NOW_MS, within=within)[0] == pytest.approx(value / 10)
    assert aggregate.count(stats, NOW_MS)[0] == len(times)
    assert aggregate.sum_of(stats, "total", NOW_MS)[0] == len(times) / 10
    assert (change_ms is None) == (value == 0)
    assume(change_ms is not None)
    assert change_ms is not None
    assert aggregate.count(stats, change_ms - 1, within=within)[0] == value
    assert aggregate.count(stats, change_ms, within=within)[0] < value


@given(st.lists(st.integers(0, 3 * 1440), min_size=2, max_size=30), zones)
def test_a_window_empties_step_by_step(minutes: list[int], zone_name: str) -> None:
    """Following the next change from one to the next ends at zero, and never goes back."""
    zone, within = zone_named(zone_name), parse_duration("2d")
    stats = fed([NOW_MS - minute * 60_000 for minute in minutes], now_ms=NOW_MS, window_days_max=2)
    now_ms: int | None = NOW_MS
    values = []
    while now_ms is not None:
        value, later_ms = aggregate.count(stats, now_ms, within=within, zone=zone)
        assert later_ms is None or later_ms > now_ms
        values.append(value)
        now_ms = later_ms
    assert values == sorted(set(values), reverse=True)
    assert values[-1] == 0


def test_what_no_window_can_ask_about_is_not_kept() -> None:
    """State stays small: without a window only the newest occurrence remains, and old days are dropped."""
    stats = fed([NOW_MS - n * HOUR_MS for n in range(300)], now_ms=NOW_MS, window_days_max=0)
    assert len(stats.newest) == 1
    assert not stats.days
    assert aggregate.count(stats, NOW_MS) == (300, None)
    assert aggregate.last(stats, NOW_MS) == (NOW_MS, None)
    start_ms = NOW_MS - 400 * DAY_MS
    stats = EventStats()
    for index in range(800):
        time_ms = start_ms + index * DAY_MS // 2
        stats = aggregate.add(stats, time_ms, now_ms=time_ms, window_days_max=60)
    assert len(stats.days) < 70
    assert aggregate.count(stats, time_ms, within=parse_duration("60d"))[0] in range(120, 123)
    assert aggregate.count(stats, NOW_MS)[0] == 800


def test_sums_of_prices_are_exact() -> None:
    """Ten times 0.1 is 1, and a threshold is met when it is met."""
    stats = fed([NOW_MS] * 10, now_ms=NOW_MS, window_days_max=1, totals=[0.1] * 10)
    assert aggregate.sum_of(stats, "total", NOW_MS, within=parse_duration("1d"))[0] >= 1


@pytest.mark.parametrize("value", [None, "12.50", True, float("nan"), float("inf"), [], {}])
def test_what_is_not_a_number_adds_nothing(value: object) -> None:
    """It is counted all the same."""
    stats = aggregate.add(EventStats(), NOW_MS, now_ms=NOW_MS, values={"total": value})
    assert aggregate.count(stats, NOW_MS)[0] == 1
    assert aggregate.sum_of(stats, "total", NOW_MS)[0] == 0


def test_huge_values_stay_storable() -> None:
    """Sums stop at what 64 bits hold."""
    stats = fed([NOW_MS] * 200, now_ms=NOW_MS, window_days_max=1, totals=[1e300] * 200)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(stats), type=EventStats) == stats
    assert aggregate.sum_of(stats, "total", NOW_MS)[0] > 9e12
    negative = fed([NOW_MS] * 200, now_ms=NOW_MS, window_days_max=1, totals=[-1e300] * 200)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(negative), type=EventStats) == negative


def test_a_newly_summed_property_starts_at_zero() -> None:
    """A deploy may ask for other properties; known ones keep their history."""
    stats = aggregate.add(EventStats(), NOW_MS, now_ms=NOW_MS, values={"total": 5}, window_days_max=1)
    stats = aggregate.add(stats, NOW_MS, now_ms=NOW_MS, values={"tax": 1, "total": 5}, window_days_max=1)
    assert aggregate.sum_of(stats, "tax", NOW_MS)[0] == 1
    assert aggregate.sum_of(stats, "total", NOW_MS, within=parse_duration("1d"))[0] == 10
    stats = aggregate.add(stats, NOW_MS, now_ms=NOW_MS, window_days_max=1)
    assert stats.names == ()
    assert aggregate.count(stats, NOW_MS)[0] == 3


@settings(max_examples=examples(25))  # long lists
@given(st.lists(st.integers(-200, 200), min_size=NEWEST_MAX, max_size=150))
def test_many_future_occurrences_do_not_count_yet(hours: list[int]) -> None:
    """Clocks that are far ahead: to the day where they are more than the newest hundred."""
    assume(any(hour > 0 for hour in hours))
    times = [NOW_MS + hour * HOUR_MS for hour in hours]
    stats = fed(times, now_ms=NOW_MS, window_days_max=20)
    at_most = sum(time_ms < NOW_MS - NOW_MS % DAY_MS + DAY_MS for time_ms in times)
    past = sum(time_ms <= NOW_MS for time_ms in times)
    for within in (None, parse_duration("15d")):
        value, change_ms = aggregate.count(stats, NOW_MS, within=within, zone=UTC)
        assert past <= value <= at_most
        assert change_ms is not None
        assert change_ms > NOW_MS
    last_ms, next_ms = aggregate.last(stats, NOW_MS)
    assert last_ms is None or last_ms <= NOW_MS
    assert next_ms is not None


def test_the_days_of_a_window() -> None:
    """What the compiler asks to be kept."""
    assert [aggregate.window_days(parse_duration(text)) for text in ("1h", "24h", "25h", "7d", "0s", "-3d")] == [
        1, 1, 2, 7, 0, 0,
    ]  # fmt: skip


@settings(max_examples=examples(25))  # long lists
@given(st.lists(st.integers(0, 9 * 24), max_size=160), st.lists(st.integers(0, 9 * 24), max_size=160))
def test_merged_customers_have_the_occurrences_of_both(mine: list[int], theirs: list[int]) -> None:
    """An alias joins two histories: totals are exact, windows to the day beyond a hundred."""
    hours = mine + theirs

    def of(part: list[int]) -> EventStats:
        times = [NOW_MS - hour * HOUR_MS for hour in part]
        return fed(times, now_ms=NOW_MS, window_days_max=10, totals=[0.5] * len(times))

    merged = aggregate.merge(of(mine), of(theirs), now_ms=NOW_MS, window_days_max=10)
    assert aggregate.count(merged, NOW_MS)[0] == len(hours)
    assert aggregate.sum_of(merged, "total", NOW_MS)[0] == len(hours) / 2
    assert len(merged.newest) == min(len(hours), NEWEST_MAX)
    value = aggregate.count(merged, NOW_MS, within=parse_duration("5d"))[0]
    listed = sum(hour < 5 * 24 for hour in hours)
    to_the_day = sum(hour < 6 * 24 for hour in hours)
    assert value == listed if len(hours) <= NEWEST_MAX else listed <= value <= to_the_day
