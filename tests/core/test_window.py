"""Opening windows and quiet hours, against a minute-by-minute reading of the wall clock."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.time.window import (
    DAY_NAMES,
    QUIET_DAYS_MAX,
    contains,
    next_close,
    next_open,
    parse_clock,
    parse_days,
    parse_quiet_hours,
    parse_window,
    quiet_until,
)
from engine.core.time.zone import local_datetime, parse_time, rfc3339, zone_named

BERLIN = zone_named("Europe/Berlin")
MINUTE_MS = 60_000
DAY_MS = 86_400_000
HOLIDAYS = frozenset({dt.date(2026, 4, 3), dt.date(2026, 4, 6), dt.date(2026, 12, 25)})  # Good Friday, Easter Monday


def ms(text: str) -> int:
    at_ms = parse_time(text, BERLIN)
    assert at_ms is not None
    return at_ms


def local(at_ms: int | None) -> str | None:
    return None if at_ms is None else local_datetime(at_ms, BERLIN).isoformat()[:16]


@pytest.mark.parametrize(
    ("between", "days", "at", "opens", "closes"),
    [
        ("09:00-18:00", None, "2026-03-27T08:59", "2026-03-27T09:00", None),
        ("09:00-18:00", None, "2026-03-27T09:00", "2026-03-27T09:00", "2026-03-27T18:00"),
        ("09:00-18:00", None, "2026-03-27T18:00", "2026-03-28T09:00", None),  # the end is outside
        ("09:00-18:00", "weekdays", "2026-03-27T18:00", "2026-03-30T09:00", None),
        ("09:00-18:00", ["monday", "Wednesday"], "2026-03-30T18:00", "2026-04-01T09:00", None),
        ("20:00-08:00", None, "2026-03-28T23:00", "2026-03-28T23:00", "2026-03-29T08:00"),
        ("20:00-08:00", "friday", "2026-03-28T07:59", "2026-03-28T07:59", "2026-03-28T08:00"),  # opened on Friday
        ("20:00-08:00", "friday", "2026-03-27T07:59", "2026-03-27T20:00", None),
        (None, "weekend", "2026-03-27T12:00", "2026-03-28T00:00", None),
        (None, "weekend", "2026-03-28T12:00", "2026-03-28T12:00", "2026-03-30T00:00"),  # both days on end
        ("09:00-12:00", "holidays", "2026-04-04T10:00", "2026-04-06T09:00", None),
        ("09:00-12:00", "holidays", "2026-12-26T10:00", None, None),  # none known
        ("02:00-03:00", None, "2026-03-29T00:00", "2026-03-30T02:00", None),  # swallowed by the clock change
        ("00:00-24:00", None, "2026-03-29T00:00", "2026-03-29T00:00", None),  # never shut
    ],
)
def test_windows(
    between: str | None, days: str | list[str] | None, at: str, opens: str | None, closes: str | None
) -> None:
    """When it opens next (now, if it is open) and when it shuts."""
    window, at_ms = parse_window(between, days), ms(at)
    assert local(next_open(window, at_ms, BERLIN, holidays=HOLIDAYS)) == opens
    assert local(next_close(window, at_ms, BERLIN, holidays=HOLIDAYS)) == closes
    assert contains(window, at_ms, BERLIN, holidays=HOLIDAYS) == (opens == at)


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-03-27T19:59", None),
        ("2026-03-27T20:00", "2026-03-28T08:00"),
        ("2026-03-28T12:00", None),
        ("2026-03-28T20:00", "2026-03-30T08:00"),  # Saturday evening to Monday morning
        ("2026-03-29T12:00", "2026-03-30T08:00"),
        ("2026-03-30T07:59", "2026-03-30T08:00"),
        ("2026-03-30T08:00", None),
        ("2026-04-02T20:00", "2026-04-04T08:00"),  # Good Friday
        ("2026-04-04T20:00", "2026-04-07T08:00"),  # Easter
    ],
)
def test_quiet_hours_are_one_stretch(at: str, until: str | None) -> None:
    """Nights, Sundays and holidays that touch are one; their end is asked for once."""
    quiet = parse_quiet_hours("20:00-08:00", ["sunday", "holidays"])
    assert local(quiet_until(quiet, ms(at), BERLIN, holidays=HOLIDAYS)) == until


def test_always_quiet_has_an_end_to_the_search() -> None:
    """A policy that never lets anything out is answered, with a moment far away."""
    at_ms = ms("2026-03-27T12:00")
    until_ms = quiet_until(parse_quiet_hours(None, list(DAY_NAMES)), at_ms, BERLIN)
    assert until_ms is not None
    assert QUIET_DAYS_MAX - 2 <= (until_ms - at_ms) / DAY_MS <= QUIET_DAYS_MAX + 2


minutes = st.integers(0, 1439)
masks = st.integers(1, 127)


@given(minutes, minutes, masks, masks, st.integers(0, 7 * 1440))
def test_quiet_until_is_the_first_minute_that_is_not_quiet(
    start: int, end: int, nightly_days: int, whole_days: int, later: int
) -> None:
    """Against walking on minute by minute over the clock change of 29 March 2026 (outside the hour that it swallows)."""
    if start == end or any(60 <= minute < 240 for minute in (start, end)):
        return
    at_ms = ms("2026-03-25T00:00") + later * MINUTE_MS
    nightly = f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    whole = [name for index, name in enumerate(DAY_NAMES) if whole_days >> index & 1]
    if len(whole) == 7:
        return

    def is_quiet(moment_ms: int) -> bool:
        shown = local_datetime(moment_ms, BERLIN)
        minute = shown.hour * 60 + shown.minute
        inside = start <= minute < end if start < end else minute >= start or minute < end
        return inside or bool(whole_days >> shown.weekday() & 1)

    expected = at_ms
    while is_quiet(expected):
        expected += MINUTE_MS
    quiet = parse_quiet_hours(nightly, whole)
    assert quiet_until(quiet, at_ms, BERLIN) == (expected if expected > at_ms else None)


@given(minutes, minutes, masks, st.sampled_from(["2026-03-27", "2026-10-23"]), st.integers(0, 6 * 1440))
def test_the_answers_of_a_window_agree(start: int, end: int, mask: int, day: str, later: int) -> None:
    """Open at the next opening and not a moment before; shut at the next close and open until then."""
    if start == end:
        return
    names = [name for index, name in enumerate(DAY_NAMES) if mask >> index & 1]
    window = parse_window(f"{start // 60}:{start % 60:02}-{end // 60}:{end % 60:02}", names)
    at_ms = ms(day) + later * MINUTE_MS
    opens_ms = next_open(window, at_ms, BERLIN)
    assert opens_ms is not None
    assert contains(window, opens_ms, BERLIN)
    assert opens_ms == at_ms or not contains(window, opens_ms - 1, BERLIN)
    assert (opens_ms == at_ms) == contains(window, at_ms, BERLIN)
    closes_ms = next_close(window, opens_ms, BERLIN)
    assert closes_ms is not None
    assert not contains(window, closes_ms, BERLIN)
    assert contains(window, closes_ms - 1, BERLIN)


@pytest.mark.parametrize(
    ("between", "days", "sentence"),
    [
        ("09:00", None, "write it as 09:00-18:00"),
        ("09:00-25:00", None, "time of day"),
        ("24:00-08:00", None, "time of day"),
        ("09:00-09:00", None, "write 00:00-24:00"),
        ("09:00-18:00", ["mon"], "'mon' is not a day; use monday"),
        ("09:00-18:00", [], "at least one day"),
    ],
)
def test_what_is_no_window_is_refused(between: str, days: list[str] | None, sentence: str) -> None:
    """With the mend."""
    with pytest.raises(ValueError, match=sentence):
        parse_window(between, days)


def test_quiet_hours_need_something() -> None:
    """Neither a time nor a day would silently be no quiet hours at all."""
    with pytest.raises(ValueError, match="need `between`"):
        parse_quiet_hours(None, [])


def test_small_parsers() -> None:
    """Times of day and day names as written by people."""
    assert parse_clock("9:05") == 545
    assert parse_clock("24:00", end=True) == 1440
    assert parse_days("weekdays") == (0b0011111, False)
    assert parse_days(["Sunday ", "holidays"]) == (0b1000000, True)
    assert rfc3339(ms("2026-03-27T09:00")) == "2026-03-27T08:00:00Z"
