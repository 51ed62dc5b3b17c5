"""What one commit of the ledger is to write: entries changed by the requests that it carries out, and what they send.

Invariant: a draft changes nothing but itself; a request sees what the requests before it in the same draft have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from engine.core.record import CONTROL, Record
from engine.dispatch.ports import FINAL, NO_LINKS, Links, Settlement
from engine.runtimes.kafka.dispatcher.ledger_entry import LedgerEntry, encode_entry, read_entry
from engine.runtimes.kafka.dispatcher.transitions import claimed, due_of, settled
from engine.runtimes.kafka.partition.store import Change
from engine.runtimes.kafka.topics import (
    PREFIX_BYTES,
    Outgoing,
    Topics,
    encode_input,
    pack_row,
    partition_of,
    unpack_prefix,
)
from engine.runtimes.unreadable import UnreadableRow

Put = tuple[bytes, LedgerEntry | None]
"""Key, and what its entry becomes; None: it is removed."""


class Draft:
    """A commit in the making. `rows` must hold the present rows of all keys that are asked about."""

    def __init__(self, rows: Mapping[bytes, bytes], applied: int) -> None:
        self._rows = rows
        self._puts: dict[bytes, LedgerEntry | None] = {}
        self._records: list[Record] = []
        self._letters: list[Outgoing] = []
        self._aged: set[bytes] = set()
        self._shelved: set[bytes] = set()
        self._applied_before = applied
        self.applied = applied

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        return (
            bool(self._puts or self._shelved or self._records or self._letters) or self.applied != self._applied_before
        )

    @property
    def known(self) -> list[bytes]:
        """The keys that were asked about and have an entry."""
        return list(self._rows)

    def get(self, key: bytes) -> LedgerEntry | None:
        """An entry as it is by now."""
        if key in self._puts:
            return self._puts[key]
        row = self._rows.get(key)
        if row is None:
            return None
        try:
            return read_entry(row[PREFIX_BYTES:], key)
        except UnreadableRow:
            return None  # nothing can be said or done about it

    def knows(self, key: bytes) -> bool:
        """Whether there is an entry, be it one that cannot be read."""
        return self._puts[key] is not None if key in self._puts else key in self._rows

    def shelve(self, key: bytes) -> str:
        """Leaves an entry that cannot be read as it is, but takes it out of the index. Returns why; empty when it can be read."""
        row = self._rows.get(key)
        if row is None or key in self._puts:
            return ""
        try:
            read_entry(row[PREFIX_BYTES:], key)
        except UnreadableRow as error:
            self._shelved.add(key)
            return str(error)
        return ""

    @property
    def removed(self) -> set[str]:
        """Messages whose entries are removed."""
        return {key.decode(errors="replace") for key, entry in self._puts.items() if entry is None}

    def row(self, key: bytes) -> bytes:
        """As it is stored; empty when there is none."""
        return self._rows.get(key, b"")

    def put(self, key: bytes, entry: LedgerEntry | None, records: Sequence[Record] = ()) -> None:
        """Changes an entry; `records` are what its customer hears by it."""
        self._puts[key] = entry
        self._records.extend(records)

    def send(self, letter: Outgoing) -> None:
        """Sends a record that is complete, such as a dead letter."""
        self._letters.append(letter)

    # ---------------------------------------------------------------------------------------------------------- requests

    def claim(self, message_ids: Sequence[str], now_ms: int, *, links: Links = NO_LINKS) -> frozenset[str]:
        """Claims what is pending; returns which messages that were."""
        taken = []
        for message_id in message_ids:
            key = message_id.encode()
            entry = claimed(self.get(key), now_ms, links=links.get(message_id))
            if entry is not None:
                self.put(key, entry)
                taken.append(message_id)
        return frozenset(taken)

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Records answers; one that says nothing new has no records either."""
        for each in settlements:
            key = each.message_id.encode()
            entry = settled(self.get(key), each)
            if entry is not None:
                self.put(key, entry, each.records)

    def prune(self, keys: Sequence[bytes], before_ms: int) -> None:
        """Removes entries that are still final and were so before a moment."""
        for key in keys:
            entry = self.get(key)
            if entry is not None and entry.status in FINAL and entry.updated_ms < before_ms:
                self.put(key, None)
                self._aged.add(key)

    # ------------------------------------------------------------------------------------------------------------ result

    def puts(self) -> Iterator[Put]:
        """What changes, by key."""
        return iter(self._puts.items())

    def changes(self, next_position: Callable[[], int]) -> list[Change]:
        """The rows to write."""
        found = []
        for key in sorted(self._shelved - self._puts.keys()):
            position, body = next_position(), self._rows[key][PREFIX_BYTES:]
            old_due_ms = unpack_prefix(self._rows[key])[1]
            found.append(Change(key, pack_row(position, 0, body), position, 0, old_due_ms))
        for key, entry in self._puts.items():
            row, position = self._rows.get(key), next_position()
            old_due_ms = unpack_prefix(row)[1] if row is not None else 0
            if entry is not None:
                due_ms = due_of(entry)
                found.append(Change(key, pack_row(position, due_ms, encode_entry(entry)), position, due_ms, old_due_ms))
            elif row is not None:
                found.append(Change(key, None, position, 0, old_due_ms, key in self._aged))
        return found

    def outgoing(self, topics: Topics, partitions: int) -> tuple[Outgoing, ...]:
        """The records to send. A control record goes to every partition, another to its customer's."""
        found = []
        for record in self._records:
            value = encode_input(record)
            if isinstance(record, CONTROL):
                found += [Outgoing(topics.touchpoints, number, None, value) for number in range(partitions)]
            else:
                key = record.customer.encode()
                found.append(Outgoing(topics.touchpoints, partition_of(key, partitions), key, value))
        return (*found, *self._letters)
