"""What the policy says about blasts and about how long things are kept: values, and the texts they are written as.

Invariant: data only; who watches and who removes asks it, and 0 always means "not at all".
"""

from __future__ import annotations

import re

import msgspec

from engine.core.time.schedule import Duration, parse_duration

YEAR_DAYS = 365
KEPT_DAYS_MAX = 36_500
OFF = "off"
FOREVER = "forever"
_TIMES = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)x")
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)\s?%")
_YEARS = re.compile(r"(\d{1,3})y")


class BlastRadius(msgspec.Struct, frozen=True, kw_only=True):
    """When a workflow pauses itself: it sends more than `times` its usual, or bounces or complaints come to these shares.

    The usual is the busiest stretch of the length `within` in the time `of` before. 0: that is not watched.
    """

    times: float = 10.0
    of: Duration = Duration(days=7)
    least: int = 500
    """Fewer messages than this are never too many, and shares are of at least so many."""
    bounces: float = 0.05
    complaints: float = 0.003
    within: Duration = Duration(ms=3_600_000)


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How many days what happened is kept, where the policy says so (None: it does not; 0: for ever)."""

    log: int | None = None
    journal: int | None = None
    messages: int | None = None
    dead_letters: int | None = None


def parse_times(text: str) -> float:
    """`10x`, `2.5x` or `off` (0). Raises ValueError with the mend."""
    match = _TIMES.fullmatch(text.strip())
    if text.strip() != OFF and (match is None or float(match[1]) < 1):
        message = f"{text!r} is not a multiple; write it as 10x (at least 1x), or off"
        raise ValueError(message)
    return 0.0 if match is None else float(match[1])


def parse_share(text: str) -> float:
    """`5%`, `0.3%` or `off` (0), as a part of one. Raises ValueError with the mend."""
    match = _SHARE.fullmatch(text.strip())
    if text.strip() != OFF and (match is None or not 0 < float(match[1]) <= 100):  # noqa: PLR2004 - per cent
        message = f"{text!r} is not a share; write it as 5% or 0.3%, or off"
        raise ValueError(message)
    return 0.0 if match is None else float(match[1]) / 100


def parse_kept(text: str) -> int:
    """`90d`, `12w`, `2y` (years of 365 days) or `forever` (0), in days. Raises ValueError with the mend."""
    told, mend = text.strip(), "write it in days, weeks or years, such as 90d, 12w or 2y, or forever"
    if told == FOREVER:
        return 0
    years = _YEARS.fullmatch(told)
    if years is not None:
        days = int(years[1]) * YEAR_DAYS
    else:
        try:
            duration = parse_duration(told)
        except ValueError:
            message = f"{text!r} is not a time to keep something; {mend}"
            raise ValueError(message) from None
        if duration.ms or duration.days < 1:
            message = f"{text!r} is less than a day, or not in whole days; {mend}"
            raise ValueError(message)
        days = duration.days
    if not 1 <= days <= KEPT_DAYS_MAX:
        message = f"{text!r} is out of bounds: from 1d to 100y; {mend}"
        raise ValueError(message)
    return days
