"""How results read: a failed case as two timelines side by side, a decision as one line.

Invariant: plain text of a fixed width that looks the same in a terminal, a log and a review.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.schedule import local_datetime, zone_named
from engine.rehearsal.testing import subject_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from engine.core.effect import Decision
    from engine.definition.case import Expected, Moment, Range
    from engine.rehearsal.testing import Result

COLUMN_CHARS = 52
_DETAILS = ("channel", "template", "answer", "reason", "until", "variant")


def failure(result: Result) -> Iterator[str]:
    """The lines that show a failed case."""
    zone = zone_named(result.zone)
    yield f"FAILED {result.file}:{result.line} {result.case}"
    yield f"  {'expected':<{COLUMN_CHARS}} | happened ({result.zone})"
    yield f"  {'-' * COLUMN_CHARS}-+-{'-' * COLUMN_CHARS}"
    for expected, actual in result.pairs:
        left = "" if expected is None else _expected(expected)
        right = "" if actual is None else _actual(actual, result, zone)
        mark = " " if expected is not None and actual is not None else "!"
        yield f"{mark} {left:<{COLUMN_CHARS}} | {right}"
        if mark == "!" and actual is not None:
            for line in actual.why:
                yield f"  {'':<{COLUMN_CHARS}} |     because {line}"
    for note in result.notes:
        yield f"! {note}"


def _expected(expected: Expected) -> str:
    parts = [
        f"{'' if expected.at is None else _range(expected.at)} {expected.kind}: {expected.name or expected.values}"
    ]
    if expected.kind == "send":
        parts.append(expected.answer)
    parts += [value for value in (expected.channel, expected.template, expected.reason, expected.variant) if value]
    if expected.until is not None:
        parts.append(f"until {_range(expected.until)}")
    return " ".join(parts)


def _range(moments: Range) -> str:
    first, last = _moment(moments.first), _moment(moments.last)
    return first if first == last else f"{first}..{last}"


def _moment(moment: Moment) -> str:
    if moment.offset is not None:
        return str(moment.offset)
    if moment.local is not None:
        return moment.local.isoformat()
    return "" if moment.instant_ms is None else local_datetime(moment.instant_ms, zone_named("UTC")).isoformat()


def _actual(decision: Decision, result: Result, zone: ZoneInfo) -> str:
    local = local_datetime(decision.at_ms, zone)
    subject = subject_of(decision) or decision.detail.get("traits", "")
    if decision.kind in ("send", "exited") and decision.workflow != result.workflow:
        subject = f"{decision.workflow}/{subject}"
    more = " ".join(str(decision.detail[name]) for name in _DETAILS if decision.detail.get(name))
    if decision.kind == "exited":
        more = ""
    return f"{elapsed(decision.at_ms - result.start_ms)} ({local:%a %d %b %H:%M:%S}) {decision.kind}: {subject} {more}".rstrip()


def elapsed(span_ms: int) -> str:
    """A span as a duration of days of 24 hours: `3d2h`, `30m`, `0s`; milliseconds only when there are any."""
    seconds, rest_ms = divmod(abs(span_ms), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"), (rest_ms, "ms"))
    text = "".join(f"{amount}{unit}" for amount, unit in parts if amount) or "0s"
    return f"-{text}" if span_ms < 0 else text
