"""`anlass check --database` on Kafka: which rows of the changelogs cannot be read, and what the owners are told about them.

Invariant: nothing is written beside the owners. What mends a row is a record on `touchpoints`, which its owner takes in order.
"""

from __future__ import annotations

from engine.bootstrap.cluster import Cluster
from engine.clock import SystemClock
from engine.collector.foreign import parse_foreign
from engine.core.catalog import Catalog
from engine.runtimes.kafka import examining, replaying
from engine.runtimes.kafka.examining import PartitionFinding
from engine.runtimes.kafka.outgoing import Here
from engine.runtimes.kafka.outlet import Outlet
from engine.runtimes.kafka.replaying import History
from engine.runtimes.kafka.topics import Mended, Outgoing, encode_input
from engine.runtimes.rebuild import Rebuilt


class Examination:
    """Of one cluster; say how to say what is found."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._catalogs: dict[str, Catalog] = {}

    async def find(self) -> list[PartitionFinding]:
        """Every row that cannot be read. Raises StorageError."""
        cluster = self._cluster
        return await examining.examine(cluster.bootstrap, cluster.topics, cluster.partitions)

    async def mend(self, found: list[PartitionFinding], *, give_up: bool) -> list[tuple[PartitionFinding, str, str]]:
        """(row, `rebuilt`, `given up` or `left`, why) of each."""
        cluster = self._cluster
        definitions = cluster.definitions()
        await definitions.start()
        try:
            for each in reversed(definitions.known):
                await definitions.load(each.id)
            self._catalogs = dict(definitions.catalogs)
        finally:
            await definitions.stop()
        outlet = Outlet(cluster.bootstrap, client="anlass-mend")
        await outlet.start()
        try:
            return [(each, *await self._one(outlet, each, give_up=give_up)) for each in found]
        finally:
            await outlet.stop()

    async def _one(self, outlet: Outlet, finding: PartitionFinding, *, give_up: bool) -> tuple[str, str]:
        if finding.table != "states":
            return "left", "only rows of states are mended on Kafka; a message that cannot be read stays unsent"
        cluster, customer = self._cluster, finding.customer
        kept = await examining.waiting(cluster.bootstrap, cluster.topics, finding.partition, customer=customer)
        found = await replaying.history(cluster.bootstrap, self._here(finding), customer, catalogs=self._catalogs)
        begins = found.begins if isinstance(found, History) else -1
        waits = [each for each in kept if each.offset > begins]
        until = min((each.offset for each in waits), default=-1)
        record, why = self._record(finding, found, until=until, give_up=give_up)
        if record is None:
            return "left", why
        key = customer.encode()
        values = [encode_input(record), *(each.value for each in waits)]
        topic = cluster.topics.touchpoints
        await outlet.send([Outgoing(topic, finding.partition, key, value) for value in values])
        return ("given up", why) if record.state is None and not record.keep else ("rebuilt", "")

    def _record(
        self, finding: PartitionFinding, found: History | str, *, until: int, give_up: bool
    ) -> tuple[Mended | None, str]:
        now_ms, customer = SystemClock().now_ms(), finding.customer
        if "although it can be read" in finding.reason:
            return Mended(customer=customer, at_ms=now_ms, keep=True), ""
        replay: Rebuilt | str = (
            replaying.rebuilt(self._here(finding), self._catalogs, found, until=until)
            if isinstance(found, History)
            else found
        )
        if isinstance(replay, Rebuilt) and replay.state is not None:
            return Mended(customer=customer, at_ms=now_ms, state=replay.state), ""
        why = replay if isinstance(replay, str) else "the log does not lead to it"
        return (Mended(customer=customer, at_ms=now_ms), why) if give_up else (None, why)

    def _here(self, finding: PartitionFinding) -> Here:
        cluster = self._cluster
        return Here(
            topics=cluster.topics,
            partition=finding.partition,
            partitions=cluster.partitions,
            parse=parse_foreign,
            alias=cluster.alias,
            address_key=cluster.address_key,
        )
