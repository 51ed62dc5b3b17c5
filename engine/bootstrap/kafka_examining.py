"""`anlass check --database` on Kafka: which rows of the changelogs cannot be read, and what the owners are told about them.

Invariant: nothing is written beside the owners. What mends a row is a record on `touchpoints`, which its owner takes in order.
"""

from __future__ import annotations

from engine.bootstrap.cluster import Cluster, compile_definition
from engine.clock import SystemClock
from engine.collector.foreign import parse_foreign
from engine.runtimes.kafka import examining
from engine.runtimes.kafka.examining import PartitionFinding
from engine.runtimes.kafka.outgoing import Here
from engine.runtimes.kafka.outlet import Outlet
from engine.runtimes.kafka.topics import Mended, Outgoing, encode_input
from engine.runtimes.rebuild import InForce


class Examination:
    """Of one cluster; say how to say what is found."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._catalogs: list[InForce] = []

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
            known = {each.id: each for each in definitions.known}
        finally:
            await definitions.stop()
        for each in sorted(known.values(), key=lambda one: one.deployed_ms):
            earlier = [known[name] for name in each.earlier if name in known]
            self._catalogs.append(InForce(each.deployed_ms, compile_definition(each, earlier)))
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
        waiting = await examining.waiting(cluster.bootstrap, cluster.topics, finding.partition, customer=customer)
        record, why = await self._record(finding, until=waiting.from_offset, give_up=give_up)
        if record is None:
            return "left", why
        key = customer.encode()
        values = [encode_input(record), *waiting.values]
        topic = cluster.topics.touchpoints
        await outlet.send([Outgoing(topic, finding.partition, key, value) for value in values])
        return ("given up", why) if record.state is None and not record.keep else ("rebuilt", "")

    async def _record(self, finding: PartitionFinding, *, until: int, give_up: bool) -> tuple[Mended | None, str]:
        now_ms, customer, cluster = SystemClock().now_ms(), finding.customer, self._cluster
        if "although it can be read" in finding.reason:
            return Mended(customer=customer, at_ms=now_ms, keep=True), ""
        here = Here(
            topics=cluster.topics,
            partition=finding.partition,
            partitions=cluster.partitions,
            parse=parse_foreign,
            alias=cluster.alias,
            address_key=cluster.address_key,
        )
        why = "nothing is deployed"
        if self._catalogs:
            replay = await examining.replayed(cluster.bootstrap, here, customer, until=until, catalogs=self._catalogs)
            if not isinstance(replay, str) and replay.state is not None:
                return Mended(customer=customer, at_ms=now_ms, state=replay.state), ""
            why = replay if isinstance(replay, str) else "the log does not lead to it"
        return (Mended(customer=customer, at_ms=now_ms), why) if give_up else (None, why)
