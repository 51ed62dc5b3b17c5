"""Public holidays are those of the year asked about, whenever the catalog was loaded."""

import datetime as dt

import pytest

from engine.core.catalog import Catalog
from engine.definition.load import load_files
from engine.definition.public_holidays import with_public_holidays

ASKING = "policy: default\nzone: {zone}\nquiet_hours: [{{channels: [sms], days: [holidays]}}]\n"


def catalog(zone: str = "Europe/Vienna") -> Catalog:
    loaded = load_files([("workflows/policy.yaml", ASKING.format(zone=zone).encode())])
    assert loaded.catalog is not None
    return with_public_holidays(loaded.catalog)


@pytest.mark.parametrize("year", [2019, 2026, 2040])
def test_every_year_has_its_holidays(year: int) -> None:
    """A simulation of years ago or to come knows Christmas too, and Easter Monday only where it is kept."""
    holidays = catalog().holidays
    assert dt.date(year, 12, 25) in holidays["DE"]
    assert dt.date(year, 10, 26) in holidays["AT"]
    assert dt.date(year, 10, 26) in holidays[""]
    assert dt.date(year, 10, 26) not in holidays["DE"]


def test_a_day_kept_in_the_year_before_counts() -> None:
    """The first of January 2022 was a Saturday: kept on the last of December in the United States."""
    assert dt.date(2021, 12, 31) in catalog().holidays["US"]


@pytest.mark.parametrize("country", ["XX", "de", "DEU", "Germany", "", "\u0130\u0130", "1"])
def test_what_is_no_country_has_none(country: str) -> None:
    """A trait can hold anything; the zone UTC belongs to no country."""
    holidays = catalog("UTC").holidays
    assert holidays.get(country) is None
    assert country not in holidays


@pytest.mark.parametrize("day", [dt.date.min, dt.date(1900, 1, 1), dt.date(2500, 1, 1), dt.date.max])
@pytest.mark.filterwarnings("error")
def test_far_days_are_answered(day: dt.date) -> None:
    """Neither the ends of the calendar nor a country known for some years only is an error."""
    holidays = catalog().holidays
    assert len(holidays) > len(holidays.keys() - {""}) > 0
    assert {day in holidays[country] for country in ("DE", "SA", "CN", "IN")} <= {True, False}


def test_the_id_depends_on_the_definitions_only() -> None:
    """Two loads give the same id and equal catalogs; another country another id."""
    assert catalog() == catalog()
    assert catalog().id == catalog().id != catalog("UTC").id


def test_nobody_asks() -> None:
    """A catalog without the word `holidays` stays as it is."""
    loaded = load_files([("workflows/policy.yaml", b"policy: default\n")])
    assert loaded.catalog is not None
    assert with_public_holidays(loaded.catalog) is loaded.catalog
