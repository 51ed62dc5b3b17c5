"""Durations, local times and yearly dates, against a minute-by-minute scan of the zone around real clock changes."""

from __future__ import annotations

import collections
import datetime as dt

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.core.time import schedule
from engine.core.time.schedule import Duration, When, parse_duration, parse_recurrence, parse_time, parse_when, rfc3339
from engine.core.time.zone import UTC, zone_named

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000

BERLIN = zone_named("Europe/Berlin")
CHANGES = {
    # A zone, and the days (UTC) around which its clock does something.
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),  # half an hour
    "Pacific/Apia": ("2011-12-30", "2011-09-24"),  # 30 December 2011 did not happen
    "America/Nuuk": ("2026-03-29", "2026-10-25"),  # the change crosses midnight
    "Asia/Kolkata": ("2026-03-29",),
}
DAYS_AROUND = 4


def ms(text: str, zone: str = "UTC") -> int:
    at_ms = parse_time(text, zone_named(zone))
    assert at_ms is not None
    return at_ms


def spans() -> list[tuple[str, int]]:
    return [(zone, ms(day) - DAYS_AROUND * DAY_MS) for zone, days in CHANGES.items() for day in days]


SPAN_MINUTES = 2 * DAYS_AROUND * 24 * 60
_walls: dict[tuple[str, int], list[dt.datetime]] = {}


def walls(zone: str, start_ms: int) -> list[dt.datetime]:
    """What the wall clock shows in each minute of the span: the oracle knows nothing but this."""
    known = _walls.get((zone, start_ms))
    if known is None:
        start = dt.datetime.fromtimestamp(start_ms // 1000, dt.UTC)
        tz = zone_named(zone)
        known = [
            (start + dt.timedelta(minutes=minute)).astimezone(tz).replace(tzinfo=None, fold=0)
            for minute in range(SPAN_MINUTES)
        ]
        _walls[zone, start_ms] = known
    return known


def scan(zone: str, start_ms: int, wall: dt.datetime) -> int:
    """The first minute that shows `wall`; if none does, the first after the clock jumped over it."""
    shown = walls(zone, start_ms)
    if wall in shown:
        return start_ms + shown.index(wall) * MINUTE_MS
    for minute in range(1, len(shown)):
        if shown[minute - 1] < wall < shown[minute]:
            return start_ms + minute * MINUTE_MS
    raise AssertionError(wall)


around_changes = st.sampled_from(spans()).flatmap(
    lambda span: st.tuples(
        st.just(span[0]), st.just(span[1]), st.integers(26 * 60, SPAN_MINUTES - 26 * 60), st.integers(-3, 3)
    )
)


@given(around_changes)
def test_calendar_days_keep_the_local_time(case: tuple[str, int, int, int]) -> None:
    """A day later is the same wall clock time: after the gap if skipped, the first if it comes twice."""
    zone, start_ms, minute, days = case
    wall = walls(zone, start_ms)[minute] + dt.timedelta(days)
    shown = walls(zone, start_ms)
    if not min(shown) < wall < max(shown) or not days:
        return
    at_ms = start_ms + minute * MINUTE_MS
    assert schedule.add(at_ms, Duration(days), zone_named(zone)) == scan(zone, start_ms, wall)
    assert schedule.add(at_ms, Duration(days, HOUR_MS), zone_named(zone)) == scan(zone, start_ms, wall) + HOUR_MS


@given(around_changes, st.integers(0, 59_999))
def test_a_later_moment_is_not_due_earlier_where_time_flows_evenly(
    case: tuple[str, int, int, int], rest_ms: int
) -> None:
    """Milliseconds survive calendar arithmetic, and a positive wait always ends in the future."""
    zone, start_ms, minute, days = case
    at_ms = start_ms + minute * MINUTE_MS + rest_ms
    due_ms = schedule.add(at_ms, Duration(abs(days) + 1), zone_named(zone))
    assert due_ms > at_ms
    assert due_ms % MINUTE_MS in (rest_ms, 0)


@pytest.mark.parametrize(
    ("zone", "start", "duration", "due"),
    [
        ("Europe/Berlin", "2026-03-28T09:00+01:00", "1d", "2026-03-29T07:00:00Z"),
        ("Europe/Berlin", "2026-03-28T09:00+01:00", "24h", "2026-03-29T08:00:00Z"),
        ("Europe/Berlin", "2026-03-28T02:30+01:00", "1d", "2026-03-29T01:00:00Z"),  # 02:30 is skipped: 03:00
        ("Europe/Berlin", "2026-10-24T02:30+02:00", "1d", "2026-10-25T00:30:00Z"),  # twice: the first
        ("Europe/Berlin", "2026-03-30T02:30+02:00", "-1d", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-03-22T09:00+01:00", "1w2h", "2026-03-29T09:00:00Z"),
        ("Pacific/Apia", "2011-12-29T10:00-10:00", "1d", "2011-12-30T10:00:00Z"),  # the day that never was
        ("Pacific/Apia", "2011-12-29T10:00-10:00", "2d", "2011-12-30T20:00:00Z"),
        ("Asia/Kolkata", "2026-03-28T09:00:00.250+05:30", "1d", "2026-03-29T03:30:00.250Z"),
    ],
)
def test_waits_over_clock_changes(zone: str, start: str, duration: str, due: str) -> None:
    """The examples of the language page, with their instants written out."""
    assert rfc3339(schedule.add(ms(start), parse_duration(duration), zone_named(zone))) == due


@pytest.mark.parametrize(
    ("text", "days", "exact_ms"),
    [
        ("90s", 0, 90_000),
        ("15m", 0, 900_000),
        ("2h", 0, 7_200_000),
        ("3d", 3, 0),
        ("2w", 14, 0),
        ("1d12h", 1, 43_200_000),
        ("-3d", -3, 0),
        ("+1w1d", 8, 0),
        ("0s", 0, 0),
        (" 1h ", 0, 3_600_000),
    ],
)
def test_durations_are_read(text: str, days: int, exact_ms: int) -> None:
    """Exact units and calendar units are kept apart."""
    assert parse_duration(text) == Duration(days, exact_ms)


@pytest.mark.parametrize(
    "text", ["", "-", "3", "d", "1.5h", "2 hours", "1h1d", "1d1d", "1M", "٣d", "--1d", "1d 2x", "99999d"]
)
def test_what_is_no_duration_is_told_with_an_example(text: str) -> None:
    """The message says what to write instead."""
    with pytest.raises(ValueError, match=r"duration; write a number and a unit, such as 90s|the longest duration"):
        parse_duration(text)


@given(st.integers(-36_000, 36_000), st.integers(0, 86_400 * 30))
def test_a_duration_written_out_reads_back(days: int, seconds: int) -> None:
    """`str` and `parse_duration` are inverse."""
    duration = Duration(days, (seconds if days >= 0 else -seconds) * 1000)
    assert parse_duration(str(duration)) == duration


@given(st.text(max_size=20))
def test_no_text_crashes_the_parsers(text: str) -> None:
    """Any text is either read or refused with a sentence."""
    for parse in (parse_duration, parse_when, parse_recurrence, schedule.parse_window, schedule.parse_clock):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - the point is that nothing else is raised
    schedule.parse_date(text, BERLIN)
    parse_time(text, BERLIN)


@given(around_changes, st.integers(0, 1439))
def test_the_next_local_time_is_the_next_one_on_the_wall(case: tuple[str, int, int, int], minute_of_day: int) -> None:
    """`"10:00"` is the first such local time strictly after the record's, by the scan."""
    zone, start_ms, minute, _ = case
    after_ms = start_ms + minute * MINUTE_MS
    shown = walls(zone, start_ms)
    midnight = dt.datetime.combine(min(shown).date(), dt.time())
    wanted = [midnight + dt.timedelta(days=index, minutes=minute_of_day) for index in range(2 * DAYS_AROUND + 2)]
    found = [scan(zone, start_ms, wall) for wall in wanted if min(shown) <= wall < max(shown)]
    expected = next(at_ms for at_ms in found if at_ms > after_ms)
    assert schedule.next_local(When(minute=minute_of_day), after_ms, zone_named(zone)) == expected


@pytest.mark.parametrize(
    ("text", "after", "due"),
    [
        ("22:30", "2026-03-27T22:30", "2026-03-28T22:30"),  # strictly after
        ("22:30", "2026-03-27T22:29", "2026-03-27T22:30"),
        ("9:00", "2026-03-27T10:00", "2026-03-28T09:00"),
        ("day 09:00", "2026-03-27T10:00", "2026-03-28T09:00"),
        ("tuesday 10:00", "2026-03-27T10:00", "2026-03-31T10:00"),
        ("Tuesday 10:00", "2026-03-31T10:00", "2026-04-07T10:00"),
        ("monday, friday 10:00", "2026-03-27T10:00", "2026-03-30T10:00"),
        ("weekdays 09:00", "2026-03-27T10:00", "2026-03-30T09:00"),
        ("weekend 09:00", "2026-03-27T10:00", "2026-03-28T09:00"),
        ("month 1 09:00", "2026-03-27T10:00", "2026-04-01T09:00"),
        ("month 31 09:00", "2026-03-31T10:00", "2026-04-30T09:00"),
        ("month last 09:00", "2027-01-31T10:00", "2027-02-28T09:00"),
        ("2026-12-01T09:00", "2026-03-27T10:00", "2026-12-01T09:00"),
        ("2026-12-01", "2026-03-27T10:00", "2026-12-01T00:00"),
        ("2026-12-01T09:00+00:00", "2026-03-27T10:00", "2026-12-01T10:00"),
        ("2026-12-01T09:00", "2026-12-01T09:00", None),
    ],
)
def test_local_times_and_recurrences(text: str, after: str, due: str | None) -> None:
    """Every form that `until:` and `every:` take, in Europe/Berlin."""
    expected = None if due is None else ms(due, "Europe/Berlin")
    assert schedule.next_local(parse_when(text), ms(after, "Europe/Berlin"), BERLIN) == expected


@pytest.mark.parametrize(
    "text", ["25:00", "24:00", "10:60", "tueday 10:00", "tuesday", "month 0 09:00", "month 32 09:00", "holidays 09:00",
             "2026-13-01", "10:00:00", "", "month first 9:00"]
)  # fmt: skip
def test_what_is_no_local_time_is_refused(text: str) -> None:
    """With a sentence that names the text."""
    with pytest.raises(ValueError, match=r"write|use|the last is"):
        parse_when(text)


@pytest.mark.parametrize(
    ("day", "offset", "after", "due"),
    [
        ("1990-03-27", "0s", "2026-03-27T08:59", "2026-03-27T09:00"),
        ("1990-03-27", "0s", "2026-03-27T09:00", "2027-03-27T09:00"),
        ("1990-03-27", "-3d", "2026-03-24T09:00", "2027-03-24T09:00"),
        ("1990-01-02", "-3d", "2026-01-05T09:00", "2026-12-30T09:00"),  # into the year before
        ("1990-12-30", "1w", "2026-01-05T09:00", "2026-01-06T09:00"),
        ("2000-02-29", "0s", "2026-03-01T00:00", "2027-02-28T09:00"),
        ("2000-02-29", "0s", "2027-03-01T00:00", "2028-02-29T09:00"),
        ("2030-05-01", "0s", "2026-03-01T00:00", "2030-05-01T09:00"),  # not before the day itself
        ("--03-27", "0s", "2026-03-27T08:59", "2026-03-27T09:00"),
        ("1990-03-27", "500d", "2026-03-27T08:59", "2026-08-09T09:00"),
        ("1990-03-30", "-1d", "2026-03-01T00:00", "2026-03-29T09:00"),  # the day of the clock change
    ],
)
def test_yearly_dates(day: str, offset: str, after: str, due: str) -> None:
    """Birthdays and anniversaries with their offsets, at 09:00 in Europe/Berlin."""
    date = schedule.parse_date(day, BERLIN)
    assert date is not None
    at_ms = schedule.yearly(
        date, 540, offset=parse_duration(offset), zone=BERLIN, after_ms=ms(after, "Europe/Berlin")
    )  # fmt: skip
    assert at_ms == ms(due, "Europe/Berlin")


def test_a_yearly_date_beside_the_new_year() -> None:
    """31 December in Sydney's summer and half a year's offset into its winter: the next return is a minute away."""
    zone = zone_named("Australia/Sydney")
    due_ms = ms("2026-05-30T23:30", "Australia/Sydney")
    offset = Duration(150)
    assert schedule.yearly(dt.date(1990, 12, 31), 1410, offset=offset, zone=zone, after_ms=due_ms - 60_000) == due_ms


def test_a_date_that_comes_once() -> None:
    """A trial's end with its offset, and a yearly date with no year left."""
    assert schedule.once(dt.date(2026, 3, 30), 540, offset=parse_duration("-3d2h"), zone=BERLIN) == ms(
        "2026-03-27T07:00", "Europe/Berlin"
    )
    late = schedule.TIME_MS_MAX + DAY_MS
    assert schedule.yearly(dt.date(2000, 1, 1), 0, offset=schedule.ZERO, zone=UTC, after_ms=late) is None


@given(st.dates(dt.date(1950, 1, 1), dt.date(2030, 12, 31)), st.integers(-800, 800), st.integers(0, 20_000 * 24))
def test_the_next_yearly_date_is_the_first_of_all_years(day: dt.date, offset_days: int, after_hours: int) -> None:
    """Against a list of the occurrences of every year."""
    after_ms = after_hours * HOUR_MS
    offset = Duration(offset_days)
    every = []
    for year in range(day.year, 2040):
        try:
            returns = day.replace(year=year)
        except ValueError:
            returns = dt.date(year, 2, 28)
        every.append(schedule.once(returns, 600, offset=offset, zone=BERLIN))
    expected = min(at_ms for at_ms in every if at_ms > after_ms)
    assert schedule.yearly(day, 600, offset=offset, zone=BERLIN, after_ms=after_ms) == expected


@given(around_changes, st.integers(0, 8 * 24 * 60))
def test_days_since_is_the_largest_number_of_days_that_have_passed(case: tuple[str, int, int, int], later: int) -> None:
    """Against counting up, and the boundary is the exact instant at which the answer grows."""
    zone_name, start_ms, minute, _ = case
    zone = zone_named(zone_name)
    then_ms, now_ms = start_ms + minute * MINUTE_MS, start_ms + (minute + later) * MINUTE_MS
    counted = 0
    while schedule.add(then_ms, Duration(counted + 1), zone) <= now_ms:
        counted += 1
    assert schedule.days_since(then_ms, now_ms, zone) == counted
    boundary_ms = schedule.days_since_boundary(then_ms, counted + 1, zone)
    assert schedule.days_since(then_ms, boundary_ms - 1, zone) == counted
    assert schedule.days_since(then_ms, boundary_ms, zone) >= counted + 1


def test_days_since_a_future_time_is_zero() -> None:
    """A clock that is ahead does not make negative days."""
    assert schedule.days_since(1000, 0, UTC) == 0


def test_the_ends_of_time_do_not_crash() -> None:
    """A date of 9999-12-31 that means `never` can be added to and shown."""
    never_ms = parse_time("9999-12-31T23:59:59Z")
    assert never_ms == schedule.TIME_MS_MAX
    assert schedule.add(never_ms, Duration(36_600), BERLIN) == schedule.TIME_MS_MAX
    assert schedule.add(schedule.TIME_MS_MIN, Duration(-36_600), BERLIN) == schedule.TIME_MS_MIN
    assert schedule.once(dt.date(9999, 12, 31), 0, offset=Duration(9), zone=BERLIN) == schedule.TIME_MS_MAX
    assert rfc3339(never_ms + 10**18).startswith("9999-")


@given(st.text(max_size=40), st.integers(1, 10 * HOUR_MS))
def test_spread_stays_inside(message_id: str, spread_ms: int) -> None:
    """An offset within the spread, the same each time."""
    assert 0 <= schedule.spread(message_id, spread_ms) < spread_ms
    assert schedule.spread(message_id, spread_ms) == schedule.spread(message_id, spread_ms)


def test_spread_is_even() -> None:
    """Thousands of released holds do not leave in one burst."""
    minutes = collections.Counter(schedule.spread(f"m{n}", 30) for n in range(6000))
    assert len(minutes) == 30
    assert max(minutes.values()) < 2 * 6000 / 30


@example(UTC.key, 0)
@given(st.sampled_from([*sorted(CHANGES), "UTC"]), st.integers(-2_000_000_000_000, 4_000_000_000_000))
def test_times_written_out_read_back(zone: str, at_ms: int) -> None:
    """`rfc3339` and `local_datetime` are inverse to `parse_time`."""
    assert parse_time(rfc3339(at_ms)) == at_ms
    assert parse_time(schedule.local_datetime(at_ms, zone_named(zone))) == at_ms
