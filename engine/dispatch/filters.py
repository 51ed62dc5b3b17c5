"""The filters a template may use, each bounded in work and in the length of what it builds.

Invariant: a filter takes `(budget, value, ...)`, never mutates the value, returns data (no iterators), and charges the
budget before it builds anything long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from markupsafe import Markup, escape

from engine.dispatch.as_json import tojson
from engine.dispatch.local_format import format_date, format_money, format_number, format_time
from engine.dispatch.values import (
    CHARACTERS_PER_UNIT,
    NUMBER_ABS_MAX,
    TEXT_LENGTH_MAX,
    Budget,
    Missing,
    RenderFailure,
    kind_of,
    scalar_text,
    step,
    within_bounds,
)

Filter = Callable[..., Any]
STRIP_LENGTH_MAX: Final = 32_768


def text(value: Any) -> str:
    """Return a value as text; fail for lists, objects, nulls and missing values."""
    return value if type(value) is str else scalar_text(value)


def listing(budget: Budget, value: Any) -> list[Any]:
    """Return the items of a list, the keys of an object or the letters of a text, and charge for them."""
    if isinstance(value, Missing):
        value.fail()
    if not isinstance(value, list | tuple | Mapping | str):
        raise RenderFailure(f"{kind_of(value)} has no items")
    budget.charge(1 + len(value))
    return list(value)


def number(value: Any) -> int | float:
    """Return a number; texts that look like one are taken as one."""
    if type(value) is float and -NUMBER_ABS_MAX < value < NUMBER_ABS_MAX:
        return value
    if isinstance(value, Missing):
        value.fail()
    if isinstance(value, str):
        try:
            value = float(value) if any(sign in value for sign in ".eEnN") else int(value[:40])
        except ValueError:
            raise RenderFailure(f"'{value[:40]}' is not a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RenderFailure(f"{kind_of(value)} is not a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise RenderFailure("a number is infinite or not a number")
    return within_bounds(value)


def _default(_budget: Budget, value: Any, fallback: Any = "", boolean: bool = False) -> Any:  # noqa: FBT001, FBT002 - Jinja's signature
    if isinstance(value, Missing) or value is None or (boolean and not value):
        return fallback
    return value


def _upper(budget: Budget, value: Any) -> str:
    return budget.text(text(value).upper())


def _lower(budget: Budget, value: Any) -> str:
    return budget.text(text(value).lower())


def _capitalize(budget: Budget, value: Any) -> str:
    return budget.text(text(value).capitalize())


def _title(budget: Budget, value: Any) -> str:
    words = text(value).split(" ")
    return budget.text(type(text(value))(" ").join(word[:1].upper() + word[1:] for word in words))


def _trim(budget: Budget, value: Any) -> str:
    return budget.text(text(value).strip())


def _replace(budget: Budget, value: Any, old: Any, new: Any) -> str:
    source, old_text, new_text = text(value), text(old), text(new)
    length = len(source) + source.count(old_text) * len(new_text)
    if length > TEXT_LENGTH_MAX:
        raise RenderFailure(f"a text is longer than {TEXT_LENGTH_MAX} characters")
    return budget.text(source.replace(old_text, new_text))


def _truncate(budget: Budget, value: Any, length: Any = 80, end: Any = "…") -> str:
    source, kept, tail = text(value), int(number(length)), text(end)
    if kept < 1:
        raise RenderFailure("truncate needs a length of at least 1")
    if len(source) <= kept:
        return budget.text(source)
    cut = source[: max(0, kept - len(tail))]
    # A word is not cut in the middle unless it is all there is.
    head = cut.rsplit(" ", 1)[0] if " " in cut.strip() else cut
    return budget.text(head.rstrip() + tail)


def _join(budget: Budget, value: Any, separator: Any = "", attribute: Any = None) -> str:
    items = listing(budget, value)
    if attribute is not None:
        items = [_member(item, attribute) for item in items]
    between = text(separator)
    parts = [text(item) for item in items]
    if sum(map(len, parts)) + len(between) * len(parts) > TEXT_LENGTH_MAX:
        raise RenderFailure(f"a text is longer than {TEXT_LENGTH_MAX} characters")
    safe = any(isinstance(part, Markup) for part in (between, *parts))
    return budget.text((escape(between) if safe else between).join(parts))


def _member(item: Any, attribute: Any) -> Any:
    value = item
    for name in text(attribute).split("."):
        value = step(value, int(name) if name.isdecimal() and not isinstance(value, Mapping) else name)
        if value is None:
            return Missing(text(attribute))
    return value


def _map(budget: Budget, value: Any, attribute: Any = None, default: Any = None) -> list[Any]:
    if attribute is None:
        raise RenderFailure("map needs attribute='…'")
    found = [_member(item, attribute) for item in listing(budget, value)]
    return found if default is None else [default if isinstance(item, Missing) else item for item in found]


def _selectattr(budget: Budget, value: Any, attribute: Any, equals: Any = True) -> list[Any]:  # noqa: FBT002 - `selectattr('x')` asks for truth
    return [item for item in listing(budget, value) if _holds(_member(item, attribute), equals)]


def _rejectattr(budget: Budget, value: Any, attribute: Any, equals: Any = True) -> list[Any]:  # noqa: FBT002 - as selectattr
    return [item for item in listing(budget, value) if not _holds(_member(item, attribute), equals)]


def _holds(value: Any, equals: Any) -> bool:
    if isinstance(value, Missing):
        return False
    return bool(value) if equals is True else bool(value == equals)


def _sort(budget: Budget, value: Any, reverse: Any = False, attribute: Any = None) -> list[Any]:  # noqa: FBT002 - Jinja's signature
    items = listing(budget, value)
    budget.charge(len(items) * 4)

    def key(item: Any) -> Any:
        found = item if attribute is None else _member(item, attribute)
        if isinstance(found, Missing):
            found.fail()
        return found.lower() if isinstance(found, str) else found

    try:
        return sorted(items, key=key, reverse=bool(reverse))
    except TypeError:
        raise RenderFailure("the items cannot be sorted: they are of different kinds") from None


def _unique(budget: Budget, value: Any) -> list[Any]:
    items = listing(budget, value)
    return list({text(item): item for item in reversed(items)}.values())[::-1]


def _reverse(budget: Budget, value: Any) -> list[Any]:
    return listing(budget, value)[::-1]


def _first(_budget: Budget, value: Any) -> Any:
    return _end(value, 0, "first")


def _last(_budget: Budget, value: Any) -> Any:
    return _end(value, -1, "last")


def _end(value: Any, index: int, name: str) -> Any:
    if isinstance(value, Missing):
        value.fail()
    if not isinstance(value, list | tuple | str):
        raise RenderFailure(f"{kind_of(value)} has no {name} item")
    return value[index] if value else Missing(f"the {name} item of an empty list")


def _length(_budget: Budget, value: Any) -> int:
    if isinstance(value, list | tuple | Mapping | str):
        return len(value)
    if isinstance(value, Missing):
        value.fail()
    raise RenderFailure(f"{kind_of(value)} has no length")


def _sum(budget: Budget, value: Any, attribute: Any = None, start: Any = 0) -> int | float:
    items = listing(budget, value)
    if attribute is not None:
        items = [_member(item, attribute) for item in items]
    total = sum((number(item) for item in items), number(start))
    return within_bounds(total)


def _min(budget: Budget, value: Any) -> Any:
    return _end(_sort(budget, value), 0, "first")


def _max(budget: Budget, value: Any) -> Any:
    return _end(_sort(budget, value), -1, "last")


def _items(budget: Budget, value: Any) -> list[Any]:
    if isinstance(value, Missing):
        value.fail()
    if not isinstance(value, Mapping):
        raise RenderFailure(f"{kind_of(value)} has no keys")
    budget.charge(1 + len(value))
    return list(value.items())


def _keys(budget: Budget, value: Any) -> list[Any]:
    return [key for key, _ in _items(budget, value)]


def _values(budget: Budget, value: Any) -> list[Any]:
    return [item for _, item in _items(budget, value)]


def _int(_budget: Budget, value: Any, default: Any = None) -> int:
    return int(_number_or(value, default))


def _float(_budget: Budget, value: Any, default: Any = None) -> float:
    return float(_number_or(value, default))


def _number_or(value: Any, default: Any) -> int | float:
    try:
        return number(value)
    except RenderFailure:
        if default is None or isinstance(value, Missing):
            raise
        return number(default)


def _round(_budget: Budget, value: Any, precision: Any = 0) -> float:
    digits = int(number(precision))
    if not -30 <= digits <= 30:  # noqa: PLR2004 - more digits than a number has
        raise RenderFailure("round takes at most 30 digits")
    return round(float(number(value)), digits)


def _abs(_budget: Budget, value: Any) -> int | float:
    return abs(number(value))


def _string(budget: Budget, value: Any) -> str:
    return budget.text(text(value))


def _urlencode(budget: Budget, value: Any) -> str:
    source = text(value)
    budget.charge(len(source) // CHARACTERS_PER_UNIT)
    return budget.text(quote(source.encode(), safe=""))


def _escape(budget: Budget, value: Any) -> Markup:
    found = value if isinstance(value, Markup) else escape(text(value))
    budget.text(found)
    return found


def _safe(budget: Budget, value: Any) -> Markup:
    return Markup(budget.text(text(value)))  # noqa: S704 - the author of the template asks for it


def _striptags(budget: Budget, value: Any) -> str:
    source = text(value)
    if len(source) > STRIP_LENGTH_MAX:
        raise RenderFailure(f"striptags takes at most {STRIP_LENGTH_MAX} characters")
    budget.charge(len(source))
    return budget.text(Markup(source).striptags())  # noqa: S704 - it is taken apart, not printed


def _wordcount(budget: Budget, value: Any) -> int:
    return len(budget.text(text(value)).split())


def _nl2br(budget: Budget, value: Any) -> Markup:
    lines = text(value).splitlines()
    found = Markup("<br>\n").join(lines)
    budget.text(found)
    return found


def _money(budget: Budget, value: Any, currency: Any = "EUR", locale: Any = None) -> str:
    budget.charge(10)
    return format_money(number(value), text(currency), locale=text(locale or budget.locale))


def _number(budget: Budget, value: Any, digits: Any = None, locale: Any = None) -> str:
    budget.charge(10)
    decimals = None if digits is None else int(number(digits))
    return format_number(number(value), decimals, locale=text(locale or budget.locale))


def _date(budget: Budget, value: Any, format: Any = "medium", locale: Any = None, zone: Any = None) -> str:
    budget.charge(10)
    where = {"locale": text(locale or budget.locale), "zone": text(zone or budget.zone)}
    return format_date(_instant(value), text(format), **where)


def _time(budget: Budget, value: Any, format: Any = "short", locale: Any = None, zone: Any = None) -> str:
    budget.charge(10)
    where = {"locale": text(locale or budget.locale), "zone": text(zone or budget.zone)}
    return format_time(_instant(value), text(format), **where)


def _instant(value: Any) -> Any:
    if isinstance(value, Missing):
        value.fail()
    if value is None or isinstance(value, list | tuple | Mapping):
        raise RenderFailure(f"{kind_of(value)} is not a date")
    return value


FILTERS: Final[Mapping[str, Filter]] = {
    "abs": _abs,
    "capitalize": _capitalize,
    "count": _length,
    "d": _default,
    "date": _date,
    "default": _default,
    "e": _escape,
    "escape": _escape,
    "first": _first,
    "float": _float,
    "int": _int,
    "items": _items,
    "join": _join,
    "keys": _keys,
    "last": _last,
    "length": _length,
    "lower": _lower,
    "map": _map,
    "max": _max,
    "min": _min,
    "money": _money,
    "nl2br": _nl2br,
    "number": _number,
    "rejectattr": _rejectattr,
    "replace": _replace,
    "reverse": _reverse,
    "round": _round,
    "safe": _safe,
    "selectattr": _selectattr,
    "sort": _sort,
    "string": _string,
    "striptags": _striptags,
    "sum": _sum,
    "time": _time,
    "title": _title,
    "tojson": tojson,
    "trim": _trim,
    "truncate": _truncate,
    "unique": _unique,
    "upper": _upper,
    "urlencode": _urlencode,
    "values": _values,
    "wordcount": _wordcount,
}

# `customer.name.upper()` is what people write who know Python: these few calls mean the filter of the same name.
METHODS: Final[Mapping[str, str]] = {
    "strip": "trim",
    **{name: name for name in ("items", "keys", "lower", "replace", "title", "upper", "values")},
}


def items_of(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return the values of a list literal, refusing lists in lists: copies of copies grow without bound."""
    found = tuple(values)
    for value in found:
        if isinstance(value, list | tuple | Mapping):
            raise RenderFailure("a list written in a template holds single values only")
    return found
