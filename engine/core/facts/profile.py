"""What a record changes about the customer before anything is decided: seen ids, traits, aggregates.

Invariant: the last writer by the time of the thing wins, not the last to arrive.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any

from engine.core.customer import CustomerState
from engine.core.facts import aggregate
from engine.core.reading.missing import is_missing
from engine.core.reading.numbers import exact_number
from engine.core.reading.spelling import value_of
from engine.core.record import Event, Identify, Record, Timer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.core.catalog import Interest
    from engine.core.turn import Turn

NO_NUMBER = "it is not a number; a text is one only when it is written as 600.00"
SEEN_IDS_MIN = 1_000
"""Ids remembered for certain (those of the last 7 days, if there are fewer)."""
SEEN_SECONDS_MIN = 7 * 86_400
_ENTRY = struct.Struct(">8sI")
_TRIM_AT = (SEEN_IDS_MIN + 64) * _ENTRY.size  # trimmed in strides, not at every record

_NEVER = aggregate.EventStats()


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
        values=_values(turn, event, interest.counted) if interest.counted else None,
        window_days_max=interest.window_days_max,
    )
    state.stats = {**state.stats, event.name: stats}
    turn.scope.stats = state.stats


def _values(turn: Turn, event: Event, names: tuple[str, ...]) -> dict[str, float | int | None]:
    """What the event adds to its sums. A value that is there and no number adds nothing, and the journal says so."""
    found: dict[str, float | int | None] = {}
    for name in names:
        value = value_of(event.properties, name)
        found[name] = exact_number(value)
        if found[name] is None and not is_missing(value):
            turn.decide("value_skipped", event=event.name, property=name, reason=NO_NUMBER)
    return found


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
