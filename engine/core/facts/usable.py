"""Traits in the one form that everything else knows them by: names in one spelling; addresses, times and languages read.

Invariant: what cannot be read is not stored: the value known before stays, the rest of what came with it counts, and the
journal says why (`trait_refused`). A missing text (`""`) says nothing and changes nothing; null removes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.core.reading.countries import read_country
from engine.core.reading.days import read_birthday
from engine.core.reading.emails import read_email
from engine.core.reading.locales import read_locale
from engine.core.reading.missing import is_missing
from engine.core.reading.spelling import CANONICAL, spelt_in_one_way
from engine.core.reading.zones import read_zone
from engine.core.time.zone import AHEAD_MS_MAX, HAPPENED_MS_MIN, parse_time, rfc3339, zone_named, zone_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from zoneinfo import ZoneInfo

    from engine.core.catalog import Catalog
    from engine.core.turn import Turn

NO_TEXT = "it is not text"
NO_TIME = "it is not a time such as 2026-03-27T09:00:00Z"
TOO_EARLY = "it lies before the year 2000, as a number of another unit or a clock that was never set does"
TOO_LATE = "it lies more than a day ahead"
IDENTITY = ("country", "timezone", "email", "phone", "birthday", "locale", "created_at")
"""Traits that are read, in the order in which one depends on another."""
_READ = frozenset(IDENTITY)

_NOWHERE = "?"
"""A country in which no national number can be read."""
Told = tuple[Any, str]
"""The value in its canonical form and "", or anything and why it cannot be used."""


class _Person:
    """What is known while one record's traits are read: this record's, then those from before."""

    __slots__ = ("before", "catalog", "lost", "now_ms", "told")

    def __init__(self, catalog: Catalog, before: Mapping[str, Any], *, told: Mapping[str, Any], now_ms: int) -> None:
        self.catalog = catalog
        self.before = before
        self.told = told
        self.now_ms = now_ms
        self.lost = False
        """Whether the country that was said last, before this record, was not understood."""

    def country(self) -> str:
        """The country of a number that names none, as it was said; "": nobody said one. What cannot be read does not count."""
        for traits in (self.told, self.before):
            for value in (traits.get("country"), _inside(traits.get("address"))):
                if not is_missing(value):
                    return value if isinstance(value, str) else _NOWHERE
            if "country" in traits and traits["country"] is None:
                return ""
            if self.lost:
                return _NOWHERE
        return ""

    def zone(self) -> ZoneInfo:
        """Where the customer lives."""
        known = {**self.before, **{name: value for name, value in self.told.items() if not is_missing(value)}}
        return zone_of(known, zone_named(self.catalog.policy.zone))


def _inside(address: object) -> object:
    return address.get("country") if isinstance(address, dict) else None


def with_usable(turn: Turn, traits: Mapping[str, Any]) -> Mapping[str, Any]:
    """The traits as they are stored; one line in the journal for each that cannot be used."""
    told = spelt_in_one_way(traits)
    if not _READ.isdisjoint(told):
        told = _read(turn, told)
    stale = {name: None for name, canonical in CANONICAL.items() if canonical in told and name in turn.state.traits}
    return {**told, **stale} if stale else told


def _read(turn: Turn, told: Mapping[str, Any]) -> Mapping[str, Any]:
    person = _Person(turn.catalog, turn.state.traits, told=told, now_ms=turn.now_ms)
    person.lost = "country" in turn.state.refused
    kept = dict(told)
    refused = dict(turn.state.refused)
    for name in IDENTITY:
        if name not in told:
            continue
        value = told[name]
        if value is not None and is_missing(value):
            del kept[name]
            continue
        found, reason = (None, "") if value is None else READERS[name](value, person)
        if reason:
            del kept[name]
            refused[name] = reason
            turn.decide("trait_refused", trait=name, reason=reason)
        else:
            kept[name] = found
            refused.pop(name, None)
    if refused != turn.state.refused:
        turn.state.refused = refused
    return kept


def unusable(catalog: Catalog, traits: Mapping[str, Any], *, now_ms: int) -> dict[str, str]:
    """Traits stored before they were read that cannot be used, and why; for pages and `anlass show`."""
    person = _Person(catalog, {}, told=traits, now_ms=now_ms)
    asked = {name: traits[name] for name in IDENTITY if not is_missing(traits.get(name))}
    found = {name: READERS[name](value, person)[1] for name, value in asked.items()}
    return {name: reason for name, reason in found.items() if reason}


def _phone(value: object, person: _Person) -> Told:
    read = person.catalog.read_phone
    if read is None:
        return value, ""
    return read(value, person.country()) if isinstance(value, str) else ("", NO_TEXT)


def _time(value: object, person: _Person) -> Told:
    at_ms = parse_time(value, person.zone())
    if at_ms is None:
        return "", NO_TIME
    if at_ms < HAPPENED_MS_MIN:
        return "", TOO_EARLY
    if at_ms > person.now_ms + AHEAD_MS_MAX:
        return "", TOO_LATE
    said = isinstance(value, str) and not value.strip().lstrip("+-").replace(".", "", 1).isdigit()
    return (value if said else rfc3339(at_ms)), ""


READERS: dict[str, Callable[[Any, _Person], Told]] = {
    "country": lambda value, _: read_country(value),
    "timezone": lambda value, _: read_zone(value),
    "email": lambda value, _: read_email(value),
    "phone": _phone,
    "birthday": lambda value, person: read_birthday(value, person.zone(), person.now_ms),
    "locale": lambda value, _: read_locale(value),
    "created_at": _time,
}
