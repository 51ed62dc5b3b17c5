"""Fills the columns that the ledger got later, in the rows of earlier versions, from the message that each of them keeps.

Invariant: a step is short, so that intake does not feel it, and is done once; a row that cannot be read keeps its empty columns.
"""

from __future__ import annotations

from engine.runtimes.embedded.outbox import decode_message
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import Store
from engine.runtimes.unreadable import UnreadableRow, readable

ROWS_PER_STEP = 500


def step(store: Store) -> bool:
    """Fills some rows, the newest first. Returns whether there may be more."""
    rows = store.connection.execute(SQL["ledger_unfilled"], {"limit": ROWS_PER_STEP}).fetchall()
    if not rows:
        return False
    filled = []
    for number, body in rows:
        try:
            message = readable(decode_message, body)
        except UnreadableRow:
            continue  # `check --database` speaks of it
        filled.append((message.workflow, message.step, message.template, message.issue, message.variant, number))
    with store.transaction() as connection:
        connection.executemany(SQL["ledger_fill"], filled)
        connection.execute(SQL["progress_set"], {"name": "unfilled", "value": rows[-1][0] - 1, "note": ""})
    return True
