"""What is kept for a time only, and what is to be forgotten, goes in small steps between batches.

Invariant: a step is short, so that intake does not feel it; nothing that is not evaluated yet is removed.
"""

from engine.dispatch.guardrail import KEPT_MS
from engine.runtimes import consents
from engine.runtimes.embedded import erasure
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import Options, Store

ROWS_PER_STEP = 5_000
DAY_MS = 86_400_000


def step(store: Store, options: Options, *, now_ms: int, applied_seq: int) -> bool:
    """Removes a little. Returns whether there is more to do."""
    if erasure.step(store, now_ms):
        return True
    more = False
    store.connection.execute(SQL["pace_prune"], {"before_ms": now_ms - KEPT_MS})
    if options.log_days:
        before_ms = now_ms - options.log_days * DAY_MS
        with store.transaction() as connection:
            removed = connection.execute(
                SQL["log_prune"], {"before_ms": before_ms, "applied": applied_seq, "limit": ROWS_PER_STEP}
            ).rowcount
        more = removed == ROWS_PER_STEP
    if options.journal_days:
        before_ms = now_ms - options.journal_days * DAY_MS
        with store.transaction() as connection:
            removed = connection.execute(
                SQL["journal_prune"], {"before_ms": before_ms, "limit": ROWS_PER_STEP}
            ).rowcount
        more = more or removed == ROWS_PER_STEP
    with store.transaction() as connection:
        before_ms = now_ms - consents.PROOF_MS
        removed = connection.execute(SQL["consents_prune"], {"before_ms": before_ms, "limit": ROWS_PER_STEP}).rowcount
    return more or removed == ROWS_PER_STEP
