"""`evaluate(catalog, state, record) -> (state, effects)`: what one record of one customer leads to.

Invariant: pure and total. No clock, no I/O, no randomness; the same arguments give the same result, and bad data of a customer
parks an enrollment instead of raising. The order of the work is that of "What happens to one record" in the language guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec

from engine.core import (
    broadcast,
    consenting,
    due,
    entry,
    joined,
    merge,
    migrate,
    moving,
    outcome,
    profile,
    push,
    run,
    segment,
    sending,
    task,
)
from engine.core.consent import PURCHASE_EVENT
from engine.core.customer import EVALUATOR_VERSION, CustomerState, encode_state
from engine.core.effect import Append, Decision, Effect, Forget
from engine.core.enrollment import AT_TRIGGER
from engine.core.message import salt_of
from engine.core.objection import OWN_ACT, of_erased
from engine.core.record import (
    CONTROL,
    Absorb,
    Consent,
    End,
    Enroll,
    Erase,
    Event,
    Flush,
    Hold,
    Identify,
    Lift,
    Merge,
    Outcome,
    Pause,
    Recheck,
    Record,
    Resume,
    Retry,
    Settled,
    Timer,
    Winner,
    encode_record,
)
from engine.core.schedule import DAY_MS, add
from engine.core.turn import Turn
from engine.core.zone import ZONE_TRAITS

if TYPE_CHECKING:
    from engine.core.catalog import Catalog

STATE_BYTES_MAX = 64 * 1024
ID_CHARS_MAX = 500
FEW = 4
SMALL_RECORD_BYTES = 2_048
ROUNDS_MAX = 10
"""How often segment changes made by steps may lead to further steps within one record."""

_CREATES = (Event, Identify, Consent, Enroll, Absorb, Merge)


_OURS = frozenset((*task.KINDS, push.GONE, *moving.OURS))
"""Events that mean something to the engine itself, whatever workflows ask for."""


def concerns(catalog: Catalog, record: Record) -> bool:
    """Whether the record can change anything; if not, the state need not even be loaded."""
    return not isinstance(record, Event) or record.name in catalog.interests or record.name in _OURS


def evaluate(
    catalog: Catalog, state: CustomerState | None, record: Record
) -> tuple[CustomerState | None, list[Effect]]:
    """The customer's new state and what is to be done outside. `state` None: not known yet. A None result: keep nothing."""
    if isinstance(record, CONTROL):
        return state, []
    if isinstance(record, Erase):
        return None, [Forget(record.customer), *of_erased(state, record.at_ms), *_erase_aliases(state, record)]
    if state is None:
        if not creates(record):
            return None, []
        salt = salt_of(record.customer, record.at_ms, getattr(record, "id", ""))
        state = CustomerState(id=record.customer, first_seen_ms=record.at_ms, salts=(salt,))
    if isinstance(record, Resume) and not broadcast.waits(
        catalog, state
    ):  # one of many who are asked: nothing is written
        return state, []
    digest = profile.digest_of(record)
    if profile.seen_before(state, digest):
        return state, []
    if state.merged_into and not isinstance(record, Merge):
        if isinstance(record, Timer):  # all that was pending went with the rest
            return state, []
        forwarded = merge.forward(state, record)
        if forwarded is not None:
            return state, [forwarded]
        state = msgspec.structs.replace(state, merged_into="")
    turn = Turn(catalog, state, record)
    profile.remember(turn.state, digest, record.at_ms)
    turn.state.version = EVALUATOR_VERSION
    _apply(turn, record)
    if turn.grew and _may_be_large(turn.state, record) and (size := len(encode_state(turn.state))) > STATE_BYTES_MAX:
        return _refuse(state, record, size)
    return turn.state, turn.effects


def creates(record: Record) -> bool:
    """Whether the record makes a customer known. What a link says answers a message: without its customer it answers nothing."""
    if isinstance(record, Consent) and (record.action == "confirm" or record.source == OWN_ACT):
        return False
    return isinstance(record, _CREATES) and not (isinstance(record, Event) and record.name in moving.RESERVED)


def _erase_aliases(state: CustomerState | None, record: Erase) -> list[Effect]:
    """Who is forgotten is forgotten under every id they had; an id that is gone already ends the search."""
    if state is None:
        return []
    others = (*state.aliases, state.merged_into) if state.merged_into else state.aliases
    return [
        Append(Erase(customer=other, at_ms=record.at_ms, id=f"{record.id}:{other}"[:ID_CHARS_MAX])) for other in others
    ]


def _may_be_large(state: CustomerState, record: Record) -> bool:
    """Whether the state is worth measuring: a few small things cannot add up to the limit."""
    few = (
        len(state.enrollments) <= FEW and not state.held and len(state.stats) <= 2 * FEW
        and len(state.traits) <= 5 * FEW and not state.fallbacks
    )  # fmt: skip
    return not few or len(encode_record(record)) > SMALL_RECORD_BYTES


def _refuse(state: CustomerState, record: Record, size: int) -> tuple[CustomerState, list[Effect]]:
    """The record would make the state too large: it changes nothing, and the journal says so."""
    reason = f"state limit: {size} bytes, at most {STATE_BYTES_MAX}"
    kept = msgspec.structs.replace(state)
    profile.remember(kept, profile.digest_of(record), record.at_ms)
    if isinstance(record, Timer) and kept.next_due_ms <= record.at_ms:
        # What was due cannot be done; it must not come due for ever.
        parked = tuple(
            msgspec.structs.replace(one, failed=reason) if one.due_ms and one.due_ms <= record.at_ms else one
            for one in kept.enrollments
        )
        kept.enrollments = parked
        kept.held = tuple(held for held in kept.held if held.until_ms > record.at_ms)
        kept.armed = {name: at_ms for name, at_ms in kept.armed.items() if at_ms > record.at_ms}
        kept.segments_due_ms = 0 if kept.segments_due_ms <= record.at_ms else kept.segments_due_ms
    detail = {"reason": reason, "record": type(record).__name__.lower()}
    return kept, [Decision(at_ms=record.at_ms, customer=record.customer, kind="failed", detail=detail)]


def _apply(turn: Turn, record: Record) -> None:
    match record:
        case Event():
            _event(turn, record)
        case Identify():
            changed = consenting.apply_identify(turn, record)
            if "email" in changed:
                moving.end_all(turn, "overtaken")
            _changed(turn, changed)
            _settle(turn)
        case Consent():
            consenting.apply_consent(turn, record)
            _changed(turn, ())
            _settle(turn)
        case Timer():
            _timer(turn)
        case Outcome():
            sent = outcome.apply(turn, record)
            _changed(turn, ())
            if sent is not None:
                turn.show_event(id=record.id, name=record.outcome, time_ms=record.time_ms, properties=record.detail)
                run.show(turn, run.Stimulus(outcome=record, sent=sent))
                turn.show_event(id="", name="", time_ms=0, properties={})
                _settle(turn)
                outcome.fall_back(turn, sent, record.outcome)
        case Enroll():
            _changed(turn, ())
            entry.manual(turn, record.workflow, record.properties, record_id=record.id)
            _settle(turn)
        case Retry():
            _retry(turn, record)
            _settle(turn)
        case Lift():
            outcome.lift(turn, record)
        case End():
            _end(turn, record)
        case Recheck():
            _changed(turn, ())
            migrate.apply(turn, record)
            _settle(turn)
        case Resume():
            _changed(turn, ())
            entry.resume(turn)
            sending.resume(turn)
            _settle(turn)
        case Merge():
            merge.leave(turn, record)
        case Absorb():
            mine = turn.state
            turn.state = msgspec.structs.replace(mine)
            merge.absorb(turn, record)
            segment.refresh(turn, None)
            entry.arm(turn)
            joined.ask(turn, mine, record.state)
            traits = {*mine.traits, *record.state.traits, *ZONE_TRAITS}
            due.follow(turn, traits)
            sending.follow(turn, traits)
            entry.resume(turn)  # what it waited for may have come while it was on its way here
            sending.resume(turn)
            _settle(turn)
        case Pause() | Winner() | Flush() | Hold() | Settled() | Erase():
            message = "handled before a turn begins"
            raise AssertionError(message)
        case _:
            assert_never(record)


def _event(turn: Turn, event: Event) -> None:
    lateness = turn.catalog.policy.lateness
    late = (  # calendar arithmetic only where it can matter
        turn.now_ms - event.time_ms > lateness.span_ms - DAY_MS
        and add(event.time_ms, lateness, turn.zone) < turn.now_ms
    )
    turn.show_event(id=event.id, name=event.name, time_ms=event.time_ms, properties=event.properties)
    interest = turn.catalog.interests.get(event.name)
    if interest is not None and interest.counted is not None:
        profile.count_event(turn, event, interest=interest)
    if interest is not None and interest.remembered is not None and not late:
        joined.remember(turn, event, interest.remembered)
    if event.name in moving.OURS:
        changed = moving.note(turn, event)
        if changed is None:
            return
        _changed(turn, changed)
    if event.name in task.KINDS:
        task.note(turn, event)
    if event.name == push.GONE:
        push.forget(turn, event)
    if event.name == PURCHASE_EVENT:
        consenting.apply_purchase(turn, event)
    if not _new_catalog(turn) and interest is not None and interest.segments:
        segment.refresh(turn, interest.segments)
        if turn.facts:
            entry.arm(turn)
    facts, turn.facts = turn.facts, []
    if turn.state.enrollments or turn.state.goals:
        run.show(turn, run.Stimulus(event=None if late else event, facts=facts))
    if facts or (interest is not None and interest.triggers):
        entry.by_record(turn, event, facts, late=late)
    _settle(turn)


def _timer(turn: Turn) -> None:
    state = turn.state
    held = turn.catalog.holding.since_ms > 0
    if not _new_catalog(turn) and not held and state.segments_due_ms and state.segments_due_ms <= turn.now_ms:
        segment.refresh(turn, None)
        entry.arm(turn)
    _changed(turn, moving.wake(turn))
    sending.release(turn)
    facts, turn.facts = turn.facts, []
    if facts:
        run.show(turn, run.Stimulus(facts=facts))
    run.wake(turn)
    entry.fire_armed(turn)
    entry.by_record(turn, None, facts)
    _settle(turn)


def _new_catalog(turn: Turn) -> bool:
    """Works out segments, dates and schedules anew when the state was last seen by another catalog."""
    if turn.state.catalog == turn.catalog.id:
        return False
    turn.state.catalog = turn.catalog.id
    segment.refresh(turn, None)
    entry.arm(turn)
    return True


def _changed(turn: Turn, traits: tuple[str, ...]) -> None:
    """Works out what depends on these traits."""
    if not _new_catalog(turn) and traits:
        segment.refresh(turn, segment.of_traits(turn, traits))
        entry.arm(turn)
    if traits:
        due.follow(turn, traits)
        sending.follow(turn, traits)


def _settle(turn: Turn) -> None:
    """Runs what can move; segment changes that come of it are shown in turn, for a bounded number of rounds."""
    if not turn.facts and not turn.runnable:
        return
    for _ in range(ROUNDS_MAX):
        if turn.facts:
            facts, turn.facts = turn.facts, []
            run.show(turn, run.Stimulus(facts=facts))
            entry.by_record(turn, None, facts)
        run.run_all(turn)
        if not turn.facts:
            return
    turn.decide("failed", reason=f"segments changed more than {ROUNDS_MAX} times within one record")
    turn.facts = []


def _retry(turn: Turn, record: Retry) -> None:
    for one in turn.state.enrollments:
        if not one.failed or (record.enrollment and one.id != record.enrollment):
            continue
        if record.workflow and one.workflow != record.workflow:
            continue
        turn.decide("retried", run=one, step=one.step, reason=one.failed)
        if one.step == AT_TRIGGER:
            entry.retry_trigger(turn, one)
            continue
        turn.put(msgspec.structs.replace(one, failed=""))
        if not one.due_ms:
            turn.runnable[one.id] = run.again(turn, one)


def _end(turn: Turn, record: End) -> None:
    for one in turn.state.enrollments:
        if (not record.enrollment or one.id == record.enrollment) and record.workflow in ("", one.workflow):
            turn.drop(one)
            turn.decide("exited", run=one, reason=record.reason)
            sending.withdraw(turn, one.id, reason=record.reason)
