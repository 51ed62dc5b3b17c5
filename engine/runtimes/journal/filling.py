"""Fills the columns that the ledger got later, in the rows of earlier versions, from the message that each of them keeps.

Invariant: it is done once, with the migration that added them; a row that cannot be read keeps its empty columns.
"""

from __future__ import annotations

from collections import defaultdict

import msgspec

from engine.core.message import Message
from engine.runtimes.journal.ledger import Queryable
from engine.runtimes.unreadable import UnreadableRow, readable

PAGE = 1_000
_decode_message = msgspec.msgpack.Decoder(Message).decode


async def fill(transaction: Queryable) -> None:
    """Says of which broadcast, and with which subject, every message was that is here."""
    after = 0
    while rows := await transaction.rows("ledger_bodies", after=after, limit=PAGE):
        after = rows[-1][0]
        alike: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, body in rows:
            try:
                message = readable(_decode_message, body)
            except UnreadableRow:
                continue
            alike[message.issue, message.variant].append(number)
        alike.pop(("", ""), None)
        for (issue, variant), numbers in alike.items():
            await transaction.rows("ledger_fill", issue=issue, variant=variant, numbers=numbers)
