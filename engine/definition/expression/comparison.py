"""Comparisons in expressions, written out in place where one side is a constant, because they are most of what runs.

Invariant: what is written out gives what the function of `engine.core.expression.comparison` gives (a property test compares).
"""

from __future__ import annotations

import re
from typing import Any

from jinja2 import nodes

from engine.core.expression.moments import span_of
from engine.core.reading.numbers import exact_number
from engine.core.time.schedule import Duration
from engine.core.time.zone import parse_time
from engine.definition.expression.generated import ZONE_TRAITS, Code, Writer, as_stored

_COMPARE = {
    "eq": "eq",
    "ne": "ne",
    "lt": "lt",
    "lteq": "le",
    "gt": "gt",
    "gteq": "ge",
    "in": "contains",
    "notin": "lacks",
}
_FLIPPED = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_CONSTANTS = ("number", "text", "bool")
_ORDERS = ("lt", "le", "gt", "ge")
_NOW = re.compile(r"now(?:\s*([+-])\s*['\"]([^'\"]*)['\"])?")
_UNTIL = ("days_until", "hours_until")


def compare(writer: Writer, node: Any, *, depth: int) -> Code:
    """`a < b`, and chains such as `1 <= a < 5`, whose middle is asked once."""
    left_node = node.expr
    left: Code | None = None
    parts = []
    for index, operand in enumerate(node.ops):
        operator = _COMPARE[operand.op]
        if left is None and index == len(node.ops) - 1:
            timed = _timed(writer, operator, (left_node, operand.expr), depth)
            if timed is not None:
                return timed
        if left is None:
            left = writer.value(left_node, depth)
        right = writer.value(operand.expr, depth)
        if index < len(node.ops) - 1 and right.kind not in _CONSTANTS:
            name = writer.temporary()
            parts.append(_general(operator, left, Code(f"({name} := {right.code})")))
            left = Code(name, right.kind)
            continue
        parts.append(_pair(writer, operator, left, right))
        left = right
    return Code(parts[0] if len(parts) == 1 else "(" + " and ".join(parts) + ")")


def _timed(writer: Writer, operator: str, sides: tuple[nodes.Expr, nodes.Expr], depth: int) -> Code | None:
    """Comparisons of `now` and of `days_since(…)` know the exact moment at which they change."""
    if operator not in _FLIPPED:
        return None
    for (side, other), word in zip((sides, sides[::-1]), (operator, _FLIPPED[operator]), strict=True):
        if isinstance(side, nodes.Name) and side.name == "now":
            writer.value(side, depth)
            limit_code = writer.value(other, depth)
            _comparable(writer, word, limit_code)
            return Code(f"now_compared(s, {word!r}, {limit_code.code})")
        span = _shift(side)
        if span is not None and word in _ORDERS:
            writer.value(side, depth)
            limit_code = writer.value(other, depth)
            _comparable(writer, word, limit_code)
            return Code(f"shifted_now_compared(s, {word!r}, {writer.constant(span)}, {limit_code.code})")
        called = side.node.name if isinstance(side, nodes.Call) and isinstance(side.node, nodes.Name) else ""
        limit = _number(other)
        if limit is not None and word in _ORDERS and (found := _hours_left(writer, side, word, limit, depth)):
            return found
        if limit is None or not (called == "days_since" or (called in _UNTIL and word in _ORDERS)):
            continue
        code = writer.value(side, depth).code
        writer.value(other, depth)
        inner = code.removeprefix(f"{called}(s, ").removesuffix(")")
        if called == "days_since":
            return Code(f"days_since_compared(s, {word!r}, {inner}, {limit!r})")
        return Code(f"until_compared(s, {called.removesuffix('_until')!r}, {word!r}, {inner}, {limit!r})")
    return None


def _hours_left(writer: Writer, side: nodes.Expr, word: str, limit: float, depth: int) -> Code | None:
    """`TIME - now < 48` and `now - TIME < 48`."""
    if not isinstance(side, nodes.Sub):
        return None
    for time, other, operator, hours in (
        (side.left, side.right, word, limit), (side.right, side.left, _FLIPPED[word], -limit)
    ):  # fmt: skip
        constant = isinstance(time, nodes.Const) and isinstance(time.value, str) and span_of(time.value) is not None
        if isinstance(other, nodes.Name) and other.name == "now" and not constant:
            writer.value(side, depth)
            return Code(f"hours_left_compared(s, {operator!r}, {writer.value(time, depth).code}, {hours!r})")
    return None


def _shift(node: nodes.Expr) -> Duration | None:
    """The constant by which `now` is moved: of `now + '3d'`, `now - '2h'`."""
    if not isinstance(node, nodes.Add | nodes.Sub):
        return None
    time, text = node.left, node.right
    if isinstance(node, nodes.Add) and isinstance(text, nodes.Name):
        time, text = text, time
    if not (isinstance(time, nodes.Name) and time.name == "now" and isinstance(text, nodes.Const)):
        return None
    span = span_of(text.value) if isinstance(text.value, str) else None
    return span if span is None or isinstance(node, nodes.Add) else -span


def now_shift(text: str) -> Duration | None:
    """How far from now a moment is that is written as `now` or `now + '3d'`; None when it is anything else."""
    match = _NOW.fullmatch(text.strip())
    if match is None:
        return None
    span = Duration() if match[2] is None else span_of(match[2])
    return span if span is None or match[1] != "-" else -span


def _comparable(writer: Writer, operator: str, other: Code) -> None:
    """Doubts a constant beside a time that no time can be compared with."""
    if other.kind == "text" and parse_time(other.constant) is None:
        writer.doubt(f"{other.constant!r} is not a time; write it like 2026-12-01 or 2026-12-01T09:00")
    elif other.kind in ("number", "bool") and operator in _ORDERS:
        writer.doubt("a time cannot be compared with a number; `days_since(TIME)` and `days_until(TIME)` are numbers")


def times(writer: Writer, word: str, sides: tuple[Code, Code]) -> str:
    """What kind of value a calculation gives, with a doubt where a time stands beside what does not go with it."""
    span = any(side.kind == "text" and span_of(side.constant) is not None for side in sides)
    time = any(side.kind == "time" for side in sides)
    if not (time or span):
        return (
            "json" if word not in ("add", "sub") or any(side.kind in ("number", "count") for side in sides) else "any"
        )
    writer.traits.update(ZONE_TRAITS)
    if time and word not in ("add", "sub"):
        writer.doubt("a time can only be added to and subtracted from")
        return "any"
    for side in sides if time else ():
        if side.kind in ("number", "count", "bool"):
            writer.doubt("a time and a number cannot be added; write a duration such as '2h' or '3d'")
        elif (
            side.kind == "text" and span_of(side.constant) is None and (word == "add" or not parse_time(side.constant))
        ):
            writer.doubt(f"{side.constant!r} is not a duration; write it like '90m', '2h' or '3d'")
    if all(side.kind == "time" for side in sides):
        if word == "add":
            writer.doubt("two times cannot be added; their difference is in hours")
        return "json"
    return "time" if word in ("add", "sub") and span else "any"


def _number(node: nodes.Expr) -> float | None:
    if isinstance(node, nodes.Const) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    return None


def _general(operator: str, left: Code, right: Code) -> str:
    return f"{operator}(s, {left.code}, {right.code})"


def _pair(writer: Writer, operator: str, left: Code, right: Code) -> str:
    if operator not in _FLIPPED:
        return _general(operator, left, right)
    if left.kind in _CONSTANTS and right.kind not in _CONSTANTS:
        left, right, operator = right, left, _FLIPPED[operator]
    for side, other in ((left, right), (right, left)):
        if side.kind == "time":
            _comparable(writer, operator, other)
    sign = _SIGNS[operator]
    if left.kind == "count" and right.kind in ("number", "count"):
        return f"({left.code} {sign} {right.code})"
    if left.kind != "json":
        return _general(operator, left, right)
    if right.kind == "json":
        return _two_paths(writer, operator, left, right)
    if right.kind not in _CONSTANTS:
        return _general(operator, left, right)
    return _with_constant(writer, operator, left, right)


def _two_paths(writer: Writer, operator: str, left: Code, right: Code) -> str:
    if operator not in ("eq", "ne"):  # two texts may be two numbers
        return _general(operator, left, right)
    one, other = writer.temporary(), writer.temporary()
    both_text = f"({one} := {left.code}).__class__ is ({other} := {right.code}).__class__ is str"
    return f"({one} {_SIGNS[operator]} {other} if {both_text} else {operator}(s, {one}, {other}))"


def _with_constant(writer: Writer, operator: str, left: Code, right: Code) -> str:
    if (
        right.kind == "text" and exact_number(right.constant) is not None
    ):  # it may stand beside a number, or a text that is one
        return _general(operator, left, right)
    sign, name = _SIGNS[operator], writer.temporary()
    taken = f"({name} := {left.code})"
    if operator == "eq":
        stored = as_stored(left.code) if right.code != "''" else left.code
        if right.kind == "number":
            same = f"({name} := {stored}) == {right.code} and {name}.__class__ is not bool"
            return f"({same} or {name}.__class__ is str and eq(s, {name}, {right.code}))"
        return f"({stored} {'is' if right.kind == 'bool' else '=='} {right.code})"
    if operator == "ne":
        if right.kind == "number":
            differs = f"{name} != {right.code} or {name}.__class__ is bool"
            differs = f"(ne(s, {name}, {right.code}) if {name}.__class__ is str else {differs})"
            return f"({taken} is not None and {differs})"
        return f"({taken} is not None and {name} {'is not' if right.kind == 'bool' else '!='} {right.code})"
    if right.kind == "number":
        kind = writer.temporary()
        taken = f"({name} := {as_stored(left.code)})"
        quick = f"({kind} := {taken}.__class__) is float or {kind} is int"
    elif right.kind == "text":
        quick = f"{taken}.__class__ is str"
    else:
        return _general(operator, left, right)
    return f"({name} {sign} {right.code} if {quick} else {operator}(s, {name}, {right.code}))"
