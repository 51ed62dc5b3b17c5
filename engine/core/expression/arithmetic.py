"""Arithmetic, text building and filters of generated expression code.

Invariant: a missing operand gives a missing result; a text that is exactly a number is that number; results are bounded
(whole numbers in bits, texts in characters, no infinities); any other misfit raises ExpressionError with the kinds
involved, never their values.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.core.expression.comparison import kind_of
from engine.core.expression.moments import dated, minus, plus, span_of
from engine.core.reading.missing import is_missing
from engine.core.reading.numbers import exact_number
from engine.core.time.zone import parse_time, rfc3339
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from engine.core.expression.scope import Scope

TEXT_MAX = 10_000
"""The longest text that an expression may build."""
BITS_MAX = 256
"""The largest whole number that arithmetic may give, in bits."""
STORED_BITS_MAX = 63
"""The largest whole number that is kept, in bits: what msgpack and the databases of those who subscribe can hold."""
POWER_MAX = 64
"""The largest exponent."""
DIGITS_MAX = 15
"""The most digits that `round` may be asked for."""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bounded(value: Any) -> Any:
    if isinstance(value, complex):
        raise ExpressionError("a negative number has no such power")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ExpressionError("the result is too large a number")
    elif value.bit_length() > BITS_MAX:
        raise ExpressionError("the result is too large a number")
    return value


def _text(value: str) -> str:
    if len(value) > TEXT_MAX:
        raise ExpressionError(f"the text grows beyond {TEXT_MAX:,} characters")
    return value


def _calculated(word: str, left: Any, right: Any, calculate: Callable[[Any, Any], Any]) -> Any:
    if left is None or right is None:
        return None
    one, other = exact_number(left), exact_number(right)
    if one is None or other is None:
        times = isinstance(left, dt.datetime) or isinstance(right, dt.datetime)
        mend = "; use `days_since(TIME)` for how long ago a time is" if times else ""
        raise ExpressionError(f"cannot {word} {kind_of(left)} and {kind_of(right)}{mend}")
    try:
        return _bounded(calculate(one, other))
    except ZeroDivisionError:
        raise ExpressionError("division by zero") from None
    except OverflowError:
        raise ExpressionError("the result is too large a number") from None


def add(scope: Scope, left: Any, right: Any) -> Any:
    """`left + right` of two numbers (or texts that both are), two texts one after the other, or a time and a duration."""
    if isinstance(left, str) and isinstance(right, str):
        if exact_number(left) is None or exact_number(right) is None:
            timely = dated(left) and span_of(right) is not None and parse_time(left) is not None
            return plus(scope, left, right) if timely else _text(left + right)
    elif (isinstance(left, dt.datetime) or isinstance(right, dt.datetime)) and left is not None and right is not None:
        return plus(scope, left, right)
    return _calculated("add", left, right, lambda one, other: one + other)


def sub(scope: Scope, left: Any, right: Any) -> Any:
    """`left - right` of two numbers, a time and a duration (a time), or two times (hours)."""
    numbers = exact_number(left) is not None and exact_number(right) is not None
    if not numbers and isinstance(left, str | dt.datetime) and isinstance(right, str | dt.datetime):
        return minus(scope, left, right)
    return _calculated("subtract", left, right, lambda one, other: one - other)


def mul(scope: Scope, left: Any, right: Any) -> Any:
    """`left * right`; texts are not repeated."""
    return _calculated("multiply", left, right, lambda one, other: one * other)


def div(scope: Scope, left: Any, right: Any) -> Any:
    """`left / right`."""
    return _calculated("divide", left, right, lambda one, other: one / other)


def floordiv(scope: Scope, left: Any, right: Any) -> Any:
    """`left // right`."""
    return _calculated("divide", left, right, lambda one, other: one // other)


def mod(scope: Scope, left: Any, right: Any) -> Any:
    """`left % right`; no text formatting."""
    return _calculated("take the remainder of", left, right, lambda one, other: one % other)


def power(scope: Scope, left: Any, right: Any) -> Any:
    """`left ** right` with an exponent of at most POWER_MAX."""
    base, exponent = exact_number(left), exact_number(right)
    if base is not None and exponent is not None:
        if abs(exponent) > POWER_MAX:
            raise ExpressionError(f"the exponent is larger than {POWER_MAX}")
        _bounded(base)
    return _calculated("raise", left, right, lambda one, other: one**other)


def neg(scope: Scope, value: Any) -> Any:
    """`-value`."""
    if value is None:
        return None
    number = exact_number(value)
    if number is None:
        raise ExpressionError(f"{kind_of(value)} has no negative")
    return -number


def pos(scope: Scope, value: Any) -> Any:
    """`+value`."""
    number = exact_number(value)
    if value is not None and number is None:
        raise ExpressionError(f"{kind_of(value)} is not a number")
    return number


def text_of(value: Any) -> str:
    """How a value reads inside a text: nothing for a missing one, times as RFC 3339 with their offset."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else str(value)  # noqa: PLR2004 - exact
        case int():
            return str(_bounded(value))
        case dt.datetime():
            return value.isoformat(timespec="seconds")
        case _:
            raise ExpressionError(f"{kind_of(value)} cannot be part of a text")


def concat(scope: Scope, *parts: Any) -> str:
    """`a ~ b`: the parts as one text; a missing one adds nothing."""
    return _text("".join(text_of(part) for part in parts))


def json_value(value: Any) -> Any:
    """A result as JSON has it: times become RFC 3339 texts in UTC. Raises ExpressionError where no state could hold it."""
    if isinstance(value, dt.datetime):
        at_ms = parse_time(value)
        return None if at_ms is None else rfc3339(at_ms)
    if isinstance(value, list | tuple):
        return [json_value(element) for element in value]
    if isinstance(value, int) and value.bit_length() > STORED_BITS_MAX:
        raise ExpressionError("the result is too large a number")
    return value


# ---------------------------------------------------------------------------------------------------------------- filters


def _of_text(value: Any, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ExpressionError(f"the filter `{name}` needs text, not {kind_of(value)}")


def lower(scope: Scope, value: Any) -> str | None:
    """In small letters."""
    text = _of_text(value, "lower")
    return None if text is None else text.lower()


def upper(scope: Scope, value: Any) -> str | None:
    """In capital letters."""
    text = _of_text(value, "upper")
    return None if text is None else text.upper()


def trim(scope: Scope, value: Any) -> str | None:
    """Without spaces around it."""
    text = _of_text(value, "trim")
    return None if text is None else text.strip()


def length(scope: Scope, value: Any) -> int | None:
    """How many characters or elements."""
    if value is None:
        return None
    if isinstance(value, str | list | tuple | dict):
        return len(value)
    raise ExpressionError(f"{kind_of(value)} has no length")


def whole(scope: Scope, value: Any, fallback: Any = None) -> Any:
    """The filter `int`: a number without its fraction. A text that is not a number gives the fallback, else is an error."""
    number = real(scope, value, fallback)
    return int(number) if _number(number) else number


def real(scope: Scope, value: Any, fallback: Any = None) -> Any:
    """The filter `float`: a number, also of a text. A text that is not a number gives the fallback, else is an error."""
    if is_missing(value):
        return fallback
    if isinstance(value, str):
        number = exact_number(value)
        if number is not None:
            return _bounded(float(number))
        if fallback is not None:
            return fallback
        raise ExpressionError("this text is not a number; `int(0)` or `float(0)` gives 0 then")
    if not _number(value):
        raise ExpressionError(f"{kind_of(value)} is not a number")
    try:
        return value if isinstance(value, int) else _bounded(float(value))
    except OverflowError:
        raise ExpressionError("the number is too large") from None


def rounded(scope: Scope, value: Any, digits: Any = 0) -> Any:
    """The filter `round`: a whole number, or with that many digits after the point."""
    if value is None or digits is None:
        return None
    if isinstance(value, str):
        value = exact_number(value)
    if not _number(value) or not isinstance(digits, int) or abs(digits) > DIGITS_MAX:
        raise ExpressionError(f"`round` needs a number and at most {DIGITS_MAX} digits, not {kind_of(value)}")
    return round(value, digits) if digits else round(value)


def magnitude(scope: Scope, value: Any) -> Any:
    """The filter `abs`."""
    if value is None:
        return None
    number = exact_number(value)
    if number is None:
        raise ExpressionError(f"{kind_of(value)} has no absolute value")
    return abs(number)


def default(scope: Scope, value: Any, fallback: Any = "", falsy: Any = False) -> Any:  # noqa: FBT002 - Jinja's signature
    """The value, or the fallback when it is missing (with `true`: also when it is empty, zero or false)."""
    return fallback if is_missing(value) or (falsy and not value) else value


def is_number(value: Any) -> bool:
    """Test `number`."""
    return _number(value)
