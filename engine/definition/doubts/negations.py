"""Finds negations over traits that may be missing: `customer.country != 'DE'` leaves out everybody without a country.

Invariant: nothing is said where the same expression asks whether the trait is there, or gives a value for it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from jinja2 import nodes

from engine.definition.doubts.reading import path_of

_NEGATIVE = {"ne": "!=", "notin": "not in"}
_ALWAYS = frozenset({"id", "segments"})
"""Of every customer."""
_PRESENT, _ABSENT = True, False

Paths = frozenset[tuple[str, ...]]


class Negation(msgspec.Struct, frozen=True):
    """`sign` is `!=`, `not in` or `not (…)`; `trait` as it is written, such as `customer.country`."""

    sign: str
    trait: str


def negations(tree: nodes.Node) -> Iterator[Negation]:
    """Each trait and sign of the expression once, in the order they stand there."""
    yield from dict.fromkeys(_in(tree, frozenset()))


def _in(node: nodes.Node, guarded: Paths) -> Iterator[Negation]:
    if isinstance(node, nodes.And | nodes.Or):
        said = _PRESENT if isinstance(node, nodes.And) else _ABSENT
        operands = list(_chain(node))
        guarded = guarded.union(*(_asked(operand, said) for operand in operands))
        for operand in operands:
            yield from _in(operand, guarded)
    elif isinstance(node, nodes.CondExpr):
        yield from _in(node.test, guarded)
        yield from _in(node.expr1, guarded | _asked(node.test, _PRESENT))
        if node.expr2 is not None:
            yield from _in(node.expr2, guarded | _asked(node.test, _ABSENT))
    elif isinstance(node, nodes.Not):
        yield from _not(node, guarded)
    elif isinstance(node, nodes.Compare):
        yield from _compare(node, guarded)
    else:
        for child in node.iter_child_nodes():
            yield from _in(child, guarded)


def _compare(node: nodes.Compare, guarded: Paths) -> Iterator[Negation]:
    left = node.expr
    for operand in node.ops:
        if operand.op in _NEGATIVE and not _is_nothing(left) and not _is_nothing(operand.expr):
            for side in (left, operand.expr):
                yield from (Negation(_NEGATIVE[operand.op], ".".join(path)) for path in _traits(side, guarded))
        left = operand.expr


def _not(node: nodes.Not, guarded: Paths) -> Iterator[Negation]:
    """`not customer.x` means what it says; a comparison inside is false without a value, so that its opposite is true."""
    inside = node.node
    comparisons = [inside] if isinstance(inside, nodes.Compare) else []
    if isinstance(inside, nodes.And | nodes.Or):
        # `not (a is not defined or a != 'x')`: what guards the inside guards the whole.
        operands = list(_chain(inside))
        comparisons = [each for each in operands if isinstance(each, nodes.Compare) and not _about_nothing(each)]
        others = [each for each in operands if each not in comparisons]
        guarded = guarded.union(*(_asked(each, said) for each in others for said in (_PRESENT, _ABSENT)))
    if not comparisons:
        yield from _in(inside, guarded)
        return
    for compare in comparisons:
        sides = [compare.expr, *(operand.expr for operand in compare.ops)]
        if not _about_nothing(compare):
            yield from (Negation("not (…)", ".".join(path)) for side in sides for path in _traits(side, guarded))


def _traits(node: nodes.Node, guarded: Paths) -> Iterator[tuple[str, ...]]:
    """The traits that a value is made of, without those that have a value for the case that they are missing."""
    path = path_of(node)
    if path:
        known = any(path[:length] in guarded for length in range(len(path), 1, -1))
        if path[0] == "customer" and path[1] not in _ALWAYS and not known:
            yield path
        return
    if isinstance(node, nodes.Filter) and node.name in ("default", "d"):
        return
    for child in node.iter_child_nodes():
        yield from _traits(child, guarded)


def _asked(node: nodes.Node, present: bool) -> Paths:  # noqa: FBT001 - one of two named constants
    """The traits that are there (or are not) when this holds, as its author knows."""
    if isinstance(node, nodes.Test):
        there = {"defined": True, "undefined": False, "none": False, "string": True, "number": True}.get(node.name)
        return frozenset({path_of(node.node)}) if there is present else frozenset()
    if isinstance(node, nodes.Not):
        return _asked(node.node, not present)
    if isinstance(node, nodes.And | nodes.Or):
        return frozenset().union(*(_asked(operand, present) for operand in _chain(node)))
    if isinstance(node, nodes.Compare):
        return _compared(node, present)
    return frozenset({path_of(node)}) if present and path_of(node) else frozenset()


def _compared(node: nodes.Compare, present: bool) -> Paths:  # noqa: FBT001 - one of two named constants
    if len(node.ops) == 1 and (_is_nothing(node.expr) or _is_nothing(node.ops[0].expr)):
        there = {"ne": True, "eq": False}.get(node.ops[0].op)
        return frozenset({path_of(node.expr), path_of(node.ops[0].expr)}) if there is present else frozenset()
    if present and not any(operand.op in _NEGATIVE for operand in node.ops):
        return frozenset(path_of(side) for side in (node.expr, *(operand.expr for operand in node.ops)))
    return frozenset()


def _about_nothing(node: nodes.Compare) -> bool:
    return any(_is_nothing(side) for side in (node.expr, *(operand.expr for operand in node.ops)))


def _is_nothing(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Const) and (node.value is None or node.value == "")


def _chain(node: nodes.Expr) -> Iterator[nodes.Expr]:
    kind = type(node)
    operands: list[nodes.Expr] = []
    while isinstance(node, kind):
        operands.append(node.right)  # type: ignore[attr-defined]
        node = node.left  # type: ignore[attr-defined]
    yield node
    yield from reversed(operands)
