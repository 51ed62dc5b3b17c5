"""Checked expression trees to Python source.

Invariant: every node kind that is not handled here is a reason, never code; names and texts reach the source only through
`repr`.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from jinja2 import nodes

from engine.core.expression import arithmetic, comparison, moments
from engine.core.expression.scope import Scope
from engine.core.time.zone import UTC
from engine.definition.expression.calls import FUNCTIONS, call
from engine.definition.expression.comparison import compare, times
from engine.definition.expression.generated import NAMES, NOTHING, ZONE_TRAITS, Code, ExpressionReason, as_given
from engine.definition.expression.paths import path
from engine.definition.problem import nearest
from engine.errors import ExpressionError

DEPTH_MAX = 36
NODES_MAX = 400

_OPERATORS = (
    "bucket contains count days_since days_since_compared enrollment_value eq ge given gt item lacks last le lt moment ne now "
    "now_compared now_part total"
)
_ARITHMETIC = (
    "add concat default div floordiv is_number length lower magnitude mod mul neg pos power real rounded sub trim upper "
    "whole"
)
_MOMENTS = "date days_until hours_left_compared hours_until shifted_now_compared today until_compared"
_RUNTIME: dict[str, Any] = {
    **{name: getattr(comparison, name) for name in _OPERATORS.split()},
    **{name: getattr(arithmetic, name) for name in _ARITHMETIC.split()},
    **{name: getattr(moments, name) for name in _MOMENTS.split()},
    "ExpressionError": ExpressionError,
    "__builtins__": {"bool": bool, "float": float, "int": int, "list": list, "str": str},
}

_BINARY: dict[type[nodes.Node], str] = {
    nodes.Add: "add", nodes.Sub: "sub", nodes.Mul: "mul", nodes.Div: "div", nodes.FloorDiv: "floordiv",
    nodes.Mod: "mod", nodes.Pow: "power",
}  # fmt: skip
_FILTERS: dict[str, tuple[str, int]] = {
    "lower": ("lower", 0), "upper": ("upper", 0), "trim": ("trim", 0), "length": ("length", 0), "abs": ("magnitude", 0),
    "default": ("default", 2), "int": ("whole", 1), "float": ("real", 1), "round": ("rounded", 1),
}  # fmt: skip
"""Filter → function of `engine.core.expression.arithmetic`, and how many arguments it may have."""
_TESTS = ("defined", "undefined", "none", "number", "string", "in")
_CONSTANTS = ("number", "text", "bool")
_EXAMPLES = {"event": "total", "customer": "email", "enrollment": "key"}


class Handler(Protocol):
    """Writes one kind of node."""

    def __call__(self, writer: Generator, node: Any, *, depth: int) -> Code:
        """The code of the node, with at most `depth` more levels below it."""


class Generator:
    """Generates one expression; collects what it asks about and what is wrong with it."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        self.reasons: list[ExpressionReason] = []
        self.doubts: list[ExpressionReason] = []
        self.counted: set[tuple[str, str, int]] = set()
        self.traits: set[str] = set()
        self.segments: set[str] = set()
        self.timed = False
        self._nodes = 0
        self._constants: dict[str, object] = {}
        self._temporaries = 0

    def namespace(self) -> dict[str, Any]:
        """The globals of the generated function."""
        return {**_RUNTIME, **self._constants}

    def refuse(self, code: str, message: str) -> Code:
        """Notes why this is not an expression; the code returned is never run."""
        reason = ExpressionReason(code, message)
        if reason not in self.reasons:
            self.reasons.append(reason)
        return NOTHING

    def doubt(self, message: str) -> None:
        """Notes that it can never work, though it can be compiled."""
        reason = ExpressionReason("never-works", message)
        if reason not in self.doubts:
            self.doubts.append(reason)

    def tried(self, code: Code, *operands: Code) -> Code:
        """The code; where all that goes into it is constant it is run once, so that what must fail is known now."""
        if not self.reasons and all(operand.kind in _CONSTANTS for operand in operands):
            scope = Scope(customer_id="", now_ms=0, project_zone=UTC)
            try:
                eval(code.code, self.namespace(), {"s": scope})  # noqa: S307 - generated from checked nodes only
            except ExpressionError as error:
                self.doubt(f"it fails for every customer: {error.message}")
        return code

    def temporary(self) -> str:
        """A fresh local name."""
        self._temporaries += 1
        return f"t{self._temporaries}"

    def constant(self, value: object) -> str:
        """A global name of the generated function that stands for the value."""
        name = f"c{len(self._constants)}"
        self._constants[name] = value
        return name

    def known(self, name: str) -> bool:
        """Whether that name may be used here; refuses it otherwise."""
        if name not in self.names:
            self.refuse("unknown-name", f"`{name}` is not known here; known here: {', '.join(sorted(self.names))}")
        return name in self.names

    def value(self, node: nodes.Node, depth: int) -> Code:
        """The code of a node with at most `depth` more levels below it."""
        self._nodes += 1
        if depth <= 0 or self._nodes > NODES_MAX:
            return self.refuse("expression-too-deep", "it is nested too deeply or too long; split it")
        handler = _HANDLERS.get(type(node))
        if handler is None:
            what = {"Dict": "a mapping in braces", "Slice": "a slice"}.get(type(node).__name__, type(node).__name__)
            return self.refuse("expression", f"{what} cannot be used in an expression")
        return handler(self, node, depth=depth - 1)


def _const(writer: Generator, node: Any, *, depth: int) -> Code:  # noqa: ARG001 - a leaf, but a Handler
    value = node.value
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return Code(repr(value), "bool", value)
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            return writer.refuse("expression", "this text has half a character (a surrogate) in it")
        return Code(repr(value), "text", value)
    finite = value.bit_length() <= arithmetic.BITS_MAX if isinstance(value, int) else math.isfinite(value)
    return Code(repr(value), "number", value) if finite else writer.refuse("expression", "this number is too large")


def _sequence(writer: Generator, node: Any, *, depth: int) -> Code:
    return Code("[" + ", ".join(writer.value(element, depth).code for element in node.items) + "]", "list")


def _name(writer: Generator, node: Any, *, depth: int) -> Code:  # noqa: ARG001 - a leaf, but a Handler
    name = node.name
    if name == "now":
        writer.timed = True
        writer.traits.update(ZONE_TRAITS)
        return Code("now(s)", "time") if writer.known(name) else NOTHING
    if name in NAMES:
        mend = f"name something of it, such as `{name}.{_EXAMPLES[name]}`"
        return writer.refuse("expression", f"`{name}` alone is not a value; {mend}") if writer.known(name) else NOTHING
    if name in FUNCTIONS:
        return writer.refuse("expression", f"`{name}` is a function; write `{name}({FUNCTIONS[name].usage})`")
    mend = nearest(name, [*NAMES, *FUNCTIONS])
    if "did you mean" not in mend:
        mend = f"; a trait is `customer.{name}`, a property of the event `event.{name}`, text goes in quotes"
    return writer.refuse("unknown-name", f"`{name}` is not known{mend}")


def _logic(writer: Generator, node: Any, *, depth: int) -> Code:
    """`a and b and c`: Jinja nests to the left, so a long chain is flattened instead of counted as depth."""
    kind = type(node)
    operands: list[nodes.Expr] = []
    while isinstance(node, kind):
        operands.append(node.right)
        node = node.left
    operands.append(node)
    word = " and " if kind is nodes.And else " or "
    return Code("(" + word.join(writer.value(operand, depth).code for operand in reversed(operands)) + ")")


def _not(writer: Generator, node: Any, *, depth: int) -> Code:
    return Code(f"(not {writer.value(node.node, depth).code})")


def _condition(writer: Generator, node: Any, *, depth: int) -> Code:
    test = writer.value(node.test, depth).code
    then = writer.value(node.expr1, depth).code
    otherwise = "None" if node.expr2 is None else writer.value(node.expr2, depth).code
    return Code(f"({then} if {test} else {otherwise})")


def _binary(writer: Generator, node: Any, *, depth: int) -> Code:
    left, right = writer.value(node.left, depth), writer.value(node.right, depth)
    word = _BINARY[type(node)]
    kind = times(writer, word, (left, right))
    return writer.tried(Code(f"{word}(s, {left.code}, {right.code})", kind), left, right)


def _sign(writer: Generator, node: Any, *, depth: int) -> Code:
    value = writer.value(node.node, depth)
    if value.kind == "number":
        number = -value.constant if isinstance(node, nodes.Neg) else value.constant
        return Code(f"({number!r})", "number", number)
    return Code(f"{'neg' if isinstance(node, nodes.Neg) else 'pos'}(s, {value.code})", "json")


def _concat(writer: Generator, node: Any, *, depth: int) -> Code:
    return Code("concat(s, " + ", ".join(writer.value(part, depth).code for part in node.nodes) + ")", "json")


def _filter(writer: Generator, node: Any, *, depth: int) -> Code:
    known = _FILTERS.get(node.name)
    if known is None:
        return writer.refuse("unknown-filter", f"the filter `{node.name}` is not known{nearest(node.name, _FILTERS)}")
    function, arguments_max = known
    if node.node is None or node.kwargs or node.dyn_args or node.dyn_kwargs or len(node.args) > arguments_max:
        return writer.refuse("arguments", f"the filter `{node.name}` takes at most {arguments_max} plain arguments")
    codes = [writer.value(node.node, depth), *(writer.value(argument, depth) for argument in node.args)]
    found = Code(
        f"{function}(s, {', '.join(code.code for code in codes)})", "any" if node.name == "default" else "json"
    )
    return writer.tried(found, *codes)


def _test(writer: Generator, node: Any, *, depth: int) -> Code:
    if node.name not in _TESTS:
        return writer.refuse("unknown-test", f"the test `is {node.name}` is not known{nearest(node.name, _TESTS)}")
    if node.kwargs or node.dyn_args or node.dyn_kwargs or len(node.args) != (1 if node.name == "in" else 0):
        return writer.refuse("arguments", f"the test `is {node.name}` does not take these arguments")
    tested = writer.value(node.node, depth)
    code = tested.code
    match node.name:
        case "defined" | "undefined" | "none":
            if tested.kind in ("number", "text", "bool"):
                return Code(repr(node.name == "defined"))
            return Code(f"({as_given(code)} is {'not ' if node.name == 'defined' else ''}None)")
        case "number":
            return Code(f"is_number({code})")
        case "string":
            return Code(f"({code}.__class__ is str)")
        case _:
            return Code(f"contains(s, {code}, {writer.value(node.args[0], depth).code})")


_HANDLERS: dict[type[nodes.Node], Handler] = {
    nodes.Const: _const,
    nodes.List: _sequence,
    nodes.Tuple: _sequence,
    nodes.Name: _name,
    nodes.Getattr: path,
    nodes.Getitem: path,
    nodes.And: _logic,
    nodes.Or: _logic,
    nodes.Not: _not,
    nodes.CondExpr: _condition,
    nodes.Concat: _concat,
    nodes.Neg: _sign,
    nodes.Pos: _sign,
    nodes.Filter: _filter,
    nodes.Test: _test,
    nodes.Call: call,
    nodes.Compare: compare,
    **dict.fromkeys(_BINARY, _binary),
}
