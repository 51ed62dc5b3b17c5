"""Durations, recurring local times and yearly dates: when something is due, in the customer's own time zone.

Invariant: exact parts (`s m h`) are elapsed time, calendar parts (`d w`) are days of the zone's calendar; a local time that
does not exist means the first instant after the gap, one that exists twice means the first. All times are UTC milliseconds.
`zone.py` and `window.py` belong to this module; their names are importable from here too.
"""

from __future__ import annotations

import calendar
import datetime as dt
import hashlib
import re
from typing import TYPE_CHECKING

import msgspec

from engine.core.time.window import (
    DAY_NAMES,
    NO_HOLIDAYS,
    Holidays,
    QuietHours,
    Window,
    contains,
    next_close,
    next_open,
    parse_clock,
    parse_days,
    parse_quiet_hours,
    parse_window,
    quiet_until,
)
from engine.core.time.zone import (
    TIME_MS_MAX,
    TIME_MS_MIN,
    UTC,
    day_number,
    local_datetime,
    parse_date,
    parse_time,
    resolve_local,
    rfc3339,
    steady_offset_ms,
    zone_named,
    zone_of,
)

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = [
    "DAY_MS",
    "DURATION_DAYS_MAX",
    "NO_HOLIDAYS",
    "TIME_MS_MAX",
    "TIME_MS_MIN",
    "UTC",
    "ZERO",
    "Duration",
    "Holidays",
    "QuietHours",
    "When",
    "Window",
    "add",
    "contains",
    "day_number",
    "days_since",
    "days_since_boundary",
    "leaves_at",
    "local_datetime",
    "next_close",
    "next_local",
    "next_open",
    "once",
    "parse_clock",
    "parse_date",
    "parse_days",
    "parse_duration",
    "parse_quiet_hours",
    "parse_recurrence",
    "parse_time",
    "parse_when",
    "parse_window",
    "quiet_until",
    "resolve_local",
    "rfc3339",
    "spread",
    "subtract",
    "yearly",
    "zone_named",
    "zone_of",
]

DAY_MS = 86_400_000
DURATION_DAYS_MAX = 36_600
"""The longest duration that can be written: about a hundred years."""

_UNITS_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000}
_UNITS_DAYS = {"w": 7, "d": 1}
_DURATION = re.compile(r"([+-]?)(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_RECURRENCE = re.compile(r"(?:month (?P<month>\d{1,2}|last)|(?P<days>[a-z ,]+?)) +(?P<clock>\S+)", re.ASCII)
_EVERY_DAY = 0b111_1111
_SEARCH_DAYS_MAX = 70


class Duration(msgspec.Struct, frozen=True):
    """A signed length of time: `days` of the calendar first, then `ms` of exact time. Both have the same sign."""

    days: int = 0
    ms: int = 0

    @property
    def span_ms(self) -> int:
        """Its length if every day had 24 hours: for ordering and limits, not for due times."""
        return self.days * DAY_MS + self.ms

    def __neg__(self) -> Duration:
        """The same length, the other way."""
        return Duration(-self.days, -self.ms)

    def __str__(self) -> str:
        """As `parse_duration` reads it, in the fewest units: `-3d`, `1d12h`, `0s`."""
        parts = []
        days, rest = abs(self.days), abs(self.ms) // 1000
        if days:
            parts.append(f"{days // 7}w" if days % 7 == 0 else f"{days}d")
        for unit, unit_ms in _UNITS_MS.items():
            amount, rest = divmod(rest, unit_ms // 1000)
            if amount:
                parts.append(f"{amount}{unit}")
        sign = "-" if self.span_ms < 0 else ""
        return sign + "".join(parts) if parts else "0s"


ZERO = Duration()


class When(msgspec.Struct, frozen=True):
    """A local time that comes again, or one instant. Made by `parse_when` and `parse_recurrence`.

    Recurring: at `minute` of the day on the weekdays of the bit mask `days` (Monday is bit 0) or, if `month_day` is not 0,
    on that day of every month (-1: the last; 29 to 31 mean the last day in shorter months).
    One instant: `local`, a naive local time, or `instant_ms` when the text had an offset.
    """

    minute: int = 0
    days: int = _EVERY_DAY
    month_day: int = 0
    local: dt.datetime | None = None
    instant_ms: int | None = None


def parse_duration(text: str) -> Duration:
    """`90s 15m 2h 3d 2w`, also signed (`-3d`) and combined from large to small (`1d12h`). Raises ValueError with the mend."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()[1:]):
        mend = "write a number and a unit, such as 90s, 15m, 2h, 3d, 2w or 1d12h"
        message = f"{text!r} is not a duration; {mend}"
        raise ValueError(message)
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    sign = -1 if match[1] == "-" else 1
    duration = Duration(sign * (weeks * 7 + days), sign * (hours * 3600 + minutes * 60 + seconds) * 1000)
    if abs(duration.span_ms) > DURATION_DAYS_MAX * DAY_MS:
        message = f"{text!r} is too long; the longest duration is {DURATION_DAYS_MAX}d"
        raise ValueError(message)
    return duration


def add(at_ms: int, duration: Duration, zone: ZoneInfo) -> int:
    """`at_ms` plus the duration: calendar days in `zone` first, exact time after. Ends of time saturate (year 9999)."""
    days = duration.days
    if not days:
        return at_ms + duration.ms
    target_ms = at_ms + days * DAY_MS
    before_ms, after_ms = steady_offset_ms(zone, at_ms // DAY_MS), steady_offset_ms(zone, target_ms // DAY_MS)
    if before_ms is not None and after_ms is not None:
        return target_ms + before_ms - after_ms + duration.ms
    try:
        second, rest_ms = divmod(at_ms, 1000)
        local = dt.datetime.fromtimestamp(second, zone) + dt.timedelta(days, 0, rest_ms * 1000)
    except (OverflowError, ValueError):
        return TIME_MS_MAX if days > 0 else TIME_MS_MIN
    return resolve_local(local, zone) + duration.ms


def subtract(at_ms: int, duration: Duration, zone: ZoneInfo) -> int:
    """`at_ms` minus the duration. Around clock changes this is not the inverse of `add`; windows go by `leaves_at`."""
    return add(at_ms, -duration, zone)


def leaves_at(time_ms: int, within: Duration, zone: ZoneInfo) -> int:
    """When something that happened at `time_ms` leaves the window `within`: it counts at `now` iff this is after `now`."""
    return add(time_ms, within, zone)


def days_since(then_ms: int, now_ms: int, zone: ZoneInfo) -> int:
    """The largest n such that n calendar days after `then_ms` is not after `now_ms`; 0 when it lies in the future."""
    if then_ms >= now_ms:
        return 0
    days = day_number(now_ms, zone) - day_number(then_ms, zone)
    while days > 0 and add(then_ms, Duration(days), zone) > now_ms:
        days -= 1
    return max(days, 0)


def days_since_boundary(then_ms: int, days: int, zone: ZoneInfo) -> int:
    """When `days_since(then_ms, …)` becomes `days`."""
    return add(then_ms, Duration(days), zone)


def parse_when(text: str) -> When:
    """What `until:` takes: a recurrence (see `parse_recurrence`) or one instant.

    An instant is `2026-12-01`, `2026-12-01T09:00` (local in the customer's zone) or `2026-12-01T09:00+01:00`.
    Raises ValueError with the mend.
    """
    text = text.strip()
    if len(text) >= len("2026-12-01") and text[:4].isdigit():
        try:
            instant = dt.datetime.fromisoformat(text)
        except ValueError:
            message = f"{text!r} is not a local time or instant; write it as 2026-12-01T09:00 or 2026-12-01T09:00+01:00"
            raise ValueError(message) from None
        if instant.tzinfo is None:
            return When(local=instant)
        return When(instant_ms=parse_time(instant))
    return parse_recurrence(text)


def parse_recurrence(text: str) -> When:
    """What `every:` takes. Raises ValueError with the mend.

    ======================================  ====================================================
    `09:00` · `day 09:00`                   every day
    `monday 09:00` · `monday, friday 9:00`  on these weekdays
    `weekdays 09:00` · `weekend 09:00`      Monday to Friday · Saturday and Sunday
    `month 1 09:00` · `month last 09:00`    on that day of every month, or its last if it is shorter
    ======================================  ====================================================
    """
    lowered = " ".join(text.lower().split())
    if lowered[:1].isdigit():
        return When(minute=parse_clock(lowered))
    match = _RECURRENCE.fullmatch(lowered)
    if match is None:
        message = f"{text!r} is not a local time; write it as 09:00, tuesday 10:00, weekdays 09:00 or month 1 09:00"
        raise ValueError(message)
    minute = parse_clock(match["clock"])
    if match["month"] is not None:
        day = -1 if match["month"] == "last" else int(match["month"])
        if day == 0 or day > 31:  # noqa: PLR2004 - the longest month
            message = f"{text!r}: a month has the days 1 to 31; the last is `month last`"
            raise ValueError(message)
        return When(minute=minute, month_day=day)
    if match["days"] == "day":
        return When(minute=minute)
    mask, holidays = parse_days([name.strip() for name in match["days"].split(",")])
    if holidays:
        message = f"{text!r}: holidays cannot be a recurring time; use {', '.join(DAY_NAMES)}, weekdays or weekend"
        raise ValueError(message)
    return When(minute=minute, days=mask)


def next_local(when: When, after_ms: int, zone: ZoneInfo) -> int | None:
    """The next such time strictly after `after_ms`. None only for one instant that has passed."""
    if when.instant_ms is not None or when.local is not None:
        at_ms = resolve_local(when.local, zone) if when.local is not None else when.instant_ms
        return at_ms if at_ms is not None and at_ms > after_ms else None
    midnight = local_datetime(after_ms, zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for days in range(_SEARCH_DAYS_MAX):
        day = midnight + dt.timedelta(days)
        if _falls_on(when, day):
            at_ms = resolve_local(day + dt.timedelta(minutes=when.minute), zone)
            if at_ms > after_ms:
                return at_ms
    message = "a recurring time has an occurrence in every 70 days"
    raise AssertionError(message)


def _falls_on(when: When, day: dt.date) -> bool:
    if not when.month_day:
        return bool(when.days >> day.weekday() & 1)
    month_days = calendar.monthrange(day.year, day.month)[1]
    return day.day == (month_days if when.month_day < 0 else min(when.month_day, month_days))


def once(day: dt.date, minute: int, *, offset: Duration, zone: ZoneInfo) -> int:
    """`minute` of that local day, shifted by `offset` (its days before the local time is looked up)."""
    try:
        local = dt.datetime(day.year, day.month, day.day) + dt.timedelta(days=offset.days, minutes=minute)  # noqa: DTZ001 - local
    except OverflowError:
        return TIME_MS_MAX if offset.days > 0 else TIME_MS_MIN
    return resolve_local(local, zone) + offset.ms


def yearly(day: dt.date, minute: int, *, offset: Duration, zone: ZoneInfo, after_ms: int) -> int | None:
    """The next yearly return of `day` at `minute` of the local day, shifted by `offset`, strictly after `after_ms`.

    The first one is the day itself; 29 February is 28 February in other years. None after the year 9999.
    """
    first = max(day.year, local_datetime(after_ms - offset.span_ms, zone).year - 1)
    for year in range(first, min(first + 4, dt.MAXYEAR + 1)):
        leapless = day.month == 2 and day.day == 29 and not calendar.isleap(year)  # noqa: PLR2004 - 29 February
        at_ms = once(dt.date(year, day.month, 28 if leapless else day.day), minute, offset=offset, zone=zone)
        if at_ms > after_ms:
            return at_ms
    return None


def spread(message_id: str, spread_ms: int) -> int:
    """An offset in [0, spread_ms) that is always the same for one message and even over many."""
    return int.from_bytes(hashlib.sha256(message_id.encode()).digest()[:8], "big") * spread_ms >> 64
