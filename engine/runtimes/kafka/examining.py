"""Looks at every row of the changelogs and says which cannot be read, and what waits for their customers.

Invariant: it only reads. What mends a row is a record that the partition's owner takes like any other.
"""

from __future__ import annotations

import msgspec

from engine.runtimes.kafka.changelog import records
from engine.runtimes.kafka.entry import read_entry
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    ORIGIN,
    OWNER_KEY,
    PREFIX_BYTES,
    REASON,
    Topics,
    decode_checkpoint,
    decode_definition,
    headers_of,
)
from engine.runtimes.unreadable import WAITS, Finding, UnreadableRow, read_state, readable


class PartitionFinding(Finding, frozen=True, kw_only=True):
    """A row of a changelog that cannot be read, and the partition it is on."""

    partition: int = 0

    def __str__(self) -> str:
        found = " (set aside)" if self.set_aside else ""
        return f"{self.table} {self.key!r} on partition {self.partition} cannot be read: {self.reason}{found}"


async def examine(bootstrap: str, topics: Topics, partitions: int) -> list[PartitionFinding]:
    """Every row of `states`, `ledger` and `definitions` that cannot be read. Raises StorageError."""
    found: list[PartitionFinding] = []
    for number in range(partitions):
        found += await _changelog(bootstrap, topics.states, number, table="states")
        found += await _changelog(bootstrap, topics.ledger, number, table="ledger")
    async for _, some_records in records(bootstrap, topics.definitions, 0):
        for each in some_records:
            value = each.value
            if value is None:
                continue
            try:
                readable(decode_definition, value)
            except UnreadableRow as error:
                key = (each.key or b"").decode(errors="replace")
                found.append(PartitionFinding(table="definitions", key=key, reason=str(error)))
    return found


async def _changelog(bootstrap: str, topic: str, number: int, *, table: str) -> list[PartitionFinding]:
    bad: dict[bytes, str] = {}
    aside: set[str] = set()
    async for _, some_records in records(bootstrap, topic, number):
        for each in some_records:
            key: bytes = each.key or b""
            value: bytes | None = each.value
            bad.pop(key, None)
            if value is None or key == OWNER_KEY:
                continue
            try:
                if key == CHECKPOINT_KEY:
                    aside = set(readable(decode_checkpoint, value).aside)
                elif table == "states":
                    read_state(value[PREFIX_BYTES:], key.decode(errors="replace"))
                else:
                    read_entry(value[PREFIX_BYTES:], key)
            except UnreadableRow as error:
                bad[key] = str(error)
    names = {key.decode(errors="replace"): reason for key, reason in bad.items()}
    if table == "states":  # readable again, but never told that it goes on
        names |= dict.fromkeys(aside - names.keys(), "it is set aside, although it can be read")
    return [
        PartitionFinding(
            table=table, key=name, customer=name if table == "states" else "", reason=reason,
            set_aside=name in aside, partition=number,
        )
        for name, reason in names.items()
    ]  # fmt: skip


class Waiting(msgspec.Struct, frozen=True):
    """A record that waits for its customer, and where it stood on `touchpoints`."""

    offset: int
    value: bytes


async def waiting(bootstrap: str, topics: Topics, partition: int, *, customer: str) -> list[Waiting]:
    """What was kept as dead letters while the customer was set aside, also what went on since. Raises StorageError."""
    found: dict[tuple[str, str], Waiting] = {}
    async for _, some_records in records(bootstrap, topics.dead_letters, partition):
        for each in some_records:
            headers = headers_of(each.headers)
            origin, reason = headers.get(ORIGIN, ""), headers.get(REASON, "")
            if each.key != customer.encode() or not reason.startswith(WAITS):
                continue
            found[origin, reason] = Waiting(int(origin.rpartition(":")[2]), each.value)
    return list(found.values())
