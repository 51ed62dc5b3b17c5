"""Days of the calendar, above all birthdays, in the forms of shops, forms and spreadsheets.

Invariant: as the package's. The canonical form is `1990-06-12`, or `--06-12` without a year. A day is never moved by a
time zone: a moment is read as the day it is midnight of, in UTC or where the customer lives, and refused where the two
differ and neither is.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from engine.core.reading.instants import epoch_ms, epoch_of_text, month_and_day, written
from engine.core.reading.missing import is_missing
from engine.core.reading.numbers import exact_number

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

YEAR_MIN = 1900
DAY_CHARS_MAX = 80
NOT_A_DAY = "it is not a date that can be read in one way only; write it as 1990-12-31, or --12-31 without the year"
WRONG_DAY = "it is a moment, and which day that is depends on the time zone; write the day as 1990-12-31"
TOO_EARLY = f"it lies before {YEAR_MIN}"
TOO_LATE = "it lies in the future"
_YEARLESS = re.compile(r"--(\d{2})-?(\d{2})", re.ASCII)
_SHORT = re.compile(r"(\d{1,2})(?:/|-)(\d{1,2})|(\d{1,2})\.\s?(\d{1,2})\.", re.ASCII)
_LEAP_YEAR = 4
"""A year with a 29 February, in which days without a year are looked up."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY_MS = 86_400_000
_SURE_MIN = 100_000_000
"""Smaller numbers count as seconds since 1970 only where they are a midnight: people mean something else by 19900612 or 1990."""


def read_birthday(value: object, zone: ZoneInfo, now_ms: int) -> tuple[str, str]:
    """(the day, "") or ("", why not). A missing one is ("", ""). `zone` is the customer's."""
    if is_missing(value):
        return "", ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return "", NOT_A_DAY
    found = _of_text(value.strip(), zone, now_ms) if isinstance(value, str) else _of_number(value, zone, now_ms)
    if isinstance(found, str):
        return ("", found) if not found.startswith("--") else (found, "")
    if found.year < YEAR_MIN:
        return "", TOO_EARLY
    latest = _EPOCH + dt.timedelta(milliseconds=now_ms + _DAY_MS)
    return ("", TOO_LATE) if found > latest.date() else (found.isoformat(), "")


def _of_text(text: str, zone: ZoneInfo, now_ms: int) -> dt.date | str:
    """The day, a day without its year as text, or the reason."""
    if len(text) > DAY_CHARS_MAX:
        return NOT_A_DAY
    yearless = _yearless(text)
    if yearless is not None:
        return yearless
    at_ms = epoch_of_text(text)
    said = written(text) if at_ms is None else None
    number = exact_number(text)
    if said is None and number is not None:
        return _of_number(number, zone, now_ms)
    if at_ms is not None:
        return _of_number(at_ms, zone, now_ms)
    if said is None:
        return NOT_A_DAY
    if said.at.tzinfo is None or (said.at.hour, said.at.minute, said.at.second) == (0, 0, 0):
        return said.at.date()
    return _of_moment(said.at, zone)


def _yearless(text: str) -> str | None:
    found = _YEARLESS.fullmatch(text)
    pair = (int(found[1]), int(found[2])) if found is not None else None
    if found is None:
        short = _SHORT.fullmatch(text)
        if short is None:
            return None
        pair = month_and_day(int(short[1]), int(short[2])) if short[1] else (int(short[4]), int(short[3]))
    if pair is None:
        return NOT_A_DAY
    try:
        day = dt.date(_LEAP_YEAR, *pair)
    except ValueError:
        return NOT_A_DAY
    return f"--{day.month:02d}-{day.day:02d}"


def _of_number(number: float, zone: ZoneInfo, now_ms: int) -> dt.date | str:
    """A number since 1970: of the unit that its size says, or of milliseconds where that day could be nobody's birthday."""
    if abs(number) < _SURE_MIN and not _is_midnight(number, zone):
        return NOT_A_DAY
    for at_ms in (epoch_ms(number), round(number) if abs(number) < now_ms + _DAY_MS else None):
        if at_ms is None or at_ms > now_ms + _DAY_MS:
            continue
        try:
            found = _of_moment(_EPOCH + dt.timedelta(milliseconds=at_ms), zone)
        except OverflowError:
            continue
        if isinstance(found, str) or found.year >= YEAR_MIN:
            return found
    return NOT_A_DAY


def _is_midnight(seconds: float, zone: ZoneInfo) -> bool:
    moment = _EPOCH + dt.timedelta(seconds=seconds)
    both = (moment, moment.astimezone(zone))
    return bool(seconds) and any((each.hour, each.minute, each.second) == (0, 0, 0) for each in both)


def _of_moment(moment: dt.datetime, zone: ZoneInfo) -> dt.date | str:
    try:
        local = moment.astimezone(zone)
    except OverflowError:
        return moment.date()
    if (moment.hour, moment.minute, moment.second) == (0, 0, 0):
        return moment.date()
    if (local.hour, local.minute, local.second) == (0, 0, 0) or local.date() == moment.date():
        return local.date()
    return WRONG_DAY
