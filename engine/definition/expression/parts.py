"""Takes a condition apart, for whoever explains it: each `and`, `or` and `not`, and below them what is compared.

Invariant: every part is compiled as the whole is, so that its value is the value it has inside the whole.
"""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from jinja2 import nodes

from engine.core.expression.condition import Expression
from engine.definition.expression.generated import NAMES
from engine.definition.expression.parse import BadExpression, compile_tree, parse_tree

PARTS_MAX = 60
_SIGNS = {
    "eq": "==", "ne": "!=", "lt": "<", "lteq": "<=", "gt": ">", "gteq": ">=", "in": "in", "notin": "not in",
}  # fmt: skip
_BINARY = {
    nodes.Add: "+", nodes.Sub: "-", nodes.Mul: "*", nodes.Div: "/", nodes.FloorDiv: "//", nodes.Mod: "%", nodes.Pow: "**",
}  # fmt: skip
_WORDS = {nodes.And: "and", nodes.Or: "or", nodes.Not: "not"}


class ConditionPart(msgspec.Struct, frozen=True):
    """A condition or a piece of one. `word` is `and`, `or` or `not` where `parts` are joined by it, else ""."""

    text: str
    expression: Expression
    word: str = ""
    parts: tuple[ConditionPart, ...] = ()
    operands: tuple[tuple[str, Expression], ...] = ()
    """What a comparison looks at, other than constants: how it is written, and its value."""


@functools.lru_cache(maxsize=512)
def parts_of(text: str, names: frozenset[str] = NAMES) -> ConditionPart:
    """The parts of a condition that compiles. Raises BadExpression, as `compile_expression` does."""
    return _part(parse_tree(text), names, [PARTS_MAX])


def _part(node: nodes.Expr, names: frozenset[str], left: list[int]) -> ConditionPart:
    left[0] -= 1
    text = written(node)
    compiled = compile_tree(text, node, names)
    word = _WORDS.get(type(node), "")
    if left[0] <= 0:
        return ConditionPart(text, compiled)
    if isinstance(node, nodes.Not):
        return ConditionPart(text, compiled, word, (_part(node.node, names, left),))
    if isinstance(node, nodes.And | nodes.Or):
        return ConditionPart(text, compiled, word, tuple(_part(each, names, left) for each in _chain(node)))
    return ConditionPart(text, compiled, operands=tuple(_operands(node, names)))


def _chain(node: nodes.Expr) -> list[nodes.Expr]:
    """The operands of `a and b and c`, which Jinja nests to the left."""
    kind, found = type(node), []
    while isinstance(node, kind) and isinstance(node, nodes.And | nodes.Or):
        found.append(node.right)
        node = node.left
    return [node, *reversed(found)]


def _operands(node: nodes.Expr, names: frozenset[str]) -> list[tuple[str, Expression]]:
    if isinstance(node, nodes.Compare):
        sides = [node.expr, *(each.expr for each in node.ops)]
    elif isinstance(node, nodes.Test) and node.node is not None:
        sides = [node.node]
    else:
        return []
    found: list[tuple[str, Expression]] = []
    for side in sides:
        if isinstance(side, nodes.Const | nodes.List | nodes.Tuple):
            continue
        text = written(side)
        try:
            found.append((text, compile_tree(text, side, names)))
        except BadExpression:  # a side that is not a value by itself
            continue
    return found


def written(node: nodes.Node) -> str:
    """The expression as somebody would write it."""
    match node:
        case nodes.Const():
            return repr(node.value) if isinstance(node.value, str) else _constant(node.value)
        case nodes.Name():
            return node.name
        case nodes.Getattr():
            return f"{_bracketed(node.node)}.{node.attr}"
        case nodes.Getitem():
            return f"{_bracketed(node.node)}[{written(node.arg)}]"
        case nodes.List() | nodes.Tuple():
            return "[" + ", ".join(written(each) for each in node.items) + "]"
        case nodes.Not():
            return f"not {_bracketed(node.node)}"
        case nodes.And() | nodes.Or():
            return f" {_WORDS[type(node)]} ".join(_bracketed(each) for each in _chain(node))
        case nodes.Compare():
            signs = "".join(f" {_SIGNS[each.op]} {_bracketed(each.expr)}" for each in node.ops)
            return f"{_bracketed(node.expr)}{signs}"
        case nodes.CondExpr():
            otherwise = "" if node.expr2 is None else f" else {_bracketed(node.expr2)}"
            return f"{_bracketed(node.expr1)} if {_bracketed(node.test)}{otherwise}"
        case nodes.Concat():
            return " ~ ".join(_bracketed(each) for each in node.nodes)
        case nodes.Neg() | nodes.Pos():
            return f"{'-' if isinstance(node, nodes.Neg) else '+'}{_bracketed(node.node)}"
        case _:
            return _written_call(node)


def _written_call(node: nodes.Node) -> str:
    match node:
        case nodes.Filter():
            arguments = _arguments(node)
            subject = "" if node.node is None else _bracketed(node.node)
            return f"{subject} | {node.name}{f'({arguments})' if arguments else ''}"
        case nodes.Test():
            arguments = _arguments(node)
            return f"{_bracketed(node.node)} is {node.name}{f'({arguments})' if arguments else ''}"
        case nodes.Call():
            return f"{written(node.node)}({_arguments(node)})"
        case nodes.BinExpr():
            return f"{_bracketed(node.left)} {_BINARY[type(node)]} {_bracketed(node.right)}"
        case _:
            return "…"


def _arguments(node: Any) -> str:
    named = [f"{each.key}={written(each.value)}" for each in node.kwargs]
    return ", ".join([*(written(each) for each in node.args), *named])


def _bracketed(node: nodes.Node) -> str:
    """In brackets where it would otherwise be read differently."""
    alone = nodes.Const | nodes.Name | nodes.Getattr | nodes.Getitem | nodes.Call | nodes.List | nodes.Tuple
    return written(node) if isinstance(node, alone) else f"({written(node)})"


def _constant(value: object) -> str:
    return (
        {True: "true", False: "false", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)
    )
