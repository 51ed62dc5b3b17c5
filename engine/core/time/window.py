"""Opening windows and quiet hours: spans of local time on some days, also over midnight and across clock changes.

Invariant: a window is a set of half-open spans [start, end), one per day it opens on; all questions are answered from the
spans, so that `contains`, `next_open`, `next_close` and `quiet_until` cannot disagree. All times are UTC milliseconds.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from engine.core.time.zone import local_datetime, resolve_local

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

Holidays = Container[dt.date]
"""The local days that are holidays: a frozenset, or anything that answers `day in holidays`."""
NO_HOLIDAYS: frozenset[dt.date] = frozenset()

DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
QUIET_DAYS_MAX = 60
"""A quiet stretch is followed no further than this."""
OPEN_DAYS_MAX = 400
"""The next opening is looked for no further than this: a window on holidays only may be closed for most of a year."""

_EVERY_DAY = 0b111_1111
_MASKS = {name: 1 << index for index, name in enumerate(DAY_NAMES)} | {"weekdays": 0b001_1111, "weekend": 0b110_0000}
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)
_MINUTES_MAX = 24 * 60


class Window(msgspec.Struct, frozen=True):
    """Open from minute `start` of a day to minute `end` (of the next day when it is not after `start`).

    It opens on the weekdays of the bit mask `days` (Monday is bit 0) and, with `holidays`, on every holiday as well.
    """

    start: int = 0
    end: int = _MINUTES_MAX
    days: int = _EVERY_DAY
    holidays: bool = False


class QuietHours(msgspec.Struct, frozen=True):
    """Quiet in `nightly` on every day (None: never), and all day on the days of `whole` (None: on none)."""

    nightly: Window | None = None
    whole: Window | None = None


def parse_clock(text: str, *, end: bool = False) -> int:
    """`22:30` as the minute of the day; `24:00` only where a window ends. Raises ValueError with the mend."""
    match = _CLOCK.fullmatch(text.strip())
    if match is not None:
        minute = int(match[1]) * 60 + int(match[2])
        if int(match[2]) < 60 and (minute < _MINUTES_MAX or (end and minute == _MINUTES_MAX)):  # noqa: PLR2004 - minutes
            return minute
    message = f"{text!r} is not a time of day; write it as 09:00 or 22:30"
    raise ValueError(message)


def parse_days(names: str | Sequence[str]) -> tuple[int, bool]:
    """Weekday names, `weekdays`, `weekend`, `holidays`, as (bit mask, whether holidays). Raises ValueError with the mend."""
    mask, holidays = 0, False
    for name in [names] if isinstance(names, str) else names:
        lowered = name.strip().lower()
        if lowered == "holidays":
            holidays = True
        elif lowered in _MASKS:
            mask |= _MASKS[lowered]
        else:
            message = f"{name!r} is not a day; use {', '.join(DAY_NAMES)}, weekdays, weekend or holidays"
            raise ValueError(message)
    return mask, holidays


def parse_window(between: str | None = None, days: str | Sequence[str] | None = None) -> Window:
    """`between: "09:00-18:00"` (default: all day) on `days` (default: every day). Raises ValueError with the mend."""
    start, end = 0, _MINUTES_MAX
    if between is not None:
        first, dash, last = between.partition("-")
        if not dash:
            message = f"{between!r} is not a window; write it as 09:00-18:00 or 20:00-08:00"
            raise ValueError(message)
        start, end = parse_clock(first), parse_clock(last, end=True)
        if start == end:
            message = f"{between!r} starts and ends at the same time; write 00:00-24:00 for the whole day"
            raise ValueError(message)
    mask, holidays = (_EVERY_DAY, False) if days is None else parse_days(days)
    if not mask and not holidays:
        message = "a window needs at least one day, or leave `days` out for every day"
        raise ValueError(message)
    return Window(start=start, end=end, days=mask, holidays=holidays)


def parse_quiet_hours(between: str | None = None, days: str | Sequence[str] = ()) -> QuietHours:
    """`between` of every day and all day on `days`. Raises ValueError with the mend."""
    if between is None and not days:
        message = 'quiet hours need `between`, such as "20:00-08:00", or `days`, such as [sunday, holidays]'
        raise ValueError(message)
    nightly = None if between is None else parse_window(between)
    return QuietHours(nightly=nightly, whole=parse_window(None, days) if days else None)


def contains(window: Window, at_ms: int, zone: ZoneInfo, *, holidays: Holidays = NO_HOLIDAYS) -> bool:
    """Whether the window is open at that moment."""
    day = _day_of(at_ms, zone)
    return any(
        start <= at_ms < end
        for start, end in (_span(window, day + dt.timedelta(shift), zone, holidays) for shift in (-1, 0, 1))
    )


def next_open(window: Window, at_ms: int, zone: ZoneInfo, *, holidays: Holidays = NO_HOLIDAYS) -> int | None:
    """`at_ms` when the window is open then, else its next opening; None when it stays shut for `OPEN_DAYS_MAX` days."""
    day = _day_of(at_ms, zone)
    for shift in range(-1, OPEN_DAYS_MAX):
        start, end = _span(window, day + dt.timedelta(shift), zone, holidays)
        if at_ms < end and start < end:
            return max(at_ms, start)
    return None


def next_close(window: Window, at_ms: int, zone: ZoneInfo, *, holidays: Holidays = NO_HOLIDAYS) -> int | None:
    """When the window that is open at `at_ms` shuts; None when it is shut, or open for `OPEN_DAYS_MAX` days on end."""
    end_ms = _stretch_end((window,), at_ms, zone, holidays=holidays, days_max=OPEN_DAYS_MAX)
    still_open = end_ms is None or contains(window, end_ms, zone, holidays=holidays)
    return None if still_open else end_ms


def quiet_until(quiet: QuietHours, at_ms: int, zone: ZoneInfo, *, holidays: Holidays = NO_HOLIDAYS) -> int | None:
    """The end of the whole quiet stretch around `at_ms`, nights and days chained; None when it is not quiet.

    Followed for `QUIET_DAYS_MAX` days: a policy that is always quiet answers a moment about that far away.
    """
    windows = tuple(window for window in (quiet.nightly, quiet.whole) if window is not None)
    return _stretch_end(windows, at_ms, zone, holidays=holidays, days_max=QUIET_DAYS_MAX)


def _stretch_end(
    windows: tuple[Window, ...], at_ms: int, zone: ZoneInfo, *, holidays: Holidays, days_max: int
) -> int | None:
    """The end of the unbroken stretch of these windows that holds `at_ms`, or None."""
    reached_ms = at_ms
    day = _day_of(at_ms, zone) - dt.timedelta(1)
    for shift in range(days_max + 2):
        spans = list(_spans(windows, day + dt.timedelta(shift), zone, holidays))
        before_ms = reached_ms
        # Twice, because the first window of a day may begin where the second one of it ends.
        for start, end in spans * 2:
            if start <= reached_ms < end:
                reached_ms = end
        if shift > 2 and reached_ms == before_ms:  # noqa: PLR2004 - the days around `at_ms` have been asked
            break
    return reached_ms if reached_ms > at_ms else None


def _spans(
    windows: tuple[Window, ...], day: dt.datetime, zone: ZoneInfo, holidays: Holidays
) -> Iterator[tuple[int, int]]:
    for window in windows:
        yield _span(window, day, zone, holidays)


def _span(window: Window, day: dt.datetime, zone: ZoneInfo, holidays: Holidays) -> tuple[int, int]:
    """When the window that opens on this local day (a naive midnight) is open; empty when it does not open on it."""
    if not window.days >> day.weekday() & 1 and not (window.holidays and day.date() in holidays):
        return 0, 0
    end = window.end if window.end > window.start else window.end + _MINUTES_MAX
    return (
        resolve_local(day + dt.timedelta(minutes=window.start), zone),
        resolve_local(day + dt.timedelta(minutes=end), zone),
    )


def _day_of(at_ms: int, zone: ZoneInfo) -> dt.datetime:
    """The local day as a naive midnight."""
    return local_datetime(at_ms, zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
