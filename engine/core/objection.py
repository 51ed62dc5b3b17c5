"""Which addresses nothing may be sent to, whoever has them: refused ones, and those whose owner was erased.

Invariant: an address outlives the erasure of its owner only as a keyed hash, which the runtime makes. Who comes back with it is
not written to for a purpose that needs consent, unless they have consented by a link in a mail since: what a shop or an import
says of them does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.consent import ADDRESS_TRAITS, CONSENT_CHANNELS, address_of, normal_address
from engine.core.effect import Suppress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.core.customer import CustomerState
    from engine.core.message import Message
    from engine.core.policy import Policy

ERASED = "erased"
OWN_ACT = "link"
"""Source of a consent that its customer gave by a link of ours."""

Place = tuple[str, str]
"""(channel, address), as the suppressed addresses are asked for; of erased owners the channel has a word in front."""


def mailbox(channel: str, address: str) -> Place:
    """Under which channel an address is suppressed: e-mail and newsletter are the same mailbox."""
    return ("email" if ADDRESS_TRAITS.get(channel) == "email" else channel), address


def of_erased(state: CustomerState | None, at_ms: int) -> list[Suppress]:
    """What is to be remembered of the addresses of a customer who is erased at `at_ms`."""
    if state is None:
        return []
    found = {
        _place(channel, address): None
        for channel in ADDRESS_TRAITS
        for address in {
            address_of(state, channel),
            *(sent.address for sent in state.messages if sent.channel == channel),
        }
        if address
    }
    return [Suppress(channel, address, f"{ERASED}:{at_ms}", at_ms) for channel, address in sorted(found)]


def places(policy: Policy, message: Message) -> list[Place]:
    """What has to be asked about a message's address before it leaves."""
    asked = [mailbox(message.channel, message.address)]
    if _needs_consent(policy, message):
        asked.append(_place(message.channel, message.address))
    return asked


def refusal(policy: Policy, state: CustomerState | None, message: Message, *, answers: Mapping[Place, str]) -> str:
    """`suppressed_address` when what was answered forbids the message, else ""."""
    if mailbox(message.channel, message.address) in answers:
        return "suppressed_address"
    if not _needs_consent(policy, message):
        return ""
    reason = answers.get(_place(message.channel, message.address))
    if reason is None or _has_consented_since(state, message, reason):
        return ""
    return "suppressed_address"


def _place(channel: str, address: str) -> Place:
    kind, _ = mailbox(channel, address)
    return f"{ERASED}/{kind}", normal_address(address, channel)


def _needs_consent(policy: Policy, message: Message) -> bool:
    purpose = policy.purposes.get(message.purpose)
    return purpose is None or purpose.consent != "none"


def _has_consented_since(state: CustomerState | None, message: Message, reason: str) -> bool:
    at = reason.partition(":")[2]
    if state is None or not at.isdecimal():
        return False
    given = state.consent.get(message.purpose, {})
    own = (given.get(name) for name in CONSENT_CHANNELS.get(message.channel, (message.channel,)))
    return any(
        each is not None and each.status == "granted" and each.source == OWN_ACT and each.at_ms > int(at)
        for each in own
    )
