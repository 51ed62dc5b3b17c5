"""Two ids turn out to be one person: the state of one moves into the other, and later records follow.

Invariant: nothing is lost and nothing happens twice: enrollments keep their ids, and where both sides run the same workflow
with the same key, the surviving customer's run goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engine.core import aggregate, consenting, moving, profile, sending
from engine.core.customer import HEARD_MAX, CustomerState, Entries, Granted, Heard
from engine.core.effect import Append
from engine.core.enrollment import AT_TRIGGER, Enrollment
from engine.core.entry import KEYS_MAX, plan
from engine.core.objection import BOUNCED
from engine.core.quiet import needed
from engine.core.record import Absorb, Merge

if TYPE_CHECKING:
    from engine.core.aggregate import EventStats
    from engine.core.turn import Turn

FORWARDS_MAX = 8
ALIASES_MAX = 50
replace = msgspec.structs.replace


def leave(turn: Turn, record: Merge) -> None:
    """The first half, at the id that goes: its state is sent on, and what comes later is forwarded.

    How often it entered what is kept: should it stand by itself again, its next run must not have the id of an earlier one.
    """
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
        id=state.id, merged_into=record.into, first_seen_ms=state.first_seen_ms, seen=state.seen, catalog=state.catalog,
        salts=state.salts, entries=state.entries,
    )  # fmt: skip


def forward(state: CustomerState, record: Any) -> Append | None:
    """The record for the customer that this id became; None when a circle of merges is to be broken here.

    Ids can come to point at each other (`a` into `b`, then `b` into `a`): whoever a record reaches for the ninth time, or the
    state of whom it brings back, stands by itself again.
    """
    back = isinstance(record, Absorb) and record.previous == state.merged_into
    if back or record.forwards >= FORWARDS_MAX:
        return None
    return Append(replace(record, customer=state.merged_into, forwards=record.forwards + 1))


def absorb(turn: Turn, record: Absorb) -> None:
    """The second half, at the id that stays."""
    mine, other = turn.state, record.state
    mine.merged_into = ""
    names = (*mine.aliases, record.previous, *other.aliases)
    mine.aliases = tuple(dict.fromkeys(name for name in names if name != mine.id))[-ALIASES_MAX:]
    mine.consent = _consents(mine, other)  # before the addresses are those of both
    turn.set_traits(*_newest(mine, other))
    mine.suppressed = {
        **other.suppressed, **mine.suppressed, **{key: why for key, why in other.suppressed.items() if why != BOUNCED},
    }  # fmt: skip
    mine.soft_bounces = {
        key: sorted((*mine.soft_bounces.get(key, ()), *other.soft_bounces.get(key, ())))
        for key in {**mine.soft_bounces, **other.soft_bounces}
    }
    mine.seen = profile.joined_seen(mine.seen, other.seen)
    mine.first_seen_ms = min(mine.first_seen_ms or other.first_seen_ms, other.first_seen_ms or mine.first_seen_ms)
    mine.stats = {
        **mine.stats,
        **{name: _joined(turn, name, stats) for name, stats in other.stats.items()},
    }
    turn.scope.stats = mine.stats
    mine.entries = _entries(mine, other)
    mine.queued = needed(
        turn.catalog.policy.frequency, tuple(sorted((*mine.queued, *other.queued))), now_ms=turn.now_ms
    )
    known = {sent.id for sent in mine.messages}
    messages = (*mine.messages, *(sent for sent in other.messages if sent.id not in known))
    mine.messages = tuple(sorted(messages, key=lambda sent: sent.at_ms)[-sending.SENT_MAX :])
    held = (replace(held, message=replace(held.message, customer=mine.id)) for held in other.held)
    mine.held = (*mine.held, *held)
    theirs = {sent_id: replace(message, customer=mine.id) for sent_id, message in other.fallbacks.items()}
    mine.fallbacks = {**theirs, **mine.fallbacks}
    mine.goals = (*mine.goals, *other.goals)
    mine.waiting = {**other.waiting, **mine.waiting}
    mine.heard = _heard(mine, other)
    if mine.salts:  # without a salt of one's own every message may be one's own
        mine.salts = tuple(dict.fromkeys((*mine.salts, *(other.salts or ("",)))))[: ALIASES_MAX + 1]
    mine.changes = moving.joined(mine.changes, other.changes)
    mine.opened = (*mine.opened, *other.opened)[-moving.OPENED_MAX :]
    _join_runs(turn, other)
    sending.once(turn)
    turn.grew = True
    turn.decide("merged", previous=record.previous)


def _join_runs(turn: Turn, other: CustomerState) -> None:
    """The runs of both, in order of entry; of two that could not run side by side the survivor's goes on."""
    mine = turn.state
    running = {_place(turn, run) for run in mine.enrollments}
    ended = [run for run in other.enrollments if run.step != AT_TRIGGER and _place(turn, run) in running]
    taken = [run for run in other.enrollments if run not in ended]
    mine.enrollments = tuple(sorted((*mine.enrollments, *taken), key=lambda run: run.entered_ms))
    for run in ended:
        turn.decide("exited", run=run, reason="merged")
        sending.withdraw(turn, run.id, reason="merged")


def _place(turn: Turn, run: Enrollment) -> tuple[str, str]:
    """Where only one run has room: its workflow, and its key if the workflow has one. A parked trigger takes none."""
    if run.step == AT_TRIGGER:
        return "", run.id
    workflow = plan(turn, run)
    keyed = workflow is not None and workflow.key is not None
    return run.workflow, run.key.partition("~")[0] if keyed else ""


def _newest(mine: CustomerState, other: CustomerState) -> tuple[dict[str, Any], dict[str, int]]:
    """Traits of both: the last writer wins."""
    traits, times = dict(mine.traits), dict(mine.trait_times)
    for name, at_ms in other.trait_times.items():
        if name in times and at_ms <= times[name]:
            continue
        times[name] = at_ms
        if name in other.traits:
            traits[name] = other.traits[name]
        else:
            traits.pop(name, None)
    return traits, times


def _consents(mine: CustomerState, other: CustomerState) -> dict[str, dict[str, Granted]]:
    consent = consenting.bound(mine)
    for purpose, channels in consenting.bound(other).items():
        ours = consent.setdefault(purpose, {})
        for channel, granted in channels.items():
            ours[channel] = consenting.of_both(ours[channel], granted, channel) if channel in ours else granted
    return consent


def _entries(mine: CustomerState, other: CustomerState) -> dict[str, Entries]:
    joined = dict(mine.entries)
    for workflow, theirs in other.entries.items():
        ours = joined.get(workflow)
        if ours is None:
            joined[workflow] = theirs
        else:
            keys = {key: _later(ours.keys.get(key), theirs.keys.get(key)) for key in {**theirs.keys, **ours.keys}}
            newest = sorted(keys.items(), key=lambda item: item[1][1])
            keys = dict(newest[-KEYS_MAX:])
            joined[workflow] = Entries(ours.count + theirs.count, max(ours.last_ms, theirs.last_ms), keys)
    return joined


def _heard(mine: CustomerState, other: CustomerState) -> tuple[Heard, ...]:
    """The newest events that both remember for runs which a further merge may bring."""
    both = sorted((*mine.heard, *other.heard), key=lambda each: (each.at_ms, each.cause.id))
    return tuple(both[-HEARD_MAX:])


def _later(ours: tuple[int, int] | None, theirs: tuple[int, int] | None) -> tuple[int, int]:
    """How often, and when last, a key was entered: ours counts for the ids of runs, the later of both for re-entry."""
    count, last_ms = ours or (0, 0)
    return count, max(last_ms, theirs[1] if theirs else 0)


def _joined(turn: Turn, name: str, theirs: EventStats) -> EventStats:
    """The occurrences of both."""
    mine = turn.state.stats.get(name)
    if mine is None:
        return theirs
    interest = turn.catalog.interests.get(name)
    days = 0 if interest is None else interest.window_days_max
    return aggregate.merge(mine, theirs, now_ms=turn.now_ms, window_days_max=days)
