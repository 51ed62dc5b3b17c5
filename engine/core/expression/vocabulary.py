"""The words of expressions and templates: names, functions, filters and tests, in one list from which the guide is written.

Invariant: what is listed here exists, and what exists is listed here; a test compares it with the compilers and the guide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

BOTH, CONDITIONS, TEMPLATES = "both", "expressions", "templates"

NAMES: Final[Mapping[str, str]] = {
    "customer": BOTH,
    "data": TEMPLATES,
    "enrollment": BOTH,
    "event": BOTH,
    "now": BOTH,
    "access_url": TEMPLATES,
    "agree_url": TEMPLATES,
    "confirm_url": TEMPLATES,
    "preferences_url": TEMPLATES,
    "stop_url": TEMPLATES,
    "unsubscribe_url": TEMPLATES,
    "view_url": TEMPLATES,
}
MEMBERS: Final = (
    "customer.id", "customer.segments", "enrollment.entered_at", "enrollment.event", "enrollment.key", "event.id",
    "event.name", "event.properties", "event.time",
)  # fmt: skip
"""Names within names, the same in both."""
FUNCTIONS: Final = (
    "bucket", "count", "date", "days_since", "days_until", "hours_until", "in_segment", "last", "sum",
)  # fmt: skip
"""Of expressions; a template gets what they give by `data:` of its step."""
FILTERS: Final = {
    BOTH: ("abs", "default", "float", "int", "length", "lower", "round", "trim", "upper"),
    TEMPLATES: (
        "batch", "capitalize", "count", "d", "date", "dictsort", "e", "escape", "first", "groupby", "items", "join", "keys",
        "last", "list", "map", "max", "min", "money", "nl2br", "number", "reject", "rejectattr", "replace", "reverse",
        "safe", "select", "selectattr", "slice", "sort", "string", "striptags", "sum", "time", "title", "tojson",
        "truncate", "unique", "urlencode", "values", "wordcount",
    ),
}  # fmt: skip
OUR_FILTERS: Final = ("date", "keys", "money", "nl2br", "number", "time", "values")
"""Those that Jinja2 does not have; all others mean what they mean there."""
TESTS: Final = {
    BOTH: ("defined", "in", "none", "number", "string", "undefined"),
    TEMPLATES: (
        "boolean", "divisibleby", "eq", "equalto", "escaped", "even", "false", "float", "ge", "greaterthan", "gt",
        "integer", "iterable", "le", "lessthan", "lower", "lt", "mapping", "ne", "odd", "sequence", "true", "upper",
    ),
}  # fmt: skip

BEGIN: Final = "<!-- words: written by engine.core.expression.vocabulary -->"
END: Final = "<!-- end of words -->"


def as_markdown() -> str:
    """The list as it stands in the guide, between `BEGIN` and `END`."""
    rows = [
        ("names", _where(BOTH), _where(TEMPLATES)),
        ("of them", MEMBERS, ()),
        ("functions", (), FUNCTIONS),
        ("filters", FILTERS[BOTH], FILTERS[TEMPLATES]),
        ("tests (`is …`)", TESTS[BOTH], TESTS[TEMPLATES]),
    ]  # fmt: skip
    lines = [BEGIN, "| | in expressions and templates | only in templates |", "|---|---|---|"]
    for title, both, alone in rows:
        only = f"(only in expressions: {_words(alone)})" if title == "functions" else _words(alone)
        lines.append(f"| {title} | {_words(both)} | {only} |")
    return "\n".join((*lines, END))


def _where(kind: str) -> list[str]:
    return [name for name, where in NAMES.items() if where == kind]


def _words(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)
