"""Where a value was written, and the compilers of the values that have a syntax of their own.

Invariant: each returns a usable value even after a mistake, which is then among the problems, so that one run finds them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from engine.core.expression.condition import Expression
from engine.core.time.schedule import ZERO, Duration, When, parse_duration, parse_recurrence, parse_when
from engine.definition.expression.generated import NAMES
from engine.definition.expression.parse import BadExpression, Checked, check_expression, check_text, literal
from engine.definition.problem import Problems, Spot
from engine.definition.yaml.source import Source

Path = tuple[str | int, ...]
_ValueT = TypeVar("_ValueT")
_NONE = literal(None)


class Site(msgspec.Struct, frozen=True):
    """A file that is being compiled. Paths are those of its data."""

    source: Source
    problems: Problems
    expressions: list[tuple[Expression, Path]] = []
    """Every expression of the file and where it was written."""

    def spot(self, path: Path, *, key: bool = False) -> Spot:
        """The line and column of a path."""
        return self.source.spot(path, key=key)

    def error(self, path: Path, code: str, *, message: str) -> None:
        """Something is wrong there, if that is what was written."""
        if not self.source.made(path):
            self.problems.error(self.spot(path), code, message=message)

    def warning(self, path: Path, code: str, *, message: str) -> None:
        """Something there is probably not as meant."""
        if not self.source.made(path):
            self.problems.warning(self.spot(path), code, message=message)

    def parsed(self, path: Path, fallback: _ValueT, *, parse: Callable[[], _ValueT], code: str) -> _ValueT:
        """What `parse` gives, or the fallback and a problem."""
        try:
            return parse()
        except ValueError as error:
            self.error(path, code, message=str(error))
            return fallback

    def duration(self, text: str, path: Path, *, signed: bool = False) -> Duration:
        """A duration; `signed` ones may be negative."""
        duration = self.parsed(path, ZERO, parse=lambda: parse_duration(text), code="duration")
        if not signed and duration.span_ms < 0:
            self.error(path, "duration", message=f"`{text}` is negative; only an `offset` can be")
        return duration

    def maybe_duration(self, text: str | None, path: Path) -> Duration | None:
        """A duration where there is one."""
        return None if text is None else self.duration(text, path)

    def when(self, text: str, path: Path) -> When:
        """A local time that comes again, or an instant."""
        return self.parsed(path, When(), parse=lambda: parse_when(text), code="time")

    def recurrence(self, text: str, path: Path) -> When:
        """A local time that comes again."""
        return self.parsed(path, When(), parse=lambda: parse_recurrence(text), code="time")

    def expression(self, text: str, path: Path, *, names: frozenset[str] = NAMES) -> Expression:
        """An expression over these names."""
        return self._compiled(path, lambda: check_expression(text, names))

    def condition(self, text: str | None, path: Path, *, names: frozenset[str] = NAMES) -> Expression | None:
        """An expression where there is one."""
        return None if text is None else self.expression(text, path, names=names)

    def text(self, text: str, path: Path) -> Expression:
        """A text with `{{ expression }}` in it."""
        return self._compiled(path, lambda: check_text(text))

    def _compiled(self, path: Path, compiled: Callable[[], Checked]) -> Expression:
        try:
            expression, doubts = compiled()
        except BadExpression as error:
            for reason in error.reasons:
                self.error(path, reason.code, message=reason.message)
            return _NONE
        for doubt in doubts:
            self.error(path, doubt.code, message=doubt.message)
        self.expressions.append((expression, path))
        return expression

    def values(self, values: dict[str, Any], path: Path) -> tuple[tuple[str, Expression], ...]:
        """`data:`, `update:` and `properties:`: texts are expressions, other scalars stand for themselves."""
        return tuple(
            (name, self.expression(value, (*path, name)) if isinstance(value, str) else literal(value))
            for name, value in values.items()
        )


def joined(path: Sequence[str | int]) -> str:
    """A path as one text: the default id of a step."""
    return ".".join(str(step) for step in path)
