"""Evaluates a batch of records in memory and collects what is to be written.

Invariant: planning writes nothing. Records are taken in order, those a decision appends right after the record that caused
them, and get their log positions in that order, so that the log read from its beginning gives the same decisions again. A
record that cannot be evaluated (a mistake of ours) becomes a dead letter; everything else is applied.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

import msgspec

from engine.core.catalog import Catalog
from engine.core.customer import CustomerState, encode_state
from engine.core.effect import Append, Decision, Dispatch, Effect, Forget, Suppress, refused_value
from engine.core.evaluate import concerns, evaluate
from engine.core.journey.broadcast import in_force
from engine.core.journey.holding import Holding, next_due_ms
from engine.core.message import Message, is_bulk
from engine.core.record import CONTROL, Control, Erase, Flush, Pause, Record, Settled, Timer, Winner, encode_record
from engine.dispatch.sending import guardrail
from engine.runtimes.base import same_address
from engine.runtimes.effects import (
    STUCK_TIMER_DELAY_MS,
    encode_decision,
    encode_message,
    encode_outcome,
    stuck,
)
from engine.runtimes.unreadable import SetAside, why_waiting

APPENDED_MAX = 1_000
"""Records that decisions may append within one batch; what is over that is evaluated in the next one."""

MANY = 1 << 62

LedgerRow = tuple[str, str, str, str, int, int, int, int, str, bytes, str, int, str, str, str, str]


class CustomerSlot:
    """One customer during a batch: what is stored (`number` 0: nothing) and what it becomes.

    `aside`: what is stored cannot be read.
    """

    __slots__ = ("aside", "changed", "due_ms", "number", "retry_ms", "state")

    def __init__(self, number: int, due_ms: int, *, state: CustomerState | None, aside: SetAside | None = None) -> None:
        self.aside = aside
        self.number = number
        self.due_ms = due_ms
        self.state = state
        self.changed = False
        self.retry_ms = 0  # set by a timer that failed: the index must not offer it again at once


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch is to evaluate."""

    carried: list[tuple[int, Record]] = []
    """Records that are on the log already, with their positions; they come first."""
    fresh: list[tuple[Record, bytes]] = []
    """Records that are not, with their bytes."""
    damaged: list[tuple[int, SetAside]] = []
    """Records on the log that cannot be read, with their positions; their customers wait."""
    until_seq: int = 0
    """Not 0: the log holds unevaluated records after this position; then nothing is `fresh`."""


class TransactionPlan:
    """What one transaction is to write. Rows are in the order of their statements' parameters."""

    def __init__(self, catalog: Catalog, log_seq: int) -> None:
        self.catalog = catalog
        self.log_seq = log_seq
        self.applied_seq = 0
        self.evaluated = 0
        self.slots: dict[str, CustomerSlot] = {}
        self.log_rows: list[tuple[int, int, str, bytes]] = []
        self.decisions: list[tuple[int, Decision]] = []
        self.messages: list[tuple[int, Message]] = []
        self.suppressions: list[Suppress] = []
        self.forgets: list[tuple[int, Record]] = []
        self.pauses: list[Pause] = []
        self.winners: list[Winner] = []
        self.flushes: list[Flush] = []
        self.sent_elsewhere: list[tuple[str, int]] = []
        """Messages that a provider's log knows as sent."""
        self.holding: Holding | None = None
        """What is held from now on; None: as before."""
        self.goes_on = False
        """Whether customers may have waited for one of these control records."""
        self.failures: list[tuple[int, Record, str]] = []
        self.asides: list[SetAside] = []
        self.stopped: set[str] = set()
        """Customers who are set aside by this plan."""
        self.freed: set[str] = set()
        """Customers who are erased by it, so that nothing of theirs waits any longer."""
        self.state_updates: list[tuple[int, bytes, int]] = []
        self.state_inserts: list[tuple[str, int, bytes]] = []
        self.state_deletes: list[tuple[int]] = []
        self.state_defers: list[tuple[int, int]] = []
        self.timer_deletes: list[tuple[int, str]] = []
        self.timer_inserts: list[tuple[int, str]] = []
        self.journal_rows: list[tuple[int, int, str, str, str, str, str, bytes]] = []
        self.ledger_rows: list[LedgerRow] = []
        self.decision_counts: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        self.failed: list[Decision] = []
        """Decisions of the kind `failed`, for the log."""
        self.paced: Counter[tuple[str, int, str]] = Counter()
        """(workflow, beginning of the stretch, what) → how many more, for `pace`."""

    def control(self, seq: int, record: Control) -> None:
        """Puts a control record in force for what follows."""
        before = self.catalog
        self.catalog, decisions, goes_on = in_force(before, record)
        self.decisions += [(seq, decision) for decision in decisions]
        self.goes_on = self.goes_on or goes_on
        if isinstance(record, Flush):
            self.flushes.append(record)
        elif isinstance(record, Settled):
            self.sent_elsewhere += [(message, record.at_ms) for message in record.messages]
        if self.catalog is before:
            return
        if self.catalog.holding is not before.holding:
            self.holding = self.catalog.holding
        if isinstance(record, Pause):
            self.pauses.append(record)
        elif isinstance(record, Winner):
            self.winners.append(record)

    def set_aside(self, found: SetAside) -> None:
        """A row cannot be read: it is kept, and its customer waits."""
        self.asides.append(found)
        if found.stops:
            self.stopped.add(found.customer)

    def wait(self, seq: int, record: Record, slot: CustomerSlot) -> None:
        """Keeps a record until its customer is mended. A timer is not kept: the state that is mended arms it again."""
        if slot.aside is not None and record.customer not in self.stopped:
            self.set_aside(slot.aside)
        due = {slot.due_ms, record.due_ms if type(record) is Timer else 0} - {0}
        self.timer_deletes += [(due_ms, record.customer) for due_ms in sorted(due)]
        if slot.due_ms:
            self.state_defers.append((0, slot.number))
            slot.due_ms = 0
        if type(record) is not Timer:
            self.failures.append((seq, record, why_waiting(slot.aside.kind if slot.aside is not None else "log")))

    def take(self, seq: int, record: Record, *, effects: list[Effect]) -> list[Record]:
        """Sorts the effects of one record; returns what is to be appended."""
        appended: list[Record] = []
        for effect in effects:
            kind = type(effect)
            if kind is Decision:
                self.decisions.append((seq, effect))  # type: ignore[arg-type]
            elif kind is Dispatch:
                self.messages.append((seq, effect.message))  # type: ignore[union-attr]
            elif kind is Append:
                appended.append(effect.record)  # type: ignore[union-attr]
            elif kind is Suppress:
                self.suppressions.append(effect)  # type: ignore[arg-type]
            else:
                assert kind is Forget, f"{kind} is not an effect"
                self.forgets.append((seq, record))
        return appended

    def encode(self) -> None:
        """Turns what was collected into rows. Raises whatever the encoder raises for a value that cannot be stored."""
        for customer, slot in self.slots.items():
            if slot.changed or slot.retry_ms:
                self._encode_slot(customer, slot)
        for seq, decision in self.decisions:
            self.journal_rows.append(
                (
                    seq,
                    decision.at_ms,
                    decision.customer,
                    decision.workflow,
                    decision.kind,
                    decision.enrollment,
                    str(decision.detail.get("message", "")),
                    encode_decision(decision),
                )
            )
            self.decision_counts[f"{decision.kind}:{decision.workflow}"] += 1
            refused = refused_value(decision)
            if refused is not None:
                self.refused[refused] += 1
            if decision.kind == "failed":
                self.failed.append(decision)
            counted = guardrail.count(decision)
            if counted is not None:
                self.paced[counted] += 1
        for _, message in self.messages:
            domain = message.address.rpartition("@")[2].lower() if "@" in message.address else ""
            later = int(message.due_ms > message.decided_ms)
            self.ledger_rows.append(
                (
                    message.id,
                    message.customer,
                    message.channel,
                    f"{message.channel}:{domain}",
                    message.priority,
                    later,
                    message.due_ms if later else 0,
                    message.decided_ms,
                    same_address(message.address),
                    encode_message(message),
                    message.workflow,
                    int(is_bulk(message)),
                    *(message.step, message.template, message.issue, message.variant),
                )
            )

    def _encode_slot(self, customer: str, slot: CustomerSlot) -> None:
        state = slot.state
        due_ms = next_due_ms(self.catalog, state) if state is not None else 0
        due_ms = max(due_ms, slot.retry_ms) if due_ms else 0
        if due_ms != slot.due_ms:
            if slot.due_ms:
                self.timer_deletes.append((slot.due_ms, customer))
            if due_ms:
                self.timer_inserts.append((due_ms, customer))
        if state is None:
            if slot.number:  # a failed timer of an unknown customer has nothing stored either
                self.state_deletes.append((slot.number,))
        elif not slot.changed:
            self.state_defers.append((due_ms, slot.number))
        elif slot.number:
            self.state_updates.append((due_ms, encode_state(state), slot.number))
        else:
            self.state_inserts.append((customer, due_ms, encode_state(state)))


class TransactionPlanner:
    """Makes plans. `load` gives the stored customers among those named."""

    def __init__(
        self,
        load: Callable[[Iterable[str]], dict[str, CustomerSlot]],
        *,
        keep_unconcerned: bool,
        stopped: AbstractSet[str] = frozenset(),
    ) -> None:
        """`stopped` is who is set aside, as it changes."""
        self._load = load
        self._stopped = stopped
        self._keep_unconcerned = keep_unconcerned

    def plan(self, catalog: Catalog, work: Work, *, log_seq: int) -> TransactionPlan:
        """Evaluates `work`. New records get positions from `log_seq + 1` on."""
        plan = self._plan(catalog, work, log_seq, careful=False)
        try:
            plan.encode()
        except Exception:  # noqa: BLE001 - whatever it is, the careful way finds the record that causes it
            plan = self._plan(catalog, work, log_seq, careful=True)
            plan.encode()
        return plan

    def _plan(self, catalog: Catalog, work: Work, log_seq: int, *, careful: bool) -> TransactionPlan:
        plan = TransactionPlan(catalog, log_seq)
        concerned = {record.customer for _, record in work.carried if concerns(catalog, record)}
        concerned.update(record.customer for record, _ in work.fresh if concerns(catalog, record))
        plan.slots = self._load(concerned)
        for customer in concerned - plan.slots.keys():
            plan.slots[customer] = CustomerSlot(0, 0, state=None)
        for _, found in work.damaged:
            plan.set_aside(found)
        pending = deque(work.carried)
        fresh = iter(work.fresh)
        appended = 0
        evaluated_max = len(work.carried) if work.until_seq else MANY
        while True:
            if pending and plan.evaluated < evaluated_max and appended <= APPENDED_MAX:
                seq, record = pending.popleft()
                for more in self._apply(plan, seq, record, careful):
                    pending.append((self._log(plan, more, encode_record(more)), more))
                    appended += 1
                plan.applied_seq = seq
                plan.evaluated += 1
                continue
            taken = next(fresh, None)
            if taken is None:
                break
            # Once too much is pending, the rest only gets its place on the log and is evaluated by a later batch.
            pending.append((self._log(plan, *taken), taken[0]))
        plan.applied_seq = pending[0][0] - 1 if pending else work.until_seq or plan.log_seq
        return plan

    def _log(self, plan: TransactionPlan, record: Record, body: bytes) -> int:
        plan.log_seq += 1
        if self._keep_unconcerned or concerns(plan.catalog, record):
            plan.log_rows.append((plan.log_seq, record.at_ms, record.customer, body))
        return plan.log_seq

    def _apply(self, plan: TransactionPlan, seq: int, record: Record, careful: bool) -> list[Record]:  # noqa: FBT001 - hot path
        """Evaluates one record into the plan; returns what it appends. Changes nothing of the plan when it fails."""
        if isinstance(record, CONTROL):
            plan.control(seq, record)
            return []
        if not concerns(plan.catalog, record):
            return []
        slot = plan.slots.get(record.customer)
        if slot is None:  # appended for a customer that the batch did not name
            slot = self._load((record.customer,)).get(record.customer) or CustomerSlot(0, 0, state=None)
            plan.slots[record.customer] = slot
        if (slot.aside is not None or self._stopped or plan.stopped) and self._waits(plan, record, slot):
            plan.wait(seq, record, slot)
            return []
        if slot.state is not None and seq <= slot.state.position:
            return []  # delivered again: its effects are durable since the transaction that took it
        try:
            state, effects = evaluate(plan.catalog, slot.state, record)
            if careful:
                encode_outcome(state, effects)
        except Exception as error:  # noqa: BLE001 - one record that we cannot evaluate must not stop the others
            plan.failures.append((seq, record, f"{type(error).__name__}: {error}"))
            if type(record) is Timer:
                slot.retry_ms = record.at_ms + STUCK_TIMER_DELAY_MS
            return []
        if type(record) is Timer:
            if state is None and not slot.number:  # an index row without a customer: nobody would ever remove it
                plan.timer_deletes.append((record.due_ms, record.customer))
            elif state is not None and stuck(slot.state, state, record, due_ms=next_due_ms(plan.catalog, state)):
                slot.retry_ms = record.at_ms + STUCK_TIMER_DELAY_MS  # it did not move, and must not fire for ever
        if state is slot.state and not effects:
            return []  # nothing came of it: nothing to write
        if state is not None:
            state.position = seq
        slot.state = state
        slot.changed = True
        return plan.take(seq, record, effects=effects)

    def _waits(self, plan: TransactionPlan, record: Record, slot: CustomerSlot) -> bool:
        """Whether the record's customer is set aside. Who asks to be forgotten is, whatever stands in the row."""
        customer = record.customer
        if customer in plan.freed or not (
            slot.aside is not None or customer in self._stopped or customer in plan.stopped
        ):
            return False
        if type(record) is not Erase:
            return True
        plan.freed.add(customer)
        slot.aside = None
        return False
