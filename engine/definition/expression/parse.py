"""Expressions: text, parsed by Jinja2's parser, checked by us, compiled once to a Python function.

Invariant: Jinja does nothing at run time, and the generated code calls only `engine.core.expression.comparison` and
`engine.core.expression.arithmetic` with constants known here; whatever the text is, the answer is an Expression or BadExpression.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any, NamedTuple

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.parser import Parser

from engine.core.expression.condition import Expression
from engine.definition.expression.generate import DEPTH_MAX, Generator
from engine.definition.expression.generated import NAMES, ExpressionReason

LENGTH_MAX = 2_000
NESTING_MAX = 40
SHOWN_MAX = 200
"""Of the expression's text in a message."""

OF_CUSTOMER = frozenset({"customer", "now"})
"""What segments and policies may use."""
OF_EVENT = frozenset({"customer", "event", "now"})
"""What triggers and keys may use."""

_ENVIRONMENT = Environment(autoescape=False)  # noqa: S701 - only its parser is used; nothing is ever rendered
_HOLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


class BadExpression(ValueError):
    """The text is not an expression; `reasons` holds all that is wrong with it."""

    def __init__(self, reasons: list[ExpressionReason]) -> None:
        super().__init__("; ".join(reason.message for reason in reasons))
        self.reasons = reasons


class Checked(NamedTuple):
    """An expression, and why it can never work, if so."""

    expression: Expression
    doubts: tuple[ExpressionReason, ...]


def compile_expression(text: str, names: frozenset[str] = NAMES) -> Expression:
    """The compiled expression; `names` are those of event, customer, enrollment, now that are known where it stands.

    Raises BadExpression.
    """
    return check_expression(text, names).expression


@functools.lru_cache(maxsize=4096)
def check_expression(text: str, names: frozenset[str] = NAMES) -> Checked:
    """The same, with what a look at its constants tells. Raises BadExpression."""
    return _compiled(text.strip(), parse_tree(text), names)


def compile_text(text: str, names: frozenset[str] = NAMES) -> Expression:
    """A text with `{{ expression }}` in it. Raises BadExpression."""
    return check_text(text, names).expression


@functools.lru_cache(maxsize=1024)
def check_text(text: str, names: frozenset[str] = NAMES) -> Checked:
    """The same, with what a look at its constants tells. Raises BadExpression."""
    parts: list[nodes.Expr] = []
    reasons: list[ExpressionReason] = []
    end = 0
    for hole in _HOLE.finditer(text):
        parts.append(nodes.Const(text[end : hole.start()]))
        end = hole.end()
        try:
            parts.append(parse_tree(hole[1]))
        except BadExpression as error:
            reasons += error.reasons
    rest = text[end:]
    parts.append(nodes.Const(rest))
    if "{{" in rest or "{%" in text:
        reasons.append(
            ExpressionReason(
                "expression-syntax", "only `{{ expression }}` can appear in this text, and it has to be closed"
            )
        )
    if reasons:
        raise BadExpression(reasons)
    return _compiled(text, nodes.Concat(parts), names)


def literal(value: Any) -> Expression:
    """A value that stands for itself (a number, yes/no, null in `data:`, `update:` and `properties:`)."""
    return Expression(text=json.dumps(value), run=lambda _scope: value)


def parse_tree(text: str) -> nodes.Expr:
    """The tree of one expression, of which nothing is checked yet. Raises BadExpression."""
    if len(text) > LENGTH_MAX:
        raise BadExpression(
            [ExpressionReason("expression-too-long", f"the expression is longer than {LENGTH_MAX:,} characters")]
        )
    if not text.strip():
        raise BadExpression([ExpressionReason("expression-syntax", "the expression is empty")])
    if _nesting(text) > NESTING_MAX:
        raise _too_deep()
    try:
        parser = Parser(_ENVIRONMENT, text, state="variable")
        expression = parser.parse_expression()
        if not parser.stream.eos:
            token = parser.stream.current
            raise BadExpression(
                [ExpressionReason("expression-syntax", f"`{_shown(text)}`: `{token.value}` is not expected here")]
            )
    except TemplateSyntaxError as error:
        why = (error.message or "not an expression").replace("end of template", "end of the expression")
        raise BadExpression([ExpressionReason("expression-syntax", f"`{_shown(text)}`: {why}{_hint(text)}")]) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        if isinstance(error, BadExpression):
            raise
        raise BadExpression([ExpressionReason("expression-syntax", f"`{_shown(text)}`: {error}")]) from None
    return expression


def _too_deep() -> BadExpression:
    return BadExpression([ExpressionReason("expression-too-deep", "the expression is nested too deeply; split it")])


def _nesting(text: str) -> int:
    deepest = depth = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest


def _hint(text: str) -> str:
    for wrong, right in (("&&", "and"), ("||", "or"), (" === ", "=="), ("{{", "the expression without braces")):
        if wrong in text:
            return f"; write {right}"
    if re.search(r"(?<![=!<>])=(?!=)", text):
        return "; `==` compares"
    return ""


def _shown(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN_MAX else flat[: SHOWN_MAX - 1] + "…"


def compile_tree(text: str, tree: nodes.Expr, names: frozenset[str]) -> Expression:
    """The tree as an expression that shows itself as `text`. Raises BadExpression."""
    return _compiled(text, tree, names).expression


def _compiled(text: str, tree: nodes.Expr, names: frozenset[str]) -> Checked:
    generator = Generator(names)
    try:
        code = generator.value(tree, DEPTH_MAX).code
    except RecursionError:
        raise _too_deep() from None
    if generator.reasons:
        raise BadExpression(
            [ExpressionReason(reason.code, f"`{_shown(text)}`: {reason.message}") for reason in generator.reasons]
        )
    source = (
        "def run(s):\n"
        "    try:\n"
        f"        return {code}\n"
        "    except ExpressionError as error:\n"
        f"        raise ExpressionError({f'`{_shown(text)}`: '!r} + error.message) from None\n"
    )
    namespace = generator.namespace()
    exec(compile(source, "<expression>", "exec"), namespace)  # noqa: S102 - generated above from checked nodes only
    expression = Expression(
        text=text,
        run=namespace["run"],
        counted=tuple(sorted(generator.counted)),
        traits=tuple(sorted(generator.traits)),
        segments=tuple(sorted(generator.segments)),
        timed=generator.timed,
    )
    doubts = (ExpressionReason(doubt.code, f"`{_shown(text)}`: {doubt.message}") for doubt in generator.doubts)
    return Checked(expression, tuple(doubts))
