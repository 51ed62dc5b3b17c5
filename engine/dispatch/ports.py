"""What the dispatcher needs of a runtime: the outbox it takes from, and the ledger it keeps.

Invariant: when a call that writes returns, what it wrote is durable; when it raises, nothing of it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, Protocol, TypeVar

import msgspec

from engine.core.catalog import Catalog
from engine.core.customer import CustomerState
from engine.core.message import Message
from engine.core.record import Flush, Record

Status = Literal["pending", "claimed", "sent", "failed", "suppressed", "unknown"]
FINAL: frozenset[Status] = frozenset(("sent", "failed", "suppressed", "unknown"))


Ranked = TypeVar("Ranked")

Links = Mapping[str, Mapping[str, str]]
"""Message → key of a tracked link → where it leads."""
NO_LINKS: Links = MappingProxyType({})


class Closed(msgspec.Struct, frozen=True):
    """Lanes whose messages are not wanted now: (channel, destination domain or "")."""

    lanes: frozenset[tuple[str, str]] = frozenset()
    bulk: frozenset[tuple[str, str]] = frozenset()
    """Besides, those that are closed only to what is not transactional."""

    def to(self, *, bulk: bool) -> frozenset[tuple[str, str]]:
        """What is closed to one of the two classes."""
        return self.lanes | self.bulk if bulk else self.lanes


OPEN = Closed()
BULK_PART = 10


def share_of_bulk(places: int) -> int:
    """How many of these places the messages that are not transactional have at least, when they wait."""
    return 0 if places <= 1 else max(1, places // BULK_PART)


def shared_out(express: Sequence[Ranked], bulk: Sequence[Ranked], limit: int) -> list[Ranked]:
    """The first `limit` of both: transactional ones first, but not in the places that the others have."""
    kept = min(len(bulk), share_of_bulk(limit))
    first = express[: limit - kept]
    return [*first, *bulk[: limit - len(first)]]


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A message in the outbox, ready to leave. `attempt` counts from 0; `first_attempt_ms` is 0 before the first."""

    message: Message
    attempt: int = 0
    first_attempt_ms: int = 0


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an attempt. `status` final: done. `pending`: try again at `not_before_ms`."""

    message_id: str
    status: Status
    at_ms: int
    reason: str = ""
    code: str = ""
    provider_id: str = ""
    not_before_ms: int = 0
    records: tuple[Record, ...] = ()
    """Outcomes to append to the log in the same transaction."""


class Outbox(Protocol):
    """Where the dispatcher takes from, and the ledger it keeps."""

    async def ready(self, limit: int, *, closed: Closed = OPEN) -> list[Pending]:
        """Messages that are due: transactional ones first, then highest priority, then oldest; none that is claimed.

        However many transactional ones wait, `share_of_bulk(limit)` places are kept for the others, at the end.
        """

    async def claim(self, message_ids: Sequence[str], *, links: Links = NO_LINKS) -> frozenset[str]:
        """Records that a provider is about to be called for these. A crash after this leaves them `unknown`.

        `links` says where the tracked links of some of them lead; they are added to those of an earlier attempt.

        Returns those that are claimed now. One that is missing (its customer was erased meanwhile) must not be sent.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Records the answers, and appends their outcome records."""

    async def interrupted(self) -> list[Message]:
        """Messages that became `unknown` because their process ended while it sent them; each is told once."""

    async def flushed(self) -> list[Flush]:
        """Pauses and backoffs that an operator ended; each is told once. The backoffs are over when it is told."""

    async def wait_for_work(self, timeout_seconds: float) -> None:
        """Returns when a message may be ready, at the latest after the timeout."""

    async def states(self, customers: Sequence[str]) -> dict[str, CustomerState]:
        """The states of these customers as they are now, for the second policy check."""

    async def duplicates(self, messages: Sequence[Message]) -> dict[str, bool]:
        """Of these messages of broadcasts those that must not leave: True, the address gets the issue by another customer (see
        `engine.core.journey.duplicates`); False, it is not known yet.
        """

    async def suppressed(self, addresses: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Of these (channel, address), those that nothing may be sent to, with the reason."""

    @property
    def catalog(self) -> Catalog:
        """The definitions in force."""
