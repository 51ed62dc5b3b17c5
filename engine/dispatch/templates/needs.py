"""What a template asks for that can be told from its text: `data` that it cannot do without, and filters whose constant arguments
must fail.

Invariant: never raises, and says nothing of a template that cannot be parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jinja2 import TemplateError as JinjaError
from jinja2 import nodes

from engine.dispatch.filters.list_filters import FILTERS
from engine.dispatch.filters.sandbox import TEXT
from engine.dispatch.filters.values import Budget, RenderFailure

_ASKING = frozenset({"default", "d"})
_SAMPLES = {
    "date": "2026-03-27T09:00:00Z", "time": "2026-03-27T09:00:00Z", "money": 1, "number": 1, "round": 1.5,
    "truncate": "text", "replace": "text",
}  # fmt: skip
"""Filter → a value that it can work with whatever its arguments, if these are right."""


def needed_data(text: str) -> dict[str, int]:
    """The names of `data` that have to be there, with the first line; not those that `default` or `if` asks about."""
    tree = _tree(text)
    found: dict[str, int] = {}
    if tree is not None:
        asked = {name for node in tree.find_all((nodes.If, nodes.CondExpr, nodes.Test)) for name in _asked_by(node)}
        for name, line in _used(tree):
            if name not in asked:
                found.setdefault(name, line)
    return found


def constants_that_fail(text: str) -> Iterator[tuple[int, str]]:
    """Line and reason of each filter that fails whatever it is given."""
    tree = _tree(text)
    for node in () if tree is None else tree.find_all(nodes.Filter):
        function = FILTERS.get(node.name)
        if (
            function is None
            or node.node is None
            or not (node.args or node.kwargs or isinstance(node.node, nodes.Const))
        ):
            continue
        values = [*node.args, *(keyword.value for keyword in node.kwargs)]
        if not all(isinstance(value, nodes.Const) for value in values):
            continue
        constant = isinstance(node.node, nodes.Const)
        if not constant and node.name not in _SAMPLES:
            continue
        value = node.node.value if isinstance(node.node, nodes.Const) else _SAMPLES[node.name]
        reason = _tried(function, value, node)
        if reason:
            yield node.lineno, f"the filter `{node.name}` fails for every customer: {reason}"


def _tried(function: Callable[..., object], value: object, node: nodes.Filter) -> str:
    arguments = [argument.value for argument in node.args if isinstance(argument, nodes.Const)]
    named = {str(each.key): each.value.value for each in node.kwargs if isinstance(each.value, nodes.Const)}
    try:
        function(Budget(locale="en", zone="UTC"), value, *arguments, **named)
    except RenderFailure as error:
        return str(error)
    except TypeError:
        return "it does not take these arguments"
    return ""


def _tree(text: str) -> nodes.Template | None:
    try:
        return TEXT.parse(text)
    except (JinjaError, RecursionError, MemoryError, ValueError, OverflowError):
        return None


def _used(node: nodes.Node) -> Iterator[tuple[str, int]]:
    if isinstance(node, nodes.Filter) and node.name in _ASKING:
        for argument in node.args:
            yield from _used(argument)
        return
    name = _name(node)
    if name:
        yield name, node.lineno
        return
    for child in node.iter_child_nodes():
        yield from _used(child)


def _asked_by(node: nodes.Node) -> Iterator[str]:
    asked = node.node if isinstance(node, nodes.Test) else getattr(node, "test", node)
    yield from (name for each in (asked, *asked.find_all((nodes.Getattr, nodes.Getitem))) if (name := _name(each)))


def _name(node: nodes.Node) -> str:
    if (
        isinstance(node, nodes.Getattr | nodes.Getitem)
        and isinstance(node.node, nodes.Name)
        and node.node.name == "data"
    ):
        if isinstance(node, nodes.Getattr):
            return node.attr
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return node.arg.value
    return ""
