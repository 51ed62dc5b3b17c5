"""What a compiled expression is.

Invariant: `run` only reads its scope (and lowers `scope.change_ms`); the same scope gives the same value or the same error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from engine.core.expression.arithmetic import json_value
from engine.core.expression.comparison import day_only, to_ms, zone
from engine.core.time.schedule import ZERO, once
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from engine.core.expression.scope import Scope

MISSING = None
"""The value of what is not there; JSON's null is the same. `run` gives it, `json_value` writes it as null."""


class Expression(msgspec.Struct, frozen=True):
    """A compiled expression. `run(scope)` gives its value (`MISSING` for a missing one) or raises ExpressionError."""

    text: str
    run: Callable[[Scope], Any]
    counted: tuple[tuple[str, str, int], ...] = ()
    """(event, summed property or "", window in whole days rounded up or 0) of each aggregate asked for."""
    traits: tuple[str, ...] = ()
    """Traits asked about; `*` when it can't be told."""
    segments: tuple[str, ...] = ()
    timed: bool = False
    """Whether its value may change with time alone."""

    def holds(self, scope: Scope) -> bool:
        """Whether the value is true (a missing one is not)."""
        return bool(self.run(scope))

    def value(self, scope: Scope) -> Any:
        """Its value as JSON has it: a missing one is None, a time is an RFC 3339 text."""
        return json_value(self.run(scope))

    def moment_ms(self, scope: Scope, *, at_minutes: int | None = None) -> int | None:
        """Its value as an instant, for `until:`; None when missing. Raises ExpressionError when it is not a date or time.

        A date without a time (or at midnight) is at that minute of its day, if one is given.
        """
        value = self.run(scope)
        try:
            if at_minutes is not None and (day := day_only(scope, value)) is not None:
                return once(day, at_minutes, offset=ZERO, zone=zone(scope))
            return to_ms(scope, value)
        except ExpressionError as error:
            raise ExpressionError(f"`{self.text}`: {error.message}") from None
