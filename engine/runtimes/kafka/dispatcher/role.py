"""The dispatcher's side of a cluster: partitions of `dispatches` that Faust gives us, their ledgers, as one outbox.

Invariant: parts start from the inside out (producer, suppressed addresses, app) and stop from the outside in; the dispatcher
itself is stopped before, so that what is under way was settled.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.clock import Clock
from engine.core.catalog import Catalog
from engine.runtimes.kafka.dispatcher.copies import Suppressions
from engine.runtimes.kafka.dispatcher.ledger import LedgerTools
from engine.runtimes.kafka.dispatcher.ledger_owner import LedgerCopy, LedgerOwner, own_partition
from engine.runtimes.kafka.dispatcher.outbox import KafkaOutbox
from engine.runtimes.kafka.group.app import App, Membership, build_app, end_app, joined, start_app, trouble_of
from engine.runtimes.kafka.group.host import Host
from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.partition.store import RowStore
from engine.runtimes.unreadable import set_aside_sentence
from engine.telemetry import Metrics


class PostroomSettings(Membership, frozen=True, kw_only=True):
    """Where a dispatcher works. `folder` is this process's alone."""

    address_key: Callable[[str, str], bytes]
    on_forget: Callable[[str], None] = lambda _customer: None
    """See `LedgerTools`."""


class Postroom:
    """One process's share of the messages. Build it inside the event loop that runs it."""

    def __init__(
        self, settings: PostroomSettings, *, catalog: Callable[[], Catalog], clock: Clock, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self.outlet = Outlet(settings.bootstrap, client=settings.topics.group("dispatcher"), metrics=metrics)
        self._tools = LedgerTools(
            topics=settings.topics,
            partitions=settings.partitions,
            outlet=self.outlet,
            clock=clock,
            metrics=metrics,
            catalog=catalog,
            on_forget=settings.on_forget,
        )
        self._addresses = RowStore(settings.folder / "suppressions")
        self.suppressions = Suppressions(settings.bootstrap, settings.topics, self._addresses, key=settings.address_key)
        self.outbox = KafkaOutbox(self._tools, self.suppressions)
        self.host = Host(self._own, self._stand_by)
        self.app: App | None = None

    async def start(self) -> None:
        """Joins the group. Raises StorageError when Kafka does not answer."""
        await self.outlet.start()
        self._addresses.open()
        await self.suppressions.start()
        settings = self._settings
        self.app = build_app(
            settings.settings("dispatcher", source=settings.topics.dispatches, changelog=settings.topics.ledger),
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
        await self.suppressions.stop()
        await self.outlet.stop()

    def readiness(self) -> str:
        """Why not all of our partitions are dispatched from; empty when they are."""
        if not joined(self.app):
            return "it has not joined the group yet"
        if not self.suppressions.read:
            return "it has not read the suppressed addresses yet"
        owners: dict[int, LedgerOwner] = self.host.owners
        restoring = [str(number) for number, owner in owners.items() if not owner.restored.is_set()]
        return f"restoring partitions {', '.join(restoring)}" if restoring else ""

    def degraded(self) -> list[str]:
        """What an operator has to mend; everything else goes on."""
        count = self._aside
        return [set_aside_sentence(count)] if count else []

    @property
    def _aside(self) -> int:
        owners: dict[int, LedgerOwner] = self.host.owners
        return sum(len(owner.ledger.aside) for owner in owners.values())

    def trouble(self) -> BaseException | None:
        """What ended an owner or the app from the inside; None while all is well."""
        return trouble_of(self.app, self.host)

    def measure(self) -> None:
        """Sets the gauges."""
        self._metrics.partitions.labels("owned").set(len(self.host.owners))
        self._metrics.partitions.labels("standby").set(len(self.host.standbys))
        self._metrics.rows_set_aside.set(self._aside)
        self._metrics.outbox_depth.set(self.outbox.depth)

    def _own(self, partition: int) -> LedgerOwner:
        settings = self._settings
        return own_partition(partition, settings.bootstrap, settings.folder, tools=self._tools, outbox=self.outbox)

    def _stand_by(self, partition: int) -> LedgerCopy:
        return LedgerCopy(partition, self._settings.bootstrap, self._settings.folder, tools=self._tools)
