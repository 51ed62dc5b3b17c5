"""Zones of customers, and what counts as a time."""

from __future__ import annotations

import datetime as dt
from importlib import resources

import pytest

from engine.core.time.zone import (
    COUNTRY_ZONES,
    UTC,
    day_number,
    parse_date,
    parse_time,
    rfc3339,
    zone_named,
    zone_of,
)

BERLIN = zone_named("Europe/Berlin")


@pytest.mark.parametrize(
    ("traits", "zone"),
    [
        ({}, "UTC"),
        ({"timezone": "America/New_York", "country": "DE"}, "America/New_York"),
        ({"timezone": "Mars/Olympus", "country": "DE"}, "Europe/Berlin"),
        ({"timezone": 7, "country": " at "}, "Europe/Vienna"),
        ({"country": "US"}, "UTC"),
        ({"country": "Atlantis"}, "UTC"),
        ({"country": ["DE"]}, "UTC"),
        ({"timezone": "../../etc/passwd"}, "UTC"),
        ({"timezone": "Europe"}, "UTC"),
        ({"timezone": "localtime"}, "UTC"),
        ({"timezone": "right/Europe/Berlin"}, "UTC"),
        ({"timezone": "x" * 10_000}, "UTC"),
        ({"timezone": "a\0b"}, "UTC"),
    ],
)
def test_the_zone_of_a_customer(traits: dict[str, object], zone: str) -> None:
    """The trait `timezone`, else the country's only zone, else the project's; nonsense counts as missing."""
    assert zone_of(traits, UTC).key == zone


def test_an_unknown_zone_is_refused_with_an_example() -> None:
    """For the policy's `zone`, where silence would be wrong."""
    with pytest.raises(ValueError, match="such as Europe/Berlin"):
        zone_named("Berlin")


def test_the_table_of_countries_is_that_of_the_tz_database() -> None:
    """A country is in it iff its zones show one time from 2020 on (asked for each day here)."""
    zones: dict[str, list[str]] = {}
    for line in resources.files("tzdata").joinpath("zoneinfo/zone.tab").read_text().splitlines():
        if not line.startswith("#"):
            country, _, zone, *_ = line.split("\t")
            zones.setdefault(country, []).append(zone)
    days = [dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC) + dt.timedelta(n) for n in range(366 * 12)]

    def shown(zone: str) -> list[dt.timedelta | None]:
        return [zone_named(zone).utcoffset(day.astimezone(zone_named(zone))) for day in days]

    alike = {
        country
        for country, names in zones.items()
        if len(names) == 1 or all(shown(name) == shown(names[0]) for name in names[1:])
    }
    assert set(COUNTRY_ZONES) == alike
    assert all(COUNTRY_ZONES[country] in zones[country] for country in alike)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2026-03-27T09:00:00Z", "2026-03-27T09:00:00Z"),
        ("2026-03-27T10:00+01:00", "2026-03-27T09:00:00Z"),
        ("2026-03-27 10:00", "2026-03-27T09:00:00Z"),
        ("2026-03-27", "2026-03-26T23:00:00Z"),
        ("2026-03-29T02:30", "2026-03-29T01:00:00Z"),
        ("2026-03-27T09:00:00.250Z", "2026-03-27T09:00:00.250Z"),
        (1774602000, "2026-03-27T09:00:00Z"),
        (1774602000.25, "2026-03-27T09:00:00.250Z"),
        (1774602000250, "2026-03-27T09:00:00.250Z"),
        ("1774602000", "2026-03-27T09:00:00Z"),
        ("1774602000250", "2026-03-27T09:00:00.250Z"),
        (0, "1970-01-01T00:00:00Z"),
        (dt.date(2026, 3, 27), "2026-03-26T23:00:00Z"),
        (dt.datetime(2026, 3, 27, 9, tzinfo=dt.UTC), "2026-03-27T09:00:00Z"),
    ],
)
def test_times_are_read(value: object, text: str) -> None:
    """ISO 8601, dates and epoch numbers; what has no offset is local, here in Europe/Berlin."""
    at_ms = parse_time(value, BERLIN)
    assert at_ms is not None
    assert rfc3339(at_ms) == text


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "2026-02-30",
        "03/04/2026",
        "9" * 5000,
        None,
        True,
        [],
        {},
        float("nan"),
        float("inf"),
        10**40,
        -(10**20),
    ],
)
def test_what_is_no_time_is_none(value: object) -> None:
    """Nothing a customer's trait holds raises."""
    assert parse_time(value, BERLIN) is None
    assert parse_date(value, BERLIN) is None


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("1990-03-27", dt.date(1990, 3, 27)),
        ("1990-03-27T00:00:00Z", dt.date(1990, 3, 27)),
        ("1990-03-27T00:00:00+14:00", dt.date(1990, 3, 27)),
        ("--02-29", dt.date(4, 2, 29)),
        ("--02-30", None),
        (1774569600, dt.date(2026, 3, 27)),
        ("1774569600", dt.date(2026, 3, 27)),
        (dt.date(1990, 3, 27), dt.date(1990, 3, 27)),
    ],
)
def test_dates_are_taken_as_written(value: object, day: dt.date | None) -> None:
    """A birthday sent as midnight UTC is that day everywhere."""
    assert (
        parse_date(value, zone_named("America/New_York") if isinstance(value, str) and "T" in value else BERLIN) == day
    )


def test_day_numbers_are_local() -> None:
    """23:30 UTC is already tomorrow in Berlin."""
    at_ms = parse_time("2026-03-27T23:30Z")
    assert at_ms is not None
    assert day_number(at_ms, BERLIN) == day_number(at_ms, UTC) + 1
