"""The channels of the language: one row for each, with everything the engine knows about it beside its adapter.

Invariant: no other module lists channels by name; what another package's adapter serves has no row, and is reached at the
trait of its own name.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class ChannelKind(msgspec.Struct, frozen=True, kw_only=True):
    """One channel, as workflows, templates, consent and the customers' pages see it."""

    name: str
    labels: dict[str, str]
    """Language → the channel's name on the customers' pages."""
    address: Literal["trait", "push", "postal", "fixed"] = "trait"
    """How the address is found: as it stands in a trait, by the form of `push` or `postal`, or a `fixed` one: the channel reaches
    the shop's own systems and people, not the customer.
    """
    trait: str = ""
    """The trait that holds the address, where channels share one ("email", "phone"); else the one of the channel's own name."""
    text_only: bool = False
    """Whether its templates are text, never HTML."""
    form_optional: bool = False
    """Whether a message needs no template: the channel has a form of its own for what the step gives."""
    consent_of: tuple[str, ...] = ()
    """Channels for which consent serves here, too: a newsletter is e-mail."""
    falls_back_to: str = ""
    """The channel whose templates it uses where it has none of its own."""
    adapter: Literal["needs settings", "always there", "of a package"] = "needs settings"
    """Who carries its messages: an adapter of ours once it is set up, one that needs nothing, or only another package's."""


_ROWS = (
    ChannelKind(name="email", trait="email", labels={"en": "e-mail", "de": "E-Mail"}),
    ChannelKind(
        name="newsletter", trait="email", consent_of=("email",), labels={"en": "newsletter", "de": "Newsletter"}
    ),
    ChannelKind(name="sms", trait="phone", text_only=True, labels={"en": "text message", "de": "SMS"}),
    ChannelKind(
        name="whatsapp",
        trait="phone",
        text_only=True,
        falls_back_to="sms",
        labels={"en": "WhatsApp", "de": "WhatsApp"},
    ),
    ChannelKind(name="messenger", adapter="of a package", labels={"en": "messenger", "de": "Messenger"}),
    ChannelKind(
        name="voice", trait="phone", text_only=True, falls_back_to="sms", labels={"en": "telephone", "de": "Telefon"}
    ),
    ChannelKind(
        name="webhook",
        address="fixed",
        text_only=True,
        form_optional=True,
        labels={"en": "our own systems", "de": "unsere eigenen Systeme"},
    ),
    ChannelKind(
        name="task",
        address="fixed",
        text_only=True,
        form_optional=True,
        adapter="always there",
        labels={"en": "personal contact", "de": "persönlicher Kontakt"},
    ),
    ChannelKind(
        name="push",
        address="push",
        text_only=True,
        labels={"en": "notification in the browser", "de": "Mitteilung im Browser"},
    ),
    ChannelKind(name="print", address="postal", text_only=True, labels={"en": "letter", "de": "Brief"}),
)
KINDS = {kind.name: kind for kind in _ROWS}
CHANNELS = tuple(KINDS)
"""Their names, which every project may use."""

ADDRESS_TRAITS = {kind.name: kind.trait for kind in _ROWS if kind.trait}
"""Channel → the trait that holds the address, of those that share one. Another channel's address is the trait of its own name."""
OWN_ADDRESS = "default"
OWN_CHANNELS = {kind.name: OWN_ADDRESS for kind in _ROWS if kind.address == "fixed"}
"""Channels that reach the shop's own systems and people, not the customer → their address where the step names none."""
CONSENT_CHANNELS = {kind.name: (kind.name, *kind.consent_of) for kind in _ROWS if kind.consent_of}
"""Channels for which consent to another one serves, too → those whose consent counts, its own first."""
TEMPLATE_OPTIONAL = frozenset(kind.name for kind in _ROWS if kind.form_optional)
"""Channels that have a form of their own for a message without a template file."""
MAIL_CHANNELS = frozenset(kind.name for kind in _ROWS if kind.trait == "email")
TEXT_CHANNELS = frozenset(kind.name for kind in _ROWS if kind.text_only)
"""Channels whose templates are text."""


def by_trait(trait: str) -> tuple[str, ...]:
    """The channels whose address is this trait: "email" for mail of all kinds, "phone" for what rings."""
    return tuple(name for name, held in ADDRESS_TRAITS.items() if held == trait)


def template_channel(channel: str) -> str:
    """The channel whose templates serve where this one has none of its own; itself when there is no such channel."""
    kind = KINDS.get(channel)
    return kind.falls_back_to or channel if kind is not None else channel
