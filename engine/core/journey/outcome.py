"""What became of a message, and what that does to addresses, consent, enrollments and the next channel.

Invariant: the outcome of a message never moves backwards; one that comes late or twice changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engine.core.consent import changes, tracking
from engine.core.consent.may_send import is_suppressed, keys_of, suppression_key
from engine.core.consent.suppression import BOUNCED, of_refusal
from engine.core.journey import broadcast, sending
from engine.core.time.schedule import subtract

if TYPE_CHECKING:
    from engine.core.customer import Sent
    from engine.core.record import Lift, Outcome
    from engine.core.turn import Turn

RANK = {
    "": -1, "unknown": 0, "sent": 10, "failed": 10, "suppressed": 10, "deferred": 20, "delivered": 30, "bounced": 40,
    "undelivered": 40, "opened": 50, "clicked": 60, "replied": 70, "unsubscribed": 80, "complained": 90,
}  # fmt: skip
"""Higher ones replace lower ones, never the other way round; the same numbers as in `channels.delivery`."""
_ALSO = {
    "sent": ("delivered", "opened", "clicked", "replied", "unsubscribed", "complained"),
    "delivered": ("opened", "clicked", "replied", "unsubscribed", "complained"),
    "opened": ("clicked",),
}
"""Outcome → those that tell the same and more."""
SOFT_KEPT_MAX = 20
OBJECTIONS = ("unsubscribed", "complained")
"""Who presses "this is spam" objects to mails of this purpose no less than who unsubscribes (GDPR Art. 21 (3))."""
ANSWERED, ANSWERED_NOTHING = "answer", "answer: nothing was given"
"""Sources of a withdrawal by STOP: it took a consent away, which START gives back, or there was none to take."""
_NOT_DELIVERED = ("failed", "undelivered", "bounced")


def apply(turn: Turn, record: Outcome) -> Sent | None:
    """Records the outcome of the message; None when it is not known or says nothing new."""
    sent = _find(turn, record)
    if sent is None:
        turn.decide("outcome", outcome=record.outcome, message=record.message, reason="message not known")
        purpose, channel = record.detail.get("purpose"), record.detail.get("channel")
        if isinstance(purpose, str) and isinstance(channel, str):  # told by who knows the message
            _object(turn, record, (record.message, purpose, channel))
        return None
    _object(turn, record, (sent.id, sent.purpose, sent.channel))
    further = RANK.get(record.outcome, -1) > RANK.get(sent.outcome, 0)
    if tracking.is_ours(record):
        return tracking.apply(turn, sent, record, further=further)
    if not further:
        _bounced_again(turn, sent, record)
        return None
    state = turn.state
    new = msgspec.structs.replace(sent, outcome=record.outcome)
    state.messages = tuple(new if old.id == sent.id else old for old in state.messages)
    turn.decide_for(
        sent, "outcome", outcome=record.outcome, message=sent.id, channel=sent.channel,
        **{name: value for name, value in record.detail.items() if name in ("code", "reason", "verdict", "url", "machine")},
        **broadcast.words(sent),
    )  # fmt: skip
    _judge_address(turn, new, record)
    return new


def _bounced_again(turn: Turn, sent: Sent, record: Outcome) -> None:
    """A server that could not deliver now may say later that the address is gone: the first bounce does not hide that one."""
    if (sent.outcome, record.outcome, record.detail.get("verdict")) == ("bounced", "bounced", "suppress"):
        _judge_address(turn, sent, record)


def _object(turn: Turn, record: Outcome, about: tuple[str, str, str]) -> None:
    """An objection counts, whatever else is known of the message. `about`: its id, purpose and channel."""
    message, purpose, channel = about
    if record.detail.get("verdict") == "opt_out":
        _opt_out(turn, record, channel, message=message)
    elif record.outcome in OBJECTIONS:
        origin = changes.Origin(record.id, record.time_ms, "outcome", {"message": message})
        changes.change_consent(turn, "withdraw", {purpose: [channel]}, origin=origin)


def _opt_out(turn: Turn, record: Outcome, channel: str, *, message: str) -> None:
    """The provider says that the person answered STOP: nothing more on this channel, whatever it is for."""
    given = {purpose: by.get(channel) for purpose, by in turn.state.consent.items()}
    for purpose, rule in turn.catalog.policy.purposes.items():
        old = given.get(purpose)
        if rule.consent == "none" or (old is not None and old.status == "withdrawn"):
            continue
        source = (
            ANSWERED if old is not None and old.status == "granted" and old.basis == "consent" else ANSWERED_NOTHING
        )
        origin = changes.Origin(record.id, record.time_ms, source, {"message": message})
        changes.change_consent(turn, "withdraw", {purpose: [channel]}, origin=origin)


def amounts_to(outcome: str, wanted: str) -> bool:
    """Whether it is what is waited for, or tells that and more: whoever clicks has opened, though no open was reported."""
    return outcome == wanted or outcome in _ALSO.get(wanted, ())


def _find(turn: Turn, record: Outcome) -> Sent | None:
    for sent in reversed(turn.state.messages):
        if record.message:
            if sent.id == record.message:
                return sent
        elif sent.step == record.step and record.workflow in ("", sent.workflow):
            return sent
    return None


def _judge_address(turn: Turn, sent: Sent, record: Outcome) -> None:
    """Suppresses the address as the policy says: hard bounces, complaints, too many soft ones."""
    bounces = turn.catalog.policy.bounces
    verdict = record.detail.get("verdict", "suppress")
    if record.outcome == "complained" and bounces.complaint == "suppress":
        _suppress(turn, sent, "complained")
    elif record.outcome == "bounced" and verdict == "suppress" and bounces.hard == "suppress":
        _suppress(turn, sent, "bounced")
    elif record.outcome == "bounced" and verdict == "soft":
        key = suppression_key(sent.channel, sent.address)
        since_ms = subtract(turn.now_ms, bounces.soft_within, turn.zone)
        recent = [at for at in turn.state.soft_bounces.get(key, []) if at > since_ms]
        times = [*recent[-SOFT_KEPT_MAX:], turn.now_ms]
        turn.state.soft_bounces = {**turn.state.soft_bounces, key: times}
        if len(times) >= bounces.soft_after:
            turn.why(f"{len(times)} soft bounces")
            _suppress(turn, sent, "bounced")


def _suppress(turn: Turn, sent: Sent, reason: str) -> None:
    key = suppression_key(sent.channel, sent.address)
    known = turn.state.suppressed.get(key)
    if known == reason or (reason == BOUNCED and is_suppressed(turn.state, sent.channel, sent.address)):
        return
    turn.state.suppressed = {**turn.state.suppressed, key: reason}
    turn.effects += of_refusal(sent.channel, sent.address, reason, at_ms=turn.now_ms)
    turn.decide_for(sent, "suppressed_address", channel=sent.channel, reason=reason)


def lift(turn: Turn, record: Lift) -> None:
    """An operator lets an address of the customer's be written to again."""
    state = turn.state
    gone = keys_of(state, record.channel, record.address)
    if not gone:
        return
    state.suppressed = {key: reason for key, reason in state.suppressed.items() if key not in gone}
    state.soft_bounces = {key: times for key, times in state.soft_bounces.items() if key not in gone}
    turn.decide("lifted_address", channel=record.channel, reason=record.reason)


def fall_back(turn: Turn, sent: Sent, outcome: str) -> None:
    """Tries the next channel when this outcome asks for it."""
    message = turn.state.fallbacks.get(sent.id)
    if message is None:
        return
    wanted = message.fallback_on
    if outcome in wanted or (outcome in _NOT_DELIVERED and "undelivered" in wanted):
        sending.fall_back(turn, message, outcome)
