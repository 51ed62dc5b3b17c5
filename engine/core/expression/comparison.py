"""What generated expression code calls: comparison and functions over JSON values and times (`arithmetic.py` has the rest).

Invariant: a missing value (None, which is also JSON's null, and a text without a visible character where it was read from
data) makes every comparison false and every calculation missing; a text that is exactly a number is that number beside
another one; any other misfit raises ExpressionError with the kinds involved, never their values. Every answer that may
change with time alone lowers `scope.change_ms` to the moment at which it next may. Values are what JSON has, and times:
aware datetimes in the customer's zone.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import re
from typing import TYPE_CHECKING, Any

from engine.core.facts import aggregate
from engine.core.reading.missing import is_missing
from engine.core.reading.numbers import exact_number
from engine.core.reading.spelling import OTHER
from engine.core.time import schedule
from engine.core.time.zone import local_datetime, parse_date, parse_time, resolve_local, zone_of
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from engine.core.expression.scope import Scope
    from engine.core.time.schedule import Duration

TIME_PARTS = ("year", "month", "day", "hour", "minute", "weekday")
"""`weekday` is 0 for Monday to 6 for Sunday."""
_CLOCK_PARTS = ("hour", "minute")
EPOCH_MIN = 100_000_000
"""Smaller numbers are not times: nobody means a second of 1970 by 5."""
_DAY_ONLY = re.compile(r"\d{4}-?\d{2}-?\d{2}([T ]00:?00(:?00(\.0+)?)?)?(Z|[+-]\d{2}(:?\d{2})?)?", re.ASCII)
"""A date as texts have it: without a time, or at midnight of whatever zone (shops send dates as midnight UTC)."""


def point(name: str, customer_id: str, total: int) -> int:
    """The customer's place in [0, total): even over customers, always the same for one `name`."""
    digest = hashlib.sha256(f"{name}:{customer_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * total >> 64


# ------------------------------------------------------------------------------------------------------- kinds, zone, time


def kind_of(value: object) -> str:
    """What a person calls it."""
    match value:
        case None:
            return "a missing value"
        case bool():
            return "a yes/no value"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case dt.datetime():
            return "a time"
        case list() | tuple():
            return "a list"
        case _:
            return "a mapping"


def zone(scope: Scope) -> ZoneInfo:
    """The customer's time zone."""
    return zone_of(scope.traits, scope.project_zone)


def moment(scope: Scope, at_ms: int | None) -> dt.datetime | None:
    """A time as expressions see it."""
    return None if at_ms is None else local_datetime(at_ms, zone(scope))


def may_change(scope: Scope, at_ms: int | None) -> None:
    """Notes that the value may change by itself at that moment (None: it does not)."""
    if at_ms is not None and at_ms > scope.now_ms and (not scope.change_ms or at_ms < scope.change_ms):
        scope.change_ms = at_ms


def given(value: Any) -> Any:
    """A value as it was read from data: a text without a visible character counts as missing."""
    return None if value.__class__ is str and (not value or value.isspace()) else value


def to_ms(scope: Scope, value: Any) -> int | None:
    """The instant of a time, a text with a date or a number since 1970; None for a missing value. Raises ExpressionError else."""
    if is_missing(value):
        return None
    if isinstance(value, str | dt.datetime) or (_number(value) and abs(value) >= EPOCH_MIN):
        at_ms = parse_time(value, zone(scope))
        if at_ms is not None:
            return at_ms
        raise ExpressionError("this text is not a date or time (write it like 2026-12-01 or 2026-12-01T09:00)")
    raise ExpressionError(f"{kind_of(value)} is not a date or time")


def day_only(scope: Scope, value: Any) -> dt.date | None:
    """The day of a date without a time of day (midnight counts as none); None for anything else."""
    if isinstance(value, str):
        return parse_date(value, zone(scope)) if _DAY_ONLY.fullmatch(value) else None
    if isinstance(value, dt.datetime) and (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0):
        return value.date()
    return None


def now(scope: Scope) -> dt.datetime:
    """`now` where it is not compared directly: its value is asked for again every minute."""
    may_change(scope, scope.now_ms - scope.now_ms % 60_000 + 60_000)
    return local_datetime(scope.now_ms, zone(scope))


def now_part(scope: Scope, part: str) -> int:
    """`now.hour` and the like; changes when the local hour, minute or day is over."""
    zone_here = zone(scope)
    local = local_datetime(scope.now_ms, zone_here)
    if part in _CLOCK_PARTS:
        unit_ms = 3_600_000 if part == "hour" else 60_000
        into_ms = local.minute * 60_000 + local.second * 1000 + local.microsecond // 1000
        may_change(scope, scope.now_ms + unit_ms - into_ms % unit_ms)
    else:
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
        may_change(scope, resolve_local(midnight + dt.timedelta(1), zone_here))
    return _part(local, part)


def _part(value: dt.datetime | dt.date, part: str) -> int:
    return value.weekday() if part == "weekday" else int(getattr(value, part))


def time_part(scope: Scope, value: Any, part: str) -> int | None:
    """`.year .month .day .hour .minute .weekday` of a time or a text with a date.

    The day of a text is taken as written when it has no time of day but midnight (shops send birthdays as midnight UTC);
    otherwise all parts are those in the customer's zone. A birthday without a year (`--03-27`) has no `.year`.
    """
    if isinstance(value, dt.datetime):
        return _part(value, part)
    if not isinstance(value, str) and not (_number(value) and abs(value) >= EPOCH_MIN):
        raise ExpressionError(f"`.{part}` was asked of {kind_of(value)}; it needs a date or time")
    if isinstance(value, str) and part not in _CLOCK_PARTS and ("T00:00" in value or len(value) <= len("2026-12-01")):
        day = parse_date(value, zone(scope))
        if day is not None:
            return None if value.startswith("--") and part in ("year", "weekday") else _part(day, part)
    return _part(local_datetime(to_ms(scope, value) or 0, zone(scope)), part)


def item(scope: Scope, value: Any, key: str | int) -> Any:
    """`value.key` or `value[key]` in JSON data; missing when it is not there."""
    if isinstance(value, dict):
        found = value.get(key)
        return value.get(OTHER[key]) if found is None and key in OTHER else found
    if is_missing(value):
        return None
    if isinstance(key, int):
        return value[key] if isinstance(value, list | tuple) and -len(value) <= key < len(value) else None
    return time_part(scope, value, key) if key in TIME_PARTS else None


# ------------------------------------------------------------------------------------------------------------- comparison


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def eq(scope: Scope, left: Any, right: Any) -> bool:
    """Equal, of one kind; a time equals a text with the same instant, a number a text that is exactly it."""
    if left is None or right is None:
        return False
    if isinstance(left, dt.datetime) or isinstance(right, dt.datetime):
        both = (parse_time(side, zone(scope)) for side in (left, right) if isinstance(side, str | dt.datetime))
        instants = [instant for instant in both if instant is not None]
        return len(instants) == 2 and instants[0] == instants[1]  # noqa: PLR2004 - both sides
    if _number(left) or _number(right):
        numbers = exact_number(left), exact_number(right)
        return None not in numbers and numbers[0] == numbers[1]
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return list(left) == list(right)
    return type(left) is type(right) and bool(left == right)


def ne(scope: Scope, left: Any, right: Any) -> bool:
    """Both are there and not equal."""
    return left is not None and right is not None and not eq(scope, left, right)


def _ordered(scope: Scope, left: Any, right: Any) -> tuple[Any, Any] | None:
    """Two values that Python orders, or None when one is missing. Texts are numbers when both are, else texts."""
    if is_missing(left) or is_missing(right):
        return None
    if isinstance(left, int | float | str) and isinstance(right, int | float | str):
        numbers = exact_number(left), exact_number(right)
        if None not in numbers:
            return numbers
        if isinstance(left, str) and isinstance(right, str):
            return left, right
    times = (isinstance(left, dt.datetime), isinstance(right, dt.datetime))
    other = right if times[0] else left
    if all(times) or (any(times) and (isinstance(other, str) or (_number(other) and abs(other) >= EPOCH_MIN))):
        return to_ms(scope, left), to_ms(scope, right)
    mend = "; `days_since(TIME)` gives a number" if any(times) and (_number(left) or _number(right)) else ""
    if not any(times) and (_number(left) or _number(right)) and (isinstance(left, str) or isinstance(right, str)):
        mend = "; a text is a number only when it is written as one, such as 600.00"
    raise ExpressionError(f"{kind_of(left)} cannot be compared with {kind_of(right)}{mend}")


def lt(scope: Scope, left: Any, right: Any) -> bool:
    """`left < right`."""
    pair = _ordered(scope, left, right)
    return pair is not None and bool(pair[0] < pair[1])


def le(scope: Scope, left: Any, right: Any) -> bool:
    """`left <= right`."""
    pair = _ordered(scope, left, right)
    return pair is not None and bool(pair[0] <= pair[1])


def gt(scope: Scope, left: Any, right: Any) -> bool:
    """`left > right`."""
    return lt(scope, right, left)


def ge(scope: Scope, left: Any, right: Any) -> bool:
    """`left >= right`."""
    return le(scope, right, left)


def contains(scope: Scope, left: Any, right: Any) -> bool:
    """`left in right`: an element of a list, a part of a text, a key of a mapping."""
    if left is None or right is None:
        return False
    if isinstance(right, list | tuple):
        return any(eq(scope, left, element) for element in right)
    if isinstance(left, str) and isinstance(right, str | dict):
        return left in right
    raise ExpressionError(f"{kind_of(left)} cannot be `in` {kind_of(right)}")


def lacks(scope: Scope, left: Any, right: Any) -> bool:
    """`left not in right`; false when one is missing."""
    return left is not None and right is not None and not contains(scope, left, right)


def now_compared(scope: Scope, operator: str, other: Any) -> bool:
    """`now OPERATOR other`, with the exact moment at which the answer changes."""
    if is_missing(other):
        return False
    is_time = isinstance(other, str | dt.datetime) or (_number(other) and abs(other) >= EPOCH_MIN)
    if not is_time and operator in ("eq", "ne"):
        return operator == "ne"
    if not is_time:
        mend = "; `days_since(TIME)` gives a number" if _number(other) else ""
        raise ExpressionError(f"a time cannot be compared with {kind_of(other)}{mend}")
    at_ms = to_ms(scope, other)
    assert at_ms is not None
    at_now = scope.now_ms
    match operator:
        case "lt" | "ge":
            may_change(scope, at_ms)
            return (at_now < at_ms) is (operator == "lt")
        case "gt" | "le":
            may_change(scope, at_ms + 1)
            return (at_now > at_ms) is (operator == "gt")
        case _:
            may_change(scope, at_ms if at_now < at_ms else at_ms + 1)
            return (at_now == at_ms) is (operator == "eq")


# ------------------------------------------------------------------------------------------------------------- functions


def count(scope: Scope, event: str, within: Duration | None = None) -> int:
    """How often that event happened."""
    stats = scope.stats.get(event)
    if stats is None:
        return 0
    value, next_ms = aggregate.count(stats, scope.now_ms, within=within, zone=zone(scope))
    may_change(scope, next_ms)
    return value


def total(scope: Scope, event: str, name: str, within: Duration | None = None) -> float:
    """The sum of a property of that event."""
    stats = scope.stats.get(event)
    if stats is None:
        return 0
    value, next_ms = aggregate.sum_of(stats, name, scope.now_ms, within=within, zone=zone(scope))
    may_change(scope, next_ms)
    return value


def last(scope: Scope, event: str) -> dt.datetime | None:
    """When that event happened last."""
    stats = scope.stats.get(event)
    if stats is None:
        return None
    at_ms, next_ms = aggregate.last(stats, scope.now_ms)
    may_change(scope, next_ms)
    return moment(scope, at_ms)


def days_since(scope: Scope, value: Any) -> int | None:
    """Whole days since a time (days of the customer's calendar from that time of day on); 0 for a future one."""
    then_ms = to_ms(scope, value)
    if then_ms is None:
        return None
    zone_here = zone(scope)
    days = schedule.days_since(then_ms, scope.now_ms, zone_here)
    may_change(scope, schedule.days_since_boundary(then_ms, days + 1, zone_here))
    return days


def days_since_compared(scope: Scope, operator: str, value: Any, limit: float) -> bool:
    """`days_since(value) OPERATOR limit`, with the exact moment at which the answer changes."""
    then_ms = to_ms(scope, value)
    if then_ms is None:
        return False
    zone_here = zone(scope)
    days = schedule.days_since(then_ms, scope.now_ms, zone_here)
    match operator:
        case "lt" | "ge":
            turn = math.ceil(limit)
            answer = (days < limit) is (operator == "lt")
        case "gt" | "le":
            turn = math.floor(limit) + 1
            answer = (days > limit) is (operator == "gt")
        case _:
            turn = math.ceil(limit) if days < limit else math.floor(limit) + 1
            answer = (days == limit) is (operator == "eq")
    if days < turn <= schedule.DURATION_DAYS_MAX:
        may_change(scope, schedule.days_since_boundary(then_ms, turn, zone_here))
    return answer


def in_segment(scope: Scope, name: str) -> bool:
    """Whether the customer is a member."""
    return name in scope.segments


def bucket(scope: Scope, salt: str) -> int:
    """0 to 99, stable per customer."""
    return point(salt, scope.customer_id, 100)


def enrollment_value(scope: Scope, name: str) -> Any:
    """`enrollment.key` and `enrollment.event.id`/`.name`/`.time` and `enrollment.entered_at`; missing outside one."""
    enrollment = scope.enrollment
    if enrollment is None:
        return None
    match name:
        case "key":
            return enrollment.key or None
        case "entered_at":
            return moment(scope, enrollment.entered_ms)
        case "name":
            return enrollment.event.name or None
        case "id":
            return enrollment.event.id or None
        case "time":
            return moment(scope, enrollment.event.time_ms) if enrollment.event.name else None
        case _:
            raise AssertionError(name)
