"""Whether a message may be sent to a customer at all: address, suppression, consent.

Invariant: asked in the same way when a message is decided and again just before it leaves. Consent counts only for the address
that it was given for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engine.core.channel import ADDRESS_TRAITS, CONSENT_CHANNELS, KINDS, OWN_CHANNELS
from engine.core.facts import address as addresses
from engine.core.facts import postal, push
from engine.core.message import CONTRACT
from engine.core.time.schedule import rfc3339

if TYPE_CHECKING:
    from engine.core.customer import CustomerState, Granted
    from engine.core.policy import Policy

PURCHASE_EVENT = "Order Completed"
"""Who has one of these is an existing customer."""
NOTICE_PROPERTY = "objection_notice"
"""Property of a purchase: the customer was told, when they gave the address, that they may object at any time."""
BASES = ("consent", "existing_customer", "contract")
"""What sending may rest on: Art. 6(1)(a) GDPR; § 7(3) UWG; Art. 6(1)(b) GDPR."""
ADDRESS_CHARS_MAX = 320
_PUNCTUATION = str.maketrans("", "", " \u00a0()-/.\u2011")


class Permission(msgspec.Struct, frozen=True):
    """`reason` is "" when allowed, else one of the closed list; `basis` says what it rests on."""

    reason: str = ""
    basis: str = ""


def address_of(state: CustomerState, channel: str) -> str:
    """The customer's address for the channel, "" when there is none that could be one; a fixed one for `OWN_CHANNELS`."""
    if channel in OWN_CHANNELS:
        return OWN_CHANNELS[channel]
    form = _form(channel)
    if form == "push":
        return push.address(state.traits.get(push.CHANNEL), state.suppressed)
    if form == "postal":
        return postal.address(state.traits.get(postal.TRAIT))
    return clean_address(state.traits.get(ADDRESS_TRAITS.get(channel, channel)), channel)


def clean_address(value: object, channel: str) -> str:
    """The value as an address of this channel, "" when it can't be one. Real syntax is the adapter's to judge."""
    form = _form(channel)
    if form == "push":
        return push.address(value)
    if form == "postal":
        return postal.address(value)
    if not isinstance(value, str):
        return ""
    address = value.strip()
    if not address or len(address) > ADDRESS_CHARS_MAX or any(ord(char) < 0x20 for char in address):  # noqa: PLR2004 - control characters
        return ""
    if ADDRESS_TRAITS.get(channel) == "email":
        address = addresses.plain(address)
        if "@" not in address[1:-1] or " " in address:
            return ""
    return address


def _form(channel: str) -> str:
    kind = KINDS.get(channel)
    return kind.address if kind is not None else "trait"


def normal_address(value: object, channel: str) -> str:
    """The address as it is kept and compared: mail by its canonical name, numbers without punctuation; "" when it is none."""
    address = clean_address(value, channel)
    if ADDRESS_TRAITS.get(channel) == "phone":
        address = address.translate(_PUNCTUATION)
        return f"+{address[2:]}" if address.startswith("00") else address
    if ADDRESS_TRAITS.get(channel) == "email":
        return addresses.canonical(address) if address else ""
    return address.lower()


def suppression_key(channel: str, address: str) -> str:
    """Under which name an address is suppressed: e-mail and newsletter are the same mailbox."""
    if ADDRESS_TRAITS.get(channel) == "email":
        return f"email:{addresses.canonical(address)}"
    return f"{channel}:{address}"


def is_suppressed(state: CustomerState, channel: str, address: str) -> bool:
    """Whether the customer's own state says that nothing goes there, under the address's name of today or an older one."""
    if not state.suppressed:
        return False
    return not keys_of(state, channel, address).isdisjoint(state.suppressed)


def keys_of(state: CustomerState, channel: str, address: str) -> set[str]:
    """Under which keys the customer's state knows bounces of the address, or that it is suppressed."""
    key = suppression_key(channel, address)
    kind = key.partition(":")[0]
    known = {*state.suppressed, *state.soft_bounces}
    same = {one for one in known if one.startswith(f"{kind}:") and suppression_key(kind, one.partition(":")[2]) == key}
    return same | ({key} & known)


def permission(state: CustomerState, policy: Policy, *, purpose: str, channel: str, address: str) -> Permission:
    """Whether the customer may be written to there, for this purpose."""
    if not address:
        return Permission("no_address")
    if is_suppressed(state, channel, address):
        return Permission("suppressed_address")
    rule = policy.purposes.get(purpose)
    if rule is None:
        return Permission("no_consent")
    if rule.consent == "none":
        return Permission(basis=CONTRACT)
    given = state.consent.get(purpose, {})
    bought = rule.consent == "existing_customer" and PURCHASE_EVENT in state.stats
    if channel in OWN_CHANNELS:  # nobody is written to; but who objected to the purpose is left out of it altogether
        objected = any(consent.status == "withdrawn" for consent in given.values())
        return Permission("unsubscribed") if objected else Permission(basis="own system")
    for name in CONSENT_CHANNELS.get(channel, (channel,)):
        consent = given.get(name)
        if consent is None:
            continue
        if consent.status == "withdrawn":
            return Permission("unsubscribed")
        if consent.status == "granted" and given_for(consent, address, channel):
            if consent.basis != "existing_customer":
                return Permission(basis=_cited(f"consent since {rfc3339(consent.at_ms)}", consent))
            if bought:
                return Permission(basis=_cited("existing customer", consent))
    return Permission("no_consent")


def given_for(consent: Granted, address: str, channel: str) -> bool:
    """Whether the consent is about this address; one of which no address is known serves any."""
    return not consent.address or same_address(consent.address, address, channel)


def same_address(one: str, other: str, channel: str) -> bool:
    """Whether both are one address, whichever rule they were written down by."""
    return one == other or normal_address(one, channel) == normal_address(other, channel)


def _cited(basis: str, consent: Granted) -> str:
    return f"{basis}, record {consent.record}" if consent.record else basis
