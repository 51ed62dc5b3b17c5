"""Arithmetic with times in expressions: a time and a duration, two times, and how long it is until one.

Invariant: calendar parts of a duration are days of the customer's clock, exact parts elapsed time, as everywhere; results are
times of the calendar (its ends saturate) or hours. What may change with time alone lowers `scope.change_ms`.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
from typing import TYPE_CHECKING, Any

from engine.core.expression.comparison import day_only, ge, gt, kind_of, le, lt, may_change, moment, to_ms, zone
from engine.core.time.schedule import Duration, once, parse_duration, subtract
from engine.core.time.schedule import add as later
from engine.core.time.zone import TIME_MS_MAX, TIME_MS_MIN, local_datetime, parse_time, resolve_local
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

    from engine.core.expression.scope import Scope

HOUR_MS = 3_600_000
_SPAN_CHARS_MAX = 40
_DATED = "0000-00-00"
_COMPARE: dict[str, Callable[[Scope, Any, Any], bool]] = {"lt": lt, "le": le, "gt": gt, "ge": ge}


@functools.lru_cache(maxsize=1024)
def span_of(text: str) -> Duration | None:
    """The duration that a text is; None when it is not one."""
    if len(text) > _SPAN_CHARS_MAX:
        return None
    try:
        return parse_duration(text)
    except ValueError:
        return None


def dated(text: str) -> bool:
    """Whether a text begins as dates do, so that a duration beside it is added and not written behind it."""
    return len(text) >= len(_DATED) and text[4] == "-" and text[7] == "-" and text[:4].isdigit()


def _shifted(scope: Scope, time: Any, span: Duration, sign: int) -> dt.datetime | None:
    at_ms = to_ms(scope, time)
    if at_ms is None:
        return None
    found_ms = later(at_ms, span if sign > 0 else -span, zone(scope))
    return moment(scope, min(max(found_ms, TIME_MS_MIN), TIME_MS_MAX))


def plus(scope: Scope, left: Any, right: Any) -> dt.datetime | None:
    """A time and a duration, in either order. Raises ExpressionError for anything else."""
    for time, text in ((left, right), (right, left)):
        if isinstance(text, str) and (span := span_of(text)) is not None and isinstance(time, str | dt.datetime):
            return _shifted(scope, time, span, 1)
    raise ExpressionError(f"cannot add {kind_of(left)} and {kind_of(right)}; a duration is a text such as '2h' or '3d'")


def minus(scope: Scope, left: Any, right: Any) -> dt.datetime | float | None:
    """A time less a duration, or the hours between two times. Raises ExpressionError for anything else."""
    if isinstance(right, str) and (span := span_of(right)) is not None:
        return _shifted(scope, left, span, -1)
    sides = [_time(scope, side) for side in (left, right)]
    if sides[0] is None or sides[1] is None:
        mend = "a duration is a text such as '2h' or '3d', a time a text such as 2026-12-01T09:00"
        raise ExpressionError(f"cannot subtract {kind_of(right)} from {kind_of(left)}; {mend}")
    return _hours(sides[0] - sides[1])


def _time(scope: Scope, value: Any) -> int | None:
    return parse_time(value, zone(scope)) if isinstance(value, str | dt.datetime) else None


def _hours(span_ms: int) -> float:
    whole, rest = divmod(span_ms, HOUR_MS)
    return span_ms / HOUR_MS if rest else whole


def date(scope: Scope, value: Any) -> dt.datetime | None:
    """The day of a time: its midnight on the customer's clock. The day of a date is taken as written."""
    at_ms = to_ms(scope, value)
    if at_ms is None:
        return None
    here = zone(scope)
    day = day_only(scope, value) or local_datetime(at_ms, here).date()
    return local_datetime(once(day, 0, offset=Duration(), zone=here), here)


def days_until(scope: Scope, value: Any) -> int | None:
    """Whole days of the customer's clock until a time, for a date the days of the calendar; 0 for the past."""
    return _until(scope, value, _days, _days_left_at)


def hours_until(scope: Scope, value: Any) -> int | None:
    """How many whole hours it is until a time; 0 for the past."""
    return _until(scope, value, _whole_hours, _hours_left_at)


def _until(
    scope: Scope, value: Any, count: Callable[[int, int, ZoneInfo], int], left_at: Callable[[int, int, ZoneInfo], int]
) -> int | None:
    at_ms = _target(scope, value)
    if at_ms is None:
        return None
    here = zone(scope)
    left = count(scope.now_ms, at_ms, here)
    if left:
        _changes(scope, left_at(at_ms, left, here))
    return left


def until_compared(scope: Scope, unit: str, operator: str, value: Any, limit: float) -> bool:
    """`days_until(value) OPERATOR limit`, or the same of hours, with the moment at which the answer changes."""
    at_ms = _target(scope, value)
    if at_ms is None:
        return False
    here, days = zone(scope), unit == "days"
    left = (_days if days else _whole_hours)(scope.now_ms, at_ms, here)
    turn = math.ceil(limit) if operator in ("lt", "ge") else math.floor(limit) + 1  # the answer is another below it
    if 0 < turn <= left:
        _changes(scope, (_days_left_at if days else _hours_left_at)(at_ms, turn, here))
    return _COMPARE[operator](scope, left, limit)


def shifted_now_compared(scope: Scope, operator: str, span: Duration, other: Any) -> bool:
    """`now + span OPERATOR other`, with the moment at which the answer changes."""
    if other is None:
        return False
    here, at_ms = zone(scope), to_ms(scope, other)
    assert at_ms is not None
    now_ms = later(scope.now_ms, span, here)
    beyond = operator in ("gt", "le")  # the answer is another when it is later, not when it is then
    if now_ms < at_ms + beyond:
        _changes(scope, subtract(at_ms, span, here) + beyond)
    return _COMPARE[operator](scope, now_ms, at_ms)


def hours_left_compared(scope: Scope, operator: str, value: Any, limit: float) -> bool:
    """`value - now OPERATOR limit` in hours, with the moment at which the answer changes."""
    at_ms = to_ms(scope, value)
    if at_ms is None:
        return False
    left_ms, limit_ms = at_ms - scope.now_ms, limit * HOUR_MS
    beyond = operator in ("lt", "ge")
    if left_ms > limit_ms - beyond:
        may_change(scope, at_ms - math.floor(limit_ms) + beyond)
    return _COMPARE[operator](scope, left_ms, limit_ms)


def today(scope: Scope) -> dt.datetime:
    """`date(now)`: the midnight before, on the customer's clock; another at the next one."""
    here = zone(scope)
    midnight = local_datetime(scope.now_ms, here).replace(
        hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0
    )
    may_change(scope, resolve_local(midnight + dt.timedelta(1), here))
    return local_datetime(resolve_local(midnight, here), here)


def _target(scope: Scope, value: Any) -> int | None:
    """The instant; the midnight of a date is that of its day, as written."""
    at_ms = to_ms(scope, value)
    if at_ms is None:
        return None
    day = day_only(scope, value)
    return at_ms if day is None else once(day, 0, offset=Duration(), zone=zone(scope))


def _days(now_ms: int, at_ms: int, here: ZoneInfo) -> int:
    """Of a midnight the days of the calendar until it; else the largest n such that n calendar days from now is not after it."""
    if at_ms <= now_ms:
        return 0
    target, today = local_datetime(at_ms, here), local_datetime(now_ms, here)
    days = target.toordinal() - today.toordinal()
    if _midnight(target):
        return days
    while days > 0 and later(now_ms, Duration(days), here) > at_ms:
        days -= 1
    return days


def _midnight(local: dt.datetime) -> bool:
    return (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0)


def _days_left_at(at_ms: int, days: int, here: ZoneInfo) -> int:
    """When fewer than so many days are left."""
    target = local_datetime(at_ms, here)
    if _midnight(target):
        return resolve_local(target.replace(tzinfo=None, fold=0) - dt.timedelta(days - 1), here)
    return subtract(at_ms, Duration(days), here) + 1


def _whole_hours(now_ms: int, at_ms: int, _zone: ZoneInfo) -> int:
    return max(0, (at_ms - now_ms) // HOUR_MS)


def _hours_left_at(at_ms: int, hours: int, _zone: ZoneInfo) -> int:
    return at_ms - hours * HOUR_MS + 1


def _changes(scope: Scope, at_ms: int) -> None:
    """Notes when the answer changes; near a change of clocks, where days have no exact inverse, it is asked by the minute."""
    may_change(scope, at_ms if at_ms > scope.now_ms else scope.now_ms + 60_000)
