"""What is wrong with a definition, where, and how to mend it.

Invariant: a problem points into a file of the project (line and column from 1) and reads on its own as one line of text.
"""

from __future__ import annotations

import msgspec

from engine.core.reading.nearest import nearest

__all__ = ["ERROR", "WARNING", "Problem", "Problems", "Spot", "nearest"]

ERROR = "error"
WARNING = "warning"


class Problem(msgspec.Struct, frozen=True, order=True):
    """One mistake. `severity` is `error` or `warning`, `code` a stable word for programs, `message` one sentence."""

    file: str
    line: int
    column: int
    severity: str
    code: str
    message: str

    def __str__(self) -> str:
        """`workflows/x.yaml:3:5: unknown-key message`, as compilers write it so that editors can jump there."""
        note = "" if self.severity == ERROR else f"{self.severity}: "
        return f"{self.file}:{self.line}:{self.column}: {self.code} {note}{self.message}"


class Spot(msgspec.Struct, frozen=True):
    """A place in a file; `line` and `column` from 1."""

    file: str
    line: int = 1
    column: int = 1


class Problems:
    """Collects problems; knows whether one of them is an error."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def error(self, spot: Spot, code: str, *, message: str) -> None:
        """The project cannot be used with this."""
        self.found.append(Problem(spot.file, spot.line, spot.column, ERROR, code, message))

    def warning(self, spot: Spot, code: str, *, message: str) -> None:
        """The project works, but probably not as meant."""
        self.found.append(Problem(spot.file, spot.line, spot.column, WARNING, code, message))

    @property
    def failed(self) -> bool:
        """Whether there is an error among them."""
        return any(problem.severity == ERROR for problem in self.found)

    def failed_in(self, file: str) -> bool:
        """Whether there is an error in that file."""
        return any(problem.severity == ERROR and problem.file == file for problem in self.found)

    def sorted(self) -> tuple[Problem, ...]:
        """By file, line and column, each once."""
        return tuple(sorted(set(self.found)))
