"""The catalogs that were deployed, as the topic `definitions` has them.

Invariant: a catalog is compiled from the files on the topic alone, so every process that asks for an id has the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.core.catalog import Catalog
from engine.errors import AnlassError, StorageError
from engine.runtimes.kafka.connect import METADATA_AGE_MS
from engine.runtimes.kafka.leaving import stopped
from engine.runtimes.kafka.topics import Definition, Topics, decode_definition
from engine.telemetry import Action, get_log

POLL_MS = 500
RETRY_SECONDS = 1.0

Compile = Callable[[Definition, Sequence[Definition]], Catalog]
"""(definition, the earlier ones it names) → its catalog; raises an AnlassError when it does not compile."""


class Definitions:
    """Follows the topic from `start` until `stop`. `catalogs` holds what was asked for, by id."""

    def __init__(self, bootstrap: str, topics: Topics, *, project: str, compile_: Compile) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._project = project
        self._compile = compile_
        self._known: dict[str, Definition] = {}
        self._refused: dict[str, str] = {}
        self._changed = asyncio.Condition()
        self._following: asyncio.Task[None] | None = None
        self._compiling = asyncio.Lock()
        self._next = 0
        """Offset of the next record on the topic."""
        self._asked = 1
        """How often somebody wanted to be sure that all of the topic is read; `_heard`: up to which question it was."""
        self._heard = 0
        self.catalogs: dict[str, Catalog] = {}
        self._given_up = ""  # told once to who waits for another one
        self.in_force = ""
        """Id of the newest deployed catalog; empty before the first deploy."""
        self.refused: str = ""
        """Why the newest one is not used; empty when it is."""
        self._log = get_log("definitions")

    async def start(self) -> None:
        """Returns when everything that was deployed is known. Raises StorageError when the topic cannot be read."""
        read = asyncio.Event()
        self._following = asyncio.create_task(self._follow(read), name="anlass-definitions")
        reading = asyncio.create_task(read.wait())
        await asyncio.wait({reading, self._following}, return_when=asyncio.FIRST_COMPLETED)
        if self._following.done():
            reading.cancel()
            self._following.result()

    async def stop(self) -> None:
        """Idempotent."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None

    def definition(self, catalog: str) -> Definition | None:
        """What a catalog was compiled from."""
        return self._known.get(catalog)

    @property
    def known(self) -> list[Definition]:
        """Everything that was deployed, newest first."""
        return sorted(self._known.values(), key=lambda each: -each.deployed_ms)

    async def wait_in_force(self) -> str:
        """The id of the newest catalog that can be used, as soon as there is one."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self.in_force))
                wanted = self.in_force
            if await self.load(wanted):
                return wanted
            for other in self.known:  # the newest does not compile: the one before it goes on
                if await self.load(other.id):
                    return other.id
            async with self._changed:
                await self._changed.wait_for(lambda: self.in_force != wanted)  # noqa: B023 - asked at once

    async def wait_other_than(self, catalog: str) -> str:
        """The id of the newest catalog, as soon as it is another; whether it can be used `load` says."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.in_force not in ("", catalog, self._given_up))
            self._given_up = self.in_force
            return self.in_force

    async def wait_for(self, catalog: str) -> bool:
        """Whether this catalog can be used. If it is not known yet, everything that the topic holds by now is read first; while
        the broker is away that takes as long as it is.
        """
        if catalog not in self._known:
            self._asked += 1
            mine = self._asked
            async with self._changed:
                await self._changed.wait_for(lambda: catalog in self._known or self._heard >= mine)
        return await self.load(catalog)

    async def load(self, catalog: str) -> bool:
        """Compiles a known catalog, once. Whether it can be used."""
        async with self._compiling:
            if catalog in self.catalogs:
                return True
            if catalog in self._refused or catalog not in self._known:
                return False
            definition = self._known[catalog]
            earlier = [self._known[each] for each in definition.earlier if each in self._known]
            try:
                made = await asyncio.to_thread(self._compile, definition, earlier)
            except Exception as error:  # noqa: BLE001 - a mistake of ours in there must not end whoever asks
                reason = str(error) if isinstance(error, AnlassError) else f"{type(error).__name__}: {error}"
                self._refused[catalog] = reason
                if catalog == self.in_force:
                    self.refused = reason
                self._log.error(Action.DEFINITION_REFUSED, catalog=catalog, cause=error)
                return False
            self.catalogs[catalog] = msgspec.structs.replace(made, id=catalog)
            self._log.info(Action.CATALOG_LOADED, catalog=catalog)
            return True

    async def _follow(self, read: asyncio.Event) -> None:
        while True:
            try:
                await self._read(read)
            except Exception as error:
                if not read.is_set():
                    raise StorageError(f"The topic {self._topics.definitions} cannot be read: {error!r}") from error
                self._log.error(Action.DEFINITION_REFUSED, cause=error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, read: asyncio.Event) -> None:
        consumer = AIOKafkaConsumer(
            metadata_max_age_ms=METADATA_AGE_MS,
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        tp = TopicPartition(self._topics.definitions, 0)
        try:
            await consumer.start()
            consumer.assign([tp])
            consumer.seek(tp, self._next)
            while True:
                if (asked := self._asked) > self._heard:
                    end = (await consumer.end_offsets([tp]))[tp]
                    while await consumer.position(tp) < end:
                        await self._take_some(consumer, tp)
                    self._heard = asked
                    read.set()
                await self._take_some(consumer, tp)
        finally:
            await stopped(consumer)

    async def _take_some(self, consumer: AIOKafkaConsumer, tp: TopicPartition) -> None:
        records = (await consumer.getmany(tp, timeout_ms=POLL_MS)).get(tp, [])
        async with self._changed:
            for record in records:
                self._take(record.key, record.value)
            self._next = await consumer.position(tp)
            self._changed.notify_all()

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        if value is None:
            return
        try:
            definition = decode_definition(value)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            self._log.error(Action.DEFINITION_REFUSED, cause=error)
            return
        if definition.project != self._project:
            return
        self._known[definition.id] = definition
        if key == self._project.encode():
            self.in_force = definition.id
            self.refused = self._refused.get(definition.id, "")
