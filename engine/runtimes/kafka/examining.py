"""Looks at every row of the changelogs and says which cannot be read; works a customer out again from `touchpoints`.

Invariant: it only reads. What mends a row is a record that the partition's owner takes like any other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from aiokafka import TopicPartition

from engine.core.record import CONTROL, Recheck, Record
from engine.runtimes.kafka.arrival import read_arrival
from engine.runtimes.kafka.changelog import Place, bounds, reader, some
from engine.runtimes.kafka.entry import read_entry
from engine.runtimes.kafka.outgoing import Here, Incoming
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    ORIGIN,
    OWNER_KEY,
    PREFIX_BYTES,
    REASON,
    Deployed,
    JournalLine,
    Mended,
    Shard,
    Topics,
    decision_of,
    decode_checkpoint,
    decode_definition,
    decode_journal,
    headers_of,
)
from engine.runtimes.rebuild import InForce, Line, Rebuilt, line_of, rebuild
from engine.runtimes.unreadable import WAITS, Finding, UnreadableRow, read_state, readable


class PartitionFinding(Finding, frozen=True, kw_only=True):
    """A row of a changelog that cannot be read, and the partition it is on."""

    partition: int = 0

    def __str__(self) -> str:
        found = " (set aside)" if self.set_aside else ""
        return f"{self.table} {self.key!r} on partition {self.partition} cannot be read: {self.reason}{found}"


async def records(bootstrap: str, topic: str, partition: int) -> AsyncIterator[tuple[int, list[Any]]]:
    """(first offset that the partition has, some of its records), until its present end."""
    async with reader(Place(bootstrap, topic, partition)) as consumer:
        tp = TopicPartition(topic, partition)
        begin, end = await bounds(consumer, tp)
        consumer.seek(tp, begin)
        offset = begin
        yield begin, []
        while offset < end:
            found, offset = await some(consumer, tp, offset)
            yield begin, found


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


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for a customer: the records in their order, and from which offset of `touchpoints` on."""

    values: list[bytes]
    from_offset: int


async def waiting(bootstrap: str, topics: Topics, partition: int, *, customer: str) -> Waiting:
    """The records that were kept because the customer is set aside, as dead letters. Raises StorageError."""
    values: dict[tuple[str, str], bytes] = {}
    first = -1
    async for _, some_records in records(bootstrap, topics.dead_letters, partition):
        for each in some_records:
            headers = headers_of(each.headers)
            origin, reason = headers.get(ORIGIN, ""), headers.get(REASON, "")
            if each.key != customer.encode() or not reason.startswith(WAITS):
                continue
            offset = int(origin.rpartition(":")[2])
            first = offset if first < 0 else min(first, offset)
            values[origin, reason] = each.value
    return Waiting(values=list(values.values()), from_offset=first)


async def replayed(
    bootstrap: str, here: Here, customer: str, *, until: int, catalogs: Sequence[InForce]
) -> Rebuilt | str:
    """What `touchpoints` says of a customer before the offset `until` (-1: all of it), or why that is not to be trusted."""
    found: list[tuple[int, Record]] = []
    async for begin, some_records in records(bootstrap, here.topics.touchpoints, here.partition):
        if begin:
            return "the topic touchpoints does not reach back to its beginning"
        for each in some_records:
            if 0 <= until <= each.offset:
                break
            found += [(each.offset, record) for record in _of(here, each, customer)]
    replay = rebuild(catalogs, customer, found, follow=True)
    told: list[Line] = []
    async for begin, some_records in records(bootstrap, here.topics.journal, here.partition):
        if begin:
            return "the topic journal does not reach back to its beginning"
        for each in some_records:
            told += _lines(each, customer, until)
    return replay if replay.lines == tuple(told) else "replaying the log decides otherwise than the journal says"


def _of(here: Here, each: Any, customer: str) -> list[Record]:
    incoming = Incoming(each.offset, each.timestamp, each.key, each.value, tuple(each.headers))
    found: list[Record] = []
    for record in read_arrival(here, incoming).inputs:
        if isinstance(record, Deployed):
            recheck_id = f"{record.catalog}:{incoming.offset}"
            found.append(
                Recheck(
                    customer=customer,
                    at_ms=record.at_ms,
                    id=recheck_id,
                    catalog=record.catalog,
                    versions=record.versions,
                )
            )
        elif not isinstance(record, Shard | Mended) and (isinstance(record, CONTROL) or record.customer == customer):
            found.append(record)
    return found


def _lines(each: Any, customer: str, until: int) -> list[Line]:
    try:
        line = readable(decode_journal, each.value or b"")
    except UnreadableRow:
        return []
    if not isinstance(line, JournalLine) or line.customer != customer or 0 <= until <= line.offset:
        return []
    return [line_of(decision_of(line))]
