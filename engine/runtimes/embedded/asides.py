"""Who is set aside because a row of theirs cannot be read: stored for the next start, and in memory, so that asking is free.

Invariant: a row is set aside in the transaction that found it, with its bytes as a dead letter; what waits in the outbox for its
customer is held in the same transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from engine.core.customer import UNTIL_RESUMED_MS
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.unreadable import SET_ASIDE, UNREADABLE, SetAside


class Asides:
    """What the table `set_aside` says. `write` within a transaction, `took_effect` once it is committed."""

    def __init__(self) -> None:
        self.stopped: set[str] = set()
        """Customers whose records and messages wait."""
        self.rows: dict[tuple[str, str], str] = {}
        """(kind, key) → customer."""

    def read(self, connection: sqlite3.Connection) -> None:
        """Begins with what is stored."""
        self.rows.clear()
        self.stopped.clear()
        for kind, key, customer, reason in connection.execute(SQL["set_aside_all"]):
            self._remember(SetAside(kind=kind, key=key, customer=customer, reason=reason))

    def write(self, connection: sqlite3.Connection, found: Sequence[SetAside], *, now_ms: int) -> None:
        """Stores them, each once."""
        for each in found:
            values = {
                "kind": each.kind,
                "key": each.key,
                "customer": each.customer,
                "reason": each.reason,
                "at_ms": now_ms,
            }
            if not connection.execute(SQL["set_aside_insert"], values).rowcount:
                continue
            letter = (now_ms, f"{each.kind}:{each.key}", each.reason, each.customer, each.body)
            connection.execute(SQL["dead_letter_insert"], letter)
            if each.kind == "message":
                held = {"message": each.key, "until_ms": UNTIL_RESUMED_MS, "reason": UNREADABLE}
                connection.execute(SQL["ledger_hold_one"], held)
            elif each.stops:
                held = {"customer": each.customer, "until_ms": UNTIL_RESUMED_MS, "reason": SET_ASIDE}
                connection.execute(SQL["ledger_hold"], held)

    def took_effect(self, found: Sequence[SetAside]) -> list[SetAside]:
        """Remembers them; returns those that are new."""
        new = [each for each in found if (each.kind, each.key) not in self.rows]
        for each in new:
            self._remember(each)
        return new

    def forget(self, customer: str) -> None:
        """They were erased, or mended: nothing of theirs waits."""
        self.stopped.discard(customer)
        self.rows = {place: whose for place, whose in self.rows.items() if whose != customer}

    def _remember(self, each: SetAside) -> None:
        self.rows[each.kind, each.key] = each.customer
        if each.stops:
            self.stopped.add(each.customer)
