"""The sink: reads the topics that tell what happened, and writes the journal's database.

Invariant: the database says how far it was read, in the same transaction as what was written; Kafka's committed offsets are only
for those who look at the group's lag. Several sinks share the partitions, all topics of a number at one sink; one that lost a
partition and does not know it yet writes nothing twice, because the database is then ahead of what it read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError

from engine.clock import Clock, SystemClock
from engine.core.guarding import Retention
from engine.errors import AnlassError, ServiceUnreachable, StorageError
from engine.runtimes.consents import PROOF_MS
from engine.runtimes.journal.consumed import Consumed, Kind, Stretch
from engine.runtimes.journal.database import Database
from engine.runtimes.journal.projection import Displaced, Place, Projection
from engine.runtimes.journal.pruning import PRUNE_ROWS, Pruning
from engine.runtimes.kafka.connect import METADATA_AGE_MS
from engine.runtimes.kafka.leaving import stopped
from engine.runtimes.kafka.topics import BATCH_BYTES_MAX, Topics
from engine.runtimes.keeping import Kept, before_ms, kept
from engine.telemetry import Action, Metrics, get_log

POLL_MS = 200
COMMIT_SECONDS = 5.0
LAG_SECONDS = 1.0
PRUNE_SECONDS = 60.0
PROOFS_SECONDS = 3_600.0
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.5, 30.0
CAUGHT_UP_POLL_SECONDS = 0.05
STOP_SECONDS_MAX = 10.0
"""For the batch under way, for the last commit of offsets, and for leaving the group: each."""

_log = get_log("sink")


class _MadeAnew(StorageError):
    """The topics are not those that the database was filled from."""


class SinkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a sink works."""

    journal_days: int = 0
    """How long lines of the journal stay in the database, where the policy does not say; 0: for ever."""
    retention: Callable[[], Retention] = Retention
    """What the policy in force says."""
    batch_records_max: int = 5_000
    session_timeout_seconds: float = 10.0
    """Without a sign for so long a sink counts as dead, and others take its partitions."""
    instance: str = ""
    """A name of this process that stays, so that a quick restart moves no partition."""


class Sink:
    """One process's share of the topics. `database` is opened by `start` and closed by whoever made it."""

    def __init__(
        self,
        database: Database,
        topics: Topics,
        *,
        bootstrap: str,
        metrics: Metrics | None = None,
        clock: Clock | None = None,
        options: SinkOptions | None = None,
    ) -> None:
        self._database = database
        self._projection = Projection(database)
        self._pruning = Pruning(database)
        self._bootstrap = bootstrap
        self._metrics = metrics or Metrics()
        self._clock = clock or SystemClock()
        self._options = options or SinkOptions()
        self._group = topics.group("sink")
        self._kinds: dict[str, Kind] = {
            topics.journal: "journal",
            topics.states: "states",
            topics.ledger: "ledger",
            topics.dead_letters: "dead-letters",
        }
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._epoch = 0
        """Counts assignments: positions of an earlier one mean nothing."""
        self._positions: dict[TopicPartition, int] = {}
        self._next = {"commit": 0.0, "lag": 0.0, "prune": 0.0, "proofs": 0.0}

    # ----------------------------------------------------------------------------------------------------------- life

    async def run(self, stop: asyncio.Event) -> None:
        """Starts, works until `stop` is set, finishes the batch under way. Raises what `start` raises, and what ends the work."""
        await self.start()
        assert self._task is not None
        waiting = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            await self.stop()

    async def start(self) -> None:
        """Brings the schema up to date and joins the group. Raises ServiceUnreachable, or StorageError about the database."""
        await self._database.open()
        session_ms = int(self._options.session_timeout_seconds * 1_000)
        consumer = AIOKafkaConsumer(
            metadata_max_age_ms=METADATA_AGE_MS,
            bootstrap_servers=self._bootstrap,
            group_id=self._group,
            group_instance_id=self._options.instance or None,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 5,
            client_id="anlass-sink",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=(RangePartitionAssignor,),
            max_partition_fetch_bytes=BATCH_BYTES_MAX,
        )
        consumer.subscribe(list(self._kinds), listener=_Listener(self))
        try:
            await consumer.start()
        except KafkaError as error:
            await stopped(consumer)
            raise ServiceUnreachable(
                f"Kafka at {self._bootstrap} does not answer.", mend="Check `[kafka] bootstrap`, and that it runs."
            ) from error
        self._consumer = consumer
        self._stopping.clear()
        self._task = asyncio.create_task(self._work(consumer))
        _log.info(Action.STARTED, role="sink", group=self._group)

    async def stop(self) -> None:
        """Finishes the batch under way and leaves the group. Idempotent. Raises what ended the work before, if anything did."""
        self._stopping.set()
        consumer, self._consumer = self._consumer, None
        task, self._task = self._task, None
        if consumer is None or task is None:
            return
        try:
            # While the brokers are away the client waits for them for ever, in the middle of its work and at its end.
            await asyncio.wait({task}, timeout=STOP_SECONDS_MAX)
            if task.done():
                task.result()
            task.cancel()
        finally:
            with contextlib.suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(STOP_SECONDS_MAX):
                    await self._commit(consumer)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS_MAX):
                    await stopped(consumer)
            _log.info(Action.STOPPED, role="sink")

    async def caught_up(self) -> None:
        """Returns when everything that is on the topics now is in the database, whichever sink wrote it.

        Raises what ended the work, if something did.
        """
        consumer, task = self._consumer, self._task
        assert consumer is not None, "the sink is not started"
        assert task is not None
        ends = {
            self._place_of(tp): end for tp, end in (await consumer.end_offsets(_partitions(self, consumer))).items()
        }
        while True:
            if task.done():
                task.result()
            known = {(row[0], row[1]): row[2] for row in await self._database.rows("progress_all")}
            if all(known.get(place, 0) >= end for place, end in ends.items()):
                return
            await asyncio.sleep(CAUGHT_UP_POLL_SECONDS)

    @property
    def placed(self) -> bool:
        """Whether this sink is in the group and knows where to read each of its partitions: for readiness."""
        consumer, task = self._consumer, self._task
        if consumer is None or task is None or task.done() or not self._epoch:
            return False
        return all(tp in self._positions for tp in consumer.assignment())

    def lag(self) -> dict[str, dict[int, int]]:
        """Topic's kind → partition → records that are not written yet, of this sink's partitions."""
        found: dict[str, dict[int, int]] = {}
        consumer = self._consumer
        for tp, position in self._positions.items():
            with contextlib.suppress(IllegalStateError, AssertionError):
                end = consumer.highwater(tp) if consumer is not None else None
                found.setdefault(self._kinds[tp.topic], {})[tp.partition] = max(0, (end or position) - position)
        return found

    # ----------------------------------------------------------------------------------------------------------- work

    async def _work(self, consumer: AIOKafkaConsumer) -> None:
        delay_seconds = RETRY_SECONDS_MIN
        while not self._stopping.is_set():
            try:
                await self._seek(consumer)
                found = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._options.batch_records_max)
                await self._write(found)
                await self._now_and_then(consumer)
                delay_seconds = RETRY_SECONDS_MIN
            except _MadeAnew:
                raise
            except Displaced as error:
                for kind, partition in error.places:
                    self._positions.pop(self._partition_of(kind, partition), None)
            except (AnlassError, KafkaError) as error:
                # What was fetched and not written is fetched again, from where the database says.
                self._positions.clear()
                _log.error(Action.BATCH_FAILED, cause=error, role="sink", retry_seconds=delay_seconds)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), delay_seconds)
                delay_seconds = min(2 * delay_seconds, RETRY_SECONDS_MAX)

    async def _seek(self, consumer: AIOKafkaConsumer) -> None:
        """Goes to where the database is, on partitions that are new here."""
        fresh = [tp for tp in consumer.assignment() if tp not in self._positions]
        if not fresh:
            return
        epoch = self._epoch
        known = await self._projection.progress([self._place_of(tp) for tp in fresh])
        begins, ends = await consumer.beginning_offsets(fresh), await consumer.end_offsets(fresh)
        for tp in fresh:
            position = known[self._place_of(tp)]
            if position > ends[tp]:
                raise _MadeAnew(
                    f"{tp.topic}[{tp.partition}] ends at {ends[tp]}, but the database has read it up to {position}: "
                    "the topics were made anew, or have lost records.",
                    mend="Give the sink an empty database: it is filled again from the topics.",
                )
            if position < begins[tp]:  # removed from the topic by its retention, before any sink read it
                kind, partition = self._place_of(tp)
                _log.warning(Action.RECORDS_MISSED, topic=tp.topic, partition=partition, count=begins[tp] - position)
                await self._projection.skip(kind, partition, to=begins[tp])
                position = begins[tp]
            if epoch != self._epoch:
                return
            with contextlib.suppress(IllegalStateError):  # taken away in this moment
                consumer.seek(tp, position)
                self._positions[tp] = position

    async def _write(self, found: Mapping[TopicPartition, list[Any]]) -> None:
        epoch = self._epoch
        stretches: list[Stretch] = []
        for tp, records in found.items():
            start = self._positions.get(tp)
            if start is None or not records or records[-1].offset < start:
                continue
            kind, partition = self._place_of(tp)
            consumed = [_consumed(record) for record in records]
            end = records[-1].offset + 1
            stretches.append(Stretch(kind=kind, partition=partition, start=start, end=end, records=consumed))
        if not stretches:
            return
        began = self._clock.monotonic()
        written = await self._projection.apply(stretches)
        self._metrics.sink_batch_seconds.observe(self._clock.monotonic() - began)
        for table, count in written.rows.items():
            self._metrics.sink_rows.labels(table).inc(count)
        if written.unreadable:
            self._metrics.dead_letters.inc(written.unreadable)
            _log.warning(Action.RECORD_DEAD_LETTERED, role="sink", count=written.unreadable)
        if epoch == self._epoch:
            for stretch in stretches:
                self._positions[self._partition_of(stretch.kind, stretch.partition)] = stretch.end

    async def _now_and_then(self, consumer: AIOKafkaConsumer) -> None:
        now = self._clock.monotonic()
        if now >= self._next["lag"]:
            self._next["lag"] = now + LAG_SECONDS
            for kind, partitions in self.lag().items():
                for partition, count in partitions.items():
                    self._metrics.sink_lag_records.labels(kind, str(partition)).set(count)
        if now >= self._next["commit"]:
            self._next["commit"] = now + COMMIT_SECONDS
            with contextlib.suppress(KafkaError):
                await self._commit(consumer)
        if now >= self._next["proofs"]:
            self._next["proofs"] = now + PROOFS_SECONDS
            await self._pruning.prune_proofs(self._clock.now_ms() - PROOF_MS)
        if now >= self._next["prune"]:
            removed = await self._prune(kept(self._options.retention(), journal=self._options.journal_days))
            self._next["prune"] = now + (PRUNE_SECONDS if removed < PRUNE_ROWS else 0.0)

    async def _prune(self, days: Kept) -> int:
        """Removes what is kept no longer; the most rows of one table."""
        now_ms = self._clock.now_ms()
        await self._pruning.prune_pace(now_ms)
        lines, letters = before_ms(days.journal, now_ms), before_ms(days.dead_letters, now_ms)
        return max(
            0 if lines is None else await self._pruning.prune(lines),
            0 if letters is None else await self._pruning.prune_letters(letters),
        )

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        held = consumer.assignment()
        offsets = {tp: position for tp, position in self._positions.items() if tp in held}
        if offsets:
            with contextlib.suppress(IllegalStateError):
                await consumer.commit(offsets)

    def reassigned(self) -> None:
        """Partitions come or go: the consumer's positions are not those of the database any more."""
        self._epoch += 1
        self._positions.clear()
        self._metrics.sink_lag_records.clear()

    def _place_of(self, tp: TopicPartition) -> Place:
        return (self._kinds[tp.topic], tp.partition)

    def _partition_of(self, kind: Kind, partition: int) -> TopicPartition:
        return TopicPartition(next(topic for topic, each in self._kinds.items() if each == kind), partition)

    @property
    def topics(self) -> Iterable[str]:
        """The names of the topics that are read."""
        return self._kinds


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # ships no types
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def on_partitions_revoked(self, revoked: Any) -> None:
        self._sink.reassigned()

    def on_partitions_assigned(self, assigned: Any) -> None:
        self._sink.reassigned()


def _partitions(sink: Sink, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
    return [
        TopicPartition(topic, number) for topic in sink.topics for number in consumer.partitions_for_topic(topic) or ()
    ]


def _consumed(record: Any) -> Consumed:
    return Consumed(record.offset, record.timestamp, record.key, record.value, record.headers)
