"""Made-up data for previews: whatever a template reads has some value of a fitting kind.

Invariant: what the caller gives is kept; only what is missing is made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jinja2 import nodes

from engine.dispatch.templates.grammar import walk

MOMENT: Final = "2026-03-27T09:00:00Z"
NUMBER: Final = 19.9
ADDRESSES: Final = (
    "unsubscribe_url", "preferences_url", "view_url", "confirm_url", "access_url", "agree_url", "stop_url",
)  # fmt: skip
"""Names of the addresses of our own pages, as `engine.dispatch.links.tokens` makes them."""
LOOPS, KINDS, TEXTS = range(3)
_NUMERIC: Final = frozenset({"money", "number", "round", "int", "float", "abs", "sum", "_op"})
_TEXTS: Final = {
    "currency": "EUR",
    "locale": "en",
    "timezone": "UTC",
    "url": "https://example.com/page",
    "email": "ana@example.com",
}
_TIMES: Final = frozenset({"date", "time"})


def sample_context(trees: Sequence[nodes.Node], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a context for the trees. Text gets the name of its member, amounts a number, dates a moment."""
    context: dict[str, Any] = {name: f"https://example.com/{name}" for name in ADDRESSES}
    context |= {"now": MOMENT, "customer": {"segments": []}, "event": {}, "enrollment": {}, "data": {}}
    for stage in (LOOPS, KINDS, TEXTS):
        for tree in trees:
            _fill(tree, context, {}, stage)
    return {name: _merged(context.get(name), given.get(name)) for name in (*context, *given)}


def _fill(node: nodes.Node, context: dict[str, Any], loops: Mapping[str, Any], stage: int) -> None:
    """Fill in one stage: lists that are looped over first, then amounts and dates, then all the rest as text."""
    if isinstance(node, nodes.With):
        loops = {**loops, **_aliases(node, context, loops)}
    if isinstance(node, nodes.For) and isinstance(node.target, nodes.Name):
        sources = (_look_up(found, loops) for found in walk(node.iter))
        source = next((found for found in sources if found is not None), None)
        items = _put(source, [{}], context, loops) if source is not None else None
        if isinstance(items, list) and items:
            loops = {**loops, node.target.name: items[0]}
    if isinstance(node, nodes.Filter) and node.node is not None:
        kind = NUMBER if node.name in _NUMERIC else MOMENT if node.name in _TIMES else None
        if stage == KINDS and kind is not None:
            for child in [node.node, *node.args] if node.name == "_op" else [node.node]:
                if (found := _innermost(child)) is not None:
                    _put(found, kind, context, loops)
        elif stage == TEXTS and node.name == "_path":
            _put(node, _text(str(_names(node)[-1])), context, loops)
    for inner in node.iter_child_nodes():
        _fill(inner, context, loops, stage)


def _innermost(node: nodes.Node | None) -> nodes.Filter | None:
    """Return the look-up that a row of filters starts with: `x.y | default(1)` is a number as `x.y` is."""
    while isinstance(node, nodes.Filter) and node.name != "_path":
        node = node.node
    return node if isinstance(node, nodes.Filter) else None


def _aliases(node: nodes.With, context: Mapping[str, Any], loops: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the arguments of a macro stand for: data that is there already, or the look-up that was given."""
    found: dict[str, Any] = {}
    for target, value in zip(node.targets, node.values, strict=True):
        if isinstance(target, nodes.Name):
            name = value.name if isinstance(value, nodes.Name) else ""
            found[target.name] = loops.get(name, context.get(name)) if name else _look_up(value, loops)
    return found


def _look_up(node: nodes.Node, loops: Mapping[str, Any]) -> nodes.Filter | None:
    if isinstance(node, nodes.Name):
        node = loops.get(node.name, node)
    return node if isinstance(node, nodes.Filter) and node.name == "_path" else None


def _text(name: str) -> str:
    kind = name.lower().rsplit("_", 1)[-1]
    return _TEXTS.get(kind, name.replace("_", " "))


def _names(node: nodes.Filter) -> tuple[Any, ...]:
    first = node.args[0]
    assert isinstance(first, nodes.Const), "the rewriter writes the links as a constant"
    return tuple(first.value)


def _put(node: nodes.Filter, value: Any, context: dict[str, Any], loops: Mapping[str, Any]) -> Any:
    """Give the member that a look-up reads a value, unless it has one; return what it has then."""
    if not isinstance(node.node, nodes.Name):
        return None
    root = loops.get(node.node.name, context.get(node.node.name))
    *names, last = _names(node)
    for name in names:
        if not isinstance(root, dict):
            return None
        root = root.setdefault(name, {})
    return root.setdefault(last, value) if isinstance(root, dict) else None


def _merged(made: Any, given: Any) -> Any:
    if isinstance(made, Mapping) and isinstance(given, Mapping):
        return {**made, **{name: _merged(made.get(name), value) for name, value in given.items()}}
    return made if given is None else given
