"""Money, numbers and dates the way the reader's locale writes them (CLDR data by Babel).

Invariant: the zone and the locale are always given by the caller; nothing here asks the machine for its own.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel import dates as babel_dates
from babel import numbers as babel_numbers

from engine.core.reading.instants import epoch_ms, epoch_of_text, written
from engine.dispatch.filters.values import RenderFailure

CACHE_SIZE: Final = 4_096  # texts kept; the same prices and days come again for most recipients of a campaign
FORMAT_LENGTH_MAX: Final = 64
DIGITS_MAX: Final = 10
CURRENCY_LENGTH: Final = 3
STYLES: Final = frozenset({"short", "medium", "long", "full"})
PATTERN_LETTERS: Final = frozenset("yMLdEecHhmsakKzv")


@lru_cache(maxsize=256)
def known_locale(name: str) -> str | None:
    """Return the locale as Babel names it (`de-AT` is `de_AT`), its language when the country is unknown, or None."""
    parts = name.replace("_", "-").split("-")
    for length in range(min(len(parts), 3), 0, -1):
        try:
            return str(Locale.parse("_".join(parts[:length])))
        except (UnknownLocaleError, ValueError, TypeError):
            continue
    return None


@lru_cache(maxsize=1_024)
def known_zone(name: str) -> ZoneInfo | None:
    """Return the time zone of that IANA name, or None."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _locale(name: str) -> str:
    found = known_locale(name)
    if found is None:
        raise RenderFailure(f"unknown locale '{name[:40]}'")
    return found


def _zone(name: str) -> ZoneInfo:
    found = known_zone(name)
    if found is None:
        raise RenderFailure(f"unknown time zone '{name[:40]}'")
    return found


@lru_cache(maxsize=CACHE_SIZE)
def format_money(value: float, currency: str, *, locale: str) -> str:
    """Return an amount in whole units of the currency: 1234.5 EUR in `de` is `1.234,50 €`."""
    code = currency.strip().upper()
    if len(code) != CURRENCY_LENGTH or not code.isascii() or not code.isalpha():
        raise RenderFailure(f"'{currency[:20]}' is not a currency code such as EUR")
    name = _locale(locale)
    try:
        return str(babel_numbers.format_currency(Decimal(str(value)), code, locale=name))
    except ArithmeticError:
        raise RenderFailure("a number is too large to be an amount of money") from None


@lru_cache(maxsize=CACHE_SIZE)
def format_number(value: float, digits: int | None, *, locale: str) -> str:
    """Return a number with the locale's separators, with exactly `digits` decimals when they are given."""
    if digits is not None and not 0 <= digits <= DIGITS_MAX:
        raise RenderFailure(f"number takes 0 to {DIGITS_MAX} digits")
    pattern = None if digits is None else "#,##0" + ("." + "0" * digits if digits else "")
    name = _locale(locale)
    try:
        return str(babel_numbers.format_decimal(Decimal(str(value)), format=pattern, locale=name))
    except ArithmeticError:
        raise RenderFailure("a number is too large to be written out") from None


@lru_cache(maxsize=CACHE_SIZE)
def format_date(value: Any, style: str, *, locale: str, zone: str) -> str:
    """Return the day in the reader's zone; `style` is short, medium, long, full or a CLDR pattern such as `d. MMMM`."""
    moment = _moment(value, zone)
    _check_style(style)
    if isinstance(moment, datetime) and style not in STYLES:
        return str(babel_dates.format_datetime(moment, style, tzinfo=_zone(zone), locale=_locale(locale)))
    return str(babel_dates.format_date(moment, style, locale=_locale(locale)))


@lru_cache(maxsize=CACHE_SIZE)
def format_time(value: Any, style: str, *, locale: str, zone: str) -> str:
    """Return the time of day in the reader's zone; `style` as for `format_date`."""
    moment = _moment(value, zone)
    if not isinstance(moment, datetime):
        raise RenderFailure("a day without a time of day has no time")
    _check_style(style)
    return str(babel_dates.format_time(moment, style, tzinfo=_zone(zone), locale=_locale(locale)))


def _check_style(style: str) -> None:
    if style in STYLES:
        return
    letters = {letter for index, part in enumerate(style.split("'")) if index % 2 == 0 for letter in part}
    wrong = {letter for letter in letters if letter.isalpha() and letter.isascii()} - PATTERN_LETTERS
    if wrong or len(style) > FORMAT_LENGTH_MAX:
        raise RenderFailure(f"'{style[:40]}' is not a date format; take short, medium, long, full or like 'd. MMMM y'")


def _moment(value: Any, zone: str) -> datetime | date:
    """Return a local datetime, or a date when the value has no time: milliseconds, RFC 3339 or a date object."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, bool):
        raise RenderFailure("a true/false value is not a date")
    try:
        if isinstance(value, int | float):
            at_ms = epoch_ms(value)
            if at_ms is None:
                raise RenderFailure("a date is out of range")
            return datetime.fromtimestamp(at_ms / 1000, tz=_zone(zone))
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(_zone(zone))
    except (ValueError, OverflowError, OSError):
        raise RenderFailure("a date is out of range") from None
    if isinstance(value, date):
        return value
    if isinstance(value, time):
        raise RenderFailure("a time of day has no date")
    raise RenderFailure("this is not a date")


def _parsed(value: str) -> datetime | date:
    """What a text says, by the one reader of times; without an offset it is taken as UTC, as at intake."""
    at_ms = epoch_of_text(value)
    if at_ms is not None:
        return datetime.fromtimestamp(at_ms / 1000, tz=UTC)
    said = written(value)
    if said is None:
        raise RenderFailure(f"'{value[:40]}' is not a date")
    return said.at if said.timed else said.at.date()
