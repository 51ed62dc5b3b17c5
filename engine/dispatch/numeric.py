"""Numbers in templates: what is one, and what becomes of a text that is not.

Invariant: a number that cannot be read, such as `600,00`, costs its own place in the text and nothing else; the budget
has a note of it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Final

from engine.core.reading.numbers import exact_number
from engine.dispatch.values import (
    NUMBER_ABS_MAX,
    UNREADABLE,
    Budget,
    Missing,
    RenderFailure,
    Unreadable,
    UnreadableNumber,
    kind_of,
    within_bounds,
)

Filter = Callable[..., Any]
NOT_A_NUMBER: Final = "a text stands where a number is needed; write it as 600.00"


def number(value: Any) -> int | float:
    """Return a number; a text that is exactly one is taken as one, any other raises UnreadableNumber."""
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
        raise RenderFailure(f"{kind_of(value)} is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise RenderFailure("a number is infinite or not a number")
    return within_bounds(value)


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
