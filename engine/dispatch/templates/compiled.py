"""One part of a template (a subject, an HTML body, a text) as a function of the context.

Invariant: `CompiledPart.render` returns the whole text within all bounds or raises `RenderFailure` with the line, if it is known.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

from jinja2 import Template as JinjaTemplate
from jinja2 import TemplateError as JinjaError
from jinja2 import nodes

from engine.dispatch.filters.sandbox import BUDGET, HTML, TEXT
from engine.dispatch.filters.values import OUTPUT_LENGTH_MAX, Budget, RenderFailure
from engine.dispatch.templates.partial import compile_tree

FILENAME: Final = "<template>"


class CompiledPart:
    """A compiled straight tree. Threads may share it."""

    __slots__ = ("_fast", "_template", "html", "tree")

    def __init__(self, tree: nodes.Template, *, html: bool) -> None:
        """Compile; raises `ValueError` when the tree is beyond what CPython compiles."""
        self.tree = tree
        self.html = html
        self._fast = compile_tree(tree, html=html)
        # Most templates never need Jinja2 again once they have their function, and it takes ten times as long.
        self._template = None if self._fast is not None else self._compiled()

    def _compiled(self) -> JinjaTemplate:
        environment = HTML if self.html else TEXT
        self.tree.set_environment(environment)
        try:
            code = environment.compile(self.tree, None, FILENAME)
        except (RecursionError, MemoryError, SyntaxError, JinjaError) as error:
            raise ValueError(f"too complex to compile: {error}") from None
        return JinjaTemplate.from_code(environment, code, {})

    def render(self, names: dict[str, Any], budget: Budget) -> str:
        """Return the text for one context: by the generated function, by Jinja2 when there is none or it fails."""
        if self._fast is not None:
            left, notes = budget.left, list(budget.notes)
            try:
                text = self._fast(names, budget)
                check_length(len(text))
            except Exception:  # noqa: BLE001 - Jinja2 says what is wrong, and where, or that all is well
                budget.left, budget.notes = left, notes
            else:
                return text
        return self.render_fully(names, budget)

    @property
    def is_fast(self) -> bool:
        """Tell whether there is a generated function, for benchmarks and tests."""
        return self._fast is not None

    def render_fully(self, names: dict[str, Any], budget: Budget) -> str:
        """Return the text by running the whole template through Jinja2: slower, and the measure of the fast way."""
        template = self._template
        if template is None:
            # Two threads may both compile it; either result is as good as the other.
            try:
                template = self._template = self._compiled()
            except ValueError as error:
                raise RenderFailure(str(error)) from None
        context = template.new_context({**names, BUDGET: budget}, shared=True)
        parts: list[str] = []
        length = 0
        try:
            for text in template.root_render_func(context):
                length += len(text)
                check_length(length)
                parts.append(text)
        except RenderFailure as failure:
            failure.line = failure.line or self._line(failure.__traceback__)
            raise
        except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError, MemoryError, JinjaError) as error:
            # What operators and filters raise about data that does not fit: the author's mistake or the data's.
            raise RenderFailure(reason_of(error), line=self._line(error.__traceback__)) from error
        return "".join(parts)

    def _line(self, trace: TracebackType | None) -> int:
        line = 0
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == FILENAME and self._template is not None:
                line = self._template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return line


def check_length(length: int) -> None:
    """Refuse a result of more characters than a message can have."""
    if length > OUTPUT_LENGTH_MAX:
        raise RenderFailure(f"the result is longer than {OUTPUT_LENGTH_MAX} characters")


def reason_of(error: Exception) -> str:
    """Return a sentence for what Python says about values that do not go together."""
    if isinstance(error, ArithmeticError):
        return "a calculation has no result, or one that is too large"
    if isinstance(error, RecursionError | MemoryError):
        return "the values are too large, or too deep in each other"
    words = str(error).splitlines()[0] if str(error) else ""
    if not words or "<class" in words or isinstance(error, LookupError):
        return "something that the template asks for is not there, or does not fit"
    if isinstance(error, TypeError):
        return f"values of kinds that do not go together, or a filter with wrong arguments ({words})"
    return words
