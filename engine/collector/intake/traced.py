"""An intake that makes a span of each event it took (ADR 0010).

Invariant: what goes in and what comes out is the intake's own; a span is made only of what became durable.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.clock import Clock
from engine.core.record import Event, Identify, Record
from engine.runtimes.base import DeadLetter, Intake
from engine.tracing import Tracing


class TracedIntake:
    """The port `Intake` around another one."""

    def __init__(self, intake: Intake, tracing: Tracing, clock: Clock) -> None:
        self._intake = intake
        self._tracing = tracing
        self._clock = clock

    @property
    def backlog(self) -> int:
        return self._intake.backlog

    async def probe(self) -> str:
        return await self._intake.probe()

    async def append(self, records: Sequence[Record]) -> None:
        started = self._clock.monotonic()
        await self._intake.append(records)
        ids = [record.id for record in records if isinstance(record, (Event, Identify))]
        seconds = self._clock.monotonic() - started
        self._tracing.took_in(ids, by="http", ended_ms=self._clock.now_ms(), seconds=seconds)

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        await self._intake.dead_letter(letters)
