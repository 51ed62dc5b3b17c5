"""What is not well though the process lives: states with a name from a closed list and a sentence, for who looks at `/readyz`.

Invariant: a state is there from the moment it is reported until it is cleared; a name that nobody declared here is refused, so
that alerts can be built on them.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

__all__ = ["Condition", "Health"]


class Condition(StrEnum):
    """A degraded state: the engine works, but not as it should."""

    MAIL_PAUSED = "mail_paused"
    """A provider, or a domain, asked for a pause: nothing goes there until it is over."""
    ROWS_SET_ASIDE = "rows_set_aside"
    """Rows of the store cannot be read; those they belong to wait."""
    HELD = "held"
    """Started with --hold: nothing leaves until it is released."""
    STORE_FAILS = "store_fails"
    """What is to be written cannot be: the disk is full, or the database does not answer."""
    STANDING = "standing"
    """Records or timers wait, and nothing moves."""
    CLOCK_SKEWED = "clock_skewed"
    """This machine's clock differs from the brokers'; far ahead, no timer fires."""
    TOPIC_GONE = "topic_gone"
    """A topic that the role needs is not there."""


class Health:
    """The states of one process. `on_change` is called with a name and how many reports it has, when that changes."""

    def __init__(self) -> None:
        self._reports: dict[Condition, dict[str, str]] = {}
        self.on_change: Callable[[Condition, int], None] = lambda _name, _count: None

    def report(self, name: Condition, sentence: str, *, part: str = "") -> None:
        """It is so now. `part` tells several of a name apart (a channel, a partition); the newest sentence of a part stays."""
        self._reports.setdefault(Condition(name), {})[part] = sentence
        self.on_change(name, len(self._reports[name]))

    def clear(self, name: Condition, *, part: str | None = None) -> None:
        """It is over: of this part, or (None) of all. Nothing when it was not so."""
        reports = self._reports.get(Condition(name))
        if reports is None or (part is not None and part not in reports):
            return
        if part is not None:
            del reports[part]
        if part is None or not reports:
            del self._reports[name]
        self.on_change(name, len(self._reports.get(name, ())))

    def has(self, name: Condition, *, part: str | None = None) -> bool:
        """Whether it is so now."""
        return name in self._reports and (part is None or part in self._reports[name])

    @property
    def degraded(self) -> list[tuple[str, str]]:
        """(name, sentence) of all that is not well, by name."""
        return [
            (str(name), sentence)
            for name in sorted(self._reports)
            for _, sentence in sorted(self._reports[name].items())
        ]

    @property
    def shown(self) -> list[dict[str, str]]:
        """As `/readyz` and `anlass show` say it."""
        return [{"reason": name, "message": sentence} for name, sentence in self.degraded]
