"""What a record changes about the customer before anything is decided: seen ids, traits, consent, aggregates.

Invariant: the last writer by the time of the thing wins, not the last to arrive.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.core import aggregate
from engine.core.customer import CustomerState, Granted
from engine.core.record import Consent, Event, Identify, Record, Timer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engine.core.catalog import Interest
    from engine.core.turn import Turn

SEEN_IDS_MIN = 1_000
"""Ids remembered for certain (those of the last 7 days, if there are fewer)."""
SEEN_SECONDS_MIN = 7 * 86_400
_ENTRY = struct.Struct(">8sI")
_TRIM_AT = (SEEN_IDS_MIN + 64) * _ENTRY.size  # trimmed in strides, not at every record

CONSENT_TRAITS = {"consent": "grant", "consent_request": "request", "consent_withdraw": "withdraw"}
_STATUS = {"grant": "granted", "confirm": "granted", "request": "requested", "withdraw": "withdrawn"}
_EVENT_OF = {
    "grant": "Consent Granted",
    "confirm": "Consent Confirmed",
    "request": "Consent Requested",
    "withdraw": "Consent Withdrawn",
}
_NEVER = aggregate.EventStats()
PURPOSES_MAX = 50
CHANNELS_MAX = 20


def seen_before(state: CustomerState, digest: bytes) -> bool:
    """Whether a record of this digest was applied already."""
    if not digest:
        return False
    seen = state.seen
    found = seen.find(digest)
    while found >= 0:
        if found % _ENTRY.size == 0:
            return True
        found = seen.find(digest, found + 1)
    return False


def remember(state: CustomerState, digest: bytes, at_ms: int) -> None:
    """Adds the digest to those seen, and lets go of ids that are too many or too old."""
    if not digest:
        return
    second = min(max(at_ms // 1000, 0), 0xFFFF_FFFF)
    seen = state.seen + _ENTRY.pack(digest, second)
    if len(seen) >= _ENTRY.size * 2:
        oldest_kept = second - SEEN_SECONDS_MIN
        first = int.from_bytes(seen[8:12], "big")
        if len(seen) > _TRIM_AT:
            seen = seen[-SEEN_IDS_MIN * _ENTRY.size :]
        elif first < oldest_kept:
            cut = 0
            while cut < len(seen) and int.from_bytes(seen[cut + 8 : cut + 12], "big") < oldest_kept:
                cut += _ENTRY.size
            seen = seen[cut:]
    state.seen = seen


def joined_seen(mine: bytes, other: bytes) -> bytes:
    """What either has seen, the newest of them last."""
    both = mine + other
    entries = {both[at : at + _ENTRY.size] for at in range(0, len(both), _ENTRY.size)}
    newest = sorted(entries, key=lambda entry: (entry[8:], entry))
    return b"".join(newest[-SEEN_IDS_MIN:])


def digest_of(record: Record) -> bytes:
    """8 bytes of the id's hash; none for timers, which are never duplicates.

    Events and traits share the source's ids; other kinds have their own.
    """
    kind = type(record)
    if kind is Timer or not record.id:  # type: ignore[union-attr]
        return b""
    record_id = record.id  # type: ignore[union-attr]
    if kind is not Event and kind is not Identify:
        record_id = f"{type(record).__name__}\x1f{record_id}"
    return digest(record_id)


def digest(text: str) -> bytes:
    """8 bytes of the hash of what is to be remembered."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def count_event(turn: Turn, event: Event, *, interest: Interest) -> None:
    """Adds the event to its aggregate: some definition asks about it."""
    state = turn.state
    stats = aggregate.add(
        state.stats.get(event.name) or _NEVER,
        event.time_ms,
        now_ms=turn.now_ms,
        values={name: _number(event.properties.get(name)) for name in interest.counted} if interest.counted else None,
        window_days_max=interest.window_days_max,
    )
    state.stats = {**state.stats, event.name: stats}
    turn.scope.stats = state.stats


def _number(value: object) -> float | int | None:
    """What counts in a sum: numbers, and texts that are one (shops send prices as texts)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return None
        return number if number == number and abs(number) != float("inf") else None  # noqa: PLR0124 - NaN
    return None


def set_traits(turn: Turn, traits: Mapping[str, Any], time_ms: int) -> tuple[str, ...]:
    """Sets those traits that no later writer has set; null removes one. Returns the names that changed."""
    state = turn.state
    new, times = dict(state.traits), dict(state.trait_times)
    changed = []
    for name, value in traits.items():
        if times.get(name, time_ms) > time_ms:
            continue
        times[name] = time_ms
        if value is None:
            if name in new:
                del new[name]
                changed.append(name)
        elif name not in new or new[name] != value or type(new[name]) is not type(value):
            new[name] = value
            changed.append(name)
    turn.set_traits(new, times)
    return tuple(changed)


def apply_identify(turn: Turn, record: Identify) -> tuple[str, ...]:
    """Traits and the consent that came with them. Returns the names of traits that changed."""
    plain = record.traits
    for trait, action in CONSENT_TRAITS.items():
        if trait in record.traits:
            if plain is record.traits:
                plain = {name: value for name, value in record.traits.items() if name not in CONSENT_TRAITS}
            change_consent(turn, action, record.traits[trait], origin=Origin(record.id, record.time_ms, "shop"))
    return set_traits(turn, plain, record.time_ms)


def apply_consent(turn: Turn, record: Consent) -> None:
    """A change of consent that came by a link, a form or an operator."""
    origin = Origin(record.id, record.time_ms, record.source, record.proof)
    change_consent(turn, record.action, record.purposes, origin=origin)


class Origin(NamedTuple):
    """Where a change of consent comes from: the record's id and time, its source, and the proof that goes into the journal."""

    record_id: str
    time_ms: int
    source: str
    proof: dict[str, Any] | None = None


def change_consent(turn: Turn, action: str, purposes: object, *, origin: Origin) -> None:
    """Applies `{purpose: [channel, …]}`. A request counts as granted where the policy asks for no double opt-in.

    Writes a `consent` decision for each purpose and raises the matching event, with the channels it is about.
    """
    for purpose, channels in _well_formed(purposes):
        done: dict[str, list[str]] = {}
        for channel in channels:
            became = _one_consent(turn, action, (purpose, channel), origin)
            if became:
                done.setdefault(became, []).append(channel)
        for became, names in done.items():
            more: dict[str, Any] = {"proof": origin.proof} if origin.proof else {}
            turn.decide("consent", purpose=purpose, channels=names, action=became, source=origin.source, **more)
            event = _EVENT_OF[became]
            if event in turn.catalog.interests:
                for properties in _event_properties(became, purpose, names):
                    turn.raise_event(
                        f"{origin.record_id}:{became}:{purpose}:{properties.get('channel', '')}", event, properties
                    )


def _event_properties(action: str, purpose: str, channels: list[str]) -> Iterable[dict[str, Any]]:
    """A request is one event with its channels; a confirmation, grant or withdrawal is one event a channel."""
    if action == "request":
        return ({"purpose": purpose, "channels": channels},)
    return ({"purpose": purpose, "channel": channel} for channel in channels)


def _one_consent(turn: Turn, action: str, about: tuple[str, str], origin: Origin) -> str:
    """Changes one purpose and channel; returns the action that took effect, "" when an older or the same one changes nothing."""
    purpose, channel = about
    state = turn.state
    old = state.consent.get(purpose, {}).get(channel)
    if old is not None and (old.at_ms > origin.time_ms or (old.status == "granted" and action == "request")):
        return ""
    if action == "confirm" and old is not None and old.status == "withdrawn":
        return ""  # an old link does not undo a withdrawal
    known = turn.catalog.policy.purposes.get(purpose)
    if action == "request" and (known is None or channel not in known.double):
        action = "grant"
    status = _STATUS[action]
    granted = Granted(status, origin.time_ms, origin.source)
    if old is not None and old.status == status and action != "request":
        action = ""  # nothing new, but newer: what happened in between and arrives later does not undo it
    state.consent = {**state.consent, purpose: {**state.consent.get(purpose, {}), channel: granted}}
    turn.grew = True
    return action


def _well_formed(purposes: object) -> Iterable[tuple[str, list[str]]]:
    """The purposes and channels that can be read; the intake refuses what can't, this only never fails."""
    if not isinstance(purposes, dict):
        return
    for purpose, channels in list(purposes.items())[:PURPOSES_MAX]:
        if isinstance(channels, str):
            channels = [channels]  # noqa: PLW2901 - one channel may be written without the list
        if isinstance(purpose, str) and isinstance(channels, list | tuple):
            yield purpose, [channel for channel in channels[:CHANNELS_MAX] if isinstance(channel, str)]
