"""Works a customer of a partition out again from `touchpoints`, and compares it with `journal`.

Invariant: it takes the partition's log as its owner does: control records from their places on, walks shard by shard, and what a
decision appends for the same partition after its cause. So all are replayed whose records may have led to one of the customer's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.core.catalog import Catalog
from engine.core.effect import Effect
from engine.core.record import CONTROL, Absorb, Merge, Record
from engine.runtimes.kafka.arrival import read_arrival
from engine.runtimes.kafka.changelog import records
from engine.runtimes.kafka.controls import Controls
from engine.runtimes.kafka.outgoing import Here, Incoming
from engine.runtimes.kafka.topics import (
    Checkpoint,
    Deployed,
    Input,
    JournalLine,
    Mended,
    Removed,
    Shard,
    decision_of,
    decode_journal,
    partition_of,
)
from engine.runtimes.rebuild import Line, Rebuilt, Replay, agreeing, line_of
from engine.runtimes.unreadable import UnreadableRow, readable

FOR_ALL = (Deployed, Shard, *CONTROL)


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What a partition's log has for a customer, for those they had to do with, and for everybody; and what was told of them."""

    customer: str
    inputs: list[tuple[int, Input]]
    told: list[JournalLine | Removed]
    begins: int = -1
    """Up to which offset nothing counts any more that waits for the customer: they were mended then, or erased."""


class Reading:
    """Reads a history: `learn` the whole log first, then `take` it once more, and `hear` the journal."""

    def __init__(self, here: Here, customer: str) -> None:
        self._here = here
        self._customer = customer
        self._next_to: dict[str, set[str]] = {}
        self._together: set[str] = set()
        self._inputs: list[tuple[int, Input]] = []
        self._told: list[JournalLine | Removed] = []

    def learn(self, incoming: Incoming) -> None:
        """Which ids may have led to records of each other: those that were merged, directly or by way of others."""
        for record in read_arrival(self._here, incoming).inputs:
            if isinstance(record, Merge):
                self._join(record.customer, record.into)
            elif isinstance(record, Absorb):
                for name in (record.previous, *record.state.aliases):
                    self._join(record.customer, name)

    def _join(self, one: str, other: str) -> None:
        self._next_to.setdefault(one, set()).add(other)
        self._next_to.setdefault(other, set()).add(one)

    def learned(self) -> None:
        """All of it."""
        self._together, todo = {self._customer}, [self._customer]
        while todo:
            new = self._next_to.get(todo.pop(), set()) - self._together
            self._together |= new
            todo += new

    def take(self, incoming: Incoming) -> None:
        """One record of the log."""
        self._inputs += [
            (incoming.offset, record)
            for record in read_arrival(self._here, incoming).inputs
            if isinstance(record, FOR_ALL) or record.customer in self._together
        ]

    def hear(self, value: bytes) -> None:
        """One record of the journal."""
        try:
            line = readable(decode_journal, value)
        except UnreadableRow:
            return
        if line.customer == self._customer:
            self._told.append(line)

    def history(self, catalogs: Mapping[str, Catalog]) -> History:
        """What was read. `catalogs` has at least one."""
        found = History(customer=self._customer, inputs=self._inputs, told=self._told)
        begins = _Retold(self._here, catalogs, found, unsalted=0).up_to(-1).begins
        return msgspec.structs.replace(found, begins=begins)


async def history(bootstrap: str, here: Here, customer: str, *, catalogs: Mapping[str, Catalog]) -> History | str:
    """Reads it, or says why it is not to be trusted. Raises StorageError."""
    if not catalogs:
        return "nothing is deployed"
    work = Reading(here, customer)
    async for begin, some_records in records(bootstrap, here.topics.touchpoints, here.partition):
        if begin:
            return "the topic touchpoints does not reach back to its beginning"
        for each in some_records:
            work.learn(_incoming(each))
    work.learned()
    async for _, some_records in records(bootstrap, here.topics.touchpoints, here.partition):
        for each in some_records:
            work.take(_incoming(each))
    async for begin, some_records in records(bootstrap, here.topics.journal, here.partition):
        if begin:
            return "the topic journal does not reach back to its beginning"
        for each in some_records:
            work.hear(each.value or b"")
    return work.history(catalogs)


def rebuilt(here: Here, catalogs: Mapping[str, Catalog], found: History, *, until: int) -> Rebuilt | str:
    """What it says of its customer before the offset `until` (-1: all of it), or why that is not to be trusted."""
    told = _told(found, until)
    return agreeing(lambda unsalted: _Retold(here, catalogs, found, unsalted=unsalted).up_to(until), told)


class _Retold(Replay):
    """The replay of a history. `begins` as in `History`, as far as it was played."""

    def __init__(self, here: Here, catalogs: Mapping[str, Catalog], found: History, *, unsalted: int) -> None:
        named = [record.catalog for _, record in found.inputs if isinstance(record, Deployed)]
        first = next((name for name in named if name in catalogs), list(catalogs)[-1])
        super().__init__(catalogs[first], found.customer, unsalted=unsalted)
        self._here = here
        self._catalogs = catalogs
        self._found = found
        self._controls = Controls(here, catalogs, Checkpoint(catalog=first))
        self._shards = [record for _, record in found.inputs if isinstance(record, Shard)]
        self._offset = -1
        self.begins = -1

    def up_to(self, until: int) -> _Retold:
        """Takes everything before `until`; -1: all."""
        for offset, record in self._found.inputs:
            if 0 <= until <= offset:
                break
            self._offset = offset
            self._take(record)
        return self

    def _take(self, record: Input) -> None:
        if isinstance(record, Deployed):
            if record.catalog in self._catalogs:
                self._controls.deployed(record)
        elif isinstance(record, Shard):
            self._walk(record)
        elif isinstance(record, Mended):
            self._mend(record)
        elif isinstance(record, CONTROL):
            self._controls.take(record)
        else:
            self.step(record)
        self.catalog = self._controls.catalog

    def _walk(self, shard: Shard) -> None:
        if not self._controls.continues(shard):
            return
        after = min(
            (each.after for each in self._shards if _same(each, shard) and each.after > shard.after), default=None
        )
        names = sorted((name.encode(), name) for name in self.states)
        for key, name in names:
            if shard.after < key and (after is None or key <= after):
                self.step(self._controls.asked(self._offset, shard, name))
        self._controls.walked(shard, after)

    def _mend(self, record: Mended) -> None:
        """From here on it is what the operator said, whatever was decided before."""
        if record.customer == self._found.customer:
            self.begins = self._offset
        if record.keep:
            return
        if record.customer == self._found.customer:
            self.told.clear()
        if record.state is None:
            self.states.pop(record.customer, None)
        else:
            self.states[record.customer] = record.state

    def _carry_out(self, effects: list[Effect]) -> list[Record]:
        """What goes to another partition comes back on that one's log."""
        here = self._here
        appended = super()._carry_out(effects)
        return [each for each in appended if partition_of(each.customer.encode(), here.partitions) == here.partition]

    def _forgotten(self, customer: str, position: int) -> None:
        super()._forgotten(customer, position)
        if customer == self._found.customer:
            self.begins = self._offset


def _same(one: Shard, other: Shard) -> bool:
    return (one.at_ms, one.catalog, one.resumes) == (other.at_ms, other.catalog, other.resumes)


def _told(found: History, until: int) -> Sequence[Line]:
    """What the journal says in the end: a line that was written again is the same line, and what was removed is not told."""
    since = -1
    for offset, record in found.inputs:
        if isinstance(record, Mended) and not record.keep and record.customer == found.customer:
            since = offset if until < 0 or offset < until else since
    lines: dict[tuple[int, int], Line] = {}
    for line in found.told:
        if isinstance(line, Removed):
            lines = {place: kept for place, kept in lines.items() if place[0] > line.offset}
        elif line.offset > since and not 0 <= until <= line.offset:
            lines[line.offset, line.index] = line_of(decision_of(line))
    return [line for _, line in sorted(lines.items())]


def _incoming(each: Any) -> Incoming:
    return Incoming(each.offset, each.timestamp, each.key, each.value, tuple(each.headers))
