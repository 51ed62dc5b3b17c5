"""`anlass deploy` on Kafka: the files go onto the topic `definitions`, a control record onto each partition.

Invariant: definitions with an error are refused before anything is written. Each partition switches at its control record: what
stands before it on the log is evaluated by the old catalog, what stands after it by the new one, whoever reads the log. "In
force" is said when the workers are past it and every process that renders or watches says that it holds it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.bootstrap.cluster import Cluster, compile_definition
from engine.bootstrap.deploying import TEMPLATES, Prepared, Status, gone_templates, template_files
from engine.bootstrap.project import VERSIONS_MAX, compile_folder
from engine.clock import SystemClock
from engine.core.customer import decode_state
from engine.core.deployment import plan_deploy
from engine.errors import DefinitionError, StorageError
from engine.runtimes.kafka import admin
from engine.runtimes.kafka.connect import METADATA_AGE_MS, connected
from engine.runtimes.kafka.definitions import Definitions
from engine.runtimes.kafka.holders import holders
from engine.runtimes.kafka.leaving import stopped
from engine.runtimes.kafka.outlet import Outlet
from engine.runtimes.kafka.passed import passed
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    PREFIX_BYTES,
    Definition,
    Deployed,
    Outgoing,
    encode_definition,
    encode_input,
)
from engine.runtimes.unreadable import UnreadableRow, readable

TAKEN_SECONDS_MAX = 60.0
HELD_SECONDS_MAX = 30.0
"""Longer than a process that was killed is taken for one that lives."""
HELD_LOOK_SECONDS = 0.25
POLL_MS = 200

Places = tuple[tuple[str, str, str], ...]
"""(workflow, version, step) of each enrollment of a customer."""


class KafkaDeploy:
    """One deploy: `prepare`, then `publish`. Knows what was deployed before."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: list[Definition] = []
        self._in_force = ""
        self._new: Definition | None = None

    async def known(self) -> list[Definition]:
        """Everything that was deployed, newest first. Raises StorageError."""
        definitions: Definitions = self._cluster.definitions()
        await definitions.start()
        try:
            self._known, self._in_force = definitions.known, definitions.in_force
        finally:
            await definitions.stop()
        return self._known

    async def prepare(self, folder: Path, *, versions: str, progress: Callable[[int, int], None]) -> Prepared:
        """Checks and compiles, counts people in flight, plans. Writes nothing. Raises DefinitionError, StorageError."""
        await self.known()
        project = compile_folder(folder, self._cluster.settings)
        files = {**project.sources, **template_files(folder)}
        earlier = [each for each in self._known if each.files != files][:VERSIONS_MAX]
        definition = Definition(
            id="",
            project=self._cluster.project,
            deployed_ms=SystemClock().now_ms(),
            files=files,
            earlier=tuple(each.id for each in earlier),
            versions=versions,
        )
        catalog = compile_definition(definition, earlier)
        catalog = msgspec.structs.replace(catalog, id=identity(catalog.id, files))
        self._new = msgspec.structs.replace(definition, id=catalog.id)
        counts: Counter[tuple[str, str, str]] = Counter()
        for partition in range(self._cluster.partitions):
            places = await self._in_flight(partition)
            counts.update(place for of_customer in places for place in of_customer)
            progress(partition + 1, self._cluster.partitions)
        plans = plan_deploy(catalog, self._before(), counts, versions=versions)
        return Prepared(
            project=msgspec.structs.replace(project, catalog=catalog),
            files=files,
            versions=versions,
            plans=plans,
            warnings=(*project.warnings, *gone_templates(project.templates, catalog, plans)),
            first=not self._known,
        )

    def _before(self) -> dict[str, str]:
        now = next((each for each in self._known if each.id == self._in_force), None)
        if now is None:
            return {}
        known = {each.id: each for each in self._known}
        catalog = compile_definition(now, [known[each] for each in now.earlier if each in known])
        return {name: workflow.version for name, workflow in catalog.workflows.items()}

    async def _in_flight(self, partition: int) -> Iterable[Places]:
        """Where the customers of a partition are, read from its changelog."""
        tp = TopicPartition(self._cluster.topics.states, partition)
        consumer = AIOKafkaConsumer(
            metadata_max_age_ms=METADATA_AGE_MS,
            bootstrap_servers=self._cluster.bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        places: dict[bytes, Places] = {}
        try:
            await consumer.start()
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            await consumer.seek_to_beginning(tp)
            while await consumer.position(tp) < end:
                for record in (await consumer.getmany(tp, timeout_ms=POLL_MS)).get(tp, []):
                    if record.key == CHECKPOINT_KEY:
                        continue
                    found = _places(record.value)
                    if found:
                        places[record.key] = found
                    else:
                        places.pop(record.key, None)
        finally:
            await stopped(consumer)
        return places.values()

    async def publish(self, prepared: Prepared) -> Status:
        """Writes it, and waits until the workers are past it. Raises DefinitionError when somebody could not move."""
        if prepared.stuck:
            raise DefinitionError("Nothing was deployed.", problems=prepared.stuck)
        new, cluster = self._new, self._cluster
        assert new is not None, "prepared by another"
        topics, project = cluster.topics, cluster.project.encode()
        body = encode_definition(new)
        control = encode_input(Deployed(at_ms=new.deployed_ms, catalog=new.id, versions=new.versions))
        outlet = Outlet(cluster.bootstrap, client="anlass-deploy")
        await outlet.start()
        try:
            await outlet.send([Outgoing(topics.definitions, 0, project + b"/" + new.id.encode(), body)])
            await outlet.send([Outgoing(topics.definitions, 0, project, body)])
            ends = await outlet.send(
                [Outgoing(topics.touchpoints, number, None, control) for number in range(cluster.partitions)]
            )
        finally:
            await outlet.stop()
        await self._have_won(new)
        said = prepared.project.catalog.policy.retention
        await asyncio.to_thread(
            admin.set_retention, cluster.bootstrap, topics, log_days=said.log, letter_days=said.dead_letters
        )
        status = await self._taken({number: offset for (_, number), offset in ends.items()})
        await asyncio.to_thread(self._held, new.id)
        return status

    def _held(self, catalog: str) -> None:
        """Returns when every process that renders or watches holds it. Raises StorageError that names those which do not."""
        cluster, deadline = self._cluster, time.monotonic() + HELD_SECONDS_MAX
        with connected(cluster.bootstrap) as client:
            while others := sorted(who for who, held in holders(client, cluster.topics).items() if held != catalog):
                if time.monotonic() > deadline:
                    raise StorageError(
                        f"It is published, but not in force everywhere: after {HELD_SECONDS_MAX:.0f} s it is not held by"
                        f" {'; '.join(others)}.",
                        mend="Look for definition_refused in their logs, or whether they hang; then deploy again.",
                    )
                time.sleep(HELD_LOOK_SECONDS)

    async def _have_won(self, new: Definition) -> None:
        """Raises DefinitionError when another deploy was published meanwhile: that one is in force then, on every partition.

        Control records of two deploys may lie in another order on each partition; so the one that the topic `definitions` names
        last is said once more, by whoever finds that it is not theirs.
        """
        await self.known()
        if self._in_force == new.id:
            return
        winner = next(each for each in self._known if each.id == self._in_force)
        topic = self._cluster.topics.touchpoints
        at_ms = SystemClock().now_ms()
        again = encode_input(Deployed(at_ms=at_ms, catalog=winner.id, versions=winner.versions))
        outlet = Outlet(self._cluster.bootstrap, client="anlass-deploy")
        await outlet.start()
        try:
            await outlet.send([Outgoing(topic, number, None, again) for number in range(self._cluster.partitions)])
        finally:
            await outlet.stop()
        raise DefinitionError(
            f"Another deploy, {winner.id}, was published at the same time and is in force; this one, {new.id}, is not."
            " Look at what it changed, and deploy again."
        )

    async def _taken(self, offsets: dict[int, int]) -> Status:
        """Whether the workers' group has committed these offsets, within a minute."""
        cluster = self._cluster
        ends = {number: offset + 1 for number, offset in offsets.items()}
        outcome = await passed(cluster.bootstrap, cluster.topics, ends=ends, seconds_max=TAKEN_SECONDS_MAX)
        if outcome != "behind":
            return "in_force" if outcome == "passed" else "at_next_start"
        raise StorageError(
            "It is published, but the workers are not past it yet: they are behind, or one of them does not move.",
            mend="Look at /readyz and /metrics of the workers; the deploy takes effect when they come to it.",
        )


def identity(catalog: str, files: Mapping[str, str]) -> str:
    """The id of what is in force: of the definitions, and of the templates that belong to them."""
    templates = sorted((name, text) for name, text in files.items() if name.startswith(TEMPLATES))
    return hashlib.sha256(msgspec.json.encode((catalog, templates))).hexdigest()[: len(catalog)]


def _places(value: bytes | None) -> Places:
    if value is None:
        return ()
    try:
        state = readable(decode_state, value[PREFIX_BYTES:])
    except UnreadableRow:
        return ()  # set aside: whoever it is stays where they are
    return tuple((one.workflow, one.version, one.step) for one in state.enrollments)
