"""Writes the consent ledger's rows into the journal's database, and takes persons out of them.

Invariant: as in `projection.py`: the rows depend on what was consumed, not on how it was cut. What is said about somebody at or
before their erasure stays without the person, whether it is read before the erasure, with it, or after it.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.core.consent.proof import ConsentRecord
from engine.runtimes import consents
from engine.runtimes.consent_chain import hidden_from
from engine.runtimes.journal import ledger
from engine.runtimes.journal.database import Transaction
from engine.runtimes.kafka.topics import Removed

Alias = Callable[[str, int], tuple[str, int]]
"""(customer, offset) → what stands in for them, and when they were erased, at or after it; ("", 0) when they were not."""
Erasures = dict[str, dict[int, list[tuple[int, int, str]]]]
"""Customer → partition → erasures there, oldest first: offset, time, alias."""
NEVER = [(-1, 0, "")]


class ConsentRows:
    """Those of one transaction."""

    def __init__(self, transaction: Transaction, keyed_hash: consents.KeyedHash) -> None:
        self._transaction = transaction
        self._keyed_hash = keyed_hash
        self._new: dict[str, tuple[int, int, ConsentRecord, int]] = {}

    async def hide(self, partition: int, removed: Removed) -> None:
        """An erasure: what is here already stays, without the person."""
        rows = await self._transaction.rows(
            "consents_forget", customer=removed.customer, partition=partition, log_offset=removed.offset
        )
        for row in rows:
            known = consents.record_of(row[:-1])
            without = consents.without_person(known, alias=removed.alias, keyed_hash=self._keyed_hash)
            hidden = hidden_from(without, row[-1])
            await self._transaction.rows(
                "consents_hide",
                record=known.id,
                hidden=hidden.id,
                customer=removed.alias,
                address=hidden.address,
                proof=consents.row_of(hidden)[-2],
                erased_ms=max(removed.at_ms, 1),
            )

    async def sort(self, partition: int, found: dict[str, tuple[int, ConsentRecord]], alias_of: Alias) -> None:
        """Takes what is new; of whom was erased, without the person."""
        for offset, record in found.values():
            alias, at_ms = alias_of(record.customer, offset)
            kept = consents.without_person(record, alias=alias, keyed_hash=self._keyed_hash) if alias else record
            self._new.setdefault(kept.id, (partition, offset, kept, max(at_ms, 1) if alias else 0))
        if self._new:
            rows = await self._transaction.rows("consents_known", records=list(self._new))
            for (known,) in rows:
                self._new.pop(known)

    async def write(self) -> None:
        """All new ones, numbered and chained."""
        entries = [
            (partition, offset, consents.row_of(record, erased_ms=erased_ms))
            for partition, offset, record, erased_ms in self._new.values()
        ]
        await ledger.add(self._transaction, entries, self._keyed_hash)

    def __len__(self) -> int:
        return len(self._new)


def alias_in(until: Erasures, partition: int) -> Alias:
    """As `sort` asks for it, on this partition."""

    def alias_of(customer: str, offset: int) -> tuple[str, int]:
        erasures = until[customer].get(partition, []) if customer in until else []
        return next(((alias, at_ms) for erased, at_ms, alias in erasures if offset <= erased), ("", 0))

    return alias_of
