"""What the collector sees of a cluster: records go to Kafka, questions to the journal's database.

Invariant: an answer may be a moment old; nothing that is asked here decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.core.catalog import Catalog
from engine.core.record import Record
from engine.runtimes.asking import AsksReader
from engine.runtimes.base import DeadLetter, Intake, Reader


class KafkaFront(AsksReader):
    """The port `Front`. `catalog` gives the definitions in force."""

    def __init__(self, intake: Intake, reader: Reader, *, catalog: Callable[[], Catalog]) -> None:
        self._intake = intake
        self._reader = reader
        self._catalog = catalog

    @property
    def catalog(self) -> Catalog:
        return self._catalog()

    @property
    def backlog(self) -> int:
        return self._intake.backlog

    async def probe(self) -> str:
        return await self._intake.probe()

    async def append(self, records: Sequence[Record]) -> None:
        await self._intake.append(records)

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        await self._intake.dead_letter(letters)
