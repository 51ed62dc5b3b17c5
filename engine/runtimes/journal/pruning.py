"""Removes from the journal's database what is kept no longer, a little at a time.

Invariant: a step is one short transaction; of the consent ledger nothing goes by its age alone.
"""

from __future__ import annotations

from engine.dispatch.sending.guardrail import KEPT_MS
from engine.runtimes.journal.database import Database

PRUNE_ROWS = 5_000


class Pruning:
    """Of an open database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prune_pace(self, now_ms: int) -> None:
        """Removes counts that nobody asks for any more."""
        async with self._database.transaction() as transaction:
            await transaction.rows("pace_prune", before_ms=now_ms - KEPT_MS)

    async def prune(self, before_ms: int) -> int:
        """Removes the oldest journal lines if they are older, at most PRUNE_ROWS; returns how many."""
        async with self._database.transaction() as transaction:
            return len(await transaction.rows("journal_prune", before_ms=before_ms, limit=PRUNE_ROWS))

    async def prune_letters(self, before_ms: int) -> int:
        """Removes the oldest dead letters if they are older, at most PRUNE_ROWS; returns how many."""
        async with self._database.transaction() as transaction:
            return len(await transaction.rows("dead_letters_prune", before_ms=before_ms, limit=PRUNE_ROWS))

    async def prune_proofs(self, before_ms: int) -> int:
        """Removes consent records of those who were erased before; returns how many."""
        async with self._database.transaction() as transaction:
            await transaction.rows("consents_leave", before_ms=before_ms, limit=PRUNE_ROWS)
            return len(await transaction.rows("consents_prune", before_ms=before_ms))
