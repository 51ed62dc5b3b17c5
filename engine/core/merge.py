"""Two ids turn out to be one person: the state of one moves into the other, and later records follow.

Invariant: nothing is lost and nothing happens twice: enrollments keep their ids, and where both sides run the same workflow
with the same key, the surviving customer's run goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engine.core import aggregate
from engine.core.customer import CustomerState, Entries
from engine.core.effect import Append
from engine.core.record import Absorb, Merge

if TYPE_CHECKING:
    from engine.core.aggregate import EventStats
    from engine.core.turn import Turn

HOPS_MAX = 8


def leave(turn: Turn, record: Merge) -> None:
    """The first half, at the id that goes: its state is sent on, and what comes later is forwarded."""
    state = turn.state
    if record.into in (state.id, state.merged_into):
        return
    if not state.merged_into:
        absorb = Absorb(
            customer=record.into, at_ms=turn.now_ms, id=f"{record.id}:{state.id}", previous=state.id, state=state
        )
        turn.effects.append(Append(absorb))
        turn.decide("merged", into=record.into)
    turn.state = CustomerState(
        id=state.id, merged_into=record.into, first_seen_ms=state.first_seen_ms, seen=state.seen, catalog=state.catalog
    )


def forward(state: CustomerState, record: Any) -> Append | None:
    """The record for the customer that this id became; None when a circle of merges is to be broken here."""
    if isinstance(record, Absorb):
        if record.previous == state.merged_into or record.hops >= HOPS_MAX:
            return None
        return Append(msgspec.structs.replace(record, customer=state.merged_into, hops=record.hops + 1))
    return Append(msgspec.structs.replace(record, customer=state.merged_into))


def absorb(turn: Turn, record: Absorb) -> None:
    """The second half, at the id that stays."""
    mine, other = turn.state, record.state
    mine.merged_into = ""
    turn.set_traits(*_newest(mine, other))
    mine.consent = _consents(mine, other)
    mine.suppressed = {**other.suppressed, **mine.suppressed}
    mine.soft_bounces = {**other.soft_bounces, **mine.soft_bounces}
    mine.first_seen_ms = min(mine.first_seen_ms or other.first_seen_ms, other.first_seen_ms or mine.first_seen_ms)
    mine.stats = {
        **mine.stats,
        **{name: _joined(turn, name, stats) for name, stats in other.stats.items()},
    }
    turn.scope.stats = mine.stats
    mine.entries = _entries(mine, other)
    mine.queued = tuple(sorted({*mine.queued, *other.queued}))
    known = {sent.id for sent in mine.messages}
    mine.messages = tuple(
        sorted((*mine.messages, *(m for m in other.messages if m.id not in known)), key=lambda m: m.at_ms)
    )
    mine.held = (
        *mine.held,
        *(msgspec.structs.replace(h, message=msgspec.structs.replace(h.message, customer=mine.id)) for h in other.held),
    )
    mine.fallbacks = {**other.fallbacks, **mine.fallbacks}
    mine.goals = (*mine.goals, *other.goals)
    running = {(run.workflow, run.key) for run in mine.enrollments}
    taken = tuple(run for run in other.enrollments if (run.workflow, run.key) not in running)
    for run in other.enrollments:
        if (run.workflow, run.key) in running:
            turn.decide("exited", run=run, reason="merged")
    mine.enrollments = tuple(sorted((*mine.enrollments, *taken), key=lambda run: run.entered_ms))
    turn.grew = True
    turn.decide("merged", previous=record.previous)


def _newest(mine: CustomerState, other: CustomerState) -> tuple[dict[str, Any], dict[str, int]]:
    """Traits of both: the last writer wins."""
    traits, times = dict(mine.traits), dict(mine.trait_times)
    for name, value in other.traits.items():
        at_ms = other.trait_times.get(name, 0)
        if name not in times or at_ms > times[name]:
            traits[name] = value
            times[name] = at_ms
    return traits, times


def _consents(mine: CustomerState, other: CustomerState) -> dict[str, dict[str, Any]]:
    consent = {purpose: dict(channels) for purpose, channels in mine.consent.items()}
    for purpose, channels in other.consent.items():
        ours = consent.setdefault(purpose, {})
        for channel, granted in channels.items():
            if channel not in ours or granted.at_ms > ours[channel].at_ms:
                ours[channel] = granted
    return consent


def _entries(mine: CustomerState, other: CustomerState) -> dict[str, Entries]:
    joined = dict(mine.entries)
    for workflow, theirs in other.entries.items():
        ours = joined.get(workflow)
        if ours is None:
            joined[workflow] = theirs
        else:
            keys = {**theirs.keys, **ours.keys}
            joined[workflow] = Entries(ours.count + theirs.count, max(ours.last_ms, theirs.last_ms), keys)
    return joined


def _joined(turn: Turn, name: str, theirs: EventStats) -> EventStats:
    """The occurrences of both."""
    mine = turn.state.stats.get(name)
    if mine is None:
        return theirs
    interest = turn.catalog.interests.get(name)
    days = 0 if interest is None else interest.window_days_max
    return aggregate.merge(mine, theirs, now_ms=turn.now_ms, window_days_max=days)
