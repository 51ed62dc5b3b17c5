"""Generated code against a naive interpreter: random expressions over random data give the same values and failures."""

import contextlib
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.expression.scope import Scope
from engine.core.time.zone import UTC
from engine.definition.expression.parse import BadExpression, compile_expression
from engine.errors import ExpressionError
from tests.properties import examples


class Misfit(Exception):
    """The oracle's ExpressionError."""


@dataclass
class Tree:
    """An expression as text, and its parts for the oracle."""

    kind: str
    text: str
    parts: tuple[Any, ...] = ()


NAMES = ("a", "b", "c")
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, -1.5, 2.0]),
    st.sampled_from(["", " ", "a", "b", "ab", "1", "0.5", "007"]),
)
DATA = st.dictionaries(
    st.sampled_from(NAMES), st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.fixed_dictionaries({"a": SCALARS}))
)


def constant(value: Any) -> Tree:
    text = {None: "none", True: "true", False: "false"}.get(value) if value is None or isinstance(value, bool) else None
    text = text or (f"({value!r})" if isinstance(value, int | float) else repr(value))
    return Tree("constant", text, (value,))


def path(steps: tuple[Any, ...]) -> Tree:
    text = "event." + str(steps[0]) + "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps[1:])
    return Tree("path", text, steps)


LEAVES = st.one_of(
    SCALARS.map(constant),
    st.tuples(st.sampled_from(NAMES)).map(path),
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["a", 0, 1])).map(path),
)
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "in", "not in")
ARITHMETIC = ("+", "-", "*", "/", "//", "%", "**")


def branches(below: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    def infix(kind: str, words: tuple[str, ...]) -> st.SearchStrategy[Tree]:
        return st.tuples(below, st.sampled_from(words), below).map(
            lambda t: Tree(kind, f"({t[0].text} {t[1]} {t[2].text})", t)
        )

    chain = st.tuples(below, st.sampled_from(COMPARISONS), below, st.sampled_from(COMPARISONS), below).map(
        lambda t: Tree("chain", f"({t[0].text} {t[1]} {t[2].text} {t[3]} {t[4].text})", t)
    )
    return st.one_of(
        infix("compare", COMPARISONS),
        infix("arithmetic", ARITHMETIC),
        infix("logic", ("and", "or")),
        chain,
        below.map(lambda t: Tree("not", f"(not {t.text})", (t,))),
        below.map(lambda t: Tree("negative", f"(-{t.text})", (t,))),
        below.map(lambda t: Tree("defined", f"({t.text} is defined)", (t,))),
        st.tuples(below, below).map(lambda t: Tree("default", f"({t[0].text} | default({t[1].text}))", t)),
        st.tuples(below, below, below).map(
            lambda t: Tree("choice", f"({t[0].text} if {t[1].text} else {t[2].text})", t)
        ),
        st.lists(below, max_size=3).map(lambda t: Tree("list", "[" + ", ".join(e.text for e in t) + "]", tuple(t))),
    )


TREES = st.recursive(LEAVES, branches, max_leaves=12)


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def exact(value: Any) -> Any:
    """The number that a text is exactly."""
    return {"1": 1, "0.5": 0.5}.get(value, value) if isinstance(value, str) else value


def blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def equal(left: Any, right: Any) -> bool:
    if number(left) or number(right):
        left, right = exact(left), exact(right)
        return number(left) and number(right) and left == right
    return type(left) is type(right) and left == right


def compared(word: str, left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    if word in ("==", "!="):
        return equal(left, right) is (word == "==")
    if word in ("in", "not in"):
        if isinstance(right, list):
            inside = any(e is not None and equal(left, e) for e in right)
        elif isinstance(right, str | dict) and isinstance(left, str):
            inside = left in right
        else:
            raise Misfit
        return inside is (word == "in")
    if blank(left) or blank(right):
        return False
    if number(exact(left)) and number(exact(right)):
        left, right = exact(left), exact(right)
    if not ((number(left) and number(right)) or (isinstance(left, str) and isinstance(right, str))):
        raise Misfit
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[word])


def calculated(word: str, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if number(exact(left)) and number(exact(right)):
        left, right = exact(left), exact(right)
    if word == "+" and isinstance(left, str) and isinstance(right, str):
        return left + right
    if not (number(left) and number(right)) or (word == "**" and abs(right) > 64):
        raise Misfit
    try:
        result = {
            "+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right, "/": lambda: left / right,
            "//": lambda: left // right, "%": lambda: left % right, "**": lambda: left**right,
        }[word]()  # fmt: skip
    except (ZeroDivisionError, OverflowError):
        raise Misfit from None
    if isinstance(result, complex) or (isinstance(result, int) and result.bit_length() > 256):
        raise Misfit
    if isinstance(result, float) and result in (float("inf"), float("-inf")):
        raise Misfit
    return result


def interpret(tree: Tree, data: dict[str, Any]) -> Any:
    """The value of a tree, the slow and obvious way."""
    parts = tree.parts
    match tree.kind:
        case "constant":
            return parts[0]
        case "path":
            value: Any = data
            for step in parts:
                if isinstance(value, dict):
                    value = value.get(step)
                elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                    value = value[step]
                else:
                    return None
            return None if blank(value) else value
        case "compare":
            return compared(parts[1], interpret(parts[0], data), interpret(parts[2], data))
        case "chain":
            middle_needed = interpret(parts[0], data), interpret(parts[2], data)
            return compared(parts[1], *middle_needed) and compared(
                parts[3], middle_needed[1], interpret(parts[4], data)
            )
        case "arithmetic":
            return calculated(parts[1], interpret(parts[0], data), interpret(parts[2], data))
        case "logic":
            left = interpret(parts[0], data)
            return (left and interpret(parts[2], data)) if parts[1] == "and" else (left or interpret(parts[2], data))
        case "not":
            return not interpret(parts[0], data)
        case "negative":
            value = exact(interpret(parts[0], data))
            if value is not None and not number(value):
                raise Misfit
            return None if value is None else -value
        case "defined":
            return not blank(interpret(parts[0], data))
        case "default":
            value, fallback = interpret(parts[0], data), interpret(parts[1], data)
            return fallback if blank(value) else value
        case "choice":
            return interpret(parts[0] if interpret(parts[1], data) else parts[2], data)
        case _:
            return [interpret(part, data) for part in parts]


@settings(max_examples=examples(600), deadline=None)
@given(TREES, DATA)
def test_generated_code_agrees_with_a_naive_interpreter(tree: Tree, data: dict[str, Any]) -> None:
    """Value for value, type for type, failure for failure."""
    try:
        expected: Any = interpret(tree, data)
    except Misfit:
        expected = Misfit
    scope = Scope(customer_id="c", now_ms=0, project_zone=UTC)
    scope.properties = data
    try:
        found: Any = compile_expression(tree.text).run(scope)
    except ExpressionError:
        found = Misfit
    assert found == expected, tree.text
    assert type(found) is type(expected), tree.text


WORDS = st.sampled_from(
    ["event", ".", "x", "customer", "now", "(", ")", "[", "]", "0", "1.5", "'a'", "==", "<", "in", "not", "and", "or", "if",
     "else", "is", "defined", "|", "default", "~", "+", "-", "**", "count", ",", "within", "=", "'7d'", "days_since", "{", "}"]
)  # fmt: skip


@settings(max_examples=examples(600), deadline=None)
@given(st.one_of(st.lists(WORDS, max_size=14).map(" ".join), st.text(max_size=40)))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    """Whatever is written, the compiler answers with an expression or with reasons; what compiles gives a value or fails."""
    try:
        expression = compile_expression(text)
    except BadExpression as error:
        refused = error.reasons
    else:
        refused = []
        scope = Scope(customer_id="c", now_ms=0, project_zone=UTC)
        with contextlib.suppress(ExpressionError):
            expression.value(scope)
        return
    assert refused
