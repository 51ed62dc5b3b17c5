"""What happened how often, for how much and when last: one `EventStats` per customer and event name that is asked about.

Invariant: what happened at t counts at `now` iff t <= now and, with a window, `leaves_at(t, within, zone) > now`. This is exact
for the newest `NEWEST_MAX` occurrences; older ones are known by UTC day only, and each counts as if it had happened in the
last millisecond of its day. Totals without a window are exact for any number. The order of arrival makes no difference.

An occurrence dated in the future (a clock that is ahead) is stored and counts from its time on. Every answer comes with the
moment at which it may next change by itself: an occurrence leaves the window, or its time comes.
Sums are kept in millionths as whole numbers, so that 0.1 + 0.2 is 0.3 and late events change nothing but their share.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from engine.core.time.schedule import DAY_MS, Duration, leaves_at, subtract
from engine.core.time.zone import TIME_MS_MAX, TIME_MS_MIN, UTC, steady_offset_ms

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

NEWEST_MAX = 100
WINDOW_DAYS_MAX = 3_660
"""The longest window that may be asked for."""
BUCKETS_MAX = 4_000
"""More days than a window has; beyond it the oldest day is forgotten by windows (not by totals)."""
VALUE_MAX = 1e12
"""A larger value (or a smaller negative one) adds this much."""

_MILLIONTHS = 1_000_000
_SUM_MAX = 2**63 - 1
_SLACK_MS = 3 * DAY_MS
"""Calendar days and days of 24 hours differ by less than this, whatever a zone does."""

Row = tuple[int, ...]


class EventStats(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The occurrences of one event name. Make one with `EventStats()`, then `add`.

    `total` and `sums` are of all time, `names` the summed properties; `newest` has a row (time_ms, millionths of each name) per
    occurrence, oldest first; `days` a row (count, millionths of each name) per UTC day number of older ones.
    """

    total: int = 0
    names: tuple[str, ...] = ()
    sums: Row = ()
    newest: tuple[Row, ...] = ()
    days: dict[int, Row] = {}


def window_days(within: Duration) -> int:
    """How many days must be kept to answer for this window: what `add` takes as `window_days_max`."""
    return max(0, -(-within.span_ms // DAY_MS))


def add(
    stats: EventStats,
    time_ms: int,
    *,
    now_ms: int,
    values: Mapping[str, object] | None = None,
    window_days_max: int = 0,
) -> EventStats:
    """The stats with one more occurrence.

    `values` has every property that some definition sums, and its value here: what is missing or not a finite number adds
    0; a property that is no longer named is forgotten. `window_days_max` is the largest window that some definition asks
    for (0: none), which decides what is kept; a longer one later knows only what was kept.
    """
    assert 0 <= window_days_max <= WINDOW_DAYS_MAX, window_days_max
    time_ms = min(max(time_ms, TIME_MS_MIN), TIME_MS_MAX)
    names = tuple(values) if values else ()
    if names != stats.names:
        stats = _with_names(stats, names)
    row = (time_ms, *map(_millionths, values.values())) if values else (time_ms,)
    horizon_ms = now_ms - (window_days_max * DAY_MS + _SLACK_MS if window_days_max else 0)
    rows = stats.newest
    if rows and row >= rows[-1] and len(rows) < NEWEST_MAX and rows[0][0] > horizon_ms:  # nearly always
        sums = _plus(stats.sums, row[1:]) if names else ()
        return EventStats(total=stats.total + 1, names=names, sums=sums, newest=(*rows, row), days=stats.days)
    newest = list(rows)
    if not newest or row >= newest[-1]:
        newest.append(row)
    else:
        bisect.insort(newest, row)
    days = stats.days
    if len(newest) > NEWEST_MAX:
        oldest = newest.pop(0)
        if oldest[0] > horizon_ms:
            days = _pruned(_with_bucket(days, oldest), horizon_ms)
    # Beyond every window only the newest past row is of use: `last` reads it.
    expired = 0
    while expired < len(newest) - 1 and newest[expired][0] <= horizon_ms and newest[expired + 1][0] <= now_ms:
        expired += 1
    return EventStats(
        total=stats.total + 1,
        names=names,
        sums=_plus(stats.sums, row[1:]) if names else (),
        newest=tuple(newest[expired:]),
        days=days,
    )


def count(
    stats: EventStats, now_ms: int, *, within: Duration | None = None, zone: ZoneInfo = UTC
) -> tuple[int, int | None]:
    """How often it happened, up to now or within the window; and when that may change by itself (None: never)."""
    if within is None:
        rows, days, next_ms = _future(stats, now_ms)
        return stats.total - len(rows) - sum(day[1] for day in days), next_ms
    newest = stats.newest
    if newest and not stats.days and newest[-1][0] <= now_ms:
        # Nearly always: nothing has left yet. Where the oldest leaves in order, none that came after it leaves before it.
        oldest_ms = newest[0][0]
        next_ms = leaves_at(oldest_ms, within, zone)
        if next_ms > now_ms and (len(newest) == 1 or not _disorder_ms(oldest_ms, within, zone)):
            return len(newest), next_ms
    rows, days, next_ms = _window(stats, now_ms, within, zone)
    return len(rows) + sum(day[1] for day in days), next_ms


def sum_of(
    stats: EventStats, name: str, now_ms: int, *, within: Duration | None = None, zone: ZoneInfo = UTC
) -> tuple[float, int | None]:
    """The sum of that property, like `count`. 0 for a property that was never summed."""
    if name not in stats.names:
        return 0.0, None
    column = stats.names.index(name) + 1
    rows, days, next_ms = _future(stats, now_ms) if within is None else _window(stats, now_ms, within, zone)
    millionths = sum(row[column] for row in rows) + sum(day[column + 1] for day in days)
    if within is None:
        millionths = stats.sums[column - 1] - millionths
    return millionths / _MILLIONTHS, next_ms


def last(stats: EventStats, now_ms: int) -> tuple[int | None, int | None]:
    """When it happened last by event time, up to now (None: never yet); and when that may change by itself."""
    rows = stats.newest
    if rows and rows[-1][0] <= now_ms:
        return rows[-1][0], None
    index = bisect.bisect_left(rows, (now_ms + 1,))
    next_ms = rows[index][0] if rows else None
    if index:
        return rows[index - 1][0], next_ms
    # Only with at least `NEWEST_MAX` occurrences in the future: to the day, as far as days are kept.
    past = [end_ms for end_ms, *_ in _day_rows(stats.days) if end_ms - DAY_MS < now_ms]
    return (min(past[-1], now_ms) if past else None), next_ms


def _future(stats: EventStats, now_ms: int) -> tuple[tuple[Row, ...], tuple[Row, ...], int | None]:
    """The rows and day rows that lie after now, and when the first of them comes."""
    rows = stats.newest
    if not rows or rows[-1][0] <= now_ms:
        return (), (), None
    future = rows[bisect.bisect_left(rows, (now_ms + 1,)) :]
    days = tuple(day for day in _day_rows(stats.days) if day[0] - DAY_MS >= now_ms)
    return future, days, (days[0][0] - DAY_MS + 1 if days else future[0][0])


def _window(
    stats: EventStats, now_ms: int, within: Duration, zone: ZoneInfo
) -> tuple[tuple[Row, ...], tuple[Row, ...], int | None]:
    """The rows and day rows that count, and when the first of them leaves or a future one comes."""
    rows = stats.newest
    until = bisect.bisect_left(rows, (now_ms + 1,))
    counted, next_ms = _not_left(rows[:until], now_ms, within, zone)
    if until < len(rows):
        next_ms = _earlier(next_ms, rows[until][0])
    if not stats.days:
        return counted, (), next_ms
    days = _day_rows(stats.days)
    until = bisect.bisect_left(days, (now_ms + DAY_MS,))
    counted_days, days_next_ms = _not_left(tuple(days[:until]), now_ms, within, zone)
    next_ms = _earlier(next_ms, days_next_ms)
    if until < len(days):
        next_ms = _earlier(next_ms, days[until][0] - DAY_MS + 1)
    return counted, counted_days, next_ms


def _not_left(
    rows: tuple[Row, ...], now_ms: int, within: Duration, zone: ZoneInfo
) -> tuple[tuple[Row, ...], int | None]:
    """Those of the rows (by time) that have not left the window, and when the first of them will."""
    cutoff_ms = subtract(now_ms, within, zone)
    disorder_ms = _disorder_ms(cutoff_ms, within, zone)
    first = bisect.bisect_left(rows, (cutoff_ms - disorder_ms + 1,))
    counted = rows[first:]
    if disorder_ms:
        sure = bisect.bisect_left(rows, (cutoff_ms + disorder_ms + 1,))
        doubtful = tuple(row for row in rows[first:sure] if leaves_at(row[0], within, zone) > now_ms)
        counted = doubtful + rows[sure:]
    if not counted:
        return (), None
    oldest_ms = counted[0][0]
    next_ms = leaves_at(oldest_ms, within, zone)
    disorder_ms = _disorder_ms(oldest_ms, within, zone) if len(counted) > 1 else 0
    if disorder_ms:
        near = itertools.takewhile(lambda row: row[0] <= oldest_ms + disorder_ms, counted)
        next_ms = min(leaves_at(row[0], within, zone) for row in near)
    return counted, next_ms


def _disorder_ms(time_ms: int, within: Duration, zone: ZoneInfo) -> int:
    """How far around `time_ms` occurrences may leave the window in another order than they came.

    0 where time flows evenly, when they come and when they leave: that makes `subtract` the inverse of `leaves_at`. Around a
    clock change each one has to be asked about.
    """
    if not within.days:
        return 0
    leaves_day = (time_ms + within.span_ms) // DAY_MS
    even = (
        not within.ms
        and steady_offset_ms(zone, time_ms // DAY_MS) is not None
        and steady_offset_ms(zone, leaves_day) is not None
    )
    return 0 if even else _SLACK_MS


def _earlier(left_ms: int | None, right_ms: int | None) -> int | None:
    if left_ms is None or right_ms is None:
        return right_ms if left_ms is None else left_ms
    return min(left_ms, right_ms)


def _day_rows(days: dict[int, Row]) -> list[Row]:
    """A row (last millisecond of the day, count, millionths of each name) per day, oldest first."""
    return [(day * DAY_MS + DAY_MS - 1, *days[day]) for day in sorted(days)]


def _with_names(stats: EventStats, names: tuple[str, ...]) -> EventStats:
    """The stats with these columns: known ones keep their history, new ones start at 0."""
    columns = [stats.names.index(name) if name in stats.names else None for name in names]

    def arranged(row: Row) -> Row:
        return tuple(0 if column is None else row[column] for column in columns)

    return EventStats(
        total=stats.total,
        names=names,
        sums=arranged(stats.sums),
        newest=tuple((row[0], *arranged(row[1:])) for row in stats.newest),
        days={day: (row[0], *arranged(row[1:])) for day, row in stats.days.items()},
    )


def _with_bucket(days: dict[int, Row], row: Row) -> dict[int, Row]:
    day = row[0] // DAY_MS
    known = days.get(day)
    bucket = (1, *row[1:]) if known is None else _plus(known, (1, *row[1:]))
    return {**days, day: bucket}


def _pruned(days: dict[int, Row], horizon_ms: int) -> dict[int, Row]:
    kept = {day: row for day, row in days.items() if (day + 1) * DAY_MS > horizon_ms}
    while len(kept) > BUCKETS_MAX:
        del kept[min(kept)]
    return kept


def _plus(left: Row, right: Row) -> Row:
    return tuple(min(max(one + other, -_SUM_MAX), _SUM_MAX) for one, other in zip(left, right, strict=True))


def _millionths(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return round(min(max(value, -VALUE_MAX), VALUE_MAX) * _MILLIONTHS)


def merge(mine: EventStats, theirs: EventStats, *, now_ms: int, window_days_max: int) -> EventStats:
    """The occurrences of both, as exact as `add` keeps them."""
    names = mine.names + tuple(name for name in theirs.names if name not in mine.names)
    mine, theirs = _with_names(mine, names), _with_names(theirs, names)
    days = dict(mine.days)
    for day, row in theirs.days.items():
        days[day] = _plus(days[day], row) if day in days else row
    newest = sorted((*mine.newest, *theirs.newest))
    horizon_ms = now_ms - (window_days_max * DAY_MS + _SLACK_MS if window_days_max else 0)
    for row in newest[:-NEWEST_MAX]:
        days = _with_bucket(days, row)
    return EventStats(
        total=mine.total + theirs.total,
        names=names,
        sums=_plus(mine.sums, theirs.sums),
        newest=tuple(newest[-NEWEST_MAX:]),
        days=_pruned(days, horizon_ms),
    )
