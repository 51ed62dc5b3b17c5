"""What can be wrong with a template: problems found while loading, and the one error rendering raises.

Invariant: every problem names a file, a line and a column (both counted from 1), so that an editor can jump to it.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import msgspec

from engine.errors import AnlassError

if TYPE_CHECKING:
    from collections.abc import Iterable


class TemplateProblem(msgspec.Struct, frozen=True, order=True):
    """One finding of `TemplateSet.check`.

    `file` is relative to the templates folder, with forward slashes; `code` is a stable word
    (`syntax`, `unknown_name`, `unknown_filter`, `front_matter`, …); `message` says what is wrong and the mend.
    """

    file: str
    line: int
    column: int
    code: str
    message: str

    def __str__(self) -> str:
        """Return `file:line:column: code message`."""
        return f"{self.file}:{self.line}:{self.column}: {self.code} {self.message}"


class TemplateError(AnlassError):
    """A template cannot be found or rendered; the message is never half-rendered.

    `file` and `line` say where (line 0: the whole file), `reason` what; `name` is the undefined name, if that is it.
    """

    def __init__(self, reason: str, *, file: str = "", line: int = 0, name: str = "", mend: str | None = None) -> None:
        """Keep the parts: the ledger stores them, the console shows them."""
        super().__init__(f"{file}:{line}: {reason}." if file else f"{reason}.", mend=mend)
        self.reason = reason
        self.file = file
        self.line = line
        self.name = name


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, or nothing when none is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{found[0]}'?" if found else ""
