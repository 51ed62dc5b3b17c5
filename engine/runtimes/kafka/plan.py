"""Evaluates a batch of one partition in memory and collects what is to be written and sent.

Invariant: planning writes nothing, and depends on nothing but the rows, the checkpoint, the catalogs and the records:
whoever owns the partition plans the same. Records are taken in order of their offsets, those that a decision appends for a
customer of this partition right after the one that caused them (they follow from it, so they are not on the log again);
those for other partitions are sent there. What cannot be evaluated becomes a dead letter; everything else is applied.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import assert_never

from engine.core import duplicates
from engine.core.catalog import Catalog
from engine.core.effect import Append, Decision, Dispatch, Effect, Forget, Suppress, refused_value
from engine.core.evaluate import concerns, evaluate
from engine.core.holding import next_due_ms
from engine.core.message import Message
from engine.core.record import CONTROL, Control, Erase, Record, Timer
from engine.runtimes.effects import STUCK_TIMER_DELAY_MS, stuck
from engine.runtimes.kafka.arrival import Arrival, Here, Incoming, read_arrival
from engine.runtimes.kafka.controls import Controls
from engine.runtimes.kafka.outgoing import (
    check_outcome,
    claim,
    dead_letter,
    forward,
    handover,
    journal_line,
    removals,
    suppression,
    unreadable_state,
    waiting,
)
from engine.runtimes.kafka.slot import Slot
from engine.runtimes.kafka.store import Change, RowStore
from engine.runtimes.kafka.topics import Checkpoint, Deployed, Input, Mended, Outgoing, Shard, partition_of
from engine.runtimes.unreadable import why_waiting

APPENDED_MAX = 1_000
"""Records that decisions of one batch may lead to here; what is over that goes by way of the log."""
SHARD_CUSTOMERS = 100
"""How many customers one record of a walk rechecks."""


class Plan:
    """What one commit writes and sends."""

    def __init__(self, catalog: Catalog, checkpoint: Checkpoint) -> None:
        self.catalog = catalog
        self.checkpoint = checkpoint
        self.changes: list[Change] = []
        self.slots: dict[str, Slot] = {}
        self.lines: list[tuple[int, str, Outgoing]] = []
        """Offset, customer and record of what is journalled, handed to the dispatcher or dead."""
        self.evaluated = 0
        self.dead = 0
        self.asides: list[str] = []
        """Customers whose rows this plan found to be unreadable."""
        self.decided: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        self.failed: list[Decision] = []
        """Decisions of the kind `failed`, for the log."""
        self.arrivals: list[Arrival] = []
        """What was read, and below which messages it led to: for spans."""
        self.messages: list[Message] = []
        self.timer_lags_ms: list[int] = []
        self.index = 0  # of the next journal line of the record in work

    @property
    def bytes(self) -> int:
        """About what the commit's batch takes."""
        rows = sum(len(change.row or b"") + 60 for change in self.changes)
        return rows + sum(len(each.value) + 80 for each in self.checkpoint.outgoing)


class Planner:
    """Makes the plans of one partition. `catalogs` by id must hold every catalog that a `Deployed` among the records names."""

    def __init__(self, here: Here, store: RowStore) -> None:
        self._here = here
        self._store = store

    def plan(
        self,
        catalogs: Mapping[str, Catalog],
        checkpoint: Checkpoint,
        *,
        incoming: Sequence[Incoming],
        refused: str = "",
    ) -> Plan:
        """`checkpoint.catalog` must name one of `catalogs`. Records at or below `checkpoint.applied` are left out.

        `refused`: why these records are not to be evaluated, but become dead letters.
        """
        fresh = [each for each in incoming if each.offset > checkpoint.applied]
        try:
            return self._plan(catalogs, checkpoint, incoming=fresh, careful=False, refused=refused)
        except Exception:  # noqa: BLE001 - whatever it is, the careful way finds the record that causes it
            return self._plan(catalogs, checkpoint, incoming=fresh, careful=True, refused=refused)

    def _plan(
        self,
        catalogs: Mapping[str, Catalog],
        checkpoint: Checkpoint,
        *,
        incoming: Sequence[Incoming],
        careful: bool,
        refused: str,
    ) -> Plan:
        plan = Plan(catalogs[checkpoint.catalog], checkpoint)
        work = _Work(self._here, self._store, catalogs=catalogs, plan=plan, careful=careful)
        if refused:
            work.refuse(incoming, refused)
        else:
            work.read(incoming)
        return work.finish()


class _Work:
    """One plan in the making."""

    def __init__(
        self, here: Here, store: RowStore, *, catalogs: Mapping[str, Catalog], plan: Plan, careful: bool
    ) -> None:
        self._here = here
        self._store = store
        self._catalogs = catalogs
        self._plan = plan
        self._careful = careful
        self._sent: list[tuple[int, str, Outgoing]] = []
        self._appended = 0
        self._waits = 0
        self._applied = plan.checkpoint.applied
        self._controls = Controls(here, catalogs, plan.checkpoint)
        plan.catalog = self._controls.catalog

    # ------------------------------------------------------------------------------------------------------- reading

    def read(self, incoming: Sequence[Incoming]) -> None:
        """Applies records in order."""
        arrivals = self._plan.arrivals = [read_arrival(self._here, each) for each in incoming]
        names = {
            record.customer
            for arrival in arrivals
            for record in arrival.inputs
            if not isinstance(record, (Deployed, Shard, Mended, *CONTROL)) and concerns(self._plan.catalog, record)
        }
        self._load(names)
        for arrival in arrivals:
            each = arrival.incoming
            self._plan.index = 0
            self._plan.dead += arrival.dead
            for customer, outgoing in arrival.sent:
                self._send(each.offset, customer, outgoing)
            for record in arrival.inputs:
                self._input(each, record)
            self._applied = each.offset

    def refuse(self, incoming: Sequence[Incoming], reason: str) -> None:
        """Evaluates nothing: what holds several records is taken apart, one by itself becomes a dead letter."""
        for each in incoming:
            arrival = read_arrival(self._here, each)
            if len(arrival.inputs) + len(arrival.sent) > 1:
                for customer, outgoing in arrival.sent:
                    self._send(each.offset, customer, outgoing)
                for record in arrival.inputs:
                    assert not isinstance(record, (Deployed, Shard, Mended)), "those come one by one"
                    self._send(each.offset, record.customer, forward(self._here, self._here.partition, record))
            else:
                self._dead(each, reason)
                for record in arrival.inputs:
                    if type(record) is Timer:
                        self._load({record.customer})
                        self._put_off(record)
            self._applied = each.offset

    def _load(self, names: set[str]) -> None:
        keys = {name: name.encode() for name in names if name not in self._plan.slots}
        rows = self._store.rows(list(keys.values()))
        for name, key in keys.items():
            self._plan.slots[name] = Slot(name, rows.get(key))

    # ---------------------------------------------------------------------------------------------------- evaluating

    def _input(self, each: Incoming, record: Input) -> None:
        if isinstance(record, CONTROL):
            self._control(each, record)
        elif type(record) is Deployed:
            self._deployed(each, record)
        elif type(record) is Shard:
            self._shard(each, record)
        elif type(record) is Mended:
            self._mended(each, record)
        else:
            self._record(each, record)  # type: ignore[arg-type]

    def _control(self, each: Incoming, record: Control) -> None:
        decisions, sent = self._controls.take(record)
        self._plan.catalog = self._controls.catalog
        self._take(each, list(decisions))
        for outgoing in sent:
            self._send(each.offset, "", outgoing)

    def _deployed(self, each: Incoming, record: Deployed) -> None:
        if record.catalog not in self._catalogs:
            self._dead(
                each, f"the catalog {record.catalog} cannot be had: its definition is missing or does not compile"
            )
            return
        for outgoing in self._controls.deployed(record):
            self._send(each.offset, "", outgoing)
        self._plan.catalog = self._controls.catalog

    def _shard(self, each: Incoming, shard: Shard) -> None:
        """Asks the next customers, and goes on with those after them; ignored unless it continues the walk of its kind."""
        controls = self._controls
        if not controls.continues(shard):
            return
        keys = self._walked(shard.after)
        for key in keys:
            self._record(each, controls.asked(each.offset, shard, key.decode()), again=True)
        for outgoing in controls.walked(shard, None if len(keys) < SHARD_CUSTOMERS else keys[-1]):
            self._send(each.offset, "", outgoing)

    def _walked(self, after: bytes) -> list[bytes]:
        """The next customers in key order, those of this batch among them: the same ones however records are cut into batches."""
        changed = {
            name.encode(): slot.state is None and not slot.aside
            for name, slot in self._plan.slots.items()
            if slot.changed
        }
        gone = {key for key, removed in changed.items() if removed}
        keys = {key for key, _ in self._store.walk(after, SHARD_CUSTOMERS + len(gone))} - gone
        keys.update(key for key, removed in changed.items() if not removed and key > after)
        return sorted(keys)[:SHARD_CUSTOMERS]

    def _record(self, each: Incoming, record: Record, *, again: bool = False) -> None:
        """A record and what it leads to on this partition. `again`: the position says nothing about it."""
        pending = deque(self._apply(each, record, fresh=not again))
        while pending:
            pending.extend(self._apply(each, pending.popleft(), fresh=False))

    def _apply(self, each: Incoming, record: Record, *, fresh: bool) -> list[Record]:
        plan = self._plan
        plan.evaluated += 1
        if not concerns(plan.catalog, record):
            return []
        slot = plan.slots.get(record.customer)
        if slot is None:
            self._load({record.customer})
            slot = plan.slots[record.customer]
        if fresh and not slot.aside and each.offset <= slot.loaded:
            return []  # its effects are on the changelog since the batch that took it
        if (slot.aside or record.customer in self._controls.aside) and type(record) is not Erase:
            self._wait(each, record, slot)
            return []
        before = slot.state
        try:
            state, effects = evaluate(plan.catalog, before, record)
            if self._careful:
                check_outcome(self._here, state, effects)
        except Exception as error:  # noqa: BLE001 - one record that we cannot evaluate must not stop the others
            self._dead(each, f"{type(error).__name__}: {error}", record)
            if type(record) is Timer:
                self._put_off(record)
            return []
        if type(record) is Timer:
            plan.timer_lags_ms.append(record.at_ms - record.due_ms)
            if state is not None and stuck(before, state, record, due_ms=next_due_ms(plan.catalog, state)):
                slot.retry_ms = record.at_ms + STUCK_TIMER_DELAY_MS
        if state is before and not effects:
            return []
        if state is not None:
            state.position = each.offset
        slot.state, slot.changed, slot.position, slot.aside = state, True, each.offset, ""
        if self._controls.aside:
            self._controls.aside.discard(record.customer)  # whoever is erased does not wait any longer
        return self._take(each, effects)

    def _wait(self, each: Incoming, record: Record, slot: Slot) -> None:
        """Keeps a record until its customer is mended, and the row as it is. A timer is not kept: the state arms it again."""
        customer, here = record.customer, self._here
        if customer not in self._controls.aside:
            self._controls.aside.add(customer)
            self._plan.asides.append(customer)
            self._send(
                each.offset,
                customer,
                unreadable_state(here, customer, slot.row or b"", at_ms=each.at_ms, reason=slot.aside),
            )
        slot.changed = slot.changed or bool(slot.old_due_ms)
        if type(record) is not Timer:
            self._waits += 1
            reason = f"{why_waiting('state')} ({self._waits})"
            self._send(each.offset, customer, waiting(here, each.offset, record, reason=reason))

    def _mended(self, each: Incoming, record: Mended) -> None:
        """An operator says what a row is that could not be read. For one that can it says nothing."""
        self._load({record.customer})
        if self._plan.slots[record.customer].mend(record, each.offset):
            self._controls.aside.discard(record.customer)

    def _put_off(self, timer: Timer) -> None:
        """A timer that failed is not asked again at once: the row says so, as index and row are always the same."""
        slot = self._plan.slots[timer.customer]
        slot.retry_ms = timer.at_ms + STUCK_TIMER_DELAY_MS
        slot.changed = slot.changed or slot.stored

    def _take(self, each: Incoming, effects: list[Effect]) -> list[Record]:
        appended: list[Record] = []
        for effect in effects:
            match effect:
                case Decision():
                    self._plan.decided[effect.kind] += 1
                    refused = refused_value(effect)
                    if refused is not None:
                        self._plan.refused[refused] += 1
                    if effect.kind == "failed":
                        self._plan.failed.append(effect)
                    line = journal_line(self._here, each.offset, index=self._plan.index, decision=effect)
                    self._plan.index += 1
                    self._send(each.offset, effect.customer, line)
                case Dispatch():
                    self._plan.messages.append(effect.message)
                    if duplicates.matters(effect.message):
                        self._send(each.offset, "", claim(self._here, effect.message))
                    self._send(each.offset, effect.message.customer, handover(self._here, each.offset, effect.message))
                case Append():
                    appended.extend(self._here_or_there(each, effect.record))
                case Suppress():
                    self._send(each.offset, "", suppression(self._here, effect))
                case Forget():
                    self._forget(each, effect.customer, effects)
                case _:
                    assert_never(effect)
        return appended

    def _here_or_there(self, each: Incoming, record: Record) -> list[Record]:
        number = partition_of(record.customer.encode(), self._here.partitions)
        if number == self._here.partition and self._appended < APPENDED_MAX:
            self._appended += 1
            return [record]
        self._send(each.offset, record.customer, forward(self._here, number, record))
        return []

    def _forget(self, each: Incoming, customer: str, effects: list[Effect]) -> None:
        """Takes the customer out of what this batch says, and tells those who keep something to remove it."""
        self._sent = [line for line in self._sent if line[1] != customer]
        at_ms = next((effect.at_ms for effect in effects if isinstance(effect, Decision)), each.at_ms)
        for outgoing in removals(self._here, each.offset, customer=customer, at_ms=at_ms):
            self._send(each.offset, "", outgoing)

    # ------------------------------------------------------------------------------------------------------- sending

    def _send(self, offset: int, customer: str, outgoing: Outgoing) -> None:
        self._sent.append((offset, customer, outgoing))

    def _dead(self, each: Incoming, reason: str, record: Record | None = None) -> None:
        self._plan.dead += 1
        customer = record.customer if record is not None else ""
        self._send(each.offset, customer, dead_letter(self._here, each, reason))

    def finish(self) -> Plan:
        """The plan, with rows encoded. Raises what the encoder raises for a value that cannot be stored."""
        plan = self._plan
        for customer, slot in plan.slots.items():
            if not slot.changed:
                continue
            change = slot.change(customer, plan.catalog, waits=customer in self._controls.aside)
            if change is not None:
                plan.changes.append(change)
        outgoing = tuple(outgoing for _, _, outgoing in self._sent)
        plan.checkpoint = self._controls.checkpoint(self._applied, outgoing)
        return plan
