"""The loop that turns requests, due timers and rechecks into batches, one transaction each.

Invariant: everything that changes the store from outside waits in one queue and is taken in order; whoever waits hears only
after the commit. SQLite is called in the event loop: a batch takes a few milliseconds, less than handing it to a thread and
back would cost at these rates (measured).
"""

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from engine.clock import Clock
from engine.core.catalog import Catalog
from engine.core.record import Flush, Recheck, Resume, Timer, encode_record
from engine.errors import AnlassError, StorageError
from engine.health import Condition
from engine.runtimes.embedded import outbox
from engine.runtimes.embedded.batch import Batches, BatchOrder, BatchResult
from engine.runtimes.embedded.plan import TransactionPlan
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import EmbeddedOptions, Store
from engine.runtimes.failures import log_failures
from engine.runtimes.unreadable import WAITS
from engine.telemetry import Action, Metrics, get_log

RETRY_SECONDS = 1.0
"""How long timers and carried records wait after the store failed."""
SHARE_MIN = 50
"""Timers or rechecks that a batch takes at least when they are due, however much comes in."""


class _LoopRequest(msgspec.Struct, kw_only=True):
    """Something somebody waits for; the answer is which messages are claimed."""

    order: BatchOrder
    done: asyncio.Future[frozenset[str]]


class Walk(msgspec.Struct, frozen=True):
    """A deploy whose rechecks walk through the states: of which catalog, what becomes of older versions, and when it was."""

    catalog: str
    versions: str = "pin"
    deployed_ms: int = 0

    @property
    def note(self) -> str:
        """As it is stored, so that a restart goes on with it."""
        return f"{self.catalog} {self.versions} {self.deployed_ms}"

    @classmethod
    def of(cls, note: str) -> "Walk":
        """What a note says. Older ones name the catalog alone."""
        catalog, _, rest = note.partition(" ")
        versions, _, deployed = rest.partition(" ")
        return cls(catalog, versions or "pin", int(deployed) if deployed.isdecimal() else 0)

    def recheck(self, customer: str, number: int, *, at_ms: int) -> Recheck:
        """The recheck of one state. Its id is another one for each deploy, also when an earlier catalog comes back."""
        recheck_id = f"{self.catalog}:{self.deployed_ms}:{number}"
        return Recheck(customer=customer, at_ms=at_ms, id=recheck_id, catalog=self.catalog, versions=self.versions)


class BatchLoop:
    """Owns the queue, the catalog in force and the timers' alarm. `work` is set when a message may be ready to leave."""

    def __init__(
        self, store: Store, options: EmbeddedOptions, *, catalog: Catalog, clock: Clock, metrics: Metrics
    ) -> None:
        self.catalog = catalog
        self.batches = Batches(store, options)
        self.recheck_after = -1
        """State number up to which a deploy was rechecked; -1: none under way."""
        self.walk = Walk(catalog.id)
        self.resume_after = -1
        """State number up to which those who may have waited for a broadcast were asked; -1: no walk is under way."""
        self.timer_ms = 0
        """When the next timer is due; 0: none is pending."""
        self.work = asyncio.Event()
        self.forgot = asyncio.Event()
        self._store = store
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._log = get_log("runtime")
        self._queue: deque[_LoopRequest] = deque()
        self._waiting_records = 0
        self._wake = asyncio.Event()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_ms = 0
        self._retry_at = 0.0
        self._decided: dict[str, Callable[[float], None]] = {}  # kind → the counter of its decisions
        self._idle: list[asyncio.Future[None]] = []
        self._stopping = False
        self.interrupted: list[str] = []
        """Messages that this start found claimed, and nobody has asked about yet."""
        self.flushed: list[Flush] = []
        """Pauses that an operator ended, and nobody has asked about yet."""

    @property
    def backlog(self) -> int:
        """Records taken in and not yet evaluated."""
        return self._waiting_records + self.batches.log_seq - self.batches.applied_seq

    def open(self) -> None:
        """Reads where the last process stopped, and settles what it left half sent."""
        self.batches.open()
        recovery = outbox.recover(self._store, self.catalog, now_ms=self._clock.now_ms())
        for settlement in recovery.settlements:
            self._log.warning(Action.MESSAGE_BECAME_UNKNOWN, message=settlement.message_id)
            self.interrupted.append(settlement.message_id)
        if recovery.settlements or recovery.resends or recovery.asides:
            self._took_effect(self.batches.commit(self.catalog, recovery), recovery)
        self.timer_ms = self._next_timer_ms()

    async def ask(self, order: BatchOrder) -> frozenset[str]:
        """Waits until the order is durable. Raises StorageError and its kinds; then nothing of it has happened."""
        if self._stopping:
            raise StorageError("The engine is being stopped.")
        done: asyncio.Future[frozenset[str]] = asyncio.get_running_loop().create_future()
        self._queue.append(_LoopRequest(order=order, done=done))
        self._waiting_records += len(order.records)
        self._wake.set()
        return await done

    async def idle(self) -> None:
        """Returns when there is nothing to do until the next timer."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(done)
        self._wake.set()
        await done

    def wake(self) -> None:
        """Looks for work again."""
        self._wake.set()

    def stop(self) -> None:
        """Lets `run` return when the queue is empty."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Works until `stop`. Fails whoever waits when it ends by an error."""
        try:
            while True:
                self._wake.clear()
                if self._cycle():
                    await asyncio.sleep(0)
                    continue
                if self._stopping:
                    self._fail_all(StorageError("The engine was stopped."))
                    return
                for done in self._idle:
                    if not done.done():
                        done.set_result(None)
                self._idle.clear()
                self._set_alarm()
                await self._wake.wait()
        except BaseException as error:
            self._stopping = True
            self._fail_all(StorageError(f"The engine ended: {type(error).__name__}."))
            raise
        finally:
            if self._alarm is not None:
                self._alarm.cancel()

    def _cycle(self) -> bool:
        """One batch, if there is anything to do. Returns whether there was."""
        requests, order = self._gather()
        resting = self._clock.monotonic() < self._retry_at
        try:
            if not resting and not self._stopping:
                self._add_timers(order)
                self._add_rechecks(order)
                self._add_resumes(order)
            # What is on the log already may wait for the next start: an event that raises itself would never let us stop.
            carried = self.batches.applied_seq < self.batches.log_seq and not (resting or self._stopping)
            walked = order.recheck_after is not None or order.resume_after is not None
            if not (requests or order.records or carried or walked):
                return False
            result = self.batches.commit(self.catalog, order)
        except Exception as error:  # noqa: BLE001 - whatever the store does, the loop has to live on
            self._log.error(Action.BATCH_FAILED, cause=error)
            self._metrics.health.report(Condition.STORE_FAILS, _failure(error))
            self._retry_at = self._clock.monotonic() + RETRY_SECONDS
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wake.set)
            for request in requests:
                if not request.done.done():
                    request.done.set_exception(error)
            return bool(requests)
        except BaseException as error:
            for request in requests:
                if not request.done.done():
                    request.done.set_exception(StorageError(f"The engine ended: {type(error).__name__}."))
            raise
        if self._metrics.health.has(Condition.STORE_FAILS):
            self._metrics.health.clear(Condition.STORE_FAILS)
        self._took_effect(result, order)
        for request in requests:
            if not request.done.done():
                request.done.set_result(result.claimed)
        return True

    def _gather(self) -> tuple[list[_LoopRequest], BatchOrder]:
        """Takes whole requests from the queue until the batch is full."""
        order = BatchOrder(now_ms=self._clock.now_ms())
        requests: list[_LoopRequest] = []
        while self._queue and len(order.records) < self._options.batch_records_max:
            request = self._queue.popleft()
            requests.append(request)
            asked = request.order
            order.records.extend(asked.records)
            order.claims.extend(asked.claims)
            order.links.update(asked.links)
            order.settlements.extend(asked.settlements)
            order.letters.extend(asked.letters)
            order.asides.extend(asked.asides)
            order.letters_done.extend(asked.letters_done)
            order.commands_done.extend(asked.commands_done)
            self._waiting_records -= len(asked.records)
        return requests, order

    def _share(self, order: BatchOrder) -> int:
        return max(SHARE_MIN, self._options.batch_records_max - len(order.records))

    def _add_timers(self, order: BatchOrder) -> None:
        now_ms = order.now_ms
        if not self._options.timers or not self.timer_ms or self.timer_ms > now_ms:
            return
        rows = self._store.connection.execute(SQL["timers_due"], {"now_ms": now_ms, "limit": self._share(order)})
        for due_ms, customer in rows:
            timer = Timer(customer=customer, at_ms=now_ms, due_ms=due_ms)
            order.records.append((timer, encode_record(timer)))
            self._metrics.timer_lag_seconds.observe((now_ms - due_ms) / 1_000)

    def _add_rechecks(self, order: BatchOrder) -> None:
        if self.recheck_after < 0:
            return
        parameters = {"after": self.recheck_after, "limit": self._share(order)}
        rows = self._store.connection.execute(SQL["states_walk"], parameters).fetchall()
        order.recheck_after = rows[-1][0] if rows else -1
        order.recheck_note = self.walk.note
        for number, customer in rows:
            recheck = self.walk.recheck(customer, number, at_ms=order.now_ms)
            order.records.append((recheck, encode_record(recheck)))

    def _add_resumes(self, order: BatchOrder) -> None:
        if self.resume_after < 0:
            return
        parameters = {"after": self.resume_after, "limit": self._share(order)}
        rows = self._store.connection.execute(SQL["states_walk"], parameters).fetchall()
        order.resume_after = rows[-1][0] if rows else -1
        for number, customer in rows:
            resume = Resume(customer=customer, at_ms=order.now_ms, id=f"resume:{order.now_ms}:{number}")
            order.records.append((resume, encode_record(resume)))

    def _took_effect(self, result: BatchResult, order: BatchOrder) -> None:
        plan = result.plan
        self.catalog = plan.catalog
        if order.recheck_after is not None:
            self.recheck_after = order.recheck_after
        if order.resume_after is not None:
            self.resume_after = order.resume_after
        self.timer_ms = self._timer_after(plan)
        self.flushed += plan.flushes
        if result.more_to_send or plan.flushes:
            self.work.set()
        if plan.forgets:
            self.forgot.set()
        self._metrics.batch_records.observe(plan.evaluated)
        self._metrics.events.inc(len(order.records))
        for part, number in plan.decision_counts.items():
            kind = part.partition(":")[0]
            count = self._decided.get(kind)
            if count is None:
                count = self._decided[kind] = self._metrics.decisions.labels(kind).inc
            count(number)
        for customer in plan.freed:
            self._store.asides.forget(customer)
        for found in self._store.asides.took_effect(plan.asides):
            self._metrics.dead_letters.inc()
            self._log.error(Action.ROW_QUARANTINED, row=found.kind, key=found.key, reason=found.reason)
        for refused, number in plan.refused.items():
            self._metrics.refused_values.labels(*refused).inc(number)
        for seq, _, reason in plan.failures:
            self._metrics.dead_letters.inc()
            if reason.startswith(WAITS):
                continue
            self._log.error(Action.RECORD_DEAD_LETTERED, seq=seq, cause_type=reason.partition(":")[0])
        log_failures(self._log, plan.failed)
        for record in plan.pauses:
            action = Action.WORKFLOW_PAUSED if record.paused else Action.WORKFLOW_RESUMED
            self._log.info(action, workflow=record.workflow)

    def _timer_after(self, plan: TransactionPlan) -> int:
        """The next timer after this plan. The index is asked only when the one that was next may be gone."""
        if any(due_ms <= self.timer_ms for due_ms, _ in plan.timer_deletes):
            return self._next_timer_ms()
        added = [due_ms for due_ms, _ in plan.timer_inserts]
        return min([self.timer_ms, *added] if self.timer_ms else added, default=0)

    def _next_timer_ms(self) -> int:
        row = self._store.connection.execute(SQL["timers_next"]).fetchone()
        return row[0] if row else 0

    def _fail_all(self, error: Exception) -> None:
        for request in self._queue:
            if not request.done.done():
                request.done.set_exception(error)
        self._queue.clear()
        for done in self._idle:
            if not done.done():
                done.set_exception(error)
        self._idle.clear()

    def _set_alarm(self) -> None:
        """Wakes the batches at the next timer, and the dispatcher at the next message that is scheduled."""
        due = [at for at in (self.timer_ms, outbox.next_due_ms(self._store.connection)) if at]
        earliest = min(due, default=0)
        if earliest == self._alarm_ms and self._alarm is not None and not self._alarm.done():
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ms = earliest
        self._alarm = asyncio.create_task(self._ring(earliest)) if earliest else None

    async def _ring(self, due_ms: int) -> None:
        await self._clock.sleep_until(due_ms)
        self.work.set()
        if self.timer_ms and self.timer_ms <= self._clock.now_ms():
            self._wake.set()


def _failure(error: Exception) -> str:
    """Of an error of ours its sentence; another one's may hold data."""
    said = str(error) if isinstance(error, AnlassError) else f"{type(error).__name__}."
    return f"A batch could not be written: {said}"
