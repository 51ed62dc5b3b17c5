"""Owns one partition of `touchpoints`: restores its rows, then takes its records in batches and fires its timers.

Invariant: a record counts as done (its `done` is called) when the state it led to is on the changelog and what it sends is
acknowledged. One batch at a time: the next one's changelog record is not written before the last one's effects are out, so that
the checkpoint's `outgoing` is all that may have to be sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from engine.clock import Clock
from engine.core.record import Timer
from engine.errors import LimitExceeded, StorageError
from engine.runtimes.failures import log_failures
from engine.runtimes.kafka.definitions import Definitions
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.partition.arrival import Incoming, PlanNeeds
from engine.runtimes.kafka.partition.changelog import Changelog, Fenced
from engine.runtimes.kafka.partition.missing import take_unbroken
from engine.runtimes.kafka.partition.store import RowStore
from engine.runtimes.kafka.topics import BATCH_BYTES_MAX, Deployed, Outgoing, decode_input, encode_input
from engine.runtimes.kafka.worker.clocks import ClockCheck
from engine.runtimes.kafka.worker.plan import CommitPlan, CommitPlanner
from engine.runtimes.kafka.worker.spans import trace_batch
from engine.telemetry import Action, Metrics, get_log

TIMERS_PER_ROUND = 500
RETRY_SECONDS = 0.5
CLOCK_SECONDS = 5.0
"""When a clock that cannot be trusted is looked at again."""
PLAN_BYTES_MAX = BATCH_BYTES_MAX // 4
"""The batches of several partitions go to a broker in one request, which it takes up to 100 MB."""


class OwnerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`batch_records_max` bounds what is evaluated at once."""

    batch_records_max: int = 500


class OwnerNeeds(msgspec.Struct, frozen=True):
    """What all owners of a process share."""

    outlet: Outlet
    definitions: Definitions
    clock: Clock
    metrics: Metrics
    options: OwnerOptions = OwnerOptions()
    clocks: ClockCheck | None = None
    """None: the clock is believed."""


class _Pack(msgspec.Struct):
    """Records that were fetched together; `done` is called when all of them are."""

    records: Sequence[Incoming]
    done: Callable[[], None]


class Owner:
    """One partition, from `run` until it is cancelled or `release` returns."""

    def __init__(self, here: PlanNeeds, store: RowStore, changelog: Changelog, *, tools: OwnerNeeds) -> None:
        self._here = here
        self._store = store
        self._changelog = changelog
        self._tools = tools
        self._planner = CommitPlanner(here, store)
        self._queue: deque[_Pack] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._unsure = False
        self._running: asyncio.Task[object] | None = None
        self._waiting_records = 0
        self._timers_until = -1
        """Offset of the last timer record that was put on the log and is not applied yet; -1: none."""
        self._resting = False
        """Whether timers wait for a clock that can be trusted; `wake` is called when it is asked again."""
        self._next_due_ms = 0
        self.held_until = -1
        """Offset of the record with which a copy begins to be held: before it nothing fires."""
        self.restored = asyncio.Event()
        self.ready = asyncio.Event()
        self.batches = 0
        self.restore_seconds = 0.0
        self._log = get_log("owner")

    @property
    def applied(self) -> int:
        """Offset of the last record that was applied."""
        return self._changelog.checkpoint.applied

    @property
    def catalog_id(self) -> str:
        """Of the definitions in force here; empty before the first deploy."""
        return self._changelog.checkpoint.catalog

    @property
    def paused(self) -> tuple[str, ...]:
        """Workflows that are paused here."""
        return self._changelog.checkpoint.paused

    @property
    def held_ms(self) -> int:
        """Since when everything is held here; 0: nothing is."""
        return self._changelog.checkpoint.holding.since_ms

    @property
    def aside(self) -> tuple[str, ...]:
        """Customers who wait, because their rows cannot be read."""
        return self._changelog.checkpoint.aside

    @property
    def next_due_ms(self) -> int:
        """When the next timer is due; 0: none is pending."""
        return self._next_due_ms

    @property
    def waiting_records(self) -> int:
        """Records that were fed and are not applied."""
        return self._waiting_records

    def feed(self, records: Sequence[Incoming], done: Callable[[], None]) -> None:
        """Takes a pack; records that are applied already are left out later."""
        self._queue.append(_Pack(records, done))
        self._waiting_records += len(records)
        self._wake.set()

    def assigned_again(self) -> None:
        """After a rebalance, before a pack of the new generation is fed: another process may have had the partition meanwhile.

        Packs then begin after what that process committed, so what it wrote is read before anything else is applied.
        """
        self._unsure = True
        self._wake.set()

    def wake(self) -> None:
        """Looks at the clock again."""
        self._wake.set()

    def release(self) -> None:
        """Finishes the batch under way and takes no other. `run` returns; before `ready` there is none, and it is cancelled."""
        self._stopping = True
        self._queue.clear()
        self._wake.set()
        if self._running is not None and not self.ready.is_set():
            self._running.cancel()

    def scrub(self) -> None:
        """Leaves nothing of what was removed in the copy's files; for another thread."""
        self._store.scrub()

    def close(self) -> None:
        """Closes the rows, once `run` is over."""
        self._store.close()

    async def restore(self) -> None:
        """Brings the rows up to date, and sends again what the last batch sends."""
        started = self._tools.clock.monotonic()
        count = await self._changelog.restore()
        await self._changelog.check_input(self._here.topics.touchpoints)
        self.restore_seconds = self._tools.clock.monotonic() - started
        self._tools.metrics.recovery_seconds.observe(self.restore_seconds)
        self._log.info(Action.PARTITION_RESTORED, partition=self._here.partition, records=count, applied=self.applied)
        await self._send(self._changelog.checkpoint.outgoing)
        self._next_due_ms = self._store.next_due_ms
        self.restored.set()

    async def run(self) -> None:
        """Restores, then works until `release`."""
        self._running = asyncio.current_task()
        await self._persist(self.restore)
        await self._begin()
        while not self._stopping:
            if self._unsure:
                await self._catch_up()
            await self._fire()
            if self._queue:
                await self._batch()
            else:
                await self._sleep()

    async def _begin(self) -> None:
        """Waits for the definitions in force here; where none ever were, the newest are from now on."""
        while not self.catalog_id:
            catalog = await self._tools.definitions.wait_in_force()
            checkpoint = msgspec.structs.replace(self._changelog.checkpoint, catalog=catalog, outgoing=())
            try:
                await self._persist(lambda: self._changelog.commit([], checkpoint))  # noqa: B023 - called at once
            except Fenced as error:
                await self._overtaken(error)
        await self._have_catalog()
        self.ready.set()

    async def _have_catalog(self) -> None:
        """It may be missing or not compile: readiness says so, and nothing is decided without it."""
        definitions = self._tools.definitions
        while self.catalog_id and not await definitions.wait_for(self.catalog_id):  # noqa: ASYNC110 - deployed at any time
            await asyncio.sleep(RETRY_SECONDS)

    async def _catch_up(self) -> None:
        self._unsure, applied = False, self.applied
        await self._persist(self._changelog.restore)
        if self.applied > applied:
            await self._send(self._changelog.checkpoint.outgoing)
            await self._have_catalog()  # the other may have come to a deploy
        self._next_due_ms = self._store.next_due_ms

    async def _overtaken(self, error: Fenced) -> None:
        """Another process applied more, for whatever reason both of us own the partition: we go on from there."""
        self._log.warning(Action.PARTITION_FENCED, partition=self._here.partition, cause=error)
        await self._send(self._changelog.checkpoint.outgoing)
        await self._have_catalog()
        self._next_due_ms = self._store.next_due_ms

    # ------------------------------------------------------------------------------------------------------- batches

    async def _batch(self) -> None:
        packs, records = self._gather()
        place = self._changelog.beside(self._here.topics.touchpoints)
        await take_unbroken(place, records, applied=self.applied, take=self._take)
        for pack in packs:
            pack.done()
            self._waiting_records -= len(pack.records)

    async def _take(self, records: Sequence[Incoming]) -> None:
        await self._definitions_for(records)
        await self._apply(records)

    def _gather(self) -> tuple[list[_Pack], list[Incoming]]:
        """Whole packs until the batch is full; a pack that is larger by itself is applied in parts."""
        packs: list[_Pack] = []
        records: list[Incoming] = []
        while self._queue and (not packs or len(records) + len(self._queue[0].records) <= self._limit):
            pack = self._queue.popleft()
            packs.append(pack)
            records.extend(pack.records)
        return packs, records

    @property
    def _limit(self) -> int:
        return self._tools.options.batch_records_max

    async def _definitions_for(self, records: Sequence[Incoming]) -> None:
        for each in records:
            if each.value is not None and each.value[:11] == b'["deployed"':
                with contextlib.suppress(msgspec.ValidationError, msgspec.DecodeError):
                    record = decode_input(each.value)
                    if isinstance(record, Deployed):
                        await self._tools.definitions.wait_for(record.catalog)

    async def _apply(self, records: Sequence[Incoming]) -> None:
        for start in range(0, len(records), self._limit):
            await self._apply_some(records[start : start + self._limit])
            if self._stopping and start + self._limit < len(records):
                raise asyncio.CancelledError  # the rest is the next owner's

    async def _apply_some(self, records: Sequence[Incoming], *, refused: str = "") -> None:
        """One commit, or several when that would be too large. `refused`: why the only record becomes a dead letter."""
        seconds = self._tools.clock.monotonic
        began = seconds()
        catalogs, checkpoint = self._tools.definitions.catalogs, self._changelog.checkpoint
        plan = self._planner.plan(catalogs, checkpoint, incoming=records, refused=refused)
        if plan.bytes > PLAN_BYTES_MAX and len(records) > 1:
            await self._apply_halves(records)
            return
        if plan.checkpoint.applied == self.applied:
            return  # all of it was applied before
        planned = seconds()
        try:
            await self._persist(lambda: self._changelog.commit(plan.changes, plan.checkpoint))
        except Fenced as error:
            await self._overtaken(error)
            await self._apply_some(records, refused=refused)
            return
        except LimitExceeded as error:
            if refused:
                raise
            await (self._apply_halves(records) if len(records) > 1 else self._apply_some(records, refused=str(error)))
            return
        written = seconds()
        await self._send(plan.checkpoint.outgoing)
        self._took_effect(plan, len(records))
        self._measure(plan, (began, planned, written, seconds()))

    async def _apply_halves(self, records: Sequence[Incoming]) -> None:
        middle = len(records) // 2
        await self._apply_some(records[:middle])
        await self._apply_some(records[middle:])

    async def _persist(self, write: Callable[[], object]) -> None:
        """Tries until it is done: the broker may be away, the disk full. What is not written has not happened."""
        while True:
            try:
                await write()  # type: ignore[misc]
            except Fenced:
                raise
            except StorageError as error:
                self._log.error(Action.BATCH_FAILED, partition=self._here.partition, cause=error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _send(self, outgoing: Sequence[Outgoing]) -> None:
        if outgoing:
            await self._persist(lambda: self._tools.outlet.send(outgoing))

    def _took_effect(self, plan: CommitPlan, records: int) -> None:
        metrics = self._tools.metrics
        self.batches += 1
        self._next_due_ms = self._store.next_due_ms
        metrics.batch_records.observe(records)
        metrics.events.inc(records)
        for kind, number in plan.decided.items():
            metrics.decisions.labels(kind).inc(number)
        for refused, number in plan.refused.items():
            metrics.refused_values.labels(*refused).inc(number)
        log_failures(self._log, plan.failed)
        for lag_ms in plan.timer_lags_ms:
            metrics.timer_lag_seconds.observe(max(0, lag_ms) / 1_000)
        for customer in plan.asides:
            self._log.error(Action.ROW_QUARANTINED, row="state", key=customer, partition=self._here.partition)
        if plan.dead:
            metrics.dead_letters.inc(plan.dead)
            self._log.error(Action.RECORD_DEAD_LETTERED, partition=self._here.partition, count=plan.dead)

    def _measure(self, plan: CommitPlan, moments: tuple[float, float, float, float]) -> None:
        """`moments`: when the batch began, was planned, was written, was sent; monotonic seconds."""
        metrics = self._tools.metrics
        for part, started, ended in zip(("plan", "write", "send"), moments, moments[1:], strict=False):
            metrics.batch_seconds.labels(part).observe(ended - started)
        if metrics.tracing is not None:
            now_ms = self._tools.clock.now_ms()
            trace_batch(metrics.tracing, plan, self._here.partition, ended_ms=now_ms, seconds=moments[3] - moments[0])

    # -------------------------------------------------------------------------------------------------------- timers

    async def _fire(self) -> None:
        """Puts what is due on the log, to be applied when it comes back; one round at a time."""
        now_ms = self._tools.clock.now_ms()
        if (
            self.held_until > self.applied
            or self._timers_until > self.applied
            or not self._next_due_ms
            or self._next_due_ms > now_ms
        ):
            return
        if not await self._may_fire():
            return
        due = self._store.due(now_ms, TIMERS_PER_ROUND)
        topic, here = self._here.topics.touchpoints, self._here.partition
        timers = [
            Outgoing(topic, here, key, encode_input(Timer(customer=key.decode(), at_ms=now_ms, due_ms=due_ms)))
            for due_ms, key in due
        ]
        ends: dict[tuple[str, int], int] = {}

        async def put() -> None:
            ends.update(await self._tools.outlet.send(timers))

        await self._persist(put)
        self._timers_until = ends[topic, here]

    async def _may_fire(self) -> bool:
        clocks = self._tools.clocks
        try:
            if clocks is None or await clocks.may_fire(self._here.partition):
                return True
        except StorageError as error:
            self._log.error(Action.BATCH_FAILED, partition=self._here.partition, cause=error)
        asyncio.get_running_loop().call_later(CLOCK_SECONDS, self.wake)
        self._resting = True
        return False

    async def _sleep(self) -> None:
        """Until a pack comes, or the next timer is due."""
        self._wake.clear()
        if self._queue or self._stopping or self._unsure:
            return
        waiting = max(self._timers_until, self.held_until) > self.applied or self._resting
        self._resting = False
        if not self._next_due_ms or waiting:
            await self._wake.wait()
            return
        alarm = asyncio.create_task(self._ring(self._next_due_ms))
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()

    async def _ring(self, due_ms: int) -> None:
        await self._tools.clock.sleep_until(due_ms)
        self._wake.set()
