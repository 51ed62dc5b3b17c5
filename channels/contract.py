"""The whole contract of a channel adapter, on one page.

An adapter translates one `OutgoingMessage` into one call of a provider, and its answer into a `Receipt` or an error. It
holds no retry, throttle, template, clock or database; the dispatcher has those.

Invariant: after `send` returns or raises, exactly one thing is known about the message:

=====================  =============================================================================================
result                 what it says
=====================  =============================================================================================
`Receipt`              the provider accepted the message and is responsible for it now
`TransientError`       the provider certainly did **not** accept it; the same message may be sent again later
                       (of an `idempotent` channel also: it may have, and a second delivery of the id is the first)
`PermanentError`       the provider did not accept it and never will; `address_verdict` says what that means
`Unsupported`          a `PermanentError`: this adapter or provider cannot do something the message asks for
`UnknownOutcome`       it may or may not have been accepted; resending it risks a second copy
=====================  =============================================================================================

Cancelling a `send` leaves the outcome unknown: who cancels it must record that. Adapters of others are found by the
entry-point group ``anlass.channels``; `channels.conformance` holds all to this page.

The error tree::

    ChannelError
    ├── TransientError
    ├── PermanentError
    │   └── Unsupported
    └── UnknownOutcome
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

Throttle = Literal["domain", "provider"]


class Verdict(enum.StrEnum):
    """What a permanent refusal says beyond this one message."""

    SUPPRESS = "suppress"  # the address does not exist or refuses us for good: send nothing to it again
    SOFT = "soft"  # this time not (full mailbox, unclear refusal): count it against the address, don't suppress it
    OUR_FAULT = "our_fault"  # our sender, reputation, login or settings: stop the campaign and alert, suppress nobody
    OPT_OUT = "opt_out"  # the person told the provider to stop: consent to this channel is withdrawn
    MESSAGE = "message"  # this message itself (too large, malformed, unsafe): says nothing about the address


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter can do: `anlass check` warns of what a project wants beyond it, and the conformance suite asks for it."""

    html: bool = False
    subject: bool = False
    two_way: bool = False  # answers of recipients come back as touchpoints
    idempotent: bool = False  # sending the same `OutgoingMessage.id` twice delivers once
    list_unsubscribe: bool = False  # the provider shows an unsubscribe control of its own
    delivery_reports: bool = False  # delivered / bounced come back after the receipt


class OutgoingMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One rendered message to one recipient.

    `id` is 32 lower-case hex digits and the same on every attempt. `date_ms` is the time of the decision to send (int
    milliseconds since the epoch, UTC), so that every attempt is the same bytes.
    """

    id: str
    channel: str
    to: str  # address only: ana@example.com, +4915112345678
    text: str
    date_ms: int
    to_name: str = ""
    from_: str = ""  # "Shop <hello@shop.example>" or an address; empty: the channel's configured sender
    reply_to: str = ""  # as from_
    subject: str = ""
    html: str | None = None
    headers: tuple[tuple[str, str], ...] = ()  # extra (name, value), in this order
    list_unsubscribe_url: str | None = None  # https; RFC 8058 one-click
    purpose: str = "transactional"
    priority: int = 0
    template: str = ""  # its name, for channels whose provider or reader has a form of its own for it
    locale: str = ""
    customer: str = ""  # the customer's id in the shop; for channels that hand work to the shop's own systems
    data: dict[str, Any] = {}  # the step's `data`, JSON values
    list_unsubscribe_mail: str = ""  # an address that takes the same wish by mail, beside the https one
    deadline_ms: int = 0  # after this moment it is too late (milliseconds since the epoch, UTC); 0: never


class Receipt(msgspec.Struct, frozen=True):
    """The provider took the message: its id for it ("" if it gives none) and its answer in its own words."""

    provider_id: str
    response: str
    event: str = ""
    """An event of the customer that the acceptance means, with its `properties`; "" for none. It is raised once per message."""
    properties: dict[str, Any] = {}


class ChannelError(Exception):
    """Root of everything a `Channel` raises. `reason` is one sentence without an address or content."""

    def __init__(self, reason: str) -> None:
        """Keep the reason both as attribute and as the text of the exception."""
        super().__init__(reason)
        self.reason = reason


class TransientError(ChannelError):
    """Certainly not accepted; worth another attempt. `throttle`: slow down this destination domain, or the provider."""

    def __init__(
        self, reason: str, *, code: str, retry_after_seconds: float | None = None, throttle: Throttle | None = None
    ) -> None:
        """`code` is short and stable ("421 4.7.0", "connect"); `retry_after_seconds` only if the provider named it."""
        super().__init__(reason)
        self.code = code
        self.retry_after_seconds = retry_after_seconds
        self.throttle: Throttle | None = throttle


class PermanentError(ChannelError):
    """Not accepted, and another attempt would meet the same answer."""

    def __init__(self, reason: str, *, code: str, address_verdict: Verdict) -> None:
        """`code` is short and stable, e.g. "550 5.1.1" or "header"."""
        super().__init__(reason)
        self.code = code
        self.address_verdict = address_verdict


class Unsupported(PermanentError):
    """The message asks for something this adapter or its provider cannot do; refused instead of silently dropped."""

    def __init__(self, feature: str) -> None:
        """`feature` completes the sentence "this channel does not support …"."""
        super().__init__(
            f"this channel does not support {feature}", code="unsupported", address_verdict=Verdict.MESSAGE
        )


class UnknownOutcome(ChannelError):
    """The message went out and no answer came: accepted or not, nobody can say."""


@runtime_checkable
class Channel(Protocol):
    """One way to reach a customer. `send` is safe to call concurrently, between `open` and `close`."""

    @property
    def name(self) -> str:
        """The channel's name in workflows: email, sms and so on."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; constant."""

    async def open(self) -> None:
        """Prepare. `ValueError` for settings it cannot use; an unreachable provider is not an error until a `send`."""

    async def close(self) -> None:
        """Let go of connections once the sends under way ended, however long they may take. Idempotent."""

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        """Deliver one message once; see the table above for what each result promises."""


@runtime_checkable
class Resolver(Protocol):
    """A channel whose provider can be asked for a message that it may have: so that `UnknownOutcome` need not be the last word.

    Optional; a channel that has it is also asked before it is given a message a second time.
    """

    async def resolve(self, delivery: OutgoingMessage, *, since_ms: int) -> Receipt | None:
        """The receipt of a message that was first sent at `since_ms` (UTC milliseconds) or later, when the provider has it.

        None: it is not there (yet), which proves nothing. No message answers for two. Raises what `send` raises.
        """


# What an entry point in the group ``anlass.channels`` names: builds an adapter from its section of the settings. Raises
# `ValueError` with the mend in its text for settings it cannot use.
ChannelFactory = Callable[[Mapping[str, object]], Channel]
