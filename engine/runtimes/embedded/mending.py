"""Mends the rows of a store that cannot be read, while no engine uses it.

Invariant: a row is written over only by what the log says it was, and only when replaying the log decides what the journal says
was decided. Everything else is left as it is, unless the operator gives the row up; its bytes then stay as a dead letter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine.core.customer import encode_state
from engine.core.effect import Decision
from engine.core.record import Consent, Record, decode_record, encode_record
from engine.runtimes import consents
from engine.runtimes.effects import encode_message
from engine.runtimes.embedded.examining import KINDS, examine
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import Store
from engine.runtimes.rebuild import InForce, Rebuilt, line_of, rebuild
from engine.runtimes.unreadable import SET_ASIDE, Finding, UnreadableRow, read_state, readable
from engine.telemetry import Action, get_log

CANNOT_GO = frozenset(("consents", "file"))
"""Proof is never removed, and damaged pages cannot be told apart into rows."""
_decode_decision = msgspec.msgpack.Decoder(Decision).decode
_log = get_log("mending")


class Mended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a row: `rebuilt`, `given up`, or `left` and why."""

    finding: Finding
    outcome: str
    why: str = ""


def mend(var: Path, catalogs: Sequence[InForce], *, give_up: bool, now_ms: int) -> list[Mended]:
    """Mends what can be mended. Raises StorageBusy while an engine runs, StorageError."""
    store = Store(var)
    store.open()
    try:
        found = list(examine(store.connection))
        work = _Mending(store, catalogs, give_up=give_up, now_ms=now_ms)
        done = [work.row(finding) for finding in sorted(found, key=lambda each: each.table != "log")]
        for customer in sorted({each.finding.customer for each in done} | store.asides.stopped - {""}):
            if not any(each.outcome == "left" and each.finding.customer == customer and _stops(each) for each in done):
                work.let_go(customer)
        return done
    finally:
        store.close()


def _stops(each: Mended) -> bool:
    return each.finding.table in {"states", "log"}


class _Mending:
    def __init__(self, store: Store, catalogs: Sequence[InForce], *, give_up: bool, now_ms: int) -> None:
        self._store = store
        self._catalogs = catalogs
        self._give_up = give_up
        self._now_ms = now_ms
        self._replays: dict[str, Rebuilt | str] = {}

    def row(self, finding: Finding) -> Mended:
        """One row, in a transaction of its own."""
        why = "it is not worked out from the log"
        if finding.table in {"states", "ledger"}:
            replay = self._replay(finding.customer)
            if isinstance(replay, str):
                why = replay
            elif self._rebuilt(finding, replay):
                _log.info(Action.ROW_MENDED, row=finding.table, key=finding.key)
                return Mended(finding=finding, outcome="rebuilt")
            else:
                why = "the log does not lead to it"
        if not self._give_up or finding.table in CANNOT_GO:
            return Mended(finding=finding, outcome="left", why=why)
        self._given_up(finding)
        return Mended(finding=finding, outcome="given up", why=why)

    # -------------------------------------------------------------------------------------------------- from the log

    def _replay(self, customer: str) -> Rebuilt | str:
        """What the log says of a customer, or why that is not to be trusted."""
        if customer not in self._replays:
            self._replays[customer] = self._replayed(customer)
        return self._replays[customer]

    def _replayed(self, customer: str) -> Rebuilt | str:
        connection = self._store.connection
        progress = {name: value for name, value, _ in connection.execute(SQL["progress_all"])}
        if progress["pruned"]:
            return "the log does not reach back to its beginning"
        waiting = [seq for _, seq, _ in connection.execute(SQL["letters_waiting"], {"customer": customer})]
        asked = {"customer": customer, "until": min(waiting, default=progress["applied"] + 1)}
        try:
            rows = connection.execute(SQL["replay_of_customer"], asked)
            records = [(seq, readable(decode_record, body)) for seq, body in rows]
            lines = connection.execute(SQL["journal_of_customer"], asked)
            told = tuple(line_of(readable(_decode_decision, body)) for (body,) in lines)
        except UnreadableRow:
            return "a row of the log or the journal of the same customer cannot be read either"
        return rebuild(self._catalogs, customer, records, told=told)

    def _rebuilt(self, finding: Finding, replay: Rebuilt) -> bool:
        if finding.table == "states":
            if replay.state is None:
                return False
            values = {"customer": finding.customer, "due_ms": 0, "state": encode_state(replay.state)}
            with self._store.transaction() as connection:
                connection.execute(SQL["state_mend"], values)
                self._done(connection, finding, keep_letter=False)
            return True
        message = replay.messages.get(finding.key)
        if message is None:
            return False
        with self._store.transaction() as connection:
            connection.execute(SQL["ledger_mend"], {"message": finding.key, "body": encode_message(message)})
            self._done(connection, finding, keep_letter=False)
        return True

    # ---------------------------------------------------------------------------------------------------- given up

    def _given_up(self, finding: Finding) -> None:
        with self._store.transaction() as connection:
            self._keep(connection, finding)
            if finding.table == "states":
                connection.execute(SQL["timers_forget"], {"customer": finding.customer})
                connection.execute(SQL["state_give_up"], {"customer": finding.customer})
                again = [encode_record(record) for record in self._consents(connection, finding.customer)]
                connection.executemany(SQL["command_insert"], [(body,) for body in again])
            elif finding.table == "ledger":
                connection.execute(SQL["ledger_give_up"], {"message": finding.key, "at_ms": self._now_ms})
            else:
                connection.execute(SQL[f"{finding.table}_give_up"], {"key": finding.key})
            self._done(connection, finding, keep_letter=True)

    def _keep(self, connection: sqlite3.Connection, finding: Finding) -> None:
        """The bytes as a dead letter, unless the engine has made one when it set the row aside."""
        if finding.set_aside:
            return
        column, table, key = _PLACES[finding.table]
        row = connection.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (finding.key,)).fetchone()  # noqa: S608 - names of ours
        origin = f"{KINDS.get(finding.table, finding.table)}:{finding.key}"
        body = row[0] if row is not None and isinstance(row[0], bytes) else b""
        connection.execute(SQL["dead_letter_insert"], (self._now_ms, origin, finding.reason, finding.customer, body))

    def _consents(self, connection: sqlite3.Connection, customer: str) -> list[Record]:
        """What the customer has consented to or objected to, from the ledger of consents: that must not be lost with the row."""
        asked = {"customer": customer, "limit": consents.CONSENTS_MAX}
        return [
            Consent(
                customer=customer,
                at_ms=self._now_ms,
                id=f"mended:{each.id}",
                time_ms=each.at_ms,
                action=each.action,
                purposes={each.purpose: [each.channel]},
                source=each.source,
                proof=each.proof,
            )
            for each in consents.found(connection.execute(SQL["consents_of_customer"], asked))
        ]

    # ------------------------------------------------------------------------------------------------------- after it

    def _done(self, connection: sqlite3.Connection, finding: Finding, *, keep_letter: bool) -> None:
        kind = KINDS.get(finding.table, "")
        connection.execute(SQL["set_aside_delete"], {"kind": kind, "key": finding.key})
        if not keep_letter:
            place = {"origin": f"{kind}:{finding.key}", "customer": finding.customer}
            connection.execute(SQL["letter_of_row"], place)

    def let_go(self, customer: str) -> None:
        """Nothing of the customer's is unreadable any more: what waited goes on, in its order."""
        with self._store.transaction() as connection:
            for kind, key, whose, _ in connection.execute(SQL["set_aside_all"]).fetchall():
                if whose == customer and kind != "message":
                    connection.execute(SQL["set_aside_delete"], {"kind": kind, "key": key})
            state = self._store.connection.execute(SQL["state_load"], (customer,)).fetchone()
            if state is not None:
                self._arm(connection, customer, state[3])
            for number, _, body in connection.execute(SQL["letters_waiting"], {"customer": customer}).fetchall():
                connection.execute(SQL["command_insert"], (body,))
                connection.execute(SQL["dead_letter_delete"], (number,))
            connection.execute(SQL["ledger_unhold"], {"customer": customer, "reason": SET_ASIDE})

    def _arm(self, connection: sqlite3.Connection, customer: str, body: bytes) -> None:
        due_ms = read_state(body, customer).next_due_ms
        connection.execute(SQL["timers_forget"], {"customer": customer})
        connection.execute(SQL["state_mend"], {"customer": customer, "due_ms": due_ms, "state": body})
        if due_ms:
            connection.execute(SQL["timer_insert"], (due_ms, customer))


_PLACES = {
    "states": ("state", "states", "customer"),
    "log": ("record", "log", "seq"),
    "ledger": ("body", "ledger", "message"),
    "journal": ("decision", "journal", "seq"),
    "definitions": ("files", "definitions", "catalog"),
    "handovers": ("files", "handovers", "number"),
    "commands": ("record", "commands", "number"),
}
