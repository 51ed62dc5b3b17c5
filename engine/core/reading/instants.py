"""Times as shops, databases and spreadsheets write them: numbers since 1970 in any usual unit, ISO 8601, mail and browser forms.

Invariant: pure and total. A value is one moment, a wall-clock time without a zone, or None. `06/12/2026` is read only
when one of the two cannot be a month (or both are the same); years have four digits; names of zones but UTC and GMT are
not guessed.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import NamedTuple

TIME_CHARS_MAX = 80
SECONDS_MAX, MILLIS_MAX, MICROS_MAX, NANOS_MAX = 10**11, 10**14, 10**17, 10**20
"""Below the first a number counts seconds since 1970, below the next milliseconds, and so on: all of the years 1973 to 5138."""

MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january januar jänner", "feb february februar feber", "mar march mär märz mrz maerz", "apr april", "may mai",
            "jun june juni", "jul july juli", "aug august", "sep sept september", "oct october okt oktober",
            "nov november", "dec december dez dezember",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun|mo|di|mi|do|fr|sa|so)[a-zäöü]*\.?,?\s+)?"
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<rest>\d{1,9}))?)?"
_HALF = r"(?:\s?uhr)?\s*(?P<half>[ap]\.?m\.?)?"
_ZONE = r"(?:\s*(?P<zone>z|utc|gmt|(?:utc|gmt)?\s?[+-]\d{1,2}(?::?\d{2})?)(?:\s*\([^()]{1,60}\))?)?"
_TAIL = rf"(?:(?:,?\s+|\s?t\s?|,?\s+um\s+){_CLOCK}{_HALF}{_ZONE})?"
_FORMS = tuple(
    re.compile(rf"{_WEEKDAY}{form}", re.ASCII | re.IGNORECASE)
    for form in (
        rf"(?P<year>\d{{4}})(?P<sign>[-/.])(?P<month>\d{{1,2}})(?P=sign)(?P<day>\d{{1,2}}){_TAIL}",
        rf"(?P<day>\d{{1,2}})\.\s?(?P<month>\d{{1,2}})\.\s?(?P<year>\d{{4}}){_TAIL}",
        rf"(?P<one>\d{{1,2}})(?P<sign>[-/])(?P<other>\d{{1,2}})(?P=sign)(?P<year>\d{{4}}){_TAIL}",
        rf"(?P<day>\d{{1,2}})(?:\.|st|nd|rd|th)?[\s-]\s*(?P<name>[a-zäöü]{{3,9}})\.?,?[\s-]\s*(?P<year>\d{{4}}){_TAIL}",
        rf"(?P<name>[a-zäöü]{{3,9}})\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}}){_TAIL}",
        rf"(?P<name>[a-zäöü]{{3,9}})\.?\s+(?P<day>\d{{1,2}})\s+{_CLOCK}\s+(?P<year>\d{{4}})",
    )
)
_DIGITS = re.compile(r"[+-]?\d{9,20}(\.\d{1,9})?", re.ASCII)
_COMPACT = re.compile(r"(?:19|20)\d{12}", re.ASCII)
_DOTNET = re.compile(r"/Date\((-?\d{1,14})(?:[+-]\d{4})?\)/", re.ASCII)
_ISO = re.compile(r"\d{4}-?\d{2}-?\d{2}(?:$|[T ].*)|\d{4}-?W\d{2}.*", re.ASCII | re.DOTALL | re.IGNORECASE)
_NOON = 12
_MINUTES_MAX = 24 * 60
_LEAP_SECOND = 60


class WrittenTime(NamedTuple):
    """A text as a calendar says it: `at` is aware when the text names its offset; `timed`: it has a time of day."""

    at: dt.datetime
    timed: bool


def epoch_ms(number: float) -> int | None:
    """Milliseconds since 1970 of a number of seconds, milli-, micro- or nanoseconds, told apart by its size; None for none."""
    if not -NANOS_MAX < number < NANOS_MAX:  # also what is not a number
        return None
    size = abs(number)
    if size < SECONDS_MAX:
        return round(number * 1000)
    if size < MILLIS_MAX:
        return round(number)
    if size < MICROS_MAX:
        return int(number) // 1_000
    return int(number) // 1_000_000


def epoch_of_text(text: str) -> int | None:
    """As `epoch_ms`, of a text that is nothing but such a number (at least nine digits); None for any other text."""
    if _DIGITS.fullmatch(text) and _compact(text) is None:
        return epoch_ms(float(text) if "." in text else int(text))
    dotnet = _DOTNET.fullmatch(text)
    return int(dotnet[1]) if dotnet is not None else None


def written(text: str) -> WrittenTime | None:
    """What date and time a text says; None when it says none, two, or one that does not exist. Numbers are `epoch_of_text`'s."""
    text = text.strip()
    if not text or len(text) > TIME_CHARS_MAX:
        return None
    compact = _compact(text)
    if compact is not None:
        return WrittenTime(compact, timed=True)
    if _ISO.fullmatch(text):
        try:
            return WrittenTime(dt.datetime.fromisoformat(text.upper()), timed=len(text) > len("2026-W01-1"))
        except ValueError:
            pass  # a near miss, such as a blank before the offset, may be one of the forms below
    for form in _FORMS:
        found = form.fullmatch(text)
        if found is not None:
            return _assembled(found.groupdict())
    return None


def _compact(text: str) -> dt.datetime | None:
    """`20260327090000`, which no system means as a number of milliseconds in the year 2612."""
    if not _COMPACT.fullmatch(text):
        return None
    try:
        year, month, day, hour, minute, second = (int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2)))
        return dt.datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - local by meaning
    except ValueError:
        return None


def _assembled(part: dict[str, str | None]) -> WrittenTime | None:
    month_day = _month_day(part)
    if month_day is None:
        return None
    clock = _clock(part)
    if clock is None:
        return None
    offset = _offset(part.get("zone"))
    if offset is not None and abs(offset) >= _MINUTES_MAX:
        return None
    zone = None if offset is None else dt.timezone(dt.timedelta(minutes=offset))
    try:
        return WrittenTime(
            dt.datetime(int(part["year"] or 0), *month_day, *clock, tzinfo=zone), timed=bool(part.get("hour"))
        )
    except ValueError:
        return None


def _month_day(part: dict[str, str | None]) -> tuple[int, int] | None:
    if part.get("name"):
        month = MONTHS.get((part["name"] or "").lower())
        return None if month is None else (month, int(part["day"] or 0))
    if part.get("one"):
        return month_and_day(int(part["one"] or 0), int(part["other"] or 0))
    return int(part["month"] or 0), int(part["day"] or 0)


def month_and_day(one: int, other: int) -> tuple[int, int] | None:
    """(month, day) of two numbers whose order nobody knows; None when both orders are possible and differ."""
    if one == other or one > _NOON >= other:
        return other, one
    return (one, other) if other > _NOON >= one else None


def _clock(part: dict[str, str | None]) -> tuple[int, int, int, int] | None:
    if not part.get("hour"):
        return 0, 0, 0, 0
    hour, minute, second = int(part["hour"] or 0), int(part["minute"] or 0), int(part.get("second") or 0)
    half = (part.get("half") or "").lower()[:1]
    if half:
        if not 1 <= hour <= _NOON:
            return None
        hour = hour % _NOON + (_NOON if half == "p" else 0)
    second -= second == _LEAP_SECOND
    return hour, minute, second, int(f"{part.get('rest') or '0':0<6}"[:6])


def _offset(zone: str | None) -> int | None:
    """Minutes east of UTC; None when the text names no offset."""
    if not zone:
        return None
    digits = re.sub(r"[^0-9+-]", "", zone)
    if not digits:
        return 0
    hours, minutes = (digits[1:3], digits[3:]) if len(digits) != len("+130") else (digits[1:2], digits[2:])
    total = int(hours) * 60 + int(minutes or 0)
    return -total if digits[0] == "-" else total
