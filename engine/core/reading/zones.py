"""Time zones: names of the tz database in any case, offsets such as `GMT+2` and `UTC+02:00`, and Windows' names.

Invariant: as the package's. The canonical form is a name of the tz database. An offset is the zone that always has it (`GMT+2` is
`Etc/GMT-2`, whose sign is the other way round); abbreviations that several zones share, such as CST, are refused.
"""

from __future__ import annotations

import functools
import re
import zoneinfo

from engine.core.reading.missing import is_missing
from engine.core.reading.windows_zones import WINDOWS_ZONES

ZONE_CHARS_MAX = 64
NOT_UNDERSTOOD = "it is not a time zone that is known; write its name, such as Europe/Berlin"
_OFFSET = re.compile(r"(?:UTC|GMT)?\s?([+-])(\d{1,2})(?::?(\d{2}))?", re.ASCII | re.IGNORECASE)
_NOT_ZONES = ("posix/", "right/", "localtime", "posixrules", "factory", ".", "/")
_NEVER_SHIFTED = {
    210: "Asia/Tehran",
    270: "Asia/Kabul",
    330: "Asia/Kolkata",
    345: "Asia/Kathmandu",
    390: "Asia/Yangon",
    525: "Australia/Eucla",
    570: "Australia/Darwin",
    -570: "Pacific/Marquesas",
}
"""Offsets that are not whole hours → a zone that has it all year. Where all such zones shift (Newfoundland) nothing is read."""
_HOURS_EAST_MAX, _HOURS_WEST_MAX = 14, 12


@functools.cache
def _windows() -> dict[str, str]:
    pairs = (entry.split("=") for entry in " ".join(WINDOWS_ZONES.split()).split(";") if "=" in entry)
    return {name.strip().lower(): zone.strip() for name, zone in pairs}


@functools.cache
def _names() -> dict[str, str]:
    return {name.lower(): name for name in zoneinfo.available_timezones()}


def zone_or_none(name: str) -> zoneinfo.ZoneInfo | None:
    """The zone of exactly that name, or None. Some names in the zone folder are not zones of the world."""
    if not name or len(name) > ZONE_CHARS_MAX or name.lower().startswith(_NOT_ZONES):
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None


@functools.lru_cache(maxsize=4_096)
def _read(text: str) -> str:
    if text.upper() == "Z":
        return "UTC"
    if zone_or_none(text) is not None and _names().get(text.lower()) == text:
        return text
    found = _OFFSET.fullmatch(text)
    if found is not None:
        return _of_offset(found)
    name = _names().get(text.lower()) or _names().get(re.sub(r"\s*/\s*", "/", text.lower()).replace(" ", "_"))
    name = name or _windows().get(text.lower(), "")
    return name if zone_or_none(name) is not None else ""


def _of_offset(found: re.Match[str]) -> str:
    hours, minutes = int(found[2]), int(found[3] or 0)
    if minutes:
        total = hours * 60 + minutes
        name = _NEVER_SHIFTED.get(total if found[1] == "+" else -total, "")
        return name if zone_or_none(name) is not None else ""
    if hours == 0:
        return "UTC"
    east = found[1] == "+"
    if hours > (_HOURS_EAST_MAX if east else _HOURS_WEST_MAX):
        return ""
    return f"Etc/GMT{'-' if east else '+'}{hours}"


def read_zone(value: object) -> tuple[str, str]:
    """(a name of the tz database, "") or ("", why not). A missing one is ("", "")."""
    if is_missing(value):
        return "", ""
    if not isinstance(value, str) or len(value) > ZONE_CHARS_MAX:
        return "", NOT_UNDERSTOOD
    name = _read(value.strip())
    return (name, "") if name else ("", NOT_UNDERSTOOD)
