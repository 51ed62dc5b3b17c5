"""The contract of what providers tell us by HTTP: delivery reports, bounces, complaints, answers and opt-outs.

A `CallbackReader` translates one request of a provider into `Report`s and `Inbound`s, in the one vocabulary of
`channels.delivery`. It holds no database, clock or network; the collector finds the customer and writes the records.

Invariant: nothing is believed before its signature, over the raw bytes, was found good. What is forged raises `Forged`, what
is signed and cannot be understood raises `UnreadableCallback` (it is kept as a dead letter); no report is dropped silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import msgspec

from channels.delivery import DeliveryOutcome

Wish = Literal["stop", "start", "help", ""]


class CallbackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request as it came. Header names are lower-case; `url` is the public one that the provider called."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, str] = {}
    source: str = ""
    """The last part of the path: which account or channel it is about."""
    now_ms: int = 0
    """When it arrived, UTC milliseconds: for signatures that expire."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one message. `id` is the provider's id of this report, or made from what it says: the same when it comes
    again. `message` is our id of it; "" when only the provider's (`provider_id`) is known. `at_ms` 0: now.
    """

    id: str
    outcome: DeliveryOutcome
    message: str = ""
    provider_id: str = ""
    at_ms: int = 0
    detail: dict[str, Any] = {}
    """As in the record `Outcome`: `code`, `reason` (without an address), `verdict` (a `contract.Verdict`), `url`, `machine`."""


class Inbound(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a person sent us. `wish` is what its words ask for; `text` is kept only where it is none of these."""

    id: str
    channel: str
    address: str
    wish: Wish = ""
    text: str = ""
    at_ms: int = 0


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """All that one request said, and the answer its provider expects."""

    reports: tuple[Report, ...] = ()
    inbound: tuple[Inbound, ...] = ()
    body: bytes = b""
    content_type: str = "text/plain"
    unreadable: tuple[str, ...] = ()
    """Why parts of the request could not be understood, beside those that could: the request is kept as a dead letter, too."""


class Forged(Exception):
    """The signature is missing, wrong or too old. `reason` says which, without repeating it."""

    def __init__(self, reason: str) -> None:
        """Keep the reason both as attribute and as the text of the exception."""
        super().__init__(reason)
        self.reason = reason


class UnreadableCallback(Exception):
    """The provider did sign it, and it is not what was agreed: kept as a dead letter, answered with 200."""

    def __init__(self, reason: str) -> None:
        """Keep the reason both as attribute and as the text of the exception."""
        super().__init__(reason)
        self.reason = reason


class CallbackReader(Protocol):
    """Reads the callbacks of one provider. One that may have to wait for a certificate has `blocking = True`: it is called in
    a thread.
    """

    def read(self, request: CallbackRequest) -> Heard:
        """What the request says. Raises `Forged` or `UnreadableCallback`, nothing else."""
        ...


# Builds a reader from its section of the settings. Raises `ValueError` with the mend in its text.
CallbackFactory = Callable[[Mapping[str, object]], CallbackReader]
