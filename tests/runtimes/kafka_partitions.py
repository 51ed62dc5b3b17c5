"""Partitions of a log without a broker: the planner on a real row store, everything that it sends carried to where it goes.

Invariant: like an owner it writes what a plan says and nothing else; what is right is said by `Memory`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from engine.core.broadcast import in_force, waits
from engine.core.catalog import Catalog
from engine.core.customer import CustomerState, decode_state
from engine.core.effect import Decision, Effect
from engine.core.message import Message
from engine.core.record import CONTROL, Event, Record, Resume, Timer
from engine.errors import BadRecord
from engine.runtimes.kafka.arrival import Here, Incoming, read_arrival
from engine.runtimes.kafka.plan import Plan, Planner
from engine.runtimes.kafka.store import RowStore
from engine.runtimes.kafka.topics import (
    PREFIX_BYTES,
    Checkpoint,
    Deployed,
    Handover,
    Input,
    Mended,
    Outgoing,
    Removed,
    Shard,
    Topics,
    decision_of,
    decode_dispatch,
    decode_journal,
    encode_checkpoint,
    encode_input,
    partition_of,
    unpack_prefix,
)
from engine.runtimes.memory import Memory

TOPICS = Topics("t.")


def parse_foreign(key: bytes | None, value: bytes, headers: Mapping[str, str], at_ms: int) -> list[Record]:
    """`customer:name` lines, each an event; anything else is no record."""
    found: list[Record] = []
    for number, line in enumerate(value.decode().splitlines() or [""]):
        customer, mark, name = line.partition(":")
        if not mark:
            raise BadRecord("no_colon", "There is no colon.")
        found.append(Event(customer=customer, at_ms=at_ms, id=f"{value!r}{number}", name=name, time_ms=at_ms))
    return found


def here(partition: int, partitions: int, topics: Topics = TOPICS) -> Here:
    """Where a partition's plans are made."""
    return Here(
        topics=topics,
        partition=partition,
        partitions=partitions,
        parse=parse_foreign,
        alias=lambda customer: f"gone-{len(customer)}",
        address_key=lambda channel, address: f"{channel}:{address}".encode(),
    )


class Read:
    """What anybody can read of the topics that partitions write to."""

    def __init__(self, topics: Topics = TOPICS) -> None:
        self._prefix = topics.prefix
        self.lines: dict[tuple[int, int, int], Decision] = {}
        self.messages: dict[str, Message] = {}
        self.removed: list[Removed] = []
        self.journal: list[tuple[int, bytes]] = []
        """(partition, value) of all that was ever written."""
        self.dead: list[Outgoing] = []
        self.suppressed: list[Outgoing] = []
        self.touchpoints: list[Outgoing] = []

    def take(self, outgoing: Outgoing) -> None:
        """One record, in the order of its topic."""
        match outgoing.topic.removeprefix(self._prefix):
            case "journal":
                self.journal.append((outgoing.partition, outgoing.value))
                self._line(outgoing)
            case "dispatches":
                handed = decode_dispatch(outgoing.value)
                if isinstance(handed, Handover):
                    known = self.messages.setdefault(handed.message.id, handed.message)
                    assert known == handed.message, "one id, two messages"
            case "dead-letters":
                self.dead.append(outgoing)
            case "suppressions":
                self.suppressed.append(outgoing)
            case "touchpoints":
                self.touchpoints.append(outgoing)
            case topic:
                raise AssertionError(topic)

    def _line(self, outgoing: Outgoing) -> None:
        line = decode_journal(outgoing.value)
        if isinstance(line, Removed):
            self.removed.append(line)
            self.lines = {
                key: each
                for key, each in self.lines.items()
                if each.customer != line.customer or (key[0] == outgoing.partition and key[1] > line.offset)
            }
            return
        identity = (outgoing.partition, line.offset, line.index)
        known = self.lines.setdefault(identity, decision_of(line))
        assert known == decision_of(line), f"one identity, two decisions: {identity}"

    def decisions(self, customer: str) -> list[Decision]:
        """A customer's journal in its order."""
        return [line for _, line in sorted(self.lines.items(), key=lambda each: each[0]) if line.customer == customer]


class Partition:
    """One partition's log, rows and checkpoint."""

    def __init__(self, folder: Path, catalogs: Mapping[str, Catalog], *, place: Here, in_force: str) -> None:
        self.here = place
        self.catalogs = dict(catalogs)
        self.store = RowStore(folder)
        self.store.open()
        self.planner = Planner(place, self.store)
        self.checkpoint = Checkpoint(catalog=in_force)
        self.log: list[Incoming] = []
        self._changelog_end = -1

    def append(self, *records: Input, at_ms: int = 0) -> None:
        """Our own records."""
        for record in records:
            key = record.customer.encode() if not isinstance(record, Deployed | Shard | Mended) else None
            self.put(key or None, encode_input(record), at_ms=at_ms)

    def put(self, key: bytes | None, value: bytes | None, *, at_ms: int = 0) -> None:
        """Anybody's bytes."""
        self.log.append(Incoming(len(self.log), at_ms, key, value))

    def plan(self, incoming: Sequence[Incoming] | None = None) -> Plan:
        """Of everything that is not applied, or of `incoming`."""
        todo = self.log[self.checkpoint.applied + 1 :] if incoming is None else incoming
        return self.planner.plan(self.catalogs, self.checkpoint, incoming=todo)

    def apply(self, incoming: Sequence[Incoming] | None = None) -> Plan:
        """Plans and writes."""
        plan = self.plan(incoming)
        if plan.checkpoint.applied > self.checkpoint.applied:
            self._changelog_end += 1 + len(plan.changes)
            self.store.write(plan.changes, encode_checkpoint(plan.checkpoint), offset=self._changelog_end)
            self.checkpoint = plan.checkpoint
        return plan

    def fire(self, now_ms: int) -> int:
        """Puts due timers on the log."""
        due = self.store.due(now_ms, 500)
        self.append(*(Timer(customer=key.decode(), at_ms=now_ms, due_ms=due_ms) for due_ms, key in due))
        return len(due)

    def states(self) -> dict[str, CustomerState]:
        """Of all customers, without positions."""
        return {
            key.decode(): replace(decode_state(row[PREFIX_BYTES:]), position=0)
            for key, row in self.store.walk(b"", 10_000)
        }

    def check_index(self) -> None:
        """The index by due time says what the rows say."""
        rows = sorted((unpack_prefix(row)[1], key) for key, row in self.store.walk(b"", 10_000))
        assert self.store.due(1 << 60, 10_000) == [each for each in rows if each[0]]


class Cluster:
    """All partitions; carries what they send."""

    def __init__(self, folder: Path, catalogs: Mapping[str, Catalog], *, partitions: int, in_force: str) -> None:
        self.read = Read()
        self.partitions = [
            Partition(folder / str(number), catalogs, place=here(number, partitions), in_force=in_force)
            for number in range(partitions)
        ]

    def close(self) -> None:
        for each in self.partitions:
            each.store.close()

    def append(self, *records: Record) -> None:
        """Each to its partition, control records to all."""
        for record in records:
            if isinstance(record, CONTROL):
                for each in self.partitions:
                    each.append(record)
            else:
                number = partition_of(record.customer.encode(), len(self.partitions))
                self.partitions[number].append(record)

    def deliver(self, outgoing: Sequence[Outgoing]) -> None:
        """To the topics."""
        for each in outgoing:
            self.read.take(each)
            if each.topic == TOPICS.touchpoints:
                self.partitions[each.partition].put(each.key, each.value)

    def settle(self, sizes: Sequence[int], *, again: bool = False) -> None:
        """Applies everything, in batches of these sizes in turn; `again`: each is delivered twice, by whoever takes over."""
        turn = 0
        while any(each.checkpoint.applied + 1 < len(each.log) for each in self.partitions):
            for each in self.partitions:
                start = each.checkpoint.applied + 1
                size = sizes[turn % len(sizes)]
                turn += 1
                batch = each.log[start : start + size]
                if not batch:
                    continue
                plan = each.apply(batch)
                sent = plan.checkpoint.outgoing
                if (
                    again
                ):  # sent, but not acknowledged: the next owner sends it again, and is fed from where it was committed
                    self.deliver(sent)
                    before = each.checkpoint
                    each.apply(each.log[max(0, start - 3) : start + len(batch)])
                    assert each.checkpoint is before, "applied twice"
                self.deliver(sent)

    def run_until(self, now_ms: int, *, start_ms: int, sizes: Sequence[int], again: bool = False) -> None:
        """Lets time pass; whatever comes due is put on the log at its time."""
        at_ms = start_ms
        while True:
            due = [each.store.next_due_ms for each in self.partitions]
            next_ms = min((each for each in due if each), default=0)
            if not next_ms or next_ms > now_ms:
                return
            at_ms = max(at_ms, next_ms)
            for each in self.partitions:
                each.fire(at_ms)
            self.settle(sizes, again=again)


class Share(Memory):
    """A memory that holds one partition: what goes to another one comes back on that one's log, and walks are records of it."""

    def __init__(self, catalog: Catalog, place: Here) -> None:
        super().__init__(catalog)
        self._here = place
        self.journal: list[tuple[int, Decision]] = []
        self.on_decision = lambda position, decision: self.journal.append((position, decision))
        self.on_forget = self._strike
        self.on_failure = lambda *_: None
        self._goes_on = False
        """Whether somebody is to be asked, and no Shard has done it yet."""

    def _strike(self, customer: str, _position: int) -> None:
        self.journal = [each for each in self.journal if each[1].customer != customer]

    def _carry_out(self, effects: list[Effect]) -> list[Record]:
        number, count = self._here.partition, self._here.partitions
        appended = super()._carry_out(effects)
        return [each for each in appended if partition_of(each.customer.encode(), count) == number]

    def replay(self, log: Sequence[Incoming]) -> None:
        """Everything that stands on a partition's log of fewer customers than one Shard asks."""
        for each in log:
            for record in read_arrival(self._here, each).inputs:
                assert not isinstance(record, Deployed | Mended)
                if isinstance(record, Shard):
                    self._ask(each, record)
                elif isinstance(record, CONTROL):  # whoever waited is asked where the Shard stands that it leads to
                    self._goes_on = in_force(self.catalog, record)[2] or self._goes_on
                    self._control(record)
                else:
                    self.step(record)

    def _ask(self, each: Incoming, shard: Shard) -> None:
        """Those who wait, in the order of their keys: each once, however often the same Shard stands there."""
        assert shard.resumes
        assert shard.after == b"", "more customers than one Shard asks"
        waiting = (
            sorted(name for name, state in self.states.items() if waits(self.catalog, state)) if self._goes_on else []
        )
        self._goes_on = False
        for customer in waiting:
            self.step(Resume(customer=customer, at_ms=shard.at_ms, id=f"resume:{each.offset}"))

    def decisions_of(self, customer: str) -> list[Decision]:
        """A customer's journal."""
        return [each for _, each in self.journal if each.customer == customer]
