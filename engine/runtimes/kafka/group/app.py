"""The Faust app of a role: consumer group, assignment, standbys. What is done with a partition is said by the host.

Invariant: nothing at module level. Faust's recovery is replaced by ours (ADR 0009): after a rebalance streams go on at once,
and each partition's owner restores its own rows before it takes its records, so that one recovery holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faust
import msgspec
from aiokafka.errors import KafkaError
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from faust.types import TP
from mode import Service

from engine.errors import StorageError
from engine.runtimes.kafka.connect import METADATA_AGE_MS
from engine.runtimes.kafka.group.host import Host
from engine.runtimes.kafka.group.packing import PackingScheduler, PackSchema
from engine.runtimes.kafka.group.seeking import CommittedConsumer
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.topics import Topics
from engine.telemetry import Metrics

App = faust.App
"""What others hold of Faust: built, started and ended here."""
HIGH_WATER_RECORDS = 5_000
LOW_WATER_RECORDS = 1_000
STOP_SECONDS_MAX = 8.0
RETRY_SECONDS = 0.5


class AppSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a role's app is built from. Times in seconds."""

    bootstrap: str
    group: str
    source: str
    """Topic whose partitions are shared out."""
    changelog: str
    """Topic of the rows; has as many partitions as `source`."""
    partitions: int
    standbys: int = 1
    session_timeout_seconds: float = 10.0
    heartbeat_seconds: float = 2.0
    commit_interval_seconds: float = 1.0
    instance: str = ""
    """Name of this member that stays over restarts, so that a quick restart moves no partition; empty: none."""
    folder: Path
    """Faust makes folders in it and keeps nothing there; by itself it makes them wherever the process was started."""


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """What a member of any group needs to know. `folder` is this process's alone; times in seconds."""

    bootstrap: str
    topics: Topics
    partitions: int
    folder: Path
    standbys: int = 1
    session_timeout_seconds: float = 10.0
    heartbeat_seconds: float = 2.0
    instance: str = ""

    def settings(self, role: str, *, source: str, changelog: str) -> AppSettings:
        """Of the role's app."""
        return AppSettings(
            bootstrap=self.bootstrap,
            group=self.topics.group(role),
            source=source,
            changelog=changelog,
            partitions=self.partitions,
            standbys=self.standbys,
            session_timeout_seconds=self.session_timeout_seconds,
            heartbeat_seconds=self.heartbeat_seconds,
            instance=self.instance,
            folder=self.folder,
        )


class PartitionRecovery(Recovery):
    """Tells the host which partitions are ours, then lets the streams go on."""

    _paused_at = 0.0
    """Loop's time since when nothing is taken; 0: it is."""

    def on_partitions_revoked(self, revoked: Any) -> None:
        """Faust's call when a rebalance begins."""
        self._paused_at = self._paused_at or asyncio.get_running_loop().time()
        super().on_partitions_revoked(revoked)

    async def on_rebalance(self, *told: Any, **more: Any) -> None:
        """Faust's call, with (assigned, revoked, newly assigned, generation)."""
        self._generation_id = more.get("generation_id", told[-1])
        self._paused_at = self._paused_at or asyncio.get_running_loop().time()
        self.signal_recovery_start.set()

    @Service.task
    async def _restart_recovery(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(self.signal_recovery_start):  # type: ignore[arg-type]
                return
            self.signal_recovery_start.clear()
            generation = self._generation_id
            assignor, changelogs = self.app.assignor, self.tables.changelog_topics
            owned = {tp.partition for tp in assignor.assigned_actives() if tp.topic in changelogs}
            standing_by = {tp.partition for tp in assignor.assigned_standbys() if tp.topic in changelogs}
            await self.app.host.assign(  # type: ignore[attr-defined]
                owned, standing_by
            )
            if generation == self._generation_id and await self._resumed(generation):
                self._measure()

    async def _resumed(self, generation: int) -> bool:
        """Whether the streams go on. If not, the next rebalance has begun, or what the broker did not answer is asked again."""
        try:
            await self._resume_streams(generation_id=generation)
        except RebalanceAgain:
            return False
        except (ServiceStopped, KafkaError, TimeoutError):  # Faust's wait says "stopped" for "too late" as well
            await self.sleep(RETRY_SECONDS)
            self.signal_recovery_start.set()
            return False
        return True

    def _measure(self) -> None:
        metrics: Metrics = self.app.metrics  # type: ignore[attr-defined]
        metrics.rebalances.inc()
        metrics.rebalance_seconds.observe(asyncio.get_running_loop().time() - self._paused_at)
        self._paused_at = 0.0


class PartitionTables(TableManager):
    """Faust's `TableManager` with our recovery; the table tells the assignor about the changelog, and holds nothing."""

    async def on_start(self) -> None:
        """Without the second that Faust waits for tables of other modules: ours are all there."""
        await self._update_channels()
        await self.recovery.start()

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = PartitionRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


def build_app(settings: AppSettings, host: Host, *, metrics: Metrics | None = None) -> faust.App:
    """An app, not started; must be built inside the event loop that runs it."""
    folder = settings.folder / "faust"
    folder.mkdir(parents=True, exist_ok=True)
    name = settings.instance or uuid.uuid4().hex[:12]  # noqa: TID251 - names this process, decides nothing
    app = faust.App(
        settings.group,
        broker=[f"kafka://{address.strip()}" for address in settings.bootstrap.split(",")],
        store="memory://",
        datadir=str(folder),
        web_enabled=False,
        canonical_url=f"http://{socket.gethostname()}-{name}:80",
        ConsumerScheduler=PackingScheduler,
        TableManager=PartitionTables,
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_partitions=settings.partitions,
        table_standby_replicas=settings.standbys,
        stream_wait_empty=False,  # an owner that restores, or waits for its disk, would hold up every rebalance and the end
        stream_buffer_maxsize=64,
        stream_recovery_delay=0.0,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_AGE_MS,
        producer_metadata_max_age_ms=METADATA_AGE_MS,
        consumer_group_instance_id=settings.instance or None,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.heartbeat_seconds,
        broker_rebalance_timeout=30.0,
        broker_commit_interval=settings.commit_interval_seconds,
        broker_max_poll_records=HIGH_WATER_RECORDS,
        consumer_max_fetch_size=4 << 20,
        monitor=_Silent(),
    )
    app.transport.Consumer = CommittedConsumer  # type: ignore[misc]  # Faust's own extension point
    app.host = host  # type: ignore[attr-defined]
    app.metrics = metrics or Metrics()  # type: ignore[attr-defined]
    schema = PackSchema()
    source = app.topic(settings.source, schema=schema, partitions=settings.partitions)
    changelog = app.topic(settings.changelog, schema=schema, partitions=settings.partitions)
    app.Table(settings.changelog, partitions=settings.partitions, changelog_topic=changelog)
    flow = _Flow(app, host, settings.source)

    @app.agent(source, name="owners")
    async def take(packs: Any) -> None:
        async for event in packs.noack().events():
            flow.feed(event)

    return app


async def start_app(app: faust.App, bootstrap: str) -> None:
    """Joins the group. Raises StorageError when no broker answers."""
    try:
        await app.start()
    except KafkaError as error:
        raise StorageError(f"Kafka at {bootstrap} does not answer: {error}") from error


def joined(app: faust.App | None) -> bool:
    """Whether the process belongs to its group and knows its partitions."""
    return app is not None and app.tables.recovery.completed.is_set()  # type: ignore[attr-defined]


def trouble_of(app: faust.App | None, host: Host) -> BaseException | None:
    """What ended an owner or the app from the inside; None while all is well."""
    if host.failed is not None:
        return host.failed
    return app.crash_reason if app is not None and app.crashed else None


async def end_app(app: faust.App) -> None:
    """Leaves the group. Faust waits for its last commit as long as the brokers are away; we do not: what is not committed is
    read again, and known to be applied.
    """
    stopping = asyncio.create_task(app.stop(), name="anlass-end-app")
    _, late = await asyncio.wait({stopping}, timeout=STOP_SECONDS_MAX)
    if late:
        _give_up(app)
        _, late = await asyncio.wait({stopping}, timeout=STOP_SECONDS_MAX / 2)
    if late:
        stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)


def _give_up(app: faust.App) -> None:
    """Lets Faust's consumer, which has a thread and a loop of its own, stop waiting for an answer."""
    loop = app.consumer._thread.thread_loop  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way in

    def cancel() -> None:
        for task in asyncio.all_tasks(loop):
            task.cancel()

    with contextlib.suppress(RuntimeError):  # the thread has ended already, and Faust waits for it all the same
        loop.call_soon_threadsafe(cancel)


class _Flow:
    """Feeds owners, and holds back a partition whose owner cannot follow."""

    def __init__(self, app: faust.App, host: Host, topic: str) -> None:
        self._app = app
        self._host = host
        self._topic = topic
        self._held_back: set[int] = set()

    def feed(self, event: Any) -> None:
        message = event.message
        partition, size = message.partition, len(event.value)
        incoming = [
            Incoming(each.offset, each.timestamp, each.key, each.value, tuple(each.headers)) for each in event.value
        ]
        self._host.feed(partition, incoming, self._done(partition, message))
        owner = self._host.owners.get(partition)
        if owner is not None and owner.waiting_records > HIGH_WATER_RECORDS and size:
            self._held_back.add(partition)
            # Not `pause_partitions`: that leaves out what is fetched already, and goes on after it.
            self._app.consumer.on_buffer_full(TP(self._topic, partition))

    def _done(self, partition: int, message: Any) -> Callable[[], None]:
        def done() -> None:
            self._app.consumer.done(message)  # type: ignore[attr-defined]  # ours
            owner = self._host.owners.get(partition)
            if partition in self._held_back and (owner is None or owner.waiting_records < LOW_WATER_RECORDS):
                self._held_back.discard(partition)
                if owner is not None:
                    self._app.consumer.on_buffer_drop(TP(self._topic, partition))

        return done


class _Silent(faust.Monitor):
    """Faust's monitor measures every message; our metrics measure batches."""
