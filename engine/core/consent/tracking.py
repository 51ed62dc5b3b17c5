"""Opens and clicks: recorded only with the customer's own consent, asked at the decision, at the send and when one is told.

Invariant: nobody is tracked who has not said yes to `tracking` on that channel, and from the moment it is withdrawn nothing
more is recorded, also of mails that left before. What a machine did moves no workflow unless the policy says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engine.core.channel import ADDRESS_TRAITS, CONSENT_CHANNELS
from engine.core.consent.may_send import given_for
from engine.core.journey import broadcast

if TYPE_CHECKING:
    from engine.core.customer import CustomerState, Sent
    from engine.core.policy import Policy
    from engine.core.record import Outcome
    from engine.core.turn import Turn

PURPOSE = "tracking"
"""What consent is asked for; a project offers it by naming it among the policy's purposes."""
OPEN = "open"
"""Stands for the pixel where a click names its link."""
SEEN_MAX = 64
"""Opens and clicks of one message that a customer's state remembers, so that each is told once."""


def consented(state: CustomerState, policy: Policy, *, channel: str, address: str) -> bool:
    """Whether what this customer opens and clicks in messages of this channel to this address may be recorded. Mail only."""
    if PURPOSE not in policy.purposes or ADDRESS_TRAITS.get(channel) != "email":
        return False
    given = state.consent.get(PURPOSE)
    if given:
        for name in CONSENT_CHANNELS.get(channel, (channel,)):
            consent = given.get(name)
            if consent is not None:
                return consent.status == "granted" and given_for(consent, address, channel)
    return False


def is_ours(record: Outcome) -> bool:
    """Whether it was told by a link or pixel that Anlass put into the message, not by a provider or the shop."""
    return "link" in record.detail


def apply(turn: Turn, sent: Sent, record: Outcome, *, further: bool) -> Sent | None:
    """Records an open or a click, once a link; None when it is not to move anything.

    `further`: it says more than what is known of the message.
    """
    state, policy = turn.state, turn.catalog.policy
    if not consented(state, policy, channel=sent.channel, address=sent.address):
        return None
    machine = bool(record.detail.get("machine"))
    key = f"{'m:' if machine else ''}{record.detail['link']}"
    if key in sent.seen or len(sent.seen) >= SEEN_MAX:
        return None
    moves = further and (not machine or policy.tracking.machine == "count")
    new = msgspec.structs.replace(sent, seen=(*sent.seen, key), outcome=record.outcome if moves else sent.outcome)
    state.messages = tuple(new if old.id == sent.id else old for old in state.messages)
    detail = {name: record.detail[name] for name in ("url", "machine") if record.detail.get(name)}
    if moves:  # a test of subjects counts what moved, once a message
        detail |= broadcast.words(sent)
    turn.decide_for(sent, "outcome", outcome=record.outcome, message=sent.id, channel=sent.channel, **detail)
    return new if moves else None
