"""How commands print: tables and sentences for people, JSON lines for programs, progress only where a person sees it.

Invariant: what a program may read goes to standard output and holds no control characters unless that is a terminal;
progress and errors go to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from engine.clock import to_rfc3339

__all__ = ["console", "json_line", "plain", "progress", "quiet_log", "safe", "table"]

_WIDTH_OF_FILES = 160
_TIMES = frozenset({"trait_times", "segments", "armed"})
"""Fields of a customer's state that map names to moments."""


def console() -> Console:
    """Where people read. Off a terminal lines are wide and plain."""
    terminal = sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=not terminal, width=None if terminal else _WIDTH_OF_FILES)


def progress(*, unit: str) -> Progress:
    """A bar on standard error, shown only when that is a terminal."""
    errors = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=errors,
        disable=not errors.is_terminal,
        transient=True,
    )


def table(*columns: str, title: str | None = None) -> Table:
    """A table without a frame, which can be read, copied and searched."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def safe(value: object) -> str:
    """Text of others for a terminal: no control characters, and no markup that rich would obey."""
    from rich.markup import escape

    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(value))
    return escape(text)


def json_line(value: object) -> str:
    """One line of JSON, keys in the order they were given."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def plain(value: Any) -> Any:
    """A struct as JSON data: fields by name, every `*_ms` as RFC 3339 under the name without `_ms`, bytes as hex."""
    if isinstance(value, msgspec.Struct):
        fields = {field: getattr(value, field) for field in value.__struct_fields__}
        return plain(fields)
    if isinstance(value, Mapping):
        return dict(_entry(name, each) for name, each in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _entry(name: object, value: Any) -> tuple[str, Any]:
    key = name if isinstance(name, str) else ":".join(map(str, name)) if isinstance(name, tuple) else str(name)
    if key.endswith("_ms") and isinstance(value, int):
        return key.removesuffix("_ms"), to_rfc3339(value) if value else None
    if key in _TIMES and isinstance(value, Mapping):
        return key, {name: to_rfc3339(at) for name, at in value.items()}
    return key, plain(value)


def quiet_log() -> None:
    """Log lines of the engine's parts are for `anlass run`; other commands answer in their own words."""
    import click

    from engine.telemetry import configure_logging

    context = click.get_current_context(silent=True)
    debug = bool(context and getattr(context.obj, "wanted", False))
    configure_logging(stream=sys.stderr if debug else open(os.devnull, "w", encoding="utf-8"), debug=debug)  # noqa: PTH123, SIM115 - for the rest of the process
