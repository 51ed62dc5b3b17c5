"""The readers of values: total, never guessing, and their canonical form reads as itself."""

from __future__ import annotations

import datetime as dt
import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.reading.countries import read_country
from engine.core.reading.country_names_abroad import ABROAD
from engine.core.reading.days import NOT_A_DAY, read_birthday
from engine.core.reading.emails import read_email
from engine.core.reading.instants import epoch_ms, written
from engine.core.reading.locales import read_locale
from engine.core.reading.missing import is_missing
from engine.core.reading.numbers import exact_number
from engine.core.reading.spelling import spelt_in_one_way
from engine.core.reading.zones import read_zone
from engine.core.time.zone import UTC, parse_time, rfc3339

T0 = 1_790_000_000_000
"""2026-09-21T14:13:20Z."""
BERLIN, ANGELES = ZoneInfo("Europe/Berlin"), ZoneInfo("America/Los_Angeles")
NINE = 1_774_602_000_000
"""2026-03-27T09:00:00Z."""
SCALARS = st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(st.text())


@pytest.mark.parametrize("number", [1_790_000_000, 1_790_000_000_000, 1_790_000_000_000_000, 1_790_000_000_000_000_000])
def test_units_are_told_apart_by_size(number: int) -> None:
    """Seconds, milli-, micro-, nanoseconds; as numbers and as texts."""
    assert epoch_ms(number) == T0
    assert parse_time(number) == T0
    assert parse_time(str(number)) == T0


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-27T09:00:00Z", "2026-03-27T10:00:00+01:00", "2026-03-27 09:00:00", "2026-03-27 10:00:00 +0100",
        "2026-03-27 09:00:00 UTC", "2026-03-27t09:00:00z", "2026-03-27T09:00:00.000000001Z", "20260327T090000Z", "20260327090000",
        "Fri, 27 Mar 2026 09:00:00 GMT", "Fri Mar 27 2026 10:00:00 GMT+0100 (Central European Standard Time)", "27.03.2026 09:00",
        "27.3.2026, 9:00 Uhr", "27. März 2026 um 09:00", "March 27, 2026 9:00 am", "3/27/2026 9:00:00 AM", "27/03/2026 09:00",
        "2026/03/27 09:00", "/Date(1774602000000)/", "1774602000", " 2026-03-27T09:00:00Z ",
    ],
)  # fmt: skip
def test_times_as_systems_write_them(text: str) -> None:
    """All the same moment."""
    assert parse_time(text, UTC) == NINE


@pytest.mark.parametrize(
    "text",
    [
        "03/04/2026",
        "3-4-2026",
        "27.03.26",
        "2026-02-30",
        "9:00",
        "2026-03-27T25:00Z",
        "2026-03-27 09:00 CST",
        "soon",
        "",
        " ",
    ],
)
def test_times_that_nobody_can_read_in_one_way(text: str) -> None:
    """Two possible readings are none."""
    assert parse_time(text, UTC) is None


def test_a_long_number_is_not_a_date_of_the_middle_ages() -> None:
    """Python reads `1612102341234` as the year 1612."""
    assert parse_time("1612102341234") == 1_612_102_341_234


@given(SCALARS)
def test_times_are_total_and_read_as_themselves(value: object) -> None:
    """Whatever it is: a moment that is written and read again, or none."""
    at_ms = parse_time(value, BERLIN)
    if at_ms is not None:
        assert parse_time(rfc3339(at_ms), BERLIN) == at_ms


@given(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)))  # noqa: DTZ001 - local by meaning
def test_what_is_written_in_any_form_is_read_alike(moment: dt.datetime) -> None:
    """ISO, German, mail, browser."""
    moment = moment.replace(microsecond=0, tzinfo=dt.UTC)
    forms = (
        "%Y-%m-%d %H:%M:%S",
        "%d.%m.%Y %H:%M:%S",
        "%a, %d %b %Y %H:%M:%S GMT",
        "%a %b %d %Y %H:%M:%S GMT+0000",
        "%Y%m%dT%H%M%SZ",
    )
    for form in forms:
        said = written(moment.strftime(form))
        assert said is not None
        assert said.at.replace(tzinfo=dt.UTC) == moment


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("9.90", 9.9), ("80", 80), (" 80 ", 80), ("-3", -3), ("0", 0), ("0.50", 0.5), (7, 7), (1.5, 1.5), ("600,00", None),
        ("1.234,50", None), ("1,234.50", None), ("9.90 €", None), ("007", None), ("1e5", None), ("nan", None), ("inf", None),
        ("", None), ("1_000", None), (".5", None), ("5.", None), ("٣", None), (True, None), (None, None), (float("nan"), None),
    ],
)  # fmt: skip
def test_a_text_is_a_number_only_when_it_is_exactly_one(value: object, number: float | None) -> None:
    """As Shopify and WooCommerce write money; nobody guesses at commas."""
    assert exact_number(value) == number


@given(SCALARS)
def test_numbers_are_total_and_read_as_themselves(value: object) -> None:
    """A number, or none; and it is itself again."""
    number = exact_number(value)
    if number is not None:
        assert exact_number(number) == number


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("UK", "GB"), ("u.k.", "GB"), ("Great Britain", "GB"), ("England", "GB"), ("GBR", "GB"), ("Austria", "AT"), ("AUT", "AT"),
        ("Österreich", "AT"), ("OESTERREICH", "AT"), ("osterreich", "AT"), ("USA", "US"), ("U.S.A.", "US"),
        ("United States", "US"),
        ("Vereinigte Staaten", "US"), ("Deutschland", "DE"), (" de ", "DE"), ("Holland", "NL"), ("The Netherlands", "NL"),
        ("Niederlande", "NL"), ("Czech Republic", "CZ"), ("Czechia", "CZ"), ("Tschechien", "CZ"), ("Schweiz", "CH"),
        ("Suisse", "CH"),
        ("España", "ES"), ("Türkiye", "TR"), ("Côte d’Ivoire", "CI"), ("Bosnia & Herzegovina", "BA"),
        ("South Korea", "KR"), ("EL", "GR"),
        ("Kosovo", "XK"),
    ],
)  # fmt: skip
def test_countries_as_people_say_them(text: str, code: str) -> None:
    """Codes, names in English and German and their own, aliases; case, dots, accents, blanks."""
    assert read_country(text) == (code, "")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Allemagne", "DE"), ("Alemania", "DE"), ("Germania", "DE"), ("Reino Unido", "GB"), ("Royaume-Uni", "GB"),
        ("REGNO UNITO", "GB"), ("Francia", "FR"), ("Włochy", "IT"), ("Suíça", "CH"), ("Česká republika", "CZ"),
        ("Stati Uniti", "US"), ("EE.UU.", "US"), ("Ελλάδα", "GR"), ("Україна", "UA"), ("Republic of Korea", "KR"),
        ("Germany (DE)", "DE"), ("United States of America (USA)", "US"), ("Österreich / Austria", "AT"),
        ("Ireland, Republic of", "IE"), ("Korea, South", "KR"),
    ],
)  # fmt: skip
def test_countries_in_other_languages_and_said_twice(text: str, code: str) -> None:
    """As shops abroad, address books and drop-downs write them."""
    assert read_country(text) == (code, "")


@pytest.mark.parametrize(
    "text", ["N/A", "n/a", "n.a.", "Georgia (US)", "Germany / Austria", "Berlin (DE)", "DE, AT", "Kongo"]
)
def test_no_country_is_taken_for_another(text: str) -> None:
    """Not available is not Namibia, and two countries are none."""
    assert read_country(text)[0] == ""


def test_no_name_abroad_stands_for_two_countries() -> None:
    """Of one table, and beside the other."""
    owners: dict[str, set[str]] = {}
    for entry in " ".join(ABROAD.split()).split(";"):
        code, _, names = entry.strip().partition(" ")
        for name in filter(None, names.split("|")):
            owners.setdefault(name.casefold(), set()).add(code)
            assert read_country(name) == (code, ""), name
    assert {name: codes for name, codes in owners.items() if len(codes) > 1} == {}


@pytest.mark.parametrize("value", ["Atlantis", "Korea", "Congo", "ZZ", "D E U", 49, True, ["DE"], "x" * 100])
def test_a_country_that_nobody_knows_is_refused(value: object) -> None:
    """Also one that may be two."""
    code, reason = read_country(value)
    assert (code == "DE") is (value == "D E U")
    assert bool(reason) is not bool(code)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("Europe/Berlin", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"), ("America/New York", "America/New_York"),
        ("GMT+2", "Etc/GMT-2"), ("UTC+02:00", "Etc/GMT-2"), ("utc-5", "Etc/GMT+5"), ("+05:30", "Asia/Kolkata"), ("Z", "UTC"),
        ("W. Europe Standard Time", "Europe/Berlin"), ("w. europe standard time", "Europe/Berlin"), ("UTC+0", "UTC"),
        ("PST", ""), ("CST", ""), ("-03:30", ""), ("GMT+25", ""), ("Berlin", ""), ("posix/Europe/Berlin", ""),
        ("../etc/passwd", ""),
    ],
)  # fmt: skip
def test_time_zones(text: str, zone: str) -> None:
    """Names in any case, offsets, Windows names; what several zones are called is refused."""
    name, reason = read_zone(text)
    assert name == zone
    assert bool(reason) is not bool(name)


@pytest.mark.parametrize(
    ("text", "locale"),
    [
        ("de", "de"), ("DE", "de"), ("de_AT", "de-AT"), ("de-at", "de-AT"), ("de_DE.UTF-8", "de-DE"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("deu", "de"), ("en-UK", "en-GB"), ("es-419", "es-419"), ("en-US-u-hc-h12", "en-US"), ("German", ""), ("xx", ""),
        ("de-QQ", ""), ("en-US,en;q=0.9", ""), ("de-", ""),
    ],
)  # fmt: skip
def test_languages(text: str, locale: str) -> None:
    """As browsers, systems and shops write them."""
    assert read_locale(text)[0] == locale


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("12.06.1990", "1990-06-12"), ("12. Juni 1990", "1990-06-12"), ("June 12, 1990", "1990-06-12"),
        ("06/13/1990", "1990-06-13"),
        ("13/06/1990", "1990-06-13"), ("06/06/1990", "1990-06-06"), ("1990-06-12", "1990-06-12"),
        ("1990-06-12T00:00:00Z", "1990-06-12"),
        ("1990-06-12T00:00:00+02:00", "1990-06-12"), ("19900612", "1990-06-12"), ("--06-12", "--06-12"), ("05/17", "--05-17"),
        ("17.05.", "--05-17"), (645_148_800, "1990-06-12"), (645_148_800_000, "1990-06-12"), ("645148800", "1990-06-12"),
        (-621_648_000, "1950-04-21"), (31_536_000, "1971-01-01"), (31_536_000_000, "1971-01-01"),
        ("06/12/1990", ""), ("05/06", ""), ("12.06.90", ""), (19_900_612, ""), (1990, ""), (0, ""), ("29.02.2001", ""),
        ("1850-01-01", ""), ("2031-01-01", ""), ("yesterday", ""), (True, ""), ([], ""), (10**30, ""), (float("nan"), ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zone", [BERLIN, ANGELES, ZoneInfo("Pacific/Auckland")])
def test_birthdays(value: object, day: str, zone: ZoneInfo) -> None:
    """The same day wherever the customer lives; what may be two days is refused."""
    found, reason = read_birthday(value, zone, T0)
    assert found == day
    assert bool(reason) is not bool(found)


def test_a_browsers_midnight_is_the_day_that_was_meant() -> None:
    """`new Date(1990, 5, 12).toISOString()` in Berlin; elsewhere nobody knows which day it is."""
    assert read_birthday("1990-06-11T22:00:00.000Z", BERLIN, T0)[0] == "1990-06-12"
    assert read_birthday("1990-06-11T22:00:00.000Z", ZoneInfo("Asia/Tokyo"), T0)[0] == ""
    assert read_birthday("06/12/1990", BERLIN, T0) == ("", NOT_A_DAY)


@pytest.mark.parametrize(
    ("value", "sound"),
    [
        ("mia@example.com", True), (" mia@example.com ", True), ("mia.o'neil+x@sub.example.co.uk", True),
        ("mia@bücher.example", True),
        ("not an address", False), ("mia@", False), ("@example.com", False), ("mia@example", False), ("mia@example..com", False),
        ("Mia <mia@example.com>", False), ("mia@example.com, bo@example.com", False), ("mia@10.0.0.1", False),
        ("mia@-x.example", False),
        ("mia\n@example.com", False), ("x" * 65 + "@example.com", False), (7, False), (None, True),
    ],
)  # fmt: skip
def test_addresses(value: object, sound: bool) -> None:
    """What can be one at all."""
    found, reason = read_email(value)
    assert bool(reason) is not sound
    assert found == (value.strip() if sound and isinstance(value, str) else "")


@given(SCALARS)
def test_every_reader_is_total_and_its_canonical_form_reads_as_itself(value: object) -> None:
    """A value or a reason, never both, and reasons never repeat the value."""
    readers = (read_country, read_zone, read_locale, read_email, lambda each: read_birthday(each, BERLIN, T0))
    for read in readers:
        found, reason = read(value)
        if is_missing(value):
            assert (found, reason) == ("", "")
            continue
        assert bool(found) is not bool(reason)
        assert read(found) == (found, "")
        assert reason == re.sub(r"\s+", " ", reason)


@pytest.mark.parametrize(
    ("value", "missing"),
    [("", True), (" \t\u00a0", True), (None, True), (0, False), (False, False), ([], False), ("0", False)],
)
def test_what_missing_means(value: object, missing: bool) -> None:
    """Nothing, null, a text without a visible character."""
    assert is_missing(value) is missing


def test_reserved_names_have_one_spelling() -> None:
    """Segment's camelCase and snake_case; the canonical one wins where both are sent, and other names are left alone."""
    told = {"firstName": "Mia", "last_name": "M", "createdAt": 1, "orderId": 7, "address": {"postal_code": "10115"}}
    assert spelt_in_one_way(told) == {
        "first_name": "Mia", "last_name": "M", "created_at": 1, "orderId": 7, "address": {"postalCode": "10115"},
    }  # fmt: skip
    assert spelt_in_one_way({"firstName": "A", "first_name": "B"}) == {"first_name": "B"}
    same = {"first_name": "B"}
    assert spelt_in_one_way(same) is same
