"""The worker role: takes partitions of `touchpoints`, keeps their customers, decides.

Invariant: parts start from the inside out (producer, definitions, app) and stop from the outside in: no more records, the
batches under way are finished and committed, then everything is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from engine.clock import Clock
from engine.runtimes.kafka.definitions import Definitions
from engine.runtimes.kafka.group.app import App, Membership, build_app, end_app, joined, start_app, trouble_of
from engine.runtimes.kafka.group.host import Host
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.partition.arrival import ParseForeign, PlanNeeds
from engine.runtimes.kafka.partition.changelog import Changelog, ChangelogPartition
from engine.runtimes.kafka.partition.store import RowStore
from engine.runtimes.kafka.worker.clocks import ClockCheck
from engine.runtimes.kafka.worker.owner import Owner, OwnerNeeds, OwnerOptions
from engine.runtimes.unreadable import set_aside_sentence
from engine.telemetry import Metrics


class WorkerSettings(Membership, frozen=True, kw_only=True):
    """Where a worker works, and with whose help. `folder` is this process's alone."""

    parse: ParseForeign
    alias: Callable[[str], str]
    address_key: Callable[[str, str], bytes]
    check_clock: bool = False
    """Whether timers wait while our clock is far ahead of the brokers'."""
    options: OwnerOptions = OwnerOptions()
    held_until: Mapping[int, int] = MappingProxyType({})
    """Partition → offset of the record with which a copy begins to be held."""


class Copy:
    """A standby: the rows of a partition that another process owns."""

    def __init__(self, store: RowStore, changelog: Changelog) -> None:
        self._store = store
        self._changelog = changelog

    async def run(self) -> None:
        await self._changelog.follow()

    def scrub(self) -> None:
        """Leaves nothing of what was removed in the copy's files; for another thread."""
        self._store.scrub()

    def close(self) -> None:
        self._store.close()


class Worker:
    """One process's share of the evaluation. Build it inside the event loop that runs it."""

    def __init__(self, settings: WorkerSettings, definitions: Definitions, *, clock: Clock, metrics: Metrics) -> None:
        self._settings = settings
        self.definitions = definitions
        self._clock = clock
        self._metrics = metrics
        self.outlet = Outlet(settings.bootstrap, client=settings.topics.group("worker"), metrics=metrics)
        self._clocks = (
            ClockCheck(self.outlet, settings.topics, clock, metrics=metrics) if settings.check_clock else None
        )
        self._tools = OwnerNeeds(self.outlet, definitions, clock, metrics, settings.options, self._clocks)
        self.host = Host(self._own, self._stand_by)
        self.app: App | None = None

    def readiness(self) -> str:
        """Why not all of our partitions are worked on; empty when they are."""
        if not joined(self.app):
            return "it has not joined the group yet"
        owners: dict[int, Owner] = self.host.owners
        restoring = [str(number) for number, owner in owners.items() if not owner.restored.is_set()]
        if restoring:
            return f"restoring partitions {', '.join(restoring)}"
        waiting = [owner.catalog_id for owner in owners.values() if not owner.ready.is_set()]
        if any(waiting):
            return f"the catalog {max(waiting)} is not there yet, or cannot be used here"
        if waiting:
            refused = self.definitions.refused
            return f"the definitions in force cannot be used: {refused}" if refused else "nothing is deployed yet"
        return ""

    def degraded(self) -> list[str]:
        """What an operator has to mend; everything else goes on."""
        count = sum(len(owner.aside) for owner in self.host.owners.values())
        return [set_aside_sentence(count)] if count else []

    def trouble(self) -> BaseException | None:
        """What ended an owner or the app from the inside; None while all is well."""
        return trouble_of(self.app, self.host)

    def measure(self) -> None:
        """Sets the gauges."""
        owners: dict[int, Owner] = self.host.owners
        self._metrics.partitions.labels("owned").set(len(owners))
        self._metrics.partitions.labels("standby").set(len(self.host.standbys))
        restoring = sum(not owner.restored.is_set() for owner in owners.values())
        self._metrics.partitions.labels("restoring").set(restoring)
        self._measure_definitions(owners.values())
        self._metrics.rows_set_aside.set(sum(len(owner.aside) for owner in owners.values()))
        due = [owner.next_due_ms for owner in owners.values() if owner.next_due_ms]
        overdue_ms = max(0, self._clock.now_ms() - min(due)) if due else 0
        self._metrics.timers_overdue_seconds.set(overdue_ms / 1_000)

    def _measure_definitions(self, owners: Iterable[Owner]) -> None:
        definitions, metrics = self.definitions, self._metrics
        newest = definitions.definition(definitions.in_force)
        age_ms = max(0, self._clock.now_ms() - newest.deployed_ms) if newest is not None else 0
        metrics.definitions_age_seconds.set(age_ms / 1_000)
        metrics.definitions_refused.set(1 if definitions.refused else 0)
        metrics.partitions.labels("outdated").set(sum(owner.catalog_id != definitions.in_force for owner in owners))

    async def start(self) -> None:
        """Joins the group. Raises StorageError when Kafka does not answer."""
        await self.outlet.start()
        await self.definitions.start()
        settings = self._settings
        self.app = build_app(
            settings.settings("worker", source=settings.topics.touchpoints, changelog=settings.topics.states),
            self.host,
            metrics=self._metrics,
        )
        await start_app(self.app, settings.bootstrap)

    async def stop(self) -> None:
        """Idempotent."""
        if self.app is not None:
            app, self.app = self.app, None
            await end_app(app)
        await self.host.close()
        await self.definitions.stop()
        await self.outlet.stop()

    def _own(self, partition: int) -> Owner:
        store, changelog = self._rows(partition)
        settings = self._settings
        here = PlanNeeds(
            topics=settings.topics,
            partition=partition,
            partitions=settings.partitions,
            parse=settings.parse,
            alias=settings.alias,
            address_key=settings.address_key,
        )
        owner = Owner(here, store, changelog, tools=self._tools)
        owner.held_until = settings.held_until.get(partition, -1)
        return owner

    def _stand_by(self, partition: int) -> Copy:
        return Copy(*self._rows(partition))

    def _rows(self, partition: int) -> tuple[RowStore, Changelog]:
        store = RowStore(self._settings.folder / "states" / str(partition))
        store.open()
        place = ChangelogPartition(self._settings.bootstrap, self._settings.topics.states, partition)
        return store, Changelog(place, store, self.outlet)
