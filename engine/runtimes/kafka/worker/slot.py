"""One customer of a partition during a batch: what is stored, and what it becomes.

Invariant: a row that cannot be read stays byte for byte until an operator says what it is (or its customer is erased); only its
due time is taken out, so that nothing of it fires.
"""

from __future__ import annotations

from engine.core.catalog import Catalog
from engine.core.customer import CustomerState, encode_state
from engine.core.journey.holding import next_due_ms
from engine.runtimes.kafka.partition.store import Change
from engine.runtimes.kafka.topics import PREFIX_BYTES, Mended, pack_row, unpack_prefix
from engine.runtimes.unreadable import UnreadableRow, read_state

DUE_MS_MAX = 1 << 62


class RowSlot:
    """`row` None: nothing is stored."""

    __slots__ = ("aside", "changed", "loaded", "old_due_ms", "position", "retry_ms", "row", "state", "stored")

    def __init__(self, customer: str, row: bytes | None) -> None:
        self.row = row
        self.aside = ""
        """Why the row cannot be read; empty when it can."""
        self.stored = row is not None
        self.loaded, self.old_due_ms = unpack_prefix(row) if row is not None else (-1, 0)
        self.state: CustomerState | None = None
        if row is not None:
            try:
                self.state = read_state(row[PREFIX_BYTES:], customer)
            except UnreadableRow as error:
                self.aside = str(error)
        self.position = self.loaded
        self.changed = False
        self.retry_ms = 0

    def mend(self, record: Mended, offset: int) -> bool:
        """Takes an operator's word for what the row is; whether the customer goes on."""
        if self.aside and record.keep:
            return False
        if self.aside:
            self.state, self.aside = record.state, ""
            self.position = offset
            if self.state is not None:
                self.state.position = offset
        self.changed = self.changed or self.stored
        return True

    def change(self, customer: str, catalog: Catalog, *, waits: bool) -> Change | None:
        """The row to write. `waits`: its customer is set aside. Raises what the encoder raises for what cannot be stored."""
        key, state = customer.encode(), self.state
        if (self.aside or waits) and self.row is not None:
            row = pack_row(self.loaded, 0, self.row[PREFIX_BYTES:])
            return Change(key, row, self.loaded, 0, self.old_due_ms)
        if state is None:
            return Change(key, None, self.position, 0, self.old_due_ms) if self.stored else None
        due_ms = next_due_ms(catalog, state)
        if due_ms:  # a record may name any time, the index knows those since the epoch
            due_ms = min(max(due_ms, self.retry_ms, 1), DUE_MS_MAX)
        row = pack_row(self.position, due_ms, encode_state(state))
        return Change(key, row, self.position, due_ms, self.old_due_ms)
