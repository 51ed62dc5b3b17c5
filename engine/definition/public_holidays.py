"""Public holidays for a catalog, where one of its definitions asks about them.

Invariant: the same definitions (and release of the `holidays` package) give the same catalog with the same id, whatever the
day; which days are holidays depends on the country and the year asked about and on nothing else. They are computed when they
are asked for the first time: those of all countries would take most of a start.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import importlib.metadata
import re
import warnings
from collections.abc import Iterator, Mapping

import msgspec

from engine.core.catalog import Catalog
from engine.core.journey.workflow import Wait
from engine.core.time.zone import COUNTRY_ZONES

YEARS_KEPT_MAX = 4_096
"""Of all countries together."""
_CODE = re.compile(r"[A-Z]{2}", re.ASCII)


class CountryDays:
    """The public holidays of one country, to be asked with `day in days`: any day of any year."""

    def __init__(self, country: str) -> None:
        self.country = country

    def __contains__(self, day: object) -> bool:
        return isinstance(day, dt.date) and day in days_of(self.country, day.year)


class PublicHolidays(Mapping[str, CountryDays]):
    """ISO 3166-1 code → that country's days; "" stands for the project's country, where there is one."""

    def __init__(self, own: str) -> None:
        self._own = own

    def __getitem__(self, country: str) -> CountryDays:
        code = country or self._own
        if not _known(code):
            raise KeyError(country)
        return CountryDays(code)

    def __iter__(self) -> Iterator[str]:
        import holidays  # noqa: PLC0415 - a tenth of a second that most starts need not spend

        yield from [""] if _known(self._own) else []
        yield from sorted(holidays.list_supported_countries(include_aliases=False))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicHolidays) and other._own == self._own

    def __hash__(self) -> int:
        return hash(self._own)


def with_public_holidays(catalog: Catalog) -> Catalog:
    """The catalog with the holidays of every country; itself when nothing in it asks about holidays.

    The project's country is the one whose only zone is that of the policy; there is none when several share it.
    """
    if not _asks(catalog):
        return catalog
    countries = [country for country, zone in COUNTRY_ZONES.items() if zone == catalog.policy.zone]
    own = countries[0] if len(countries) == 1 else ""
    release = importlib.metadata.version("holidays")
    identity = hashlib.sha256(f"{catalog.id}:holidays:{release}:{own}".encode()).hexdigest()[: len(catalog.id)]
    return msgspec.structs.replace(catalog, id=identity, holidays=PublicHolidays(own))


@functools.lru_cache(maxsize=YEARS_KEPT_MAX)
def days_of(country: str, year: int) -> frozenset[dt.date]:
    """The public holidays of that country in that year; none where they are not known."""
    import holidays  # noqa: PLC0415 - as above

    # The first of January can be kept on the last of December, so that the years around have a say as well.
    years = range(max(year - 1, dt.MINYEAR), min(year + 1, dt.MAXYEAR) + 1)
    with warnings.catch_warnings():
        # Some countries' holidays are known for some decades only.
        warnings.simplefilter("ignore")
        found = holidays.country_holidays(country, years=years)
    return frozenset(dt.date(day.year, day.month, day.day) for day in found if day.year == year)


@functools.lru_cache(maxsize=26 * 26)
def _known(code: str) -> bool:
    if not _CODE.fullmatch(code):
        return False
    import holidays  # noqa: PLC0415 - as above

    try:
        holidays.country_holidays(code)
    except NotImplementedError:
        return False
    return True


def _asks(catalog: Catalog) -> bool:
    windows = [window for rule in catalog.policy.quiet for window in (rule.hours.nightly, rule.hours.whole)]
    return any(window is not None and window.holidays for window in windows) or any(
        isinstance(op, Wait) and op.window is not None and op.window.holidays
        for workflow in catalog.versions.values()
        for op in workflow.ops.values()
    )
