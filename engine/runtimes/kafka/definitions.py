"""The catalogs that were deployed, as the topic `definitions` has them.

Invariant: a catalog is compiled from the files on the topic alone, so every process that asks for an id has the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from engine.core.catalog import Catalog
from engine.errors import AnlassError, StorageError
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

    async def wait_for(self, catalog: str, *, seconds_max: float = 30.0) -> bool:
        """Whether this catalog can be used, waiting for it to arrive."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds_max), self._changed:
                await self._changed.wait_for(lambda: catalog in self._known)
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
            except AnlassError as error:
                self._refused[catalog] = str(error)
                if catalog == self.in_force:
                    self.refused = str(error)
                self._log.error(Action.DEFINITION_REFUSED, catalog=catalog, cause=error)
                return False
            self.catalogs[catalog] = msgspec.structs.replace(made, id=catalog)
            self._log.info(Action.CATALOG_LOADED, catalog=catalog)
            return True

    async def _follow(self, read: asyncio.Event) -> None:
        while True:
            try:
                await self._read(read)
            except KafkaError as error:
                if not read.is_set():
                    raise StorageError(f"The topic {self._topics.definitions} cannot be read: {error!r}") from error
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, read: asyncio.Event) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        tp = TopicPartition(self._topics.definitions, 0)
        try:
            await consumer.start()
            consumer.assign([tp])
            end = (await consumer.end_offsets([tp]))[tp]
            await consumer.seek_to_beginning(tp)
            while True:
                if not read.is_set() and await consumer.position(tp) >= end:
                    read.set()
                records = (await consumer.getmany(tp, timeout_ms=POLL_MS)).get(tp, [])
                async with self._changed:
                    for record in records:
                        self._take(record.key, record.value)
                    self._changed.notify_all()
        finally:
            await consumer.stop()

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
