"""The tests of templates (`is defined`, `selectattr('price', 'gt', 5)`), with the names and the meaning they have in Jinja2.

Invariant: a test takes a value and constants, never fails for a value that is not there where it can be answered, and builds
nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from markupsafe import Markup

from engine.core.reading.missing import is_missing
from engine.dispatch.filters.values import Missing, RenderFailure, kind_of


def is_defined(value: Any) -> bool:
    """Whether there is a value."""
    return not _is_none(value)


def _is_none(value: Any) -> bool:
    return isinstance(value, Missing) or is_missing(value)


def _kind(*kinds: type) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        if isinstance(value, Missing):
            value.fail()
        return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))

    return test


def _whole(value: Any) -> int:
    if isinstance(value, Missing):
        value.fail()
    if isinstance(value, bool) or not isinstance(value, int):
        raise RenderFailure(f"{kind_of(value)} is not a whole number")
    return value


def _is_odd(value: Any) -> bool:
    return _whole(value) % 2 == 1


def _is_even(value: Any) -> bool:
    return _whole(value) % 2 == 0


def _is_divisible_by(value: Any, num: Any) -> bool:
    if _whole(num) == 0:
        raise RenderFailure("division by zero")
    return _whole(value) % num == 0  # type: ignore[no-any-return]


def _compared(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def test(value: Any, other: Any) -> bool:
        for side in (value, other):
            if isinstance(side, Missing):
                side.fail()
        try:
            return bool(compare(value, other))
        except TypeError:
            raise RenderFailure(f"{kind_of(value)} cannot be compared with {kind_of(other)}") from None

    return test


def _is_in(value: Any, seq: Any) -> bool:
    for side in (value, seq):
        if isinstance(side, Missing):
            side.fail()
    if isinstance(seq, str) and not isinstance(value, str):
        raise RenderFailure(f"{kind_of(value)} cannot be in a text")
    if not isinstance(seq, str | list | tuple | Mapping):
        raise RenderFailure(f"{kind_of(seq)} has no items")
    return value in seq


def _is_lower(value: Any) -> bool:
    return isinstance(value, str) and value.islower()


def _is_upper(value: Any) -> bool:
    return isinstance(value, str) and value.isupper()


def _is_true(value: Any) -> bool:
    return value is True


def _is_false(value: Any) -> bool:
    return value is False


def _is_escaped(value: Any) -> bool:
    return isinstance(value, Markup)


_EQ, _NE = _compared(operator.eq), _compared(operator.ne)
_LT, _LE, _GT, _GE = (_compared(each) for each in (operator.lt, operator.le, operator.gt, operator.ge))

TESTS: Final[Mapping[str, Callable[..., bool]]] = {
    "boolean": _kind(bool),
    "defined": is_defined,
    "divisibleby": _is_divisible_by,
    "eq": _EQ,
    "equalto": _EQ,
    "escaped": _is_escaped,
    "even": _is_even,
    "false": _is_false,
    "float": _kind(float),
    "ge": _GE,
    "greaterthan": _GT,
    "gt": _GT,
    "in": _is_in,
    "integer": _kind(int),
    "iterable": _kind(list, tuple, str, Mapping),
    "le": _LE,
    "lessthan": _LT,
    "lower": _is_lower,
    "lt": _LT,
    "mapping": _kind(Mapping),
    "ne": _NE,
    "none": _is_none,
    "number": _kind(int, float),
    "odd": _is_odd,
    "sequence": _kind(list, tuple, str, Mapping),
    "string": _kind(str),
    "true": _is_true,
    "undefined": _is_none,
    "upper": _is_upper,
}

SIGNS: Final[Mapping[str, str]] = {"==": "eq", "!=": "ne", ">": "gt", ">=": "ge", "<": "lt", "<=": "le"}
"""How a comparison may be written as the name of a test: `selectattr('price', '>', 5)`."""
_OF_MISSING: Final = frozenset({"defined", "undefined", "none"})


def named(name: str) -> Callable[..., bool] | None:
    """The test of that name; None when there is none."""
    return TESTS.get(SIGNS.get(name, name))


def passes(test: str, value: Any, given: tuple[Any, ...]) -> bool:
    """Whether an element of a list passes; one that lacks the member passes only `undefined`, `none` and `ne`."""
    name = SIGNS.get(test, test)
    if isinstance(value, Missing) and name not in _OF_MISSING:
        return name == "ne"
    return TESTS[name](value, *given)
