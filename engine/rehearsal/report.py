"""How results read: a failed case as two timelines side by side, a decision as one line.

Invariant: plain text of a fixed width that looks the same in a terminal, a log and a review.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from engine.clock import from_rfc3339
from engine.core.time.schedule import local_datetime, zone_named
from engine.rehearsal.testing import subject_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from zoneinfo import ZoneInfo

    from engine.core.effect import Decision
    from engine.definition.case import Expected, Moment, Range
    from engine.rehearsal.testing import CaseResult

COLUMN_CHARS = 52
_LOCAL = "%a %d %b %H:%M:%S"
_DETAILS = ("channel", "template", "answer", "reason", "until", "variant")


def failure(result: CaseResult) -> Iterator[str]:
    """The lines that show a failed case."""
    zone = zone_named(result.zone)
    yield f"FAILED {result.file}:{result.line} {result.case}"
    yield f"  {'expected':<{COLUMN_CHARS}} | happened ({result.zone})"
    yield f"  {'-' * COLUMN_CHARS}-+-{'-' * COLUMN_CHARS}"
    for expected, actual in result.pairs:
        left = "" if expected is None else _expected(expected, result, zone)
        right = "" if actual is None else _actual(actual, result, zone)
        mark = " " if expected is not None and actual is not None else "!"
        yield f"{mark} {left:<{COLUMN_CHARS}} | {right}"
        if mark == "!" and actual is not None:
            for line in actual.why:
                yield f"  {'':<{COLUMN_CHARS}} |     because {line}"
    for note in result.notes:
        yield f"! {note}"


def _expected(expected: Expected, result: CaseResult, zone: ZoneInfo) -> str:
    when = "" if expected.at is None else f"{_range(expected.at, result, zone)} "
    parts = [f"{when}{expected.kind}: {expected.name or _values(expected.values)}"]
    if expected.kind == "send":
        parts.append(expected.answer)
    parts += [value for value in (expected.channel, expected.template, expected.reason, expected.variant) if value]
    if expected.until is not None:
        parts.append(f"until {_range(expected.until, result, zone)}")
    return " ".join(parts)


def _range(moments: Range, result: CaseResult, zone: ZoneInfo) -> str:
    first, last = (_moment(moment, result, zone) for moment in (moments.first, moments.last))
    return first if first == last else f"{first}..{last}"


def _moment(moment: Moment, result: CaseResult, zone: ZoneInfo) -> str:
    """As it was written, if that is a time after the start; else where the customer is, as what happened is shown."""
    if moment.offset is not None:
        return str(moment.offset)
    return f"({local_datetime(moment.at_ms(result.start_ms, zone), zone):{_LOCAL}})"


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {json.dumps(value, ensure_ascii=False, default=str)}" for name, value in values.items())


def _actual(decision: Decision, result: CaseResult, zone: ZoneInfo) -> str:
    local = local_datetime(decision.at_ms, zone)
    subject = subject_of(decision) or _values(decision.detail.get("traits", {}))
    if decision.kind in ("send", "exited") and decision.workflow != result.workflow:
        subject = f"{decision.workflow}/{subject}"
    detail = dict(decision.detail)
    if detail.get("until"):
        detail["until"] = f"until ({local_datetime(from_rfc3339(detail['until']), zone):{_LOCAL}})"
    more = " ".join(str(detail[name]) for name in _DETAILS if detail.get(name))
    if decision.kind == "exited":
        more = ""
    return f"{elapsed(decision.at_ms - result.start_ms)} ({local:{_LOCAL}}) {decision.kind}: {subject} {more}".rstrip()


def elapsed(span_ms: int) -> str:
    """A span as a duration of days of 24 hours: `3d2h`, `30m`, `0s`; milliseconds only when there are any."""
    seconds, rest_ms = divmod(abs(span_ms), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"), (rest_ms, "ms"))
    text = "".join(f"{amount}{unit}" for amount, unit in parts if amount) or "0s"
    return f"-{text}" if span_ms < 0 else text
