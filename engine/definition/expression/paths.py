"""Paths in expressions: `event.cart.items[0].sku`, `customer.birthday.month`, `enrollment.event.cart_id`, `now.hour`.

Invariant: every step of a path is a constant of the source, so nothing is looked up by computed text.
"""

from __future__ import annotations

from typing import Any

from jinja2 import nodes

from engine.core.expression.comparison import TIME_PARTS
from engine.core.reading.spelling import OTHER
from engine.definition.expression.generated import NAMES, NOTHING, ZONE_TRAITS, Code, Writer, as_given
from engine.definition.problem import nearest

STEPS_MAX = 20
_ENROLLMENT_FIELDS = ("event", "entered_at", "key")

Step = tuple[str | int, bool]
"""The key, and whether it was written with a dot: `event.name` is the event's name, `event["name"]` its property."""


def path(writer: Writer, node: Any, *, depth: int) -> Code:
    """A chain of constant steps from one of the names, or from a call or another value."""
    steps: list[Step] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        if isinstance(node, nodes.Getattr):
            steps.append((node.attr, True))
        elif isinstance(node.arg, nodes.Const) and type(node.arg.value) in (str, int):
            steps.append((node.arg.value, False))
        elif (
            isinstance(node.arg, nodes.Neg)
            and isinstance(node.arg.node, nodes.Const)
            and type(node.arg.node.value) is int
        ):
            steps.append((-node.arg.node.value, False))
        else:
            return writer.refuse("expression", "only a number or text in quotes can go between [ ]")
        node = node.node
    if len(steps) > STEPS_MAX:
        return writer.refuse("expression-too-deep", f"a path has at most {STEPS_MAX} steps")
    steps.reverse()
    if not isinstance(node, nodes.Name) or node.name not in NAMES:
        return _given(_walk(writer, writer.value(node, depth), steps))
    if not writer.known(node.name):
        return NOTHING
    (key, dotted), rest = steps[0], steps[1:]
    if node.name == "now":
        return _walk(writer, _now(writer, key), rest)
    if not isinstance(key, str):
        return writer.refuse("expression", f"`{node.name}[{key}]` is not possible; name a property")
    if node.name == "enrollment" and key == "event":
        if not rest or not isinstance(rest[0][0], str):
            mend = "name something of it, such as `enrollment.event.cart_id`"
            return writer.refuse("expression", f"`enrollment.event` alone is not a value; {mend}")
        return _given(_walk(writer, _cause(writer, rest[0][0], dotted=rest[0][1]), rest[1:]))
    if node.name == "enrollment":
        return _walk(writer, _enrollment(writer, key), rest)
    root = _event if node.name == "event" else _customer
    return _given(_walk(writer, root(writer, key, dotted=dotted), rest))


def _given(code: Code) -> Code:
    return Code(as_given(code.code), "json") if code.kind == "json" else code


def _member(data: str, key: str) -> str:
    """The code of one member of an object, in either spelling where the name is a reserved one."""
    other = OTHER.get(key)
    if other is None:
        return f"{data}.get({key!r})"
    return f"({data}.get({key!r}) if {data}.get({key!r}) is not None else {data}.get({other!r}))"


def _walk(writer: Writer, start: Code, steps: list[Step]) -> Code:
    code = start
    for index, (key, _) in enumerate(steps):
        if key in TIME_PARTS:
            writer.traits.update(ZONE_TRAITS)
        elif index == 0 and start.kind == "time":
            return writer.refuse("unknown-name", f"`.{key}` of a time is not known{nearest(str(key), TIME_PARTS)}")
        code = Code(f"item(s, {code.code}, {key!r})", "json")
    return code


def _now(writer: Writer, key: str | int) -> Code:
    if key not in TIME_PARTS:
        return writer.refuse("unknown-name", f"`now.{key}` is not known{nearest(str(key), TIME_PARTS)}")
    writer.timed = True
    writer.traits.update(ZONE_TRAITS)
    return Code(f"now_part(s, {key!r})", "count")


def _time(writer: Writer, code: str) -> Code:
    writer.traits.update(ZONE_TRAITS)
    return Code(code, "time")


def _event(writer: Writer, key: str, *, dotted: bool) -> Code:
    if dotted and key in ("name", "id"):
        return Code(f"(s.event_{key} or None)", "json")
    if dotted and key == "time":
        return _time(writer, "(moment(s, s.event_ms) if s.event_name else None)")
    if dotted and key == "properties":
        return Code("s.properties", "json")
    return Code(_member("s.properties", key), "json")


def _customer(writer: Writer, key: str, *, dotted: bool) -> Code:
    if dotted and key == "id":
        return Code("s.customer_id", "json")
    if dotted and key == "segments":
        writer.segments.add("*")
        return Code("list(s.segments)", "json")
    writer.traits.update({key, OTHER.get(key, key)})
    return Code(_member("s.traits", key), "json")


def _enrollment(writer: Writer, key: str) -> Code:
    if key == "entered_at":
        return _time(writer, "enrollment_value(s, 'entered_at')")
    if key == "key":
        return Code("enrollment_value(s, 'key')", "json")
    return writer.refuse("unknown-name", f"`enrollment.{key}` is not known{nearest(key, _ENROLLMENT_FIELDS)}")


def _cause(writer: Writer, key: str, *, dotted: bool) -> Code:
    if dotted and key in ("name", "id"):
        return Code(f"enrollment_value(s, {key!r})", "json")
    if dotted and key == "time":
        return _time(writer, "enrollment_value(s, 'time')")
    if dotted and key == "properties":
        return Code("(s.enrollment.event.properties if s.enrollment is not None else None)", "json")
    # Written out because it is half of the commonest exit rule.
    name = writer.temporary()
    found = _member(f"{name}.event.properties", key)
    return Code(f"({found} if ({name} := s.enrollment) is not None else None)", "json")
