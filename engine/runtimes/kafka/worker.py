"""The worker role: takes partitions of `touchpoints`, keeps their customers, decides.

Invariant: parts start from the inside out (producer, definitions, app) and stop from the outside in: no more records, the
batches under way are finished and committed, then everything is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import faust
import msgspec

from engine.clock import Clock
from engine.runtimes.kafka.app import Settings, build_app
from engine.runtimes.kafka.arrival import Here, ParseForeign
from engine.runtimes.kafka.changelog import Changelog, Place
from engine.runtimes.kafka.definitions import Definitions
from engine.runtimes.kafka.host import Host
from engine.runtimes.kafka.outlet import Outlet
from engine.runtimes.kafka.owner import Options, Owner, Tools
from engine.runtimes.kafka.store import RowStore
from engine.runtimes.kafka.topics import Topics
from engine.telemetry import Metrics


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a worker works, and with whose help. `folder` is this process's alone."""

    bootstrap: str
    topics: Topics
    partitions: int
    folder: Path
    parse: ParseForeign
    alias: Callable[[str], str]
    address_key: Callable[[str, str], bytes]
    standbys: int = 1
    session_timeout_seconds: float = 10.0
    heartbeat_seconds: float = 2.0
    instance: str = ""
    options: Options = Options()


class Copy:
    """A standby: the rows of a partition that another process owns."""

    def __init__(self, store: RowStore, changelog: Changelog) -> None:
        self._store = store
        self._changelog = changelog

    async def run(self) -> None:
        await self._changelog.follow()

    def close(self) -> None:
        self._store.close()


class Worker:
    """One process's share of the evaluation. Build it inside the event loop that runs it."""

    def __init__(self, settings: WorkerSettings, definitions: Definitions, *, clock: Clock, metrics: Metrics) -> None:
        self._settings = settings
        self.definitions = definitions
        self._clock = clock
        self._metrics = metrics
        self.outlet = Outlet(settings.bootstrap, client=settings.topics.group("worker"))
        self._tools = Tools(self.outlet, definitions, clock, metrics, settings.options)
        self.host = Host(self._own, self._stand_by)
        self.app: faust.App | None = None

    @property
    def ready(self) -> bool:
        """Whether every partition that is ours is restored and has definitions, and we belong to the group."""
        owners = self.host.owners.values()
        return (
            self.app is not None
            and self.app.tables.recovery.completed.is_set()  # type: ignore[attr-defined]
            and all(owner.ready.is_set() for owner in owners)
        )

    async def start(self) -> None:
        """Joins the group. Raises StorageError when Kafka does not answer."""
        await self.outlet.start()
        await self.definitions.start()
        settings = self._settings
        self.app = build_app(
            Settings(
                bootstrap=settings.bootstrap,
                group=settings.topics.group("worker"),
                source=settings.topics.touchpoints,
                changelog=settings.topics.states,
                partitions=settings.partitions,
                standbys=settings.standbys,
                session_timeout_seconds=settings.session_timeout_seconds,
                heartbeat_seconds=settings.heartbeat_seconds,
                instance=settings.instance,
            ),
            self.host,
        )
        await self.app.start()

    async def stop(self) -> None:
        """Idempotent."""
        if self.app is not None:
            app, self.app = self.app, None
            await app.stop()
        await self.host.close()
        await self.definitions.stop()
        await self.outlet.stop()

    def _own(self, partition: int) -> Owner:
        store, changelog = self._rows(partition)
        settings = self._settings
        here = Here(
            topics=settings.topics,
            partition=partition,
            partitions=settings.partitions,
            parse=settings.parse,
            alias=settings.alias,
            address_key=settings.address_key,
        )
        return Owner(here, store, changelog, tools=self._tools)

    def _stand_by(self, partition: int) -> Copy:
        return Copy(*self._rows(partition))

    def _rows(self, partition: int) -> tuple[RowStore, Changelog]:
        store = RowStore(self._settings.folder / "states" / str(partition))
        store.open()
        place = Place(self._settings.bootstrap, self._settings.topics.states, partition)
        return store, Changelog(place, store, self.outlet)
