"""What operators do to one project, whichever runtime it has: the port, and who an operator is.

Invariant: what an operator does is noted before it is done.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from engine.core.record import Record
from engine.runtimes.audit import Act, Head
from engine.runtimes.base import ErasureReceipt, History, Reader, Replayed
from engine.runtimes.consent_chain import LedgerCheck
from engine.runtimes.suppression import SuppressionEntry

OPERATOR = "ANLASS_OPERATOR"
"""The variable that names the operator, where several work as one user of the system."""

T = TypeVar("T")


class StillKept(msgspec.Struct, frozen=True, kw_only=True):
    """What still holds records about a customer who was erased, and until when at most (UTC milliseconds; 0: for ever)."""

    topic: str
    until_ms: int


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """The audit log as it stands: its lines, and where it is said to end (number:hash; "" when nobody says)."""

    texts: tuple[bytes, ...]
    said_head: str = ""


class Operations(Protocol):
    """What operators do to one project. What was handed over is remembered until `settle`; an object is for one command."""

    async def ask(self, question: Callable[[Reader], Awaitable[T]]) -> T:
        """The answer of the store. Raises NotFound when there is none yet."""

    async def history(self, customer: str, *, limit: int) -> History:
        """The customer's newest records. Raises NotFound when there is no store yet, ServiceUnreachable."""

    async def submit(self, records: Sequence[Record]) -> None:
        """Hands records over; durable when it returns."""

    async def settle(self) -> None:
        """Returns when what was handed over is applied. Raises ServiceUnreachable when nobody does it in a bounded time."""

    async def put_back(self, dead_letter_ids: Sequence[int]) -> Replayed:
        """Hands dead letters over again that were records; durable when it returns."""

    async def erase(self, customer: str) -> None:
        """Hands an erasure over, and settles."""

    async def receipt(self, customer: str) -> ErasureReceipt | None:
        """Of the erasure that `erase` handed over, once it is done."""

    async def kept(self) -> list[StillKept]:
        """What holds records of this customer for a while yet, after the receipt."""

    async def deployed(self) -> dict[str, str]:
        """Files of definitions (path → text) that were deployed and need not lie in the folder."""

    async def published(self) -> list[dict[str, str]]:
        """The files of every project that was put in force (path → text), newest first; empty when none ever was."""

    async def note(self, act: Act) -> None:
        """Writes into the audit log what is about to be done; durable when it returns. What cannot be noted is not to be done.

        Raises NotFound when the project never ran, StorageError, ServiceUnreachable.
        """

    async def audit(self) -> Audited:
        """The audit log."""

    async def check_consents(self, known: Head | None) -> LedgerCheck:
        """Verifies the chain of the consent ledger; `known`: an end that was noted earlier. Raises as `ask`."""

    async def heads(self) -> dict[str, Head]:
        """Where the audit log (`audit`) and the consent ledger (`consents`) end."""

    async def suppressions(self) -> list[SuppressionEntry]:
        """What is kept about addresses that nothing may be sent to."""

    async def suppress(self, entries: Sequence[SuppressionEntry]) -> None:
        """Adds such entries; durable when it returns."""

    async def lift(self, entries: Sequence[SuppressionEntry]) -> None:
        """Takes such entries out; durable when it returns."""

    def text_hash(self, text: str) -> bytes:
        """The keyed hash of a text of `engine.core.consent.suppression.names`, by which an address is found."""

    def alias(self, customer: str) -> str:
        """What stands for a customer in the audit log."""


def operator_name() -> str:
    """Who works here: ANLASS_OPERATOR, else the system's name of the user."""
    try:
        return os.environ.get(OPERATOR, "").strip() or getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid {os.getuid()}"
