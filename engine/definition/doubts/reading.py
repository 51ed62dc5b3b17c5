"""What an expression names and compares, read from its tree: for warnings, never to run it.

Invariant: a text that is not an expression gives nothing; nothing here raises for what somebody wrote.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import msgspec
from jinja2 import nodes

from engine.core.reading.numbers import exact_number
from engine.definition.doubts.vocabulary import NUMBERS
from engine.definition.expression.parse import BadExpression, parse_tree

_HOLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_OF_EVENTS = frozenset({"id", "name", "time", "properties"})
_COUNTED = frozenset({"count", "sum", "last"})
_NUMBER_CALLS = frozenset({"count", "sum", "days_since", "days_until", "hours_until", "bucket"})
_NUMBER_FILTERS = frozenset({"int", "float", "round", "length", "abs", "count"})
_ARITHMETIC = (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow)
_ORDERS = frozenset({"lt", "lteq", "gt", "gteq"})


class NameUsed(msgspec.Struct, frozen=True, order=True):
    """A name in an expression. `kind` is `event`, `property` or `trait`."""

    kind: str
    name: str


def trees(text: str) -> tuple[nodes.Expr, ...]:
    """The expression, or those between the braces of a text; none when it cannot be read."""
    parts = _HOLE.findall(text) if "{{" in text else [text]
    return tuple(tree for part in parts if (tree := _tree(part)) is not None)


@functools.lru_cache(maxsize=2048)
def _tree(text: str) -> nodes.Expr | None:
    try:
        return parse_tree(text)
    except BadExpression:
        return None


def path_of(node: nodes.Node) -> tuple[str, ...]:
    """`customer.address.city` as its steps; empty for anything else."""
    steps: list[str] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        if isinstance(node, nodes.Getattr):
            steps.append(node.attr)
        elif isinstance(node.arg, nodes.Const):
            steps.append(str(node.arg.value))
        else:
            return ()
        node = node.node
    return (node.name, *reversed(steps)) if isinstance(node, nodes.Name) and steps else ()


def names_in(node: nodes.Node) -> Iterator[NameUsed]:
    """Every event, property and trait that is named, once a place."""
    path = path_of(node)
    if path:
        yield from _of_path(path)
        return
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in _COUNTED:
        given = [*node.args, *(keyword.value for keyword in node.kwargs if keyword.key in ("event", "property"))]
        words = [each.value for each in given if isinstance(each, nodes.Const) and isinstance(each.value, str)]
        yield from (NameUsed("event", word) for word in words[:1])
        if node.node.name == "sum":
            yield from (NameUsed("property", word.partition(".")[0]) for word in words[1:2])
        return
    for child in node.iter_child_nodes():
        yield from names_in(child)


def _of_path(path: tuple[str, ...]) -> Iterator[NameUsed]:
    if path[0] == "customer":
        yield NameUsed("trait", path[1])
    if path[:2] == ("enrollment", "event"):
        path = path[1:]
    if path[0] != "event" or len(path) == 1:
        return
    if path[1] == "properties" and len(path) > 2:  # noqa: PLR2004 - event, properties and the name
        path = path[1:]
    if path[1] not in _OF_EVENTS:
        yield NameUsed("property", path[1])


# ------------------------------------------------------------------------------------------------- numbers in quotes


def quoted_numbers(node: nodes.Node, numbers: frozenset[tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Numbers in quotes beside a number: what they stand beside, and the number. `numbers`: paths that hold numbers."""
    for compare in _comparisons(node):
        left = compare.expr
        for operand in compare.ops:
            yield from _pair(left, operand.expr, operand.op, numbers)
            left = operand.expr
    for calculation in _calculations(node):
        for one, other in ((calculation.left, calculation.right), (calculation.right, calculation.left)):
            if (number := _quoted(one)) and _is_number(other, numbers):
                yield spelt(other), number


def _pair(
    left: nodes.Expr, right: nodes.Expr, word: str, numbers: frozenset[tuple[str, ...]]
) -> Iterator[tuple[str, str]]:
    listed = right.items if word in ("in", "notin") and isinstance(right, nodes.List | nodes.Tuple) else [right]
    for one, other in ((left, each) for each in listed):
        for text, beside in ((one, other), (other, one)):
            number = _quoted(text)
            if number and not _quoted(beside) and (word in _ORDERS or _is_number(beside, numbers)):
                yield spelt(beside), number


def _quoted(node: nodes.Expr) -> str:
    """The number that stands there in quotes; a text with a leading zero is a code, not a number."""
    if not (isinstance(node, nodes.Const) and isinstance(node.value, str)):
        return ""
    text = node.value.strip()
    if exact_number(text) is None or re.match(r"[-+]?0\d", text):
        return ""
    return text


def _is_number(node: nodes.Expr, numbers: frozenset[tuple[str, ...]]) -> bool:
    if isinstance(node, nodes.Const):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    if isinstance(node, nodes.Neg | nodes.Pos):
        return _is_number(node.node, numbers)
    if isinstance(node, nodes.Call):
        return isinstance(node.node, nodes.Name) and node.node.name in _NUMBER_CALLS
    if isinstance(node, nodes.Filter):
        if node.name == "default" and node.node is not None:
            return _is_number(node.node, numbers)
        return node.name in _NUMBER_FILTERS
    if isinstance(node, _ARITHMETIC):
        return True
    path = _plain(path_of(node))
    return path in numbers or (path[:1] == ("event",) and path[-1] in NUMBERS)


def _plain(path: tuple[str, ...]) -> tuple[str, ...]:
    return path[1:] if path[:2] == ("enrollment", "event") else path


def number_paths(node: nodes.Node) -> Iterator[tuple[str, ...]]:
    """The paths that are compared with numbers."""
    for compare in _comparisons(node):
        sides = [compare.expr, *(operand.expr for operand in compare.ops)]
        if any(_is_number(side, frozenset()) for side in sides):
            yield from (path for side in sides if (path := _plain(path_of(side))))
    for calculation in _calculations(node):
        sides = [calculation.left, calculation.right]
        if any(_is_number(side, frozenset()) for side in sides):
            yield from (path for side in sides if (path := _plain(path_of(side))))


def _comparisons(node: nodes.Node) -> Iterator[nodes.Compare]:
    if isinstance(node, nodes.Compare):
        yield node
    yield from node.find_all(nodes.Compare)


def _calculations(node: nodes.Node) -> Iterator[nodes.BinExpr]:
    own = [node] if isinstance(node, nodes.BinExpr) else []
    yield from (each for each in (*own, *node.find_all(nodes.BinExpr)) if isinstance(each, _ARITHMETIC))


def spelt(node: nodes.Node) -> str:
    """A value as its author would name it."""
    path = path_of(node)
    if path:
        return ".".join(path)
    if isinstance(node, nodes.Const):
        return repr(node.value)
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name):
        return f"{node.node.name}(…)"
    return "a number"
