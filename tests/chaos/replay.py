"""What must have come of the log, according to the reference runtime: `Memory`, one record after the other, without batches.

Invariant: only the records on `touchpoints` are looked at. Timers and records that were handed on stand there as well: they are
not worked out again, but each must follow from something (a due time, a decision for another partition).
"""

from __future__ import annotations

from collections import deque

import msgspec

from engine.collector.intake.foreign import parse_foreign
from engine.core.catalog import Catalog
from engine.core.customer import CustomerState
from engine.core.effect import Decision
from engine.core.message import Message
from engine.core.record import Outcome, Pause, Record, Timer
from engine.errors import BadRecord
from engine.runtimes.kafka.topics import (
    Deployed,
    Mended,
    Shard,
    decode_input,
    encode_input,
    headers_of,
    is_ours,
    partition_of,
)
from engine.runtimes.memory import Memory
from tests.chaos.load import POISON_KEY
from tests.chaos.reading import Found, Topic

Line = tuple[int, int, int]
"""(partition, offset, index): which journal line."""


class Replayed(msgspec.Struct):
    """What the log leads to."""

    lines: dict[Line, Decision]
    messages: dict[str, tuple[int, int, Message]]
    """Message id → (partition, offset, message)."""
    states: dict[int, dict[str, CustomerState]]
    poison: set[tuple[int, int]]
    """(partition, offset) of what the load marked as poison."""
    timers: int = 0
    forwarded: int = 0
    outcomes: int = 0
    wrong: list[str] = []


def replay(touchpoints: Topic, catalog: Catalog) -> Replayed:
    """Goes through every partition; what does not add up is told in `wrong`."""
    found = Replayed(lines={}, messages={}, states={}, poison=set(), wrong=[])
    handed_on: dict[tuple[int, bytes], int] = {}
    runs = [_Partition(number, len(touchpoints), catalog=catalog, found=found) for number in sorted(touchpoints)]
    for run in runs:
        for each in touchpoints[run.number]:
            run.take(each)
        found.states[run.number] = run.memory.states
        found.outcomes += len(run.outcomes)
        for target in run.handed_on:
            handed_on[target] = 0
    for run in runs:
        for target in run.received:
            if target not in handed_on:
                found.wrong.append(f"touchpoints[{run.number}] has a record that nobody handed on: {target[1][:200]!r}")
            else:
                handed_on[target] += 1
    for run in runs:
        for offset, outcome in run.outcomes:
            if outcome.message not in found.messages:
                found.wrong.append(f"touchpoints[{run.number}]@{offset}: the outcome of a message that nobody decided")
    found.forwarded = len(handed_on)
    missing = [target for target, times in handed_on.items() if not times]
    if missing:
        found.wrong.append(f"{len(missing)} records were not handed on, the first: {missing[0]}")
    return found


class _Partition:
    """The replay of one partition."""

    def __init__(self, number: int, partitions: int, *, catalog: Catalog, found: Replayed) -> None:
        self.number = number
        self.handed_on: list[tuple[int, bytes]] = []
        self.received: list[tuple[int, bytes]] = []
        self.outcomes: list[tuple[int, Outcome]] = []
        self._partitions = partitions
        self._found = found
        self._offset = 0
        self._index = 0
        self.memory = Memory(catalog)
        self.memory.on_decision = self._decided
        self.memory.on_dispatch = self._dispatched

    def take(self, each: Found) -> None:
        """Applies one record of the log and what follows from it here."""
        self._offset, self._index = each.offset, 0
        if (each.key or b"").startswith(POISON_KEY):
            self._found.poison.add((self.number, each.offset))
            return
        try:
            records = self._read(each)
        except (BadRecord, msgspec.ValidationError, msgspec.DecodeError) as error:
            self._found.wrong.append(f"touchpoints[{self.number}]@{each.offset} should be readable: {error}")
            return
        for record in records:
            self._apply(record)

    def _read(self, each: Found) -> list[Record]:
        assert each.value is not None, "only poison has no value"
        if is_ours(each.value):
            record = decode_input(each.value)
            if isinstance(record, (Deployed, Shard, Mended)):
                return []
            if isinstance(record, Timer):
                self._found.timers += 1
                self._check_timer(record)
            elif isinstance(record, Outcome):
                self.outcomes.append((each.offset, record))
            else:
                self.received.append((self.number, each.value))
            return [record]
        return parse_foreign(each.key, each.value, headers_of(each.headers), each.at_ms)

    def _check_timer(self, timer: Timer) -> None:
        if timer.at_ms < timer.due_ms:
            self._found.wrong.append(f"touchpoints[{self.number}]@{self._offset}: a timer fired before its time")
        if self._where(timer) != self.number:
            self._found.wrong.append(f"touchpoints[{self.number}]@{self._offset}: a timer of another partition")

    def _where(self, record: Record) -> int:
        return partition_of(record.customer.encode(), self._partitions)

    def _apply(self, record: Record) -> None:
        pending = deque([record])
        while pending:
            each = pending.popleft()
            if self._where(each) != self.number and not isinstance(each, Pause):
                self.handed_on.append((self._where(each), encode_input(each)))
                continue
            self.memory.position = self._offset - 1
            pending.extend(self.memory._apply(each))

    def _decided(self, _position: int, decision: Decision) -> None:
        self._found.lines[self.number, self._offset, self._index] = decision
        self._index += 1

    def _dispatched(self, message: Message) -> None:
        if message.id in self._found.messages:
            self._found.wrong.append(f"message {message.id} is decided on two partitions")
        self._found.messages[message.id] = (self.number, self._offset, message)
