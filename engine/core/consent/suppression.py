"""Which addresses nothing may be sent to, whoever has them: refused ones, objections, and those whose owner was erased.

Invariant: an address outlives the erasure of its owner only as a keyed hash, which the runtime makes. Who comes back with it is
not written to for a purpose that needs consent, unless they have consented by a link in a mail since: what a shop or an import
says of them does not count. An objection counts for its address in every id until that id proves a later consent of the address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.channel import ADDRESS_TRAITS, CONSENT_CHANNELS
from engine.core.consent.may_send import address_of, given_for, normal_address
from engine.core.effect import Suppress
from engine.core.facts import address as addresses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engine.core.customer import CustomerState, Granted
    from engine.core.message import Message
    from engine.core.policy import Policy

ERASED = "erased"
OBJECTED = "objected"
REFUSED = "refused"
"""What no double opt-in lifts: complaints, and what an operator or an import says. A bounce there does not hide it."""
BOUNCED = "bounced"
OWN_ACT = "link"
"""Source of a consent that its customer gave by a link of ours."""

Place = tuple[str, str]
"""(kind, address), as the suppressed addresses are asked for: the channel, with a word in front unless it is plainly refused."""


def mailbox(channel: str, address: str) -> Place:
    """Under which channel an address is suppressed: e-mail and newsletter are the same mailbox."""
    return ("email" if ADDRESS_TRAITS.get(channel) == "email" else channel), address


def names(kind: str, address: str) -> tuple[str, ...]:
    """The texts of which the keyed hashes are made: the first is what is written, all are looked for."""
    word, slash, rest = kind.partition("/")
    channel = rest.partition("/")[0] if slash else word
    if ADDRESS_TRAITS.get(channel) != "email":
        return (f"{kind}:{address.strip().casefold()}",)
    if word in {OBJECTED, REFUSED}:  # younger than the one name
        return (f"{kind}:{addresses.canonical(address)}",)
    return tuple(f"{kind}:{each}" for each in addresses.kept_as(address))


def answer(reason: str, at_ms: int) -> str:
    """What a runtime answers about a place: the reason, and since when."""
    return reason if ":" in reason else f"{reason}:{at_ms}"


def outlasts(old: tuple[str, int], new: tuple[str, int]) -> bool:
    """Whether what is known of a place (reason, since) stands against what is said of it now."""
    if new[0] == BOUNCED and old[0] != BOUNCED:
        return True
    return old[1] > new[1] and (old[0] == BOUNCED) == (new[0] == BOUNCED)


def of_refusal(channel: str, address: str, reason: str, *, at_ms: int) -> list[Suppress]:
    """What is to be remembered when an address is refused: of a complaint, or an operator's word, also that it did not bounce."""
    kind, _ = mailbox(channel, address)
    kinds = [kind] if reason == BOUNCED else [kind, f"{REFUSED}/{kind}"]
    return [Suppress(each, address, reason, at_ms) for each in kinds]


def of_objection(purpose: str, channel: str, address: str, *, source: str, at_ms: int) -> Suppress:
    """What is to be remembered when the owner of an address objects to a purpose on a channel."""
    return Suppress(f"{OBJECTED}/{channel}/{purpose}", address, f"{source.partition(':')[0]}:{at_ms}", at_ms)


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
        asked += [_objected(message, channel) for channel in _channels(message)]
    return asked


def doubts(answers: Iterable[tuple[Place, str]]) -> list[Place]:
    """What has to be asked besides, where an address bounced: whether more is known against it."""
    return [
        (f"{REFUSED}/{kind}", address)
        for (kind, address), reason in answers
        if "/" not in kind and _cause(reason) == BOUNCED
    ]


def refusal(policy: Policy, state: CustomerState | None, message: Message, *, answers: Mapping[Place, str]) -> str:
    """`suppressed_address` or `unsubscribed` when what was answered forbids the message, else ""."""
    kind, address = mailbox(message.channel, message.address)
    reason = answers.get((kind, address))
    if reason is not None:
        if (f"{REFUSED}/{kind}", address) in answers or _cause(reason) != BOUNCED:
            return "suppressed_address"
        if not _proven_since(state, address, channel=message.channel, reason=reason):
            return "suppressed_address"
    if not _needs_consent(policy, message):
        return ""
    reason = answers.get(_place(message.channel, message.address))
    if reason is not None and not _has_consented_since(state, message, reason):
        return "suppressed_address"
    return "unsubscribed" if _is_objected(state, message, answers) else ""


def _place(channel: str, address: str) -> Place:
    kind, _ = mailbox(channel, address)
    return f"{ERASED}/{kind}", normal_address(address, channel)


def _objected(message: Message, channel: str) -> Place:
    return f"{OBJECTED}/{channel}/{message.purpose}", normal_address(message.address, channel)


def _channels(message: Message) -> tuple[str, ...]:
    """Channels of which consent, or an objection, is about this message; none for one that reaches no customer."""
    if message.channel not in ADDRESS_TRAITS:
        return ()
    return CONSENT_CHANNELS.get(message.channel, (message.channel,))


def _is_objected(state: CustomerState | None, message: Message, answers: Mapping[Place, str]) -> bool:
    """As `permission` asks it: the newsletter's own consent comes before that to mail."""
    given = {} if state is None else state.consent.get(message.purpose, {})
    for channel in _channels(message):
        consent, reason = given.get(channel), answers.get(_objected(message, channel))
        if reason is not None:
            return consent is None or not _is_proof(consent, message.address, channel=channel, reason=reason)
        if consent is not None and consent.status == "granted" and given_for(consent, message.address, channel):
            return False
    return False


def _is_proof(consent: Granted, address: str, *, channel: str, reason: str) -> bool:
    """Whether this consent was proved for the address since the reason."""
    since_ms = _since(reason)
    granted = consent.status == "granted" and bool(consent.address) and given_for(consent, address, channel)
    return granted and since_ms is not None and consent.proven_ms > since_ms


def _proven_since(state: CustomerState | None, address: str, *, channel: str, reason: str) -> bool:
    """Whether the customer has confirmed by a link in a mail to this address that they get mail there, since it bounced."""
    if state is None:
        return False
    kind = ADDRESS_TRAITS.get(channel)
    return any(
        consent.source == OWN_ACT
        and ADDRESS_TRAITS.get(name) == kind
        and _is_proof(consent, address, channel=name, reason=reason)
        for channels in state.consent.values()
        for name, consent in channels.items()
    )


def _needs_consent(policy: Policy, message: Message) -> bool:
    purpose = policy.purposes.get(message.purpose)
    return purpose is None or purpose.consent != "none"


def _has_consented_since(state: CustomerState | None, message: Message, reason: str) -> bool:
    since_ms = _since(reason)
    if state is None or since_ms is None:
        return False
    given = state.consent.get(message.purpose, {})
    own = (given.get(name) for name in CONSENT_CHANNELS.get(message.channel, (message.channel,)))
    return any(
        each is not None and each.status == "granted" and each.source == OWN_ACT and each.at_ms > since_ms
        for each in own
    )


def _cause(reason: str) -> str:
    return reason.partition(":")[0]


def _since(reason: str) -> int | None:
    at = reason.partition(":")[2]
    return int(at) if at.isdecimal() else None
