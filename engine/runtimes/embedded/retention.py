"""What is kept for a time only, and what is to be forgotten, goes in small steps between batches.

Invariant: a step is short, so that intake does not feel it; nothing that is not evaluated or not sent yet is removed, and nothing
of the consent ledger by its age alone.
"""

from __future__ import annotations

from engine.dispatch.sending.guardrail import KEPT_MS
from engine.runtimes import consents
from engine.runtimes.embedded import erasure, filling
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import Store
from engine.runtimes.keeping import RetentionDays, before_ms

ROWS_PER_STEP = 5_000


def step(store: Store, kept: RetentionDays, *, now_ms: int, applied_seq: int) -> bool:
    """Removes a little. Returns whether there is more to do."""
    if erasure.step(store, now_ms):
        return True
    if store.wal_tries:
        store.wal_tries = 0 if store.empty_wal() else store.wal_tries - 1
        return True
    if filling.step(store):
        return True
    tables = {
        "log_prune": before_ms(kept.log, now_ms),
        "journal_prune": before_ms(kept.journal, now_ms),
        "ledger_prune": before_ms(kept.messages, now_ms),
        "dead_letters_prune": before_ms(kept.dead_letters, now_ms),
        "consents_prune": now_ms - consents.PROOF_MS,
    }
    more = False
    store.connection.execute(SQL["pace_prune"], {"before_ms": now_ms - KEPT_MS})
    for name, oldest_ms in tables.items():
        if oldest_ms is not None:
            asked = {"before_ms": oldest_ms, "limit": ROWS_PER_STEP, "applied": applied_seq}
            with store.transaction() as connection:
                if name == "log_prune":
                    pruned = connection.execute(SQL[name], asked).rowcount
                    if pruned:
                        connection.execute(SQL["progress_pruned"], {"applied": applied_seq})
                    more = pruned == ROWS_PER_STEP or more
                    continue
                if name == "consents_prune":
                    connection.execute(SQL["consents_leave"], asked)
                more = connection.execute(SQL[name], asked).rowcount == ROWS_PER_STEP or more
    return more
