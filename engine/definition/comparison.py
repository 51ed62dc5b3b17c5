"""Comparisons in expressions, written out in place where one side is a constant, because they are most of what runs.

Invariant: what is written out gives what the function of `engine.core.operators` gives (a property test compares them).
"""

from __future__ import annotations

from typing import Any

from jinja2 import nodes

from engine.core.reading.numbers import exact_number
from engine.definition.generated import Code, Writer, as_stored

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
            return Code(f"now_compared(s, {word!r}, {writer.value(other, depth).code})")
        call = isinstance(side, nodes.Call) and isinstance(side.node, nodes.Name) and side.node.name == "days_since"
        limit = _number(other)
        if call and limit is not None:
            code = writer.value(side, depth).code
            writer.value(other, depth)
            inner = code.removeprefix("days_since(s, ").removesuffix(")")
            return Code(f"days_since_compared(s, {word!r}, {inner}, {limit!r})")
    return None


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
