"""The filters over lists, and all filters by name: what Jinja2 has as well means what it means there.

Invariant: as in `filters`: bounded in work and length, nothing is mutated, results are lists (no iterators).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from markupsafe import Markup, escape

from engine.core.reading.missing import is_missing
from engine.dispatch.filters.as_json import tojson
from engine.dispatch.filters.filters import BASIC, item_named, listing, text
from engine.dispatch.filters.numeric import Filter, lenient, number
from engine.dispatch.filters.questions import passes
from engine.dispatch.filters.values import (
    TEXT_LENGTH_MAX,
    Budget,
    Group,
    Missing,
    RenderFailure,
    Unreadable,
    UnreadableNumber,
    kind_of,
    within_bounds,
)

PARTS_MAX: Final = 10_000
"""How many lists `batch` and `slice` may make."""
DIGITS_MAX: Final = 30


def _join(budget: Budget, value: Any, d: Any = "", attribute: Any = None) -> str:
    items = listing(budget, value)
    if attribute is not None:
        items = [item_named(item, attribute) for item in items]
    between = text(d)
    parts = [text(item) for item in items]
    if sum(map(len, parts)) + len(between) * len(parts) > TEXT_LENGTH_MAX:
        raise RenderFailure(f"a text is longer than {TEXT_LENGTH_MAX} characters")
    safe = any(isinstance(part, Markup) for part in (between, *parts))
    return budget.text((escape(between) if safe else between).join(parts))


def _map(
    budget: Budget, value: Any, *given: Any, attribute: Any = None, default: Any = None, **named: Any
) -> list[Any]:
    """`map(attribute='name')`, or `map('upper')`: every item through a filter."""
    items = listing(budget, value)
    if given:
        function = FILTERS[str(given[0])]
        return [function(budget, item, *given[1:], **named) for item in items]
    if attribute is None:
        raise RenderFailure("map needs attribute='…' or the name of a filter")
    found = [item_named(item, attribute) for item in items]
    if default is None:
        return found
    return [default if isinstance(item, Missing) or is_missing(item) else item for item in found]


def _chosen(budget: Budget, value: Any, given: tuple[Any, ...], read: Callable[[Any], Any], *, keep: bool) -> list[Any]:
    def holds(item: Any) -> bool:
        found = read(item)
        if given:
            return passes(str(given[0]), found, given[1:])
        return not isinstance(found, Missing) and not is_missing(found) and bool(found)

    return [item for item in listing(budget, value) if holds(item) is keep]


def _select(budget: Budget, value: Any, *given: Any) -> list[Any]:
    return _chosen(budget, value, given, _itself, keep=True)


def _reject(budget: Budget, value: Any, *given: Any) -> list[Any]:
    return _chosen(budget, value, given, _itself, keep=False)


def _selectattr(budget: Budget, value: Any, attr: Any, *given: Any) -> list[Any]:
    return _chosen(budget, value, given, lambda item: item_named(item, attr), keep=True)


def _rejectattr(budget: Budget, value: Any, attr: Any, *given: Any) -> list[Any]:
    return _chosen(budget, value, given, lambda item: item_named(item, attr), keep=False)


def _itself(item: Any) -> Any:
    return item


def _folded(value: Any, case_sensitive: Any) -> Any:
    return value.lower() if isinstance(value, str) and not case_sensitive else value


def _reader(attribute: Any, case_sensitive: Any, default: Any = None) -> Callable[[Any], Any]:
    """What items are ordered, told apart or grouped by: themselves, a member, or several (`'city,name'`)."""
    names = [] if attribute is None else (text(attribute).split(",") if isinstance(attribute, str) else [attribute])

    def read(item: Any) -> Any:
        if not names:
            return _folded(item, case_sensitive)
        found = []
        for name in names:
            member = item_named(item, name)
            if isinstance(member, Missing):
                if default is None:
                    member.fail()
                member = default
            found.append(_folded(member, case_sensitive))
        return found[0] if len(found) == 1 else tuple(found)

    return read


def _ordered(budget: Budget, items: list[Any], key: Callable[[Any], Any], *, reverse: bool = False) -> list[Any]:
    budget.charge(len(items) * 4)
    try:
        return sorted(items, key=key, reverse=reverse)
    except TypeError:
        raise RenderFailure("the items cannot be sorted: they are of different kinds") from None


def _sort(
    budget: Budget,
    value: Any,
    reverse: Any = False,  # noqa: FBT002 - as Jinja
    case_sensitive: Any = False,  # noqa: FBT002 - as Jinja
    attribute: Any = None,
) -> list[Any]:
    return _ordered(budget, listing(budget, value), _reader(attribute, case_sensitive), reverse=bool(reverse))


def _dictsort(
    budget: Budget,
    value: Any,
    case_sensitive: Any = False,  # noqa: FBT002 - as Jinja
    by: Any = "key",
    reverse: Any = False,  # noqa: FBT002 - as Jinja
) -> list[Any]:
    if not isinstance(value, Mapping):
        raise RenderFailure(f"{kind_of(value)} has no keys")
    if by not in ("key", "value"):
        raise RenderFailure("dictsort sorts by 'key' or by 'value'")
    budget.charge(1 + len(value))
    at = 0 if by == "key" else 1
    return _ordered(budget, list(value.items()), lambda pair: _folded(pair[at], case_sensitive), reverse=bool(reverse))


def _unique(budget: Budget, value: Any, case_sensitive: Any = False, attribute: Any = None) -> list[Any]:  # noqa: FBT002 - Jinja's signature
    items = listing(budget, value)
    budget.charge(len(items) * 4)
    read = _reader(attribute, case_sensitive)
    found: dict[Any, Any] = {}
    for item in items:
        found.setdefault(_hashable(budget, read(item)), item)
    return list(found.values())


def _hashable(budget: Budget, value: Any) -> Any:
    return tojson(budget, value) if isinstance(value, list | Mapping) else value


def _end(budget: Budget, value: Any, case_sensitive: Any, attribute: Any, *, last: bool) -> Any:
    items = listing(budget, value)
    if not items:
        return Missing("an item of an empty list")
    budget.charge(len(items) * 4)
    try:
        return (max if last else min)(items, key=_reader(attribute, case_sensitive))
    except TypeError:
        raise RenderFailure("the items cannot be compared: they are of different kinds") from None


def _min(budget: Budget, value: Any, case_sensitive: Any = False, attribute: Any = None) -> Any:  # noqa: FBT002 - Jinja's signature
    return _end(budget, value, case_sensitive, attribute, last=False)


def _max(budget: Budget, value: Any, case_sensitive: Any = False, attribute: Any = None) -> Any:  # noqa: FBT002 - Jinja's signature
    return _end(budget, value, case_sensitive, attribute, last=True)


def _groupby(budget: Budget, value: Any, attribute: Any, default: Any = None, case_sensitive: Any = False) -> list[Any]:  # noqa: FBT002 - Jinja's signature
    """Pairs of what the items have in common and the items, in order: `for category, products in …`."""
    read, exact = _reader(attribute, case_sensitive, default), _reader(attribute, case_sensitive=True, default=default)
    groups: list[Group] = []
    last: Any = None
    for item in _ordered(budget, listing(budget, value), read):
        key = read(item)
        if not groups or key != last:
            groups.append(Group((exact(item), [])))
            last = key
        groups[-1][1].append(item)
    return groups


def _batch(budget: Budget, value: Any, linecount: Any, fill_with: Any = None) -> list[Any]:
    """Rows of so many items; the last is filled up."""
    items, width = listing(budget, value), _count(linecount, "batch")
    rows = [items[at : at + width] for at in range(0, len(items), width)]
    if fill_with is not None and rows and width <= PARTS_MAX:
        budget.charge(width)
        rows[-1] += [fill_with] * (width - len(rows[-1]))
    return rows


def _slice(budget: Budget, value: Any, slices: Any, fill_with: Any = None) -> list[Any]:
    """So many columns, the first of them longer by one where it does not divide."""
    items, columns = listing(budget, value), _count(slices, "slice")
    if columns > PARTS_MAX:
        raise RenderFailure(f"slice makes at most {PARTS_MAX} lists")
    budget.charge(columns)
    least, more = divmod(len(items), columns)
    found, at = [], 0
    for index in range(columns):
        width = least + (index < more)
        part = items[at : at + width]
        at += width
        found.append([*part, fill_with] if fill_with is not None and index >= more else part)
    return found


def _count(value: Any, name: str) -> int:
    wanted = int(number(value))
    if wanted < 1:
        raise RenderFailure(f"{name} needs a number of at least 1")
    return wanted


def _sum(budget: Budget, value: Any, attribute: Any = None, start: Any = 0) -> int | float:
    items = listing(budget, value)
    if attribute is not None:
        items = [item_named(item, attribute) for item in items]
    total = number(start)
    for item in items:
        try:
            total += number(item) if not isinstance(item, Unreadable) else 0
        except UnreadableNumber as failure:
            budget.note(failure.reason)
    return within_bounds(total)


def _reverse(budget: Budget, value: Any) -> Any:
    if isinstance(value, str):
        return budget.text(value[::-1])
    return listing(budget, value)[::-1]


def _list(budget: Budget, value: Any) -> list[Any]:
    return listing(budget, value)


def _round(_budget: Budget, value: Any, precision: Any = 0, method: Any = "common") -> float:
    digits = int(number(precision))
    if not -DIGITS_MAX <= digits <= DIGITS_MAX:
        raise RenderFailure(f"round takes at most {DIGITS_MAX} digits")
    if method == "common":
        return round(float(number(value)), digits)
    if method not in ("ceil", "floor"):
        raise RenderFailure("round knows 'common', 'ceil' and 'floor'")
    scale = 10.0**digits
    return float((math.ceil if method == "ceil" else math.floor)(number(value) * scale)) / scale


FILTERS: Final[Mapping[str, Filter]] = {
    **BASIC,
    "batch": _batch,
    "dictsort": _dictsort,
    "groupby": _groupby,
    "join": _join,
    "list": _list,
    "map": _map,
    "max": _max,
    "min": _min,
    "reject": _reject,
    "rejectattr": _rejectattr,
    "reverse": _reverse,
    "round": lenient(_round),
    "select": _select,
    "selectattr": _selectattr,
    "slice": _slice,
    "sort": _sort,
    "sum": lenient(_sum),
    "unique": _unique,
}
TESTS_AT: Final[Mapping[str, int]] = {"select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}
"""Filters that take the name of a test, and which of their arguments it is."""
