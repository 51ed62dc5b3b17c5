"""The Jinja2 environments of templates: what a template can reach, and the operations its expressions become.

Invariant: a compiled template calls nothing but the functions of `FUNCTIONS`, each bounded by the budget. There are no
globals, no method calls and no attribute access on Python objects left when `grammar.Rewriter` is through with it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

from jinja2 import pass_context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.core.reading.missing import is_missing
from engine.core.reading.numbers import exact_number
from engine.dispatch.filters.filters import items_of, listing, text
from engine.dispatch.filters.list_filters import FILTERS
from engine.dispatch.filters.numeric import NOT_A_NUMBER, misfit
from engine.dispatch.filters.questions import TESTS
from engine.dispatch.filters.values import (
    TEXT_LENGTH_MAX,
    UNREADABLE,
    Budget,
    Missing,
    RenderFailure,
    Unreadable,
    finite,
    kind_of,
    look_up,
    out,
    step,
    within_bounds,
)
from engine.dispatch.links.anchors import spelled_value

if TYPE_CHECKING:
    from jinja2.runtime import Context

BUDGET: Final = " budget"  # the key of the budget among a rendering's names; no template can spell it
EXPONENT_MAX: Final = 64

_ARITHMETIC: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}
_NUMERIC = (int, float, str)


def _path(_budget: Budget, root: Any, names: tuple[Any, ...], dotted: str, line: int) -> Any:
    return root if isinstance(root, Missing) else look_up(root, names, dotted=dotted, line=line)


def _item(_budget: Budget, root: Any, key: Any, dotted: str, line: int) -> Any:
    if isinstance(root, Missing):
        return root
    if isinstance(key, Missing):
        key.fail()
    found = step(root, key)
    return Missing(dotted, line) if found is None else found


def _op(budget: Budget, left: Any, sign: str, right: Any) -> Any:
    for value in (left, right):
        if isinstance(value, Unreadable):
            return value
        if isinstance(value, Missing):
            value.fail()
    reason = misfit(left, right) or misfit(right, left)
    if reason:
        budget.note(reason)
        return UNREADABLE
    if isinstance(left, int | float) and isinstance(right, int | float):
        return _arithmetic(left, sign, right)
    texts = isinstance(left, str) and isinstance(right, str)
    one, other = exact_number(left), exact_number(right)
    if one is not None and other is not None:
        return _arithmetic(one, sign, other)
    if sign == "+" and texts:
        if len(left) + len(right) > TEXT_LENGTH_MAX:
            raise RenderFailure(f"a text is longer than {TEXT_LENGTH_MAX} characters")
        return budget.text(left + right)
    if sign == "+" and isinstance(left, list) and isinstance(right, list):
        budget.charge(len(left) + len(right))
        return left + right
    if all(isinstance(value, str | int | float) for value in (left, right)):
        budget.note(NOT_A_NUMBER)
        return UNREADABLE
    raise RenderFailure(f"{kind_of(left)} {sign} {kind_of(right)} has no meaning")


def _compare(budget: Budget, left: Any, sign: str, right: Any) -> bool:
    """`left SIGN right`: a text that is exactly a number is one beside a number, and in order beside another such text."""
    if isinstance(left, Unreadable) or isinstance(right, Unreadable):
        return False
    texts = isinstance(left, str) and isinstance(right, str)
    ordered = sign not in {"eq", "ne"}
    if not (texts and not ordered) and isinstance(left, _NUMERIC) and isinstance(right, _NUMERIC):
        one, other = exact_number(left), exact_number(right)
        if one is not None and other is not None:
            left, right = one, other
        elif ordered and not texts and not isinstance(left, bool) and not isinstance(right, bool):
            budget.note(NOT_A_NUMBER)
            return False
    reason = (misfit(left, right) or misfit(right, left)) if ordered else ""
    if reason:
        budget.note(reason)
        return False
    return bool(_COMPARISONS[sign](left, right))


def _present(_budget: Budget, value: Any) -> Any:
    """The value where it is asked whether there is one: a blank text is none."""
    return "" if isinstance(value, str) and is_missing(value) else value


def _arithmetic(left: float, sign: str, right: float) -> float:
    for value in (left, right):
        if isinstance(value, int):
            within_bounds(value)
    if sign == "**" and not -EXPONENT_MAX <= right <= EXPONENT_MAX:
        raise RenderFailure(f"an exponent is at most {EXPONENT_MAX}")
    try:
        result = _ARITHMETIC[sign](left, right)
    except ZeroDivisionError:
        raise RenderFailure("division by zero") from None
    except OverflowError:
        raise RenderFailure("a number is too large") from None
    if isinstance(result, complex):
        raise RenderFailure("a root of a negative number has no meaning")
    return within_bounds(result) if isinstance(result, int) else finite(float(result))


def _concat(budget: Budget, first: Any, *rest: Any) -> str:
    parts = [text(value) for value in (first, *rest)]
    if sum(map(len, parts)) > TEXT_LENGTH_MAX:
        raise RenderFailure(f"a text is longer than {TEXT_LENGTH_MAX} characters")
    joined = parts[0]
    if any(hasattr(part, "__html__") for part in parts):
        joined = FILTERS["escape"](budget, joined)
    for part in parts[1:]:
        joined += part
    return budget.text(joined)


def _each(budget: Budget, value: Any, units: int) -> list[Any]:
    items = listing(budget, value)
    budget.charge(len(items) * units)
    return items


def _flat(_budget: Budget, first: Any, *rest: Any) -> list[Any]:
    return list(items_of((first, *rest)))


def _out(budget: Budget, value: Any) -> str:
    return out(value, budget)


def _address(budget: Budget, value: Any) -> str:
    """A value as a part of an address in a text."""
    return budget.text(spelled_value(text(value)))


def _part(budget: Budget, value: Any, start: Any, stop: Any, stride: Any) -> Any:
    if isinstance(value, Missing):
        value.fail()
    if not isinstance(value, str | list | tuple):
        raise RenderFailure(f"{kind_of(value)} has no parts")
    for bound in (start, stop, stride):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
            raise RenderFailure("the bounds of a part must be whole numbers")
    if stride == 0:
        raise RenderFailure("the step of a part must not be 0")
    budget.charge(1 + len(value))
    return value[start:stop:stride]


# The public filters and the operations that expressions are rewritten to (underscored: no template can name them).
FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    **FILTERS,
    "_path": _path,
    "_item": _item,
    "_op": _op,
    "_compare": _compare,
    "_present": _present,
    "_concat": _concat,
    "_each": _each,
    "_flat": _flat,
    "_out": _out,
    "_address": _address,
    "_part": _part,
}


def _with_budget(function: Callable[..., Any]) -> Callable[..., Any]:
    # Taking the context also keeps Jinja2 from evaluating constant expressions while it compiles, out of any bound.
    @pass_context
    def bounded(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        return function(context.parent[BUDGET], value, *args, **kwargs)

    return bounded


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox without globals, loader, and optimizer; calls of any kind are refused."""

    # Arithmetic has been rewritten to bounded functions; should an operator ever slip through, it is refused here.
    intercepted_binops = frozenset(_ARITHMETIC)

    def __init__(self, *, autoescape: bool) -> None:
        """Build one environment: with escaping for HTML, without for everything else."""
        super().__init__(
            autoescape=autoescape,
            undefined=Missing,
            optimized=False,
            cache_size=0,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.globals.clear()
        self.filters = {name: _with_budget(function) for name, function in FUNCTIONS.items()}
        self.tests = dict(TESTS)

    def call_binop(self, _context: Context, operator: str, _left: Any, _right: Any) -> NoReturn:
        """Refuse an operator that was not rewritten: that is our mistake, and still must not run."""
        raise RenderFailure(f"'{operator}' is not possible here")

    def call(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse every call."""
        raise RenderFailure("calls are not possible in a template")


HTML: Final = TemplateEnvironment(autoescape=True)
TEXT: Final = TemplateEnvironment(autoescape=False)
