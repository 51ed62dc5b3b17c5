"""The functions of expressions: `count sum last days_since days_until hours_until date in_segment bucket`.

Invariant: the names of events, properties and segments are constants of the source, so that what an expression asks about
is known when it is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jinja2 import nodes

from engine.core.facts.aggregate import WINDOW_DAYS_MAX, window_days
from engine.core.time.schedule import parse_duration
from engine.definition.expression.generated import NOTHING, ZONE_TRAITS, Code, Writer
from engine.definition.problem import nearest

Arguments = dict[str, nodes.Expr]


class Function(NamedTuple):
    """A function: how it is written, its parameters in order, how many of them are required, and what writes it."""

    usage: str
    parameters: tuple[str, ...]
    required: int
    write: Callable[[Writer, Arguments, int], Code]


def call(writer: Writer, node: Any, *, depth: int) -> Code:
    """A call of one of FUNCTIONS."""
    if not isinstance(node.node, nodes.Name):
        word = node.node.attr if isinstance(node.node, nodes.Getattr) else "this"
        return writer.refuse("unknown-function", f"`{word}(…)` cannot be called; filters are written `| {word}`")
    name = node.node.name
    function = FUNCTIONS.get(name)
    if function is None:
        return writer.refuse("unknown-function", f"`{name}(…)` is not a function{nearest(name, FUNCTIONS)}")
    arguments = _bound(writer, name, function, node)
    return NOTHING if arguments is None else function.write(writer, arguments, depth)


def _bound(writer: Writer, name: str, function: Function, node: Any) -> Arguments | None:
    usage = f"write `{name}({function.usage})`"
    if node.dyn_args is not None or node.dyn_kwargs is not None or len(node.args) > len(function.parameters):
        writer.refuse("arguments", f"too many arguments for `{name}`; {usage}")
        return None
    arguments: Arguments = dict(zip(function.parameters, node.args, strict=False))
    for keyword in node.kwargs:
        if keyword.key not in function.parameters or keyword.key in arguments:
            mend = nearest(keyword.key, function.parameters)
            writer.refuse("arguments", f"`{keyword.key}=` does not fit `{name}`{mend}; {usage}")
            return None
        arguments[keyword.key] = keyword.value
    if not all(parameter in arguments for parameter in function.parameters[: function.required]):
        writer.refuse("arguments", f"`{name}` needs more; {usage}")
        return None
    return arguments


def _constant(writer: Writer, arguments: Arguments, name: str, *, what: str) -> str | None:
    node = arguments[name]
    if isinstance(node, nodes.Const) and isinstance(node.value, str) and node.value:
        writer.value(node, 1)
        return node.value
    writer.refuse("arguments", f"{what} has to be text in quotes")
    return None


def _window(writer: Writer, arguments: Arguments) -> tuple[str, int] | None:
    """The code of `within` and its length in days, rounded up."""
    if "within" not in arguments:
        return "None", 0
    text = _constant(writer, arguments, "within", what="the duration after `within=`")
    if text is None:
        return None
    try:
        duration = parse_duration(text)
    except ValueError as error:
        writer.refuse("duration", str(error))
        return None
    days = window_days(duration)
    if not 0 < days <= WINDOW_DAYS_MAX:
        writer.refuse("duration", f"`within` has to be more than 0 and at most {WINDOW_DAYS_MAX}d, not {text}")
        return None
    writer.traits.update(ZONE_TRAITS)
    return writer.constant(duration), days


def _count(writer: Writer, arguments: Arguments, _depth: int) -> Code:
    event = _constant(writer, arguments, "event", what="the event's name")
    window = _window(writer, arguments)
    if event is None or window is None:
        return NOTHING
    writer.timed = True
    writer.counted.add((event, "", window[1]))
    return Code(f"count(s, {event!r}, {window[0]})", "count")


def _sum(writer: Writer, arguments: Arguments, _depth: int) -> Code:
    event = _constant(writer, arguments, "event", what="the event's name")
    name = _constant(writer, arguments, "property", what="the property's name")
    window = _window(writer, arguments)
    if event is None or name is None or window is None:
        return NOTHING
    writer.timed = True
    writer.counted.add((event, name, window[1]))
    return Code(f"total(s, {event!r}, {name!r}, {window[0]})", "count")


def _last(writer: Writer, arguments: Arguments, _depth: int) -> Code:
    event = _constant(writer, arguments, "event", what="the event's name")
    if event is None:
        return NOTHING
    writer.timed = True
    writer.traits.update(ZONE_TRAITS)
    writer.counted.add((event, "", 0))
    return Code(f"last(s, {event!r})", "time")


def _days_since(writer: Writer, arguments: Arguments, depth: int) -> Code:
    time = writer.value(arguments["time"], depth)
    writer.timed = True
    writer.traits.update(ZONE_TRAITS)
    return writer.tried(Code(f"days_since(s, {time.code})", "json"), time)


def _days_until(writer: Writer, arguments: Arguments, depth: int) -> Code:
    return _of_time(writer, arguments, depth, "days_until")


def _hours_until(writer: Writer, arguments: Arguments, depth: int) -> Code:
    return _of_time(writer, arguments, depth, "hours_until")


def _of_time(writer: Writer, arguments: Arguments, depth: int, name: str) -> Code:
    time = writer.value(arguments["time"], depth)
    writer.timed = True
    writer.traits.update(ZONE_TRAITS)
    return writer.tried(Code(f"{name}(s, {time.code})", "json"), time)


def _date(writer: Writer, arguments: Arguments, depth: int) -> Code:
    time = writer.value(arguments["time"], depth)
    writer.traits.update(ZONE_TRAITS)
    if isinstance(arguments["time"], nodes.Name) and arguments["time"].name == "now":
        return Code("today(s)", "time")
    return writer.tried(Code(f"date(s, {time.code})", "time"), time)


def _in_segment(writer: Writer, arguments: Arguments, _depth: int) -> Code:
    name = _constant(writer, arguments, "name", what="the segment's name")
    if name is None:
        return NOTHING
    writer.segments.add(name)
    return Code(f"({name!r} in s.segments)")


def _bucket(writer: Writer, arguments: Arguments, _depth: int) -> Code:
    salt = _constant(writer, arguments, "salt", what="the salt")
    return NOTHING if salt is None else Code(f"bucket(s, {salt!r})", "count")


FUNCTIONS = {
    "count": Function("'EVENT', within='7d'", ("event", "within"), 1, _count),
    "sum": Function("'EVENT', 'PROPERTY', within='7d'", ("event", "property", "within"), 2, _sum),
    "last": Function("'EVENT'", ("event",), 1, _last),
    "days_since": Function("TIME", ("time",), 1, _days_since),
    "days_until": Function("TIME", ("time",), 1, _days_until),
    "hours_until": Function("TIME", ("time",), 1, _hours_until),
    "date": Function("TIME", ("time",), 1, _date),
    "in_segment": Function("'NAME'", ("name",), 1, _in_segment),
    "bucket": Function("'SALT'", ("salt",), 1, _bucket),
}
