"""Public holidays for a catalog, where one of its definitions asks about them.

Invariant: the same definitions and the same years give the same catalog with the same id.
"""

from __future__ import annotations

import datetime as dt
import hashlib

import holidays
import msgspec

from engine.core.catalog import Catalog
from engine.core.workflow import Wait
from engine.core.zone import COUNTRY_ZONES

YEARS_BEFORE = 1
YEARS_AFTER = 3


def with_public_holidays(catalog: Catalog, *, year: int) -> Catalog:
    """The catalog with the holidays of every country around `year`; itself when nothing in it asks about holidays.

    `""` stands for the project's country: the one whose only zone is that of the policy; none when several share it.
    """
    if not _asks(catalog):
        return catalog
    years = range(year - YEARS_BEFORE, year + YEARS_AFTER + 1)
    days = {
        country: frozenset(
            dt.date(day.year, day.month, day.day) for day in holidays.country_holidays(country, years=years)
        )
        for country in sorted(holidays.list_supported_countries(include_aliases=False))
    }
    own = [country for country, zone in COUNTRY_ZONES.items() if zone == catalog.policy.zone]
    if len(own) == 1 and own[0] in days:
        days[""] = days[own[0]]
    text = repr([(country, sorted(dates)) for country, dates in days.items()])
    identity = hashlib.sha256(f"{catalog.id}:{text}".encode()).hexdigest()[: len(catalog.id)]
    return msgspec.structs.replace(catalog, id=identity, holidays=days)


def _asks(catalog: Catalog) -> bool:
    windows = [window for rule in catalog.policy.quiet for window in (rule.hours.nightly, rule.hours.whole)]
    return any(window is not None and window.holidays for window in windows) or any(
        isinstance(op, Wait) and op.window is not None and op.window.holidays
        for workflow in catalog.versions.values()
        for op in workflow.ops.values()
    )
