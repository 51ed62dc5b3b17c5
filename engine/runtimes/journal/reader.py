"""The Reader port on the journal's database: what operators and the console ask.

Invariant: the answers are as old as the sink is behind: see its lag.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

import msgspec

from engine.clock import Clock, SystemClock
from engine.core.effect import Decision
from engine.runtimes.base import (
    DeadLetter,
    ErasureReceipt,
)
from engine.runtimes.consents import KeyedHash
from engine.runtimes.journal import ledger
from engine.runtimes.journal.database import Database
from engine.runtimes.sql.reader import Row, StoreReader, letters

_decode_detail = msgspec.json.Decoder(dict[str, Any]).decode
_decode_why = msgspec.json.Decoder(tuple[str, ...]).decode


class DatabaseReader(StoreReader):
    """The port over an open database."""

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        super().__init__(clock or SystemClock())
        self._database = database

    async def dead_letters_by_id(self, ids: Sequence[int]) -> list[DeadLetter]:
        """Those of these ids that are here, for a replay."""
        return letters(await self._rows("dead_letters_some", numbers=list(ids)))

    async def remove_dead_letters(self, ids: Sequence[int]) -> int:
        """Takes out what was appended again; returns how many were here. The only thing that is written here."""
        async with self._database.transaction() as transaction:
            return len(await transaction.rows("dead_letters_delete", numbers=list(ids)))

    async def receipt(self, customer: str, *, partition: int, since_offset: int) -> ErasureReceipt | None:
        """Of the newest erasure that stands on this partition of `touchpoints` at `since_offset` or later."""
        secret = await self._rows("secret_read", name="erasure_key")
        if not secret:  # nobody was ever forgotten here
            return None
        name_hash = hmac.digest(bytes.fromhex(secret[0][0]), customer.encode(), "sha256").hex()  # as the projection's
        rows = await self._rows(
            "erasures_newest", customer_hash=name_hash, partition=partition, since_offset=since_offset
        )
        if not rows:
            return None
        alias, at_ms, rows_removed = rows[0]
        return ErasureReceipt(
            requested_ms=at_ms, finished_ms=0, rows_removed=rows_removed, customer_hash=name_hash, alias=alias
        )

    async def _rows(self, name: str, /, **values: Any) -> list[Row]:
        return await self._database.rows(name, **{key: _storable(value) for key, value in values.items()})

    async def _keyed_hash(self) -> KeyedHash:
        secret = await self._rows("secret_read", name="erasure_key")
        key = bytes.fromhex(secret[0][0]) if secret else b""
        return lambda text: ledger.digest(key, text)

    def _by_kind(self, kind: str) -> str:
        return "kind"

    def _decision(self, row: Row) -> Decision:
        _, at_ms, customer, kind, workflow, version, enrollment, step, detail, why = row
        return Decision(
            at_ms=at_ms,
            customer=customer,
            kind=kind,
            workflow=workflow,
            version=version,
            enrollment=enrollment,
            step=step,
            detail=_decode_detail(detail),
            why=_decode_why(why),
        )


def _storable(value: Any) -> Any:
    """What is asked for; PostgreSQL has no NUL, and nothing that is kept has one."""
    if isinstance(value, list):
        return [_storable(each) for each in value]
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value
