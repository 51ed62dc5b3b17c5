"""Numbers in templates: what is one, and what becomes of a text that is not.

Invariant: a number that cannot be read, such as `600,00`, costs its own place in the text and nothing else; the budget
has a note of it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.core.reading.numbers import exact_number
from engine.dispatch.filters.values import (
    NUMBER_ABS_MAX,
    UNREADABLE,
    Budget,
    Missing,
    Unreadable,
    UnreadableNumber,
    kind_of,
)

Filter = Callable[..., Any]
NOT_A_NUMBER: Final = "there is text where a number is needed; write it as 600.00"
TOO_LARGE: Final = "a number is too large"


def number(value: Any) -> int | float:
    """Return a number; a text that is exactly one is taken as one, every other value raises UnreadableNumber."""
    if type(value) is float and -NUMBER_ABS_MAX < value < NUMBER_ABS_MAX:
        return value
    if isinstance(value, Missing):
        value.fail()
    if isinstance(value, str):
        exact = exact_number(value)
        if exact is None:
            raise UnreadableNumber(NOT_A_NUMBER)
        value = exact
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnreadableNumber(f"{kind_of(value)} is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise UnreadableNumber("a number is infinite or not a number")
    if is_beyond(value):
        raise UnreadableNumber(TOO_LARGE)
    return value


def is_beyond(value: float) -> bool:
    """Whether a number is larger than any that a template may have."""
    return not -NUMBER_ABS_MAX <= value <= NUMBER_ABS_MAX


def misfit(value: Any, other: Any) -> str:
    """Why `value` is nothing to calculate with beside the number `other`; "" where it is not a shop's value that is to blame."""
    if exact_number(other) is None:
        return ""
    if isinstance(value, list | tuple | Mapping):
        return f"{kind_of(value)} is not a number"
    number_told = exact_number(value)
    return TOO_LARGE if number_told is not None and is_beyond(number_told) else ""


def lenient(function: Filter) -> Filter:
    """The filter, except that a number which cannot be read costs its own place in the text and not the whole message."""

    @functools.wraps(function)
    def tolerant(budget: Budget, value: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, Unreadable):
            return value
        try:
            return function(budget, value, *args, **kwargs)
        except UnreadableNumber as failure:
            budget.note(failure.reason)
            return UNREADABLE

    return tolerant
