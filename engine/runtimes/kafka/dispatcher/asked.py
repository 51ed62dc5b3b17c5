"""What is asked of a partition of the ledger, until it is written or has failed.

Invariant: whoever asked hears exactly once: the answer, once it is durable, or why there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from engine.errors import LimitExceeded, StorageError
from engine.runtimes.kafka.dispatcher.draft import Draft


class PendingChange(msgspec.Struct):
    """Something somebody waits for. `change` puts it into a draft, and says what to answer."""

    keys: Sequence[bytes]
    change: Callable[[Draft], Any]
    done: asyncio.Future[Any]


def keys_of_messages(message_ids: Sequence[str]) -> list[bytes]:
    """The keys of these messages' entries."""
    return [message_id.encode() for message_id in message_ids]


def fail(group: Sequence[PendingChange], error: StorageError | LimitExceeded) -> None:
    """Tells those who wait that nothing of it has happened."""
    for asked in group:
        if not asked.done.done():
            asked.done.set_exception(error)
