"""What operators do to a cluster: questions go to the journal's database, records onto `touchpoints`.

Invariant: no topic and no database is made here; what is missing is said with the command that makes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from engine.clock import SystemClock
from engine.collector.intake.foreign import parse_foreign
from engine.core.record import Erase, Record
from engine.errors import ServiceUnreachable
from engine.operations.port import Audited, StillKept, operator_name
from engine.project.cluster import Cluster
from engine.runtimes.audit import Act, Head, customer_of, follow, verify
from engine.runtimes.base import ErasureReceipt, History, Reader, Replayed
from engine.runtimes.consent_chain import LedgerCheck
from engine.runtimes.journal import Database, DatabaseReader, ledger
from engine.runtimes.kafka import admin, progress
from engine.runtimes.kafka.intake.intake import KafkaIntake
from engine.runtimes.kafka.operating import audit, suppression
from engine.runtimes.kafka.operating.dead_letters import DeadLetterReplay, kept_ms
from engine.runtimes.kafka.operating.history import newest_of
from engine.runtimes.kafka.passed import passed
from engine.runtimes.kafka.topics import Topics, partition_of
from engine.runtimes.suppression import SuppressionEntry
from engine.settings import Settings

PASSED_SECONDS_MAX = 15.0
CHUNK_RECORDS = 1_000

T = TypeVar("T")


class KafkaOperations:
    """On the cluster and the database that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bootstrap = settings.kafka.bootstrap
        self._topics = Topics(settings.kafka.prefix)
        self._partitions = 0
        self._ends: dict[int, int] = {}
        """Partition → offset that the workers have to come to."""
        self._erasure = (0, 0)
        """Partition and an offset at or before the erasure's."""

    # ------------------------------------------------------------------------------------------------------ questions

    async def ask(self, question: Callable[[Reader], Awaitable[T]]) -> T:
        return await self._with_database(question)

    async def history(self, customer: str, *, limit: int) -> History:
        await self._check()
        return await newest_of(
            self._bootstrap, self._topics, customer, partitions=self._partitions, parse=parse_foreign, limit=limit
        )

    async def receipt(self, customer: str) -> ErasureReceipt | None:
        partition, offset = self._erasure
        return await self._with_database(
            lambda reader: reader.receipt(customer, partition=partition, since_offset=offset)
        )

    async def _with_database(self, question: Callable[[DatabaseReader], Awaitable[T]]) -> T:
        return await self._with_ledger(lambda database: question(DatabaseReader(database)))

    async def _with_ledger(self, question: Callable[[Database], Awaitable[T]]) -> T:
        database = Database(self._settings.journal_url, project=self._settings.project)
        try:
            await database.open_filled()
            return await question(database)
        finally:
            await database.close()

    async def kept(self) -> list[StillKept]:
        now_ms = SystemClock().now_ms()
        found = await asyncio.to_thread(kept_ms, self._bootstrap, self._topics)
        return [StillKept(topic=topic, until_ms=now_ms + for_ms if for_ms else 0) for topic, for_ms in found.items()]

    async def deployed(self) -> dict[str, str]:
        return {path: text for files in reversed(await self.published()) for path, text in files.items()}

    async def published(self) -> list[dict[str, str]]:
        await self._check()
        definitions = Cluster(self._settings).definitions()
        await definitions.start()
        try:
            return [dict(each.files) for each in definitions.known]
        finally:
            await definitions.stop()

    # -------------------------------------------------------------------------------------------------------- records

    async def submit(self, records: Sequence[Record]) -> None:
        if not records:
            return
        await self._check()
        intake = KafkaIntake(self._bootstrap, self._topics, partitions=self._partitions)
        await intake.start()
        try:
            for at in range(0, len(records), CHUNK_RECORDS):
                await intake.append(records[at : at + CHUNK_RECORDS])
        finally:
            await intake.stop()
        self._ends |= await self._log_ends(self._numbers(records))

    async def settle(self) -> None:
        """Raises ServiceUnreachable as well when the workers do not come to it: it is done later."""
        outcome = await passed(self._bootstrap, self._topics, ends=self._ends, seconds_max=PASSED_SECONDS_MAX)
        if outcome == "nobody":
            raise ServiceUnreachable(
                "No worker is running: it is on the log and will be done as soon as one is.",
                mend="Start `anlass worker`.",
            )
        if outcome == "behind":
            raise ServiceUnreachable(
                "The workers have not reached it yet: it is on the log and will be done when they do.",
                mend="Look at their /readyz: they are behind, or nothing was deployed yet.",
            )

    async def put_back(self, dead_letter_ids: Sequence[int]) -> Replayed:
        await self._check()
        replay = DeadLetterReplay(self._bootstrap, self._topics, partitions=self._partitions)
        try:
            return await self._with_database(lambda reader: replay.put_back(reader, dead_letter_ids))
        finally:
            self._ends |= replay.ends

    async def erase(self, customer: str) -> None:
        await self._check()
        now_ms = SystemClock().now_ms()
        record = Erase(customer=customer, at_ms=now_ms, id=f"operator:{now_ms}")
        number = partition_of(customer.encode(), self._partitions)
        self._erasure = (number, (await self._log_ends([number]))[number])
        await self.submit([record])
        await self.settle()

    async def note(self, act: Act) -> None:
        await self._check()
        await audit.note(
            self._bootstrap,
            self._topics,
            lambda found: follow(
                act,
                found,
                at_ms=SystemClock().now_ms(),
                who=operator_name(),
                alias=self.alias,
                key=self._settings.audit.signing_key,
            ),
        )

    async def audit(self) -> Audited:
        await self._check()
        return Audited(texts=tuple(await audit.read(self._bootstrap, self._topics)))

    async def check_consents(self, known: Head | None) -> LedgerCheck:
        return await self._with_ledger(lambda database: ledger.check(database, known))

    async def heads(self) -> dict[str, Head]:
        texts = (await self.audit()).texts
        return {"audit": verify(texts).head, "consents": await self._with_ledger(ledger.head_of)}

    async def suppressions(self) -> list[SuppressionEntry]:
        await self._check()
        return await suppression.listed(self._bootstrap, self._topics)

    async def suppress(self, entries: Sequence[SuppressionEntry]) -> None:
        await self._check()
        await suppression.write(self._bootstrap, self._topics, entries)

    async def lift(self, entries: Sequence[SuppressionEntry]) -> None:
        await self._check()
        await suppression.write(self._bootstrap, self._topics, entries, gone=True)

    def text_hash(self, text: str) -> bytes:
        kind, _, address = text.partition(":")
        return Cluster(self._settings).address_key(kind, address)

    def alias(self, customer: str) -> str:
        return customer_of(Cluster(self._settings).alias(customer))

    async def _check(self) -> None:
        """Raises SettingsError when topics are missing or wrong, ServiceUnreachable."""
        if not self._partitions:
            await asyncio.to_thread(admin.wait_for_kafka, self._bootstrap)
            self._partitions = await asyncio.to_thread(admin.check_topics, self._bootstrap, self._topics, roles=())

    async def _log_ends(self, numbers: Iterable[int]) -> dict[int, int]:
        return await asyncio.to_thread(progress.ends, self._bootstrap, self._topics.touchpoints, sorted(numbers))

    def _numbers(self, records: Sequence[Record]) -> set[int]:
        """The partitions that these records are on: one without a customer is on all."""
        if not all(record.customer for record in records):
            return set(range(self._partitions))
        return {partition_of(record.customer.encode(), self._partitions) for record in records}
