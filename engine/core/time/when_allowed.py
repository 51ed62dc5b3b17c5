"""When a message may leave: quiet hours and frequency caps, asked together.

Invariant: the moment given is one at which neither a quiet hour nor a cap stands in the way, as far as is known now.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from engine.core.channel import OWN_CHANNELS
from engine.core.reading.countries import read_country
from engine.core.time.schedule import DAY_MS, add, local_datetime, quiet_until, resolve_local, spread

if TYPE_CHECKING:
    from collections.abc import Container
    from zoneinfo import ZoneInfo

    from engine.core.catalog import Catalog
    from engine.core.customer import CustomerState
    from engine.core.message import Message
    from engine.core.policy import Cap, QuietRule

ROUNDS_MAX = 16
NO_HOLIDAYS: frozenset[dt.date] = frozenset()


class WhenAllowed(msgspec.Struct, frozen=True):
    """`at_ms` is when it may leave; `why` names what stood in the way before; `refused` is a reason of the closed list."""

    at_ms: int
    why: str = ""
    refused: str = ""


def when_allowed(
    catalog: Catalog, state: CustomerState, message: Message, *, now_ms: int, zone: ZoneInfo
) -> WhenAllowed:
    """The earliest moment, not before `now_ms`, at which the message may leave; or why it may never."""
    policy = catalog.policy
    at_ms, why, spread_ms = now_ms, "", 0
    for _ in range(ROUNDS_MAX):
        quiet = None if message.quiet_hours == "ignore" else _quiet(catalog, state, message, at_ms, zone)
        if quiet is not None:
            rule, until_ms = quiet
            if (message.quiet_hours or rule.then) == "drop":
                return WhenAllowed(at_ms, refused="quiet_hours_dropped")
            at_ms, why = until_ms, why or "quiet_hours"
            spread_ms = 0 if rule.spread is None else rule.spread.span_ms
            continue
        cap = next((cap for cap in policy.frequency if _applies(cap, message) and _full(cap, state, at_ms, zone)), None)
        if cap is None:
            return WhenAllowed(at_ms + (spread(message.id, spread_ms) if spread_ms else 0), why)
        free_ms = _free_at(cap, state, at_ms, zone)
        if cap.hold_up_to is None or free_ms > add(message.decided_ms, cap.hold_up_to, zone):
            return WhenAllowed(at_ms, refused="frequency_cap")
        at_ms, why, spread_ms = free_ms, "frequency_cap", 0
    return WhenAllowed(at_ms, refused="frequency_cap")


def quiet_end(catalog: Catalog, state: CustomerState, message: Message, *, at_ms: int, zone: ZoneInfo) -> int | None:
    """When the quiet hours that hold this message at `at_ms` end; None when there are none."""
    found = _quiet(catalog, state, message, at_ms, zone)
    return None if found is None else found[1]


def _quiet(
    catalog: Catalog, state: CustomerState, message: Message, at_ms: int, zone: ZoneInfo
) -> tuple[QuietRule, int] | None:
    """The rule that forbids this moment and until when; the longest where several do."""
    found: tuple[QuietRule, int] | None = None
    for rule in catalog.policy.quiet:
        if not _means(rule.channels, message.channel):
            continue
        if rule.purposes and message.purpose not in rule.purposes:
            continue
        until_ms = quiet_until(rule.hours, at_ms, zone, holidays=holidays_of(catalog, state))
        if until_ms is not None and (found is None or until_ms > found[1]):
            found = rule, until_ms
    return found


def holidays_of(catalog: Catalog, state: CustomerState) -> Container[dt.date]:
    """The public holidays of the customer's country, else of the project's."""
    own = catalog.holidays.get(read_country(state.traits.get("country"))[0])
    return own if own is not None else catalog.holidays.get("", NO_HOLIDAYS)


def _applies(cap: Cap, message: Message) -> bool:
    return _covers(cap, message.purpose, message.channel)


def _covers(cap: Cap, purpose: str, channel: str) -> bool:
    return cap.purpose in ("", purpose) and _means((cap.channel,) if cap.channel else (), channel)


def _means(channels: tuple[str, ...], channel: str) -> bool:
    """Whether a rule about these channels (none: all that reach the customer) is about this one."""
    return channel in channels if channels else channel not in OWN_CHANNELS


def needed(
    caps: tuple[Cap, ...], queued: tuple[tuple[int, str, str], ...], *, now_ms: int
) -> tuple[tuple[int, str, str], ...]:
    """Those of the queued messages (in order) that some cap may still count: of each, as many as it allows in its days."""
    kept: set[int] = set()
    for cap in caps:
        oldest_ms, left = now_ms - (cap.days + 1) * DAY_MS, cap.at_most
        for index in range(len(queued) - 1, -1, -1):
            at_ms, purpose, channel = queued[index]
            if not left or at_ms < oldest_ms:
                break
            if _covers(cap, purpose, channel):
                kept.add(index)
                left -= 1
    return tuple(queued[index] for index in sorted(kept))


def _counted(cap: Cap, state: CustomerState) -> list[int]:
    """When messages under this cap were queued, in order."""
    return sorted(at_ms for at_ms, purpose, channel in state.queued if _covers(cap, purpose, channel))


def _midnight(at_ms: int, days: int, zone: ZoneInfo) -> int:
    """The start of the local day that lies so many days after that of `at_ms`."""
    local = local_datetime(at_ms, zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    return resolve_local(local + dt.timedelta(days), zone)


def _full(cap: Cap, state: CustomerState, at_ms: int, zone: ZoneInfo) -> bool:
    """Whether today and the days before, `cap.days` in all, hold as many messages as are allowed."""
    counted = _counted(cap, state)
    if len(counted) < cap.at_most:
        return False
    since_ms = _midnight(at_ms, 1 - cap.days, zone)
    return sum(queued_ms >= since_ms for queued_ms in counted) >= cap.at_most


def _free_at(cap: Cap, state: CustomerState, at_ms: int, zone: ZoneInfo) -> int:
    """The start of the first local day on which the cap leaves room, if nothing more is queued until then."""
    if not cap.at_most:
        return _midnight(at_ms, QUIET_FOREVER_DAYS, zone)
    since_ms = _midnight(at_ms, 1 - cap.days, zone)
    counted = [queued_ms for queued_ms in _counted(cap, state) if queued_ms >= since_ms]
    leaving_ms = counted[len(counted) - cap.at_most]  # the one whose leaving makes room
    return _midnight(leaving_ms, cap.days, zone)


QUIET_FOREVER_DAYS = 10_000
"""A cap of none never leaves room."""
