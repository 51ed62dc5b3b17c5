"""What happens to a `send`: queued, held until a moment, or suppressed for one reason of a closed list.

Invariant: every message that is decided gets exactly one answer at a time; a held one is asked again when its time comes, and
every queued one is asked again by `recheck` just before it leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engine.core.consent import tracking
from engine.core.consent.may_send import Permission, address_of, clean_address, permission
from engine.core.customer import UNTIL_RESUMED_MS, Held, Sent
from engine.core.effect import Dispatch
from engine.core.facts.moving import without_words
from engine.core.journey import broadcast, duplicates, holding
from engine.core.message import Message, message_id
from engine.core.time.schedule import add, rfc3339, zone_named, zone_of
from engine.core.time.when_allowed import needed, quiet_end, when_allowed
from engine.core.time.zone import ZONE_TRAITS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from engine.core.catalog import Catalog
    from engine.core.customer import CustomerState
    from engine.core.journey.enrollment import Enrollment
    from engine.core.journey.workflow import Send, SubjectTest
    from engine.core.turn import Turn

SENT_MAX = 30
"""Messages a customer's state remembers for their outcomes."""
HELD_MAX = 20
QUEUED_FEW = 100
"""So many that caps need do not make a state large."""
FALLBACKS_MAX = 10
PAUSE_MS_MIN, PAUSE_MS_MAX = 15_000, 300_000
"""How often a message of a paused broadcast that had been queued is looked at again, at most and at least."""
PAUSE_PART = 4
_BY_LOCAL_TIME = ("quiet_hours", "frequency_cap")
"""Why a message is held until a moment of the customer's own clock."""


def decide(turn: Turn, run: Enrollment, op: Send) -> Enrollment:
    """Answers one `send` step. Returns the enrollment with the step counted. Raises ExpressionError."""
    occurrence = run.counts.get(op.id, 0)
    message = _draft(turn, run, op, occurrence)
    run = msgspec.structs.replace(run, counts={**run.counts, op.id: occurrence + 1})
    turn.put(run)
    reason = _refused_by_run(turn, run, message)
    if reason:
        _suppress(turn, message, reason)
        return run
    to = None if op.to is None else str(turn.value(op.to, run) or "")
    message, allowed = _choose_channel(turn, message, op.channels, to=to)
    if allowed.reason:
        _suppress(turn, message, allowed.reason)
        return run
    message = without_words(turn.state, message)
    if op.ab is not None:
        message = _tested(turn, message, op.ab)
        if not message.variant:
            _hold(turn, message, _winner_due_ms(turn, message, op.ab), reason="ab_test")
            return run
    _answer(turn, message)
    return run


def _draft(turn: Turn, run: Enrollment, op: Send, occurrence: int) -> Message:
    """The message without address, with everything its template may need."""
    due_ms = run.due_was_ms or turn.now_ms
    data = {name: turn.value(expression, run) for name, expression in op.data}
    locale = turn.state.traits.get("locale")
    return Message(
        id=message_id(run.id, op.id, occurrence, salt=turn.state.salt),
        customer=turn.state.id,
        enrollment=run.id,
        workflow=run.workflow,
        version=run.version,
        step=op.id,
        channel=op.channels[0],
        address="",
        template=op.template,
        purpose=op.purpose,
        decided_ms=turn.now_ms,
        due_ms=due_ms,
        deadline_ms=0 if op.max_age is None else add(due_ms, op.max_age, turn.zone),
        priority=op.priority,
        locale=locale if isinstance(locale, str) else "",
        sender=op.sender,
        context=_context(turn, run, data),
        fallback_on=op.fallback_on,
        quiet_hours=op.quiet_hours,
        issue=broadcast.issue_in(run),
    )


def _tested(turn: Turn, message: Message, test: SubjectTest) -> Message:
    """The message as a part of its broadcast's test: with a variant, or waiting for the winner."""
    message = msgspec.structs.replace(message, subjects=test.subjects)
    variant = broadcast.winner(turn.catalog, message) or broadcast.variant_of(message, test)
    return msgspec.structs.replace(message, variant=variant)


def _winner_due_ms(turn: Turn, message: Message, test: SubjectTest) -> int:
    """Until when the winner is waited for: a while after the end of the test, as far as `max_age` allows."""
    end_ms = add(turn.now_ms, test.after, turn.zone)
    last_ms = end_ms + turn.catalog.winner_wait_ms
    return max(end_ms, min(last_ms, message.deadline_ms)) if message.deadline_ms else last_ms


def _context(turn: Turn, run: Enrollment, data: dict[str, Any]) -> dict[str, Any]:
    """What the template needs, stored once: `message.names` makes of it what the template sees.

    `event` is left out when it is the trigger event.
    """
    cause = run.event
    context: dict[str, Any] = {
        "customer": turn.state.traits,
        "enrollment": {
            "event": _event(cause.id, cause.name, cause.time_ms, cause.properties),
            "entered_at": rfc3339(run.entered_ms),
            "key": run.key,
        },
        "data": data,
        "now": rfc3339(turn.now_ms),
    }
    if turn.state.segments:
        context["segments"] = list(turn.state.segments)
    scope = turn.scope
    if scope.event_name and scope.event_id != cause.id:
        context["event"] = _event(scope.event_id, scope.event_name, scope.event_ms, scope.properties)
    return context


def _event(event_id: str, name: str, time_ms: int, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": event_id, "name": name, "time": rfc3339(time_ms), "properties": properties}


def _refused_by_run(turn: Turn, run: Enrollment, message: Message) -> str:
    """Reasons that do not depend on channel or address."""
    if run.holdout:
        return "holdout"
    if _stopped_by_pause(turn.catalog, message):
        return "workflow_paused"
    if turn.catalog.sandbox:
        return "sandbox"
    if message.deadline_ms and turn.now_ms > message.deadline_ms:
        return "too_late"
    return ""


def _choose_channel(
    turn: Turn, message: Message, channels: tuple[str, ...], *, to: str | None
) -> tuple[Message, Permission]:
    """The first channel whose address, consent and suppression allow it; else why not (of the first with an address)."""
    first_refused: tuple[Message, Permission] | None = None
    for index, channel in enumerate(channels):
        address = address_of(turn.state, channel) if to is None else clean_address(to, channel)
        allowed = permission(turn.state, turn.catalog.policy, purpose=message.purpose, channel=channel, address=address)
        turn.why(f"{channel}: {allowed.reason or 'allowed, ' + allowed.basis}")
        chosen = msgspec.structs.replace(
            message, channel=channel, address=address, consent=allowed.basis, more_channels=channels[index + 1 :],
            # `to` may lead to somebody else's mailbox, who agreed to nothing.
            tracked=to is None and tracking.consented(turn.state, turn.catalog.policy, channel=channel, address=address),
        )  # fmt: skip
        if not allowed.reason:
            return chosen, allowed
        if first_refused is None and address:
            first_refused = chosen, allowed
    return first_refused or (message, Permission("no_address"))


def _answer(turn: Turn, message: Message) -> None:
    """Asks the quiet hours and caps, and records the answer. A paused broadcast is asked when it goes on."""
    if _held_by_pause(turn.catalog, message):
        _hold(turn, message, UNTIL_RESUMED_MS, reason="workflow_paused")
        return
    verdict = when_allowed(turn.catalog, turn.state, message, now_ms=turn.now_ms, zone=turn.zone)
    if verdict.refused:
        _suppress(turn, message, verdict.refused)
    elif verdict.at_ms > turn.now_ms:
        _hold(turn, message, verdict.at_ms, reason=verdict.why)
    else:
        queue(turn, message)


def _hold(turn: Turn, message: Message, until_ms: int, *, reason: str) -> None:
    """Keeps the message until then; suppresses it when that is too late, or too much is held."""
    open_end = until_ms == UNTIL_RESUMED_MS
    if message.deadline_ms and until_ms > message.deadline_ms and not open_end:
        turn.why(f"{reason} until {rfc3339(until_ms)}, after max_age")
        _suppress(turn, message, "too_late")
    elif len(turn.state.held) >= HELD_MAX:
        turn.why(f"{HELD_MAX} messages are held already")
        _suppress(turn, message, "workflow_paused" if open_end else "frequency_cap")
    else:
        turn.state.held = (*turn.state.held, Held(message, until_ms, reason))
        turn.grew = True
        more = {} if open_end else {"until": rfc3339(until_ms)}
        _record(turn, message, answer="held", reason=reason, **more)


def queue(turn: Turn, message: Message) -> None:
    """Puts the message into the outbox and remembers it."""
    state = turn.state
    if duplicates.matters(message):
        message = msgspec.structs.replace(message, consented_ms=duplicates.consented_ms(state, message))
    turn.effects.append(Dispatch(message))
    if turn.catalog.policy.frequency:
        queued = (*state.queued, (turn.now_ms, message.purpose, message.channel))
        state.queued = needed(turn.catalog.policy.frequency, queued, now_ms=turn.now_ms)
        turn.grew = turn.grew or len(queued) > QUEUED_FEW
    sent = Sent(
        id=message.id, enrollment=message.enrollment, workflow=message.workflow, step=message.step,
        channel=message.channel, address=message.address, purpose=message.purpose, at_ms=turn.now_ms,
        version=message.version, issue=message.issue, variant=message.variant,
    )  # fmt: skip
    state.messages = (*state.messages[-(SENT_MAX - 1) :], sent)
    if message.fallback_on and message.more_channels:
        kept_ids = list(state.fallbacks)[-(FALLBACKS_MAX - 1) :]
        state.fallbacks = {**{known: state.fallbacks[known] for known in kept_ids}, message.id: message}
        turn.grew = True
    _record(turn, message, answer="queued", basis=message.consent)


def _suppress(turn: Turn, message: Message, reason: str) -> None:
    _record(turn, message, answer="suppressed", reason=reason)


def _record(turn: Turn, message: Message, **detail: Any) -> None:
    detail |= broadcast.words(message)
    turn.decide_for(message, "send", channel=message.channel, template=message.template, message=message.id, **detail)


def release(turn: Turn) -> None:
    """Asks again about every held message whose time has come: highest priority first, then the oldest."""
    catalog = turn.catalog
    due = [
        held
        for held in turn.state.held
        if held.until_ms <= turn.now_ms and not holding.is_held(catalog, held.message.workflow)
    ]
    if due:
        _release(turn, due)


def resume(turn: Turn) -> None:
    """Asks again about what waited for its broadcast to go on, or for the winner of its test."""
    due = [
        held
        for held in turn.state.held
        if (held.until_ms == UNTIL_RESUMED_MS and not _held_by_pause(turn.catalog, held.message))
        or (broadcast.awaits_winner(held.message) and broadcast.winner(turn.catalog, held.message))
    ]
    if due:
        _release(turn, due)


def follow(turn: Turn, changed: Collection[str]) -> None:
    """The customer's clock or country changed: what is held by the local time is asked again where its end is another."""
    if not turn.state.held or ZONE_TRAITS.isdisjoint(changed):
        return
    moved = []
    for held in turn.state.held:
        if held.reason not in _BY_LOCAL_TIME or held.until_ms <= turn.now_ms:
            continue
        verdict = when_allowed(turn.catalog, turn.state, held.message, now_ms=turn.now_ms, zone=turn.zone)
        if verdict.refused or verdict.at_ms != held.until_ms:
            moved.append(held)
    if moved:
        _release(turn, moved)


def _release(turn: Turn, due: list[Held]) -> None:
    turn.state.held = tuple(held for held in turn.state.held if held not in due)
    due.sort(key=lambda held: (-held.message.priority, held.message.decided_ms))
    for held in due:
        message = held.message
        until = "it goes on" if held.until_ms == UNTIL_RESUMED_MS else rfc3339(held.until_ms)
        turn.why(f"held until {until}: {held.reason}")
        if broadcast.awaits_winner(message):
            won = broadcast.winner(turn.catalog, message)
            turn.why(f"subject {won} won" if won else f"no winner is known: subject {message.subjects[0]}")
            message = msgspec.structs.replace(message, variant=won or message.subjects[0])
        reason = recheck(turn.catalog, turn.state, message, now_ms=turn.now_ms)
        if reason:
            _suppress(turn, message, reason)
        else:
            _answer(turn, message)


def withdraw(turn: Turn, enrollment_id: str, *, reason: str) -> None:
    """The run was ended from outside: what it still holds is not sent, and no further channel is tried."""
    state = turn.state
    gone = [held.message for held in state.held if held.message.enrollment == enrollment_id]
    if gone:
        state.held = tuple(held for held in state.held if held.message.enrollment != enrollment_id)
    for message in gone:
        turn.why(f"its run ended: {reason}")
        _suppress(turn, message, "too_late")
    if any(message.enrollment == enrollment_id for message in state.fallbacks.values()):
        state.fallbacks = {
            sent_id: kept for sent_id, kept in state.fallbacks.items() if kept.enrollment != enrollment_id
        }


def once(turn: Turn) -> None:
    """Two ids became one: of an issue that was sent or is held for both, what is held for the second is not sent."""
    had = {(sent.workflow, sent.issue, sent.step): sent.enrollment for sent in turn.state.messages if sent.issue}
    held: list[Held] = []
    twice: list[Held] = []
    for each in turn.state.held:
        message = each.message
        first = had.setdefault((message.workflow, message.issue, message.step), message.enrollment)
        (twice if message.issue and first != message.enrollment else held).append(each)
    turn.state.held = tuple(held)
    for each in twice:
        turn.why("the other id has it already")
        _suppress(turn, each.message, "too_late")


def fall_back(turn: Turn, message: Message, outcome: str) -> None:
    """The message came to one of its `fallback_on` outcomes: tries the next channels."""
    turn.why(f"{message.channel} {outcome}: trying {', '.join(message.more_channels)}")
    turn.state.fallbacks = {known: kept for known, kept in turn.state.fallbacks.items() if known != message.id}
    following = msgspec.structs.replace(
        message, address="", decided_ms=turn.now_ms,
        id=message_id(message.enrollment, message.step, f"{message.id}/{message.channel}", salt=turn.state.salt),
    )  # fmt: skip
    chosen, allowed = _choose_channel(turn, following, message.more_channels, to=None)
    reason = allowed.reason or recheck(turn.catalog, turn.state, chosen, now_ms=turn.now_ms)
    if reason:
        _suppress(turn, chosen, reason)
    else:
        _answer(turn, chosen)


def recheck(catalog: Catalog, state: CustomerState | None, message: Message, *, now_ms: int) -> str:
    """The second question, just before a message leaves: "" or the reason of the closed list why it must not."""
    if state is None:
        return "no_address"
    if holding.is_dropped(catalog, message.workflow, message.decided_ms):
        return "dropped"
    if _stopped_by_pause(catalog, message):
        return "workflow_paused"  # the others wait: `paused_until_ms`
    if catalog.sandbox:
        return "sandbox"
    if message.deadline_ms and now_ms > message.deadline_ms:
        return "too_late"
    return permission(
        state, catalog.policy, purpose=message.purpose, channel=message.channel, address=message.address
    ).reason


def quiet_until_ms(catalog: Catalog, state: CustomerState | None, message: Message, *, now_ms: int) -> int:
    """Asked with `recheck`: `now_ms`, or when the quiet hours that have begun since the decision end."""
    if state is None or message.quiet_hours == "ignore" or not catalog.policy.quiet:
        return now_ms
    zone = zone_of(state.traits, zone_named(catalog.policy.zone))
    return quiet_end(catalog, state, message, at_ms=now_ms, zone=zone) or now_ms


def paused_until_ms(catalog: Catalog, message: Message, *, now_ms: int) -> int:
    """Asked with `recheck`: `now_ms`, or when to look again whether the message's workflow goes on.

    The longer it has waited the rarer, so that a long pause of a large broadcast costs little.
    """
    if not _held_by_pause(catalog, message):
        return now_ms
    waited_ms = now_ms - message.decided_ms
    return now_ms + min(max(waited_ms // PAUSE_PART, PAUSE_MS_MIN), PAUSE_MS_MAX)


def _held_by_pause(catalog: Catalog, message: Message) -> bool:
    """Whether it waits until its workflow goes on: all of a broadcast does, of others what was due before the pause."""
    return broadcast.holds(catalog, message.workflow) or holding.waits_for_pause(catalog, message)


def _stopped_by_pause(catalog: Catalog, message: Message) -> bool:
    return message.workflow in catalog.paused and not _held_by_pause(catalog, message)
