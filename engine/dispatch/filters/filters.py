"""The filters a template may use, each bounded in work and in the length of what it builds.

Invariant: a filter takes `(budget, value, ...)`, never mutates the value, returns data (no iterators), and charges the
budget before it builds anything long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from markupsafe import Markup, escape

from engine.core.reading.missing import is_missing
from engine.dispatch.filters.as_json import tojson
from engine.dispatch.filters.local_format import format_date, format_money, format_number, format_time
from engine.dispatch.filters.numeric import Filter, lenient, number
from engine.dispatch.filters.values import (
    CHARACTERS_PER_UNIT,
    TEXT_LENGTH_MAX,
    Budget,
    Missing,
    RenderFailure,
    kind_of,
    scalar_text,
    step,
)

STRIP_LENGTH_MAX: Final = 32_768
_WORD_STARTS: Final = re.compile(r"([-\s({\[<]+)")
_WORDS: Final = re.compile(r"\w+")


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


def _default(_budget: Budget, value: Any, default_value: Any = "", boolean: bool = False) -> Any:  # noqa: FBT001, FBT002 - Jinja's signature
    if isinstance(value, Missing) or is_missing(value) or (boolean and not value):
        return default_value
    return value


def _upper(budget: Budget, value: Any) -> str:
    return budget.text(text(value).upper())


def _lower(budget: Budget, value: Any) -> str:
    return budget.text(text(value).lower())


def _capitalize(budget: Budget, value: Any) -> str:
    return budget.text(text(value).capitalize())


def _title(budget: Budget, value: Any) -> str:
    words = _WORD_STARTS.split(text(value))
    return budget.text(type(text(value))("").join(word[:1].upper() + word[1:].lower() for word in words))


def _trim(budget: Budget, value: Any, chars: Any = None) -> str:
    return budget.text(text(value).strip(None if chars is None else text(chars)))


def _replace(budget: Budget, value: Any, old: Any, new: Any, count: Any = None) -> str:
    source, old_text, new_text = text(value), text(old), text(new)
    at_most = -1 if count is None else int(number(count))
    length = len(source) + source.count(old_text) * len(new_text)
    if length > TEXT_LENGTH_MAX:
        raise RenderFailure(f"a text is longer than {TEXT_LENGTH_MAX} characters")
    return budget.text(source.replace(old_text, new_text, at_most))


def _truncate(
    budget: Budget,
    value: Any,
    length: Any = 255,
    killwords: Any = False,  # noqa: FBT002 - Jinja's signature
    end: Any = "...",
    leeway: Any = 5,
) -> str:
    if isinstance(killwords, str):  # `truncate(80, '…')`, as it was written here before
        killwords, end = False, killwords
    source, kept, tail, slack = text(value), int(number(length)), text(end), int(number(leeway))
    if kept < len(tail) or slack < 0:
        raise RenderFailure(f"truncate needs a length of at least {len(tail)}, that of its end")
    if len(source) <= kept + slack:
        return budget.text(source)
    cut = source[: kept - len(tail)]
    return budget.text((cut if killwords else cut.rsplit(" ", 1)[0]) + tail)


def item_named(item: Any, attribute: Any) -> Any:
    """A member of an item, `'price'`, `'price.net'` or a number; missing when it is not there."""
    value = item
    if isinstance(attribute, int):
        attribute = str(attribute)
    for name in text(attribute).split("."):
        value = step(value, int(name) if name.isdecimal() and not isinstance(value, Mapping) else name)
        if value is None:
            return Missing(text(attribute))
    return value


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


def _abs(_budget: Budget, value: Any) -> int | float:
    return abs(number(value))


def _string(budget: Budget, value: Any) -> str:
    return budget.text(text(value))


def _urlencode(budget: Budget, value: Any) -> str:
    if isinstance(value, Mapping | list | tuple):
        pairs = list(value.items()) if isinstance(value, Mapping) else value
        budget.charge(1 + len(pairs))
        return budget.text("&".join(f"{_quoted(key)}={_quoted(item)}" for key, item in map(_pair, pairs)))
    source = text(value)
    budget.charge(len(source) // CHARACTERS_PER_UNIT)
    return budget.text(quote(source.encode(), safe="/"))


def _pair(value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list | tuple) or len(value) != 2:  # noqa: PLR2004 - a pair
        raise RenderFailure("urlencode needs a text, an object or a list of pairs")
    return value[0], value[1]


def _quoted(value: Any) -> str:
    return quote(text(value).encode(), safe="").replace("%20", "+")


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
    return len(_WORDS.findall(budget.text(text(value))))


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


BASIC: Final[Mapping[str, Filter]] = {
    "abs": lenient(_abs),
    "capitalize": _capitalize,
    "count": _length,
    "d": _default,
    "date": _date,
    "default": _default,
    "e": _escape,
    "escape": _escape,
    "first": _first,
    "float": lenient(_float),
    "int": lenient(_int),
    "items": _items,
    "keys": _keys,
    "last": _last,
    "length": _length,
    "lower": _lower,
    "money": lenient(_money),
    "nl2br": _nl2br,
    "number": lenient(_number),
    "replace": _replace,
    "safe": _safe,
    "string": _string,
    "striptags": _striptags,
    "time": _time,
    "title": _title,
    "tojson": tojson,
    "trim": _trim,
    "truncate": _truncate,
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
