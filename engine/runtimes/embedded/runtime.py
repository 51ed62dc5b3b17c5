"""The embedded runtime: one asyncio loop, one SQLite file, one transaction per batch.

Invariant: everything that changes the store from outside (records, claims, answers, dead letters) waits in one queue and is
taken in order; whoever waits for it hears only after the commit. SQLite is called in the loop: a batch takes a few
milliseconds, less than handing it to a thread and back would cost at these rates (measured).
"""

import asyncio
import contextlib
import json
import sqlite3
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from engine.clock import Clock, SystemClock
from engine.core.catalog import Catalog
from engine.core.customer import CustomerState
from engine.core.effect import Decision
from engine.core.record import Pause, Recheck, Record, Timer, decode_record, encode_record
from engine.dispatch.ports import Pending, Settlement
from engine.errors import Backlog, BadRecord, LimitExceeded, StorageError
from engine.runtimes.base import DeadLetter, MessageStatus, Query
from engine.runtimes.embedded import outbox, retention
from engine.runtimes.embedded.batch import Batches, Order, Result, address_hash
from engine.runtimes.embedded.reader import EmbeddedReader
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import Options, Store
from engine.telemetry import Action, Metrics, get_log

CUSTOMER_CHARS_MAX = 512
RETRY_SECONDS = 1.0
"""How long timers and carried records wait after the store failed."""
COMMANDS_PER_POLL = 500
SHARE_MIN = 50
"""Timers or rechecks that a batch takes at least when they are due, however much comes in."""


class _Request(msgspec.Struct, kw_only=True):
    """Something somebody waits for."""

    order: Order
    done: asyncio.Future[frozenset[str]]


class EmbeddedRuntime:
    """All ports of `engine.runtimes.base` on a SQLite file in the folder `var`. Needs an event loop to be started."""

    def __init__(
        self,
        var: Path,
        catalog: Catalog,
        *,
        clock: Clock | None = None,
        options: Options | None = None,
        metrics: Metrics | None = None,
        connection: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        self._options = options or Options()
        self._clock = clock or SystemClock()
        self._metrics = metrics or Metrics()
        self._store = Store(var, options=self._options, connection=connection)
        self._batches = Batches(self._store, self._options)
        self._reader = EmbeddedReader(lambda: self._store.connection, clock=self._clock)
        self._log = get_log("runtime")
        self._catalog = catalog
        self._queue: deque[_Request] = deque()
        self._waiting_records = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._work = asyncio.Event()
        self._tidy = asyncio.Event()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_ms = 0
        self._retry_at = 0.0
        self._timer_ms = 0
        self._recheck_after = -1
        self._idle: list[asyncio.Future[None]] = []
        self._stopping = False
        self._started = False

    # ------------------------------------------------------------------------------------------------------ life

    async def start(self) -> None:
        assert not self._started, "started twice"
        self._store.open()
        try:
            self._batches.open()
            connection = self._store.connection
            self._catalog = self._with_pauses(self._catalog)
            recovery = outbox.recover(self._store, self._catalog, self._clock.now_ms())
            for settlement in recovery.settlements:
                self._log.warning(Action.MESSAGE_BECAME_UNKNOWN, message=settlement.message_id)
            if recovery.settlements or recovery.resends:
                self._took_effect(self._batches.commit(self._catalog, recovery), recovery)
            progress = {row[0]: row[1:] for row in connection.execute(SQL["progress_all"])}
            after, checked = progress["recheck"]
            self._recheck_after = after if checked == self._catalog.id else 0
            self._timer_ms = self._next_timer_ms()
        except BaseException:
            self._store.close()
            raise
        self._started = True
        self._stopping = False
        loops = {"batches": self._batch_loop(), "inbox": self._inbox_loop(), "tidy": self._tidy_loop()}
        self._tasks = [asyncio.create_task(loop, name=f"anlass-{name}") for name, loop in loops.items()]
        self._log.info(Action.STORE_OPENED, log_seq=self._batches.log_seq)

    async def stop(self) -> None:
        if not self._started:
            return
        self._stopping = True
        self._wake.set()
        batches, *others = self._tasks
        for task in others:
            task.cancel()
        await asyncio.gather(batches, *others, return_exceptions=True)
        if self._alarm is not None:
            self._alarm.cancel()
        self._fail_all(StorageError("The engine was stopped."))
        self._started = False
        self._store.close()

    def _with_pauses(self, catalog: Catalog) -> Catalog:
        paused = {workflow for (workflow,) in self._store.connection.execute(SQL["control_paused"])}
        return replace(catalog, paused=catalog.paused | paused)

    # ---------------------------------------------------------------------------------------------------- intake

    async def append(self, records: Sequence[Record]) -> None:
        if not records:
            return
        if len(records) > self._options.append_records_max:
            raise LimitExceeded(
                f"{len(records)} records at once are too many.",
                limit=self._options.append_records_max,
                mend="Send them in smaller batches.",
            )
        if self.backlog + len(records) > self._options.backlog_max:
            raise Backlog(f"{self.backlog} records wait to be evaluated.", mend="Send them again a little later.")
        encoded = [_encoded(record, at) for at, record in enumerate(records)]
        await self._ask(Order(now_ms=0, records=encoded))

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        await self._ask(Order(now_ms=0, letters=list(letters)))
        self._metrics.dead_letters.inc(len(letters))

    @property
    def backlog(self) -> int:
        return self._waiting_records + self._batches.log_seq - self._batches.applied_seq

    async def replay(self, dead_letter_ids: Sequence[int]) -> int:
        rows = self._store.connection.execute(SQL["dead_letters_some"], (json.dumps(list(dead_letter_ids)),)).fetchall()
        order = Order(now_ms=0)
        for number, origin, body in rows:
            if not origin.startswith("log:"):
                continue  # what never became a record cannot be put back as one
            order.records.append((decode_record(body), body))
            order.letters_done.append(number)
        if order.records:
            await self._ask(order)
        return len(order.records)

    # ---------------------------------------------------------------------------------------------------- outbox

    async def ready(self, limit: int, *, exclude: frozenset[tuple[str, str]] = frozenset()) -> list[Pending]:
        return outbox.ready(self._store, limit, exclude=exclude, now_ms=self._clock.now_ms())

    async def claim(self, message_ids: Sequence[str]) -> frozenset[str]:
        return await self._ask(Order(now_ms=0, claims=list(message_ids)))

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        await self._ask(Order(now_ms=0, settlements=list(settlements)))

    async def wait_for_work(self, timeout_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._work.wait()
        self._work.clear()

    async def states(self, customers: Sequence[str]) -> dict[str, CustomerState]:
        found = {customer: await self._reader.state(customer) for customer in customers}
        return {customer: state for customer, state in found.items() if state is not None}

    async def suppressed(self, addresses: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        answers: dict[tuple[str, str], str] = {}
        for channel, address in addresses:
            key = address_hash(self._store, channel, address)
            row = self._store.connection.execute(SQL["suppressed_load"], (key,)).fetchone()
            if row is not None:
                answers[channel, address] = row[0]
        return answers

    @property
    def catalog(self) -> Catalog:
        return self._catalog

    # ---------------------------------------------------------------------------------------------------- reader

    async def state(self, customer: str) -> CustomerState | None:
        return await self._reader.state(customer)

    async def decisions(self, query: Query) -> list[tuple[int, Decision]]:
        return await self._reader.decisions(query)

    async def message(self, message_id: str) -> MessageStatus | None:
        return await self._reader.message(message_id)

    async def messages(self, *, customer: str = "", status: str = "", limit: int = 200) -> list[MessageStatus]:
        return await self._reader.messages(customer=customer, status=status, limit=limit)

    async def dead_letters(self, *, limit: int = 200) -> list[DeadLetter]:
        return await self._reader.dead_letters(limit=limit)

    async def counts(self) -> dict[str, Any]:
        return await self._reader.counts()

    # ---------------------------------------------------------------------------------------------------- deploy

    async def deploy(self, catalog: Catalog, *, sources: Mapping[str, str] | None = None) -> None:
        """As in the port. `sources` (file name → text) are kept, so that a later start can compile this version again."""
        with self._store.transaction() as connection:
            if sources is not None:
                files = zlib.compress(json.dumps(dict(sources)).encode())
                now_ms = self._clock.now_ms()
                connection.execute(
                    SQL["definition_insert"], {"catalog": catalog.id, "deployed_ms": now_ms, "files": files}
                )
            connection.execute(SQL["progress_set"], {"name": "recheck", "value": 0, "note": catalog.id})
        self._catalog = self._with_pauses(catalog)
        self._recheck_after = 0
        self._wake.set()

    async def idle(self) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(done)
        self._wake.set()
        await done

    # ------------------------------------------------------------------------------------------------ the batches

    async def _ask(self, order: Order) -> frozenset[str]:
        if self._stopping or not self._started:
            raise StorageError("The engine is not running.")
        done: asyncio.Future[frozenset[str]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Request(order=order, done=done))
        self._waiting_records += len(order.records)
        self._wake.set()
        return await done

    async def _batch_loop(self) -> None:
        try:
            while True:
                self._wake.clear()
                if self._cycle():
                    await asyncio.sleep(0)
                    continue
                if self._stopping:
                    return
                for done in self._idle:
                    if not done.done():
                        done.set_result(None)
                self._idle.clear()
                self._set_alarm()
                await self._wake.wait()
        except BaseException as error:
            self._fail_all(StorageError(f"The engine ended: {type(error).__name__}."))
            raise

    def _cycle(self) -> bool:
        """One batch, if there is anything to do. Returns whether there was."""
        requests, order = self._gather()
        resting = self._clock.monotonic() < self._retry_at
        if not resting and not self._stopping:
            self._add_timers(order)
            self._add_rechecks(order)
        carried = self._batches.applied_seq < self._batches.log_seq
        if not requests and not order.records and order.recheck_after is None and (resting or not carried):
            return False
        try:
            result = self._batches.commit(self._catalog, order)
        except Exception as error:  # noqa: BLE001 - the store may fail in its ways; the loop has to live on
            self._log.error(Action.BATCH_FAILED, cause=error)
            self._retry_at = self._clock.monotonic() + RETRY_SECONDS
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wake.set)
            for request in requests:
                if not request.done.done():
                    request.done.set_exception(error)
            return bool(requests)
        self._took_effect(result, order)
        for request in requests:
            if not request.done.done():
                request.done.set_result(result.claimed)
        return True

    def _gather(self) -> tuple[list[_Request], Order]:
        """Takes whole requests from the queue until the batch is full."""
        order = Order(now_ms=self._clock.now_ms())
        requests: list[_Request] = []
        while self._queue and len(order.records) < self._options.batch_records_max:
            request = self._queue.popleft()
            requests.append(request)
            asked = request.order
            order.records.extend(asked.records)
            order.claims.extend(asked.claims)
            order.settlements.extend(asked.settlements)
            order.letters.extend(asked.letters)
            order.letters_done.extend(asked.letters_done)
            order.commands_done.extend(asked.commands_done)
            self._waiting_records -= len(asked.records)
        return requests, order

    def _share(self, order: Order) -> int:
        return max(SHARE_MIN, self._options.batch_records_max - len(order.records))

    def _add_timers(self, order: Order) -> None:
        now_ms = order.now_ms
        if not self._timer_ms or self._timer_ms > now_ms:
            return
        rows = self._store.connection.execute(SQL["timers_due"], {"now_ms": now_ms, "limit": self._share(order)})
        for due_ms, customer in rows:
            timer = Timer(customer=customer, at_ms=now_ms, due_ms=due_ms)
            order.records.append((timer, encode_record(timer)))
            self._metrics.timer_lag_seconds.observe((now_ms - due_ms) / 1_000)

    def _add_rechecks(self, order: Order) -> None:
        if self._recheck_after < 0:
            return
        parameters = {"after": self._recheck_after, "limit": self._share(order)}
        rows = self._store.connection.execute(SQL["states_walk"], parameters).fetchall()
        order.recheck_after = rows[-1][0] if rows else -1
        for number, customer in rows:
            recheck = Recheck(
                customer=customer, at_ms=order.now_ms, id=f"{self._catalog.id}:{number}", catalog=self._catalog.id
            )
            order.records.append((recheck, encode_record(recheck)))

    def _took_effect(self, result: Result, order: Order) -> None:
        plan = result.plan
        self._catalog = plan.catalog
        if order.recheck_after is not None:
            self._recheck_after = order.recheck_after
        self._timer_ms = self._next_timer_ms()
        if result.more_to_send:
            self._work.set()
        if plan.forgets:
            self._tidy.set()
        self._metrics.batch_records.observe(plan.evaluated)
        self._metrics.events.inc(len(order.records))
        for part, count in plan.decision_counts.items():
            self._metrics.decisions.labels(part.partition(":")[0]).inc(count)
        for seq, _, reason in plan.failures:
            self._metrics.dead_letters.inc()
            self._log.error(Action.RECORD_DEAD_LETTERED, seq=seq, cause_type=reason.partition(":")[0])
        for record in plan.pauses:
            action = Action.WORKFLOW_PAUSED if record.paused else Action.WORKFLOW_RESUMED
            self._log.info(action, workflow=record.workflow)

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

    # ----------------------------------------------------------------------------------------------- other loops

    def _set_alarm(self) -> None:
        """Wakes the batches at the next timer, and the dispatcher at the next message that is scheduled."""
        due = [at for at in (self._timer_ms, outbox.next_due_ms(self._store.connection)) if at]
        earliest = min(due, default=0)
        if earliest == self._alarm_ms and self._alarm is not None and not self._alarm.done():
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ms = earliest
        self._alarm = asyncio.create_task(self._ring(earliest)) if earliest else None

    async def _ring(self, due_ms: int) -> None:
        await self._clock.sleep_until(due_ms)
        self._work.set()
        self._wake.set()

    async def _inbox_loop(self) -> None:
        seen = -1
        while True:
            with contextlib.suppress(StorageError, sqlite3.Error):  # the next round tries again
                version = self._store.connection.execute("PRAGMA data_version").fetchone()[0]
                if version != seen:
                    while await self._take_commands():
                        pass
                    seen = version
            overdue_ms = max(0, self._clock.now_ms() - self._timer_ms) if self._timer_ms else 0
            self._metrics.timers_overdue_seconds.set(overdue_ms / 1_000)
            await asyncio.sleep(self._options.inbox_poll_seconds)

    async def _take_commands(self) -> bool:
        rows = self._store.connection.execute(SQL["commands_oldest"], {"limit": COMMANDS_PER_POLL}).fetchall()
        if not rows:
            return False
        order = Order(now_ms=0)
        for number, body in rows:
            order.commands_done.append(number)
            try:
                order.records.append((decode_record(body), body))
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                now_ms = self._clock.now_ms()
                order.letters.append(DeadLetter(at_ms=now_ms, origin="command", reason=str(error), body=body))
        await self._ask(order)
        return True

    async def _tidy_loop(self) -> None:
        while True:
            with contextlib.suppress(StorageError, sqlite3.Error):  # a full disk: later
                while self._tidy_step():  # noqa: ASYNC110 - lets batches run between the steps
                    await asyncio.sleep(0.005)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.tidy_interval_seconds):
                    await self._tidy.wait()
            self._tidy.clear()

    def _tidy_step(self) -> bool:
        now_ms = self._clock.now_ms()
        return retention.step(self._store, self._options, now_ms=now_ms, applied_seq=self._batches.applied_seq)


def _encoded(record: Record, at: int) -> tuple[Record, bytes]:
    customer = record.customer
    if (not customer and not isinstance(record, Pause)) or len(customer) > CUSTOMER_CHARS_MAX or "\0" in customer:
        raise BadRecord(
            "bad_customer",
            f"A customer's id has 1 to {CUSTOMER_CHARS_MAX} characters and no NUL.",
            where=f"records[{at}].customer",
        )
    try:
        return record, encode_record(record)
    except (OverflowError, UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        raise BadRecord("not_storable", f"The record cannot be stored: {error}.", where=f"records[{at}]") from error
