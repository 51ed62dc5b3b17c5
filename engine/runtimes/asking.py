"""For who is a `Reader` by having one.

Invariant: every question goes on as it was asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.core.consent.proof import ConsentRecord
from engine.core.customer import CustomerState
from engine.core.effect import Decision
from engine.runtimes.base import DeadLetter, MessageStatus, Pace, Paused, Query, Reader, Status


class AsksReader:
    """The port `Reader`, answered by `_reader`, which whoever inherits this sets."""

    _reader: Reader

    async def state(self, customer: str) -> CustomerState | None:
        return await self._reader.state(customer)

    async def decisions(self, query: Query) -> list[tuple[int, Decision]]:
        return await self._reader.decisions(query)

    async def message(self, message_id: str) -> MessageStatus | None:
        return await self._reader.message(message_id)

    async def messages(
        self, *, customer: str = "", status: str = "", workflow: str = "", before: str = "", limit: int = 200
    ) -> list[MessageStatus]:
        return await self._reader.messages(
            customer=customer, status=status, workflow=workflow, before=before, limit=limit
        )

    async def consents(self, *, customer: str = "", address: str = "") -> list[ConsentRecord]:
        return await self._reader.consents(customer=customer, address=address)

    async def message_of(self, provider_id: str) -> MessageStatus | None:
        return await self._reader.message_of(provider_id)

    async def written_to(self, address: str, *, limit: int = 100) -> list[MessageStatus]:
        return await self._reader.written_to(address, limit=limit)

    async def customers(self, *, after: str = "", limit: int = 1_000) -> list[CustomerState]:
        return await self._reader.customers(after=after, limit=limit)

    async def statuses(self, messages: Sequence[str]) -> dict[str, tuple[Status, int]]:
        return await self._reader.statuses(messages)

    async def dead_letters(self, *, limit: int = 200) -> list[DeadLetter]:
        return await self._reader.dead_letters(limit=limit)

    async def pace(self, *, since_ms: int, until_ms: int, span_ms: int, workflow: str = "") -> list[Pace]:
        return await self._reader.pace(since_ms=since_ms, until_ms=until_ms, span_ms=span_ms, workflow=workflow)

    async def pauses(self) -> list[Paused]:
        return await self._reader.pauses()

    async def counts(self) -> dict[str, Any]:
        return await self._reader.counts()
