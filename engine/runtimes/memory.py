"""The runtime of tests and simulations: dictionaries and a clock that moves only when it is told to.

Invariant: it decides what the embedded runtime decides, record for record; nothing is serialised and nothing is durable.
`Memory` is synchronous and quick enough to play months; `memory_ports.MemoryRuntime` gives it the ports of `base`.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count

from engine.clock import ManualClock
from engine.core.catalog import Catalog
from engine.core.consent.suppression import names, outlasts
from engine.core.customer import CustomerState
from engine.core.effect import Append, Decision, Dispatch, Effect, Forget, Suppress
from engine.core.evaluate import concerns, evaluate
from engine.core.journey.broadcast import in_force, waits
from engine.core.journey.holding import next_due_ms
from engine.core.message import Message
from engine.core.record import CONTROL, Control, Erase, Pause, Record, Resume, Timer
from engine.errors import LimitExceeded
from engine.runtimes.effects import STUCK_TIMER_DELAY_MS, stuck

CHAIN_MAX = 10_000
"""Records that one record may lead to at the same instant."""

OnDecision = Callable[[int, Decision], None]
OnDispatch = Callable[[Message], None]
OnFailure = Callable[[int, Record, Exception], None]


class Memory:
    """Evaluates records one after the other. Set the `on_…` attributes to be told; without, decisions and messages are kept.

    `now_ms` of `clock` is virtual: `run_until` moves it and fires timers exactly when they are due.
    """

    def __init__(self, catalog: Catalog, *, clock: ManualClock | None = None, keep_log: bool = False) -> None:
        self.catalog = catalog
        self.clock = clock or ManualClock()
        self.states: dict[str, CustomerState] = {}
        self.position = 0
        """How many records were applied."""
        self.decisions: list[Decision] = []
        self.messages: list[Message] = []
        self.suppressed: dict[tuple[str, str], str] = {}
        self.suppressed_ms: dict[tuple[str, str], int] = {}
        self.log: list[tuple[int, Record]] | None = [] if keep_log else None
        self.on_decision: OnDecision = lambda _, decision: self.decisions.append(decision)
        self.on_dispatch: OnDispatch = self.messages.append
        self.on_forget: Callable[[str, int], None] = lambda _customer, _position: None
        self.on_failure: OnFailure | None = None
        self.on_wait: Callable[[int, Record], None] = lambda _position, _record: None
        """Told of a record whose customer is set aside."""
        self.aside: set[str] = set()
        """Customers who wait. Nothing here can be unreadable: somebody else says who."""
        self.on_pause: Callable[[Pause], None] = lambda _record: None
        self.on_control: Callable[[Control], None] = lambda _record: None
        self._due: dict[str, int] = {}
        self._timers: list[tuple[int, int, str]] = []  # a customer's entry counts only while `_due` says the same
        self._order = count()
        self._dispatched: dict[str, str] = {}  # message id → customer

    @property
    def next_due_ms(self) -> int:
        """When the next timer fires; 0: none is pending."""
        while self._timers and self._due.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else 0

    @property
    def timers_pending(self) -> int:
        """Customers with something due in the future."""
        return len(self._due)

    def step(self, record: Record) -> None:
        """Applies a record and whatever it appends. Raises LimitExceeded when that does not end."""
        appended = self._apply(record)
        if not appended:
            return
        pending = deque(appended)
        for _ in range(CHAIN_MAX + len(pending)):
            if not pending:
                return
            pending.extend(self._apply(pending.popleft()))
        if pending:
            raise LimitExceeded(
                f"One record of {record.customer!r} led to more than {CHAIN_MAX} others.",
                limit=CHAIN_MAX,
                mend="A workflow probably emits the event that triggers it.",
            )

    def run_until(self, now_ms: int) -> None:
        """Fires what is due up to `now_ms` in due order (first armed first), and moves the clock there."""
        while (due_ms := self.next_due_ms) and due_ms <= now_ms:
            _, _, customer = heapq.heappop(self._timers)
            del self._due[customer]
            at_ms = max(due_ms, self.clock.now_ms())
            self.clock.move_to(at_ms)
            self.step(Timer(customer=customer, at_ms=at_ms, due_ms=due_ms))
        if now_ms > self.clock.now_ms():
            self.clock.move_to(now_ms)

    def play(self, records: Iterable[Record]) -> None:
        """Applies records that are in the order of their times, each after the timers that are due by then."""
        for record in records:
            self.run_until(record.at_ms)
            self.step(record)

    def apply_logged(self, position: int, record: Record) -> None:
        """Applies a record of an existing log, where what it appended follows by itself; at or below its position: nothing."""
        if position > self.position:
            self.position = position - 1
            self._apply(record)

    def _apply(self, record: Record) -> list[Record]:
        self.position += 1
        if self.log is not None:
            self.log.append((self.position, record))
        if isinstance(record, CONTROL):
            return self._control(record)
        if not concerns(self.catalog, record):
            return []
        customer = record.customer
        if customer in self.aside and type(record) is not Erase:
            self._due.pop(customer, None)
            if type(record) is not Timer:
                self.on_wait(self.position, record)
            return []
        self.aside.discard(customer)
        before = self.states.get(customer)
        try:
            state, effects = evaluate(self.catalog, before, record)
        except Exception as error:
            if self.on_failure is None:
                raise
            self.on_failure(self.position, record, error)
            if type(record) is Timer:
                self.arm(customer, record.at_ms + STUCK_TIMER_DELAY_MS)
            return []
        if state is None:
            self.states.pop(customer, None)
            self._due.pop(customer, None)
        elif state is not before or effects or type(record) is Timer:
            state.position = self.position
            self.states[customer] = state
            due_ms = next_due_ms(self.catalog, state)
            if type(record) is Timer and stuck(before, state, record, due_ms=due_ms):
                due_ms = record.at_ms + STUCK_TIMER_DELAY_MS
            if due_ms != self._due.get(customer, 0):
                self.arm(customer, due_ms)
        return self._carry_out(effects) if effects else []

    def _control(self, record: Control) -> list[Record]:
        """Puts it in force; the records with which those who waited for it go on."""
        before = self.catalog
        self.catalog, decisions, goes_on = in_force(before, record)
        self.on_control(record)
        if isinstance(record, Pause) and self.catalog is not before:
            self.on_pause(record)
        for decision in decisions:
            self.on_decision(self.position, decision)
        if not goes_on:
            return []
        resume_id = f"resume:{self.position}"
        waiting = [customer for customer, state in self.states.items() if waits(self.catalog, state)]
        return [Resume(customer=customer, at_ms=record.at_ms, id=resume_id) for customer in waiting]

    def arm(self, customer: str, due_ms: int) -> None:
        """When the customer's next timer fires; 0: none does."""
        if due_ms:
            self._due[customer] = due_ms
            heapq.heappush(self._timers, (due_ms, next(self._order), customer))
        else:
            self._due.pop(customer, None)

    def _carry_out(self, effects: list[Effect]) -> list[Record]:
        appended: list[Record] = []
        for effect in effects:
            kind = type(effect)
            if kind is Decision:
                self.on_decision(self.position, effect)  # type: ignore[arg-type]
            elif kind is Dispatch:
                message: Message = effect.message  # type: ignore[union-attr]
                if message.id not in self._dispatched:
                    self._dispatched[message.id] = message.customer
                    self.on_dispatch(message)
            elif kind is Append:
                appended.append(effect.record)  # type: ignore[union-attr]
            elif isinstance(effect, Suppress):
                self.suppress(effect)
            else:
                assert isinstance(effect, Forget), f"{kind} is not an effect"
                self._forget(effect.customer)
        return appended

    def suppress(self, effect: Suppress) -> None:
        """Remembers that nothing may be sent there, unless more is known against it."""
        place = effect.channel, names(effect.channel, effect.address)[0].partition(":")[2]
        said = effect.reason, effect.at_ms
        if place not in self.suppressed or not outlasts((self.suppressed[place], self.suppressed_ms[place]), said):
            self.suppressed[place], self.suppressed_ms[place] = said

    def _forget(self, customer: str) -> None:
        self._dispatched = {key: whose for key, whose in self._dispatched.items() if whose != customer}
        if self.log is not None:
            self.log = [(at, record) for at, record in self.log if record.customer != customer]
        self.on_forget(customer, self.position)
