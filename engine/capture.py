"""What libraries say through the standard library's logging, warnings and hooks, as one kind of line of ours.

Invariant: nothing that a library writes reaches the log as it is. The sentence is kept; what was put into it only where it can
hardly be about a person (numbers, names of hosts, topics and classes), and no traceback is printed.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Captured", "capture", "place_of", "scrubbed"]

TEXT_CHARS_MAX = 300
REPEAT_SECONDS = 10.0
"""The same line of a library is written once in this time; how often it came in between is said with the next one."""
LINES_KEPT_MAX = 500
_PLAIN = re.compile(r"[\w.:/,\[\]()<>= +-]{1,120}")
_QUOTED = re.compile(r"""(?<!\w)'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"|\{[^{}]*\}""")
_ADDRESS = re.compile(r"\S+@\S+")
_LONG_NUMBER = re.compile(r"(?<![\d.])\+?\d[\d ()/-]{6,}\d")  # a telephone's; decimals of a fraction are none
_FIELD = re.compile(r"%(?:\((\w+)\))?[-#0 +]*[\d*]*(?:\.\d+)?([a-zA-Z%])")


class Captured(NamedTuple):
    """One line of a library: `level` is logging's; `cause` and `at` tell of an exception, empty when there was none."""

    level: int
    logger: str
    said: str
    cause: str = ""
    at: str = ""
    repeated: int = 0
    """How often the same was said since it was last written."""


Say = Callable[[Captured], None]


def capture(say: Say, *, level: int = logging.WARNING) -> None:
    """From now on everything from `level` on goes to `say`: logging, warnings, and what ends a thread or the interpreter.

    Called again it replaces what it did before. Handlers of others (a test's, say) stay.
    """
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(handler)
    handler = _Handler(say, level)
    root.addHandler(handler)
    root.setLevel(min(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    threading.excepthook = handler.thread_ended
    sys.unraisablehook = handler.unraisable


def place_of(cause: BaseException) -> str:
    """Where it was raised: `module:line`; empty when it was not."""
    trace = cause.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"


def scrubbed(text: str, args: object = ()) -> str:
    """A format string with those of its arguments filled in that can be shown; others as `…`."""
    if args:
        text = _filled(text, args)
    text = _QUOTED.sub("…", " ".join(text.split()))
    text = _LONG_NUMBER.sub("…", _ADDRESS.sub("…", text))
    return text if len(text) <= TEXT_CHARS_MAX else f"{text[:TEXT_CHARS_MAX]}…"


def _filled(text: str, args: object) -> str:
    values = args if isinstance(args, tuple) else (args,)  # logging unpacks a single mapping
    by_name = values[0] if isinstance(values[0], dict) else {}
    by_place = iter(values)

    def fill(match: re.Match[str]) -> str:
        name, letter = match.groups()
        if letter == "%":
            return "%"
        return _shown(by_name.get(name) if name else next(by_place, None))

    return _FIELD.sub(fill, text)


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, type | types.FunctionType):
        return value.__qualname__
    if isinstance(value, bytes):
        return "…"
    fields = getattr(value, "_fields", None)  # a partition or a node, say
    if isinstance(value, tuple) and fields:
        return "-".join(map(_shown, value))
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - whatever a library's object does, a log line must not fail
        return type(value).__name__
    # A mapping or list may be a record.
    return text if not isinstance(value, dict | list | tuple | set) and _PLAIN.fullmatch(text) else "…"


class _Handler(logging.Handler):
    def __init__(self, say: Say, level: int) -> None:
        super().__init__(level)
        self._say = say
        self._written: dict[tuple[str, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises: `logging` would print a traceback."""
        try:
            cause = record.exc_info[1] if record.exc_info else None
            self._line(record.levelno, record.name, scrubbed(str(record.msg), record.args), cause)
        except Exception:  # noqa: BLE001 - see above
            with contextlib.suppress(Exception):  # a library that only wanted to warn must not fail of it
                self._say(Captured(logging.ERROR, record.name, "a line that could not be written"))

    def thread_ended(self, ended: threading.ExceptHookArgs) -> None:
        name = ended.thread.name if ended.thread is not None else "?"
        self._line(logging.ERROR, "threading", f"the thread {scrubbed(name)} ended", ended.exc_value)

    def unraisable(self, found: Any) -> None:
        self._line(logging.ERROR, "python", "an exception that nobody could catch", found.exc_value)

    def _line(self, level: int, logger: str, said: str, cause: BaseException | None) -> None:
        now = time.monotonic()
        # Numbers change from line to line; without them it is the same line.
        key = (logger, re.sub(r"\d+", "0", said))
        at, more = self._written.get(key, (-REPEAT_SECONDS, 0))
        if now - at < REPEAT_SECONDS:
            self._written[key] = (at, more + 1)
            return
        if len(self._written) >= LINES_KEPT_MAX:
            self._written.clear()
        self._written[key] = (now, 0)
        kind, place = ("", "") if cause is None else (type(cause).__name__, place_of(cause))
        self._say(Captured(level, logger, said, kind, place, more))
