"""Values while a template renders: the work budget, missing values, and looking things up.

Invariant: a rendering does at most `WORK_MAX` units of work and builds no text longer than `TEXT_LENGTH_MAX`,
whatever the template says and whatever the data is; no clock is asked, so the same input always ends the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from jinja2 import StrictUndefined
from markupsafe import Markup

from engine.core.reading.spelling import OTHER

if TYPE_CHECKING:
    from collections.abc import Sequence

WORK_MAX: Final = 1_000_000  # units; one is about one node of a template executed, well under a microsecond
TEXT_LENGTH_MAX: Final = 65_536  # characters of any value built by an expression
OUTPUT_LENGTH_MAX: Final = 1_048_576  # characters of one rendered part
CHARACTERS_PER_UNIT: Final = 8
NUMBER_ABS_MAX: Final = 10**30
NOTES_MAX: Final = 10

Number = TypeVar("Number", int, float)
DATE_PARTS: Final = frozenset({"year", "month", "day", "hour", "minute", "second"})


class RenderFailure(Exception):
    """A rendering cannot go on. `line` is an encoded line (see `Origin`), 0 when unknown."""

    def __init__(self, reason: str, *, line: int = 0, name: str = "") -> None:
        """Keep what is known where it happened; the file is found by the template."""
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.name = name


class Missing(StrictUndefined):
    """A value that is not there. Asking `is defined` and `default` is allowed, everything else fails with its name."""

    __slots__ = ("line",)

    def __init__(self, name: str, line: int = 0) -> None:
        """Remember the dotted name and the encoded line for the error message."""
        super().__init__(name=name, hint=f"'{name}' is undefined", exc=RenderFailure)  # type: ignore[arg-type]
        self.line = line

    def fail(self) -> NoReturn:
        """Raise the error that using this value means."""
        name = str(self._undefined_name)
        raise RenderFailure(f"'{name}' is undefined", line=self.line, name=name)

    def _fail_with_undefined_error(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        self.fail()

    __iter__ = __str__ = __len__ = __eq__ = __ne__ = __bool__ = __hash__ = __contains__ = _fail_with_undefined_error
    __lt__ = __le__ = __gt__ = __ge__ = __float__ = __int__ = __neg__ = __pos__ = _fail_with_undefined_error
    __getitem__ = __call__ = _fail_with_undefined_error


class Unreadable(Missing):
    """A price or a number that nobody can read, such as `600,00`: it prints nothing, compares as false, and costs nothing else.

    `default` and `is defined` take it for missing. The budget has a note of it, which becomes a warning of the message.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("a number")

    def _nothing(self, *_args: Any) -> bool:
        return False

    def __str__(self) -> str:  # type: ignore[override]
        return ""

    def __html__(self) -> str:
        return ""

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _nothing  # type: ignore[assignment]
    __hash__ = object.__hash__  # type: ignore[assignment]


class UnreadableNumber(RenderFailure):
    """A text stands where a number is needed, and is not exactly one."""


UNREADABLE: Final = Unreadable()


class Budget:
    """The work left for one rendering, what filters need to know about it, and what they could not read."""

    __slots__ = ("left", "locale", "notes", "zone")

    def __init__(self, *, locale: str, zone: str) -> None:
        """Start with `WORK_MAX` units. `locale` and `zone` are the fall-backs of the date and number filters."""
        self.left = WORK_MAX
        self.locale = locale
        self.zone = zone
        self.notes: list[str] = []

    def note(self, reason: str) -> None:
        """Remember what could not be read, each once and not too many."""
        if reason not in self.notes and len(self.notes) < NOTES_MAX:
            self.notes.append(reason)

    def charge(self, units: int) -> None:
        """Take units away; fail when none are left."""
        self.left -= units
        if self.left < 0:
            raise RenderFailure("the template does too much work (a loop too long, or loops inside loops)")

    def text(self, value: str) -> str:
        """Charge for a text that was built, and refuse one that is too long."""
        length = len(value)
        if length > TEXT_LENGTH_MAX:
            raise RenderFailure(f"a text is longer than {TEXT_LENGTH_MAX} characters")
        self.charge(1 + length // CHARACTERS_PER_UNIT)
        return value


class Group(tuple[Any, list[Any]]):
    """What `groupby` gives: what the items have in common (`.grouper`) and the items (`.list`)."""

    __slots__ = ()


def step(value: Any, key: Any) -> Any:
    """Return one member of a value, or None when there is none. Only data is reachable, never a method."""
    if isinstance(value, Mapping):
        if not isinstance(key, str):
            return value.get(key) if isinstance(key, int | float | bool) else None
        found = value.get(key)
        return value.get(OTHER[key]) if found is None and key in OTHER else found
    if isinstance(value, Group) and key in ("grouper", "list"):
        return value[0 if key == "grouper" else 1]
    if isinstance(value, list | tuple):
        if isinstance(key, int) and -len(value) <= key < len(value):
            return value[key]
        return None
    if isinstance(value, datetime | date | time) and key in DATE_PARTS:
        return getattr(value, key, None)
    return None


def look_up(root: Any, names: Sequence[Any], *, dotted: str, line: int) -> Any:
    """Follow `names` from `root`. A null counts as missing: nobody wants to read "Dear None".

    Any missing link makes the whole chain missing, so `customer.address.city | default('')` needs no guards.
    """
    value = root
    for name in names:
        found = value.get(name) if type(value) is dict else step(value, name)
        if found is None and name in OTHER:  # a reserved name in its other spelling
            found = step(value, OTHER[name])
        if found is None:
            return Missing(dotted, line)
        value = found
    return value


def out(value: Any, budget: Budget) -> str:
    """Return the text to print for a value; fail for what has no sensible text."""
    if isinstance(value, Missing):
        if isinstance(value, Unreadable):
            return ""
        value.fail()
    kind = type(value)
    if kind is str or kind is Markup:
        budget.charge(1 + len(value) // CHARACTERS_PER_UNIT)
        return value  # type: ignore[no-any-return]
    return scalar_text(value)


def scalar_text(value: Any) -> str:
    """Return the text of a single value that is not a text yet."""
    if isinstance(value, Unreadable):
        return ""
    if isinstance(value, str):
        return value if isinstance(value, Markup) else str(value)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return str(finite(value))
    if isinstance(value, int):
        return str(within_bounds(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if value is None:
        raise RenderFailure("a null cannot be printed; give it a `| default(...)`")
    if isinstance(value, Missing):
        value.fail()
    raise RenderFailure(f"{kind_of(value)} cannot be printed; name one of its members, or use `| join(', ')`")


def within_bounds(value: Number) -> Number:
    """Refuse numbers nobody means: their arithmetic and their printing take time without bound."""
    if value != value:  # noqa: PLR0124 - not a number
        finite(value)
    if not -NUMBER_ABS_MAX <= value <= NUMBER_ABS_MAX:
        raise RenderFailure("a number is too large")
    return value


def finite(value: float) -> float:
    """Refuse what is not an amount of anything."""
    if not math.isfinite(value):
        raise RenderFailure("a number is infinite or not a number")
    return value


def kind_of(value: Any) -> str:
    """Name the kind of a value in the words of the people who write templates."""
    if isinstance(value, Missing):
        return "a missing value"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    if isinstance(value, bool):
        return "a true/false value"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "null" if value is None else f"a {type(value).__name__}"
