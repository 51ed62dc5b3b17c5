"""The batch transaction: log, states, timers, journal, outbox, ledger and offset, all or nothing.

Invariant: when `commit` returns, everything the requests asked for and everything that was decided on them is durable; when
it raises, nothing of it is, and the same requests may be tried again.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from engine.core.catalog import Catalog
from engine.core.consent.proof import records_of
from engine.core.consent.suppression import names
from engine.core.journey.broadcast import test_key
from engine.core.record import Pause, Record, Winner, decode_record, encode_record
from engine.dispatch.ports import Settlement
from engine.dispatch.sending.feedback import INTERRUPTED, NOWHERE, SENT_ELSEWHERE
from engine.runtimes.base import DeadLetter
from engine.runtimes.effects import encode_message
from engine.runtimes.embedded import consents, erasure
from engine.runtimes.embedded.plan import CustomerSlot, TransactionPlan, TransactionPlanner, Work
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import EmbeddedOptions, Store
from engine.runtimes.unreadable import SetAside, UnreadableRow, read_state, readable


class BatchOrder(msgspec.Struct, kw_only=True):
    """Everything one transaction is asked to do, besides what is decided on the way."""

    records: list[tuple[Record, bytes]] = []
    claims: list[str] = []
    links: dict[str, Mapping[str, str]] = {}
    """Where the tracked links of claimed messages lead."""
    settlements: list[Settlement] = []
    resends: list[str] = []
    """Claimed messages of a dead process that are to be sent again."""
    letters: list[DeadLetter] = []
    asides: list[SetAside] = []
    """Rows that somebody found unreadable."""
    commands_done: list[int] = []
    letters_done: list[int] = []
    recheck_after: int | None = None
    """States up to this number have their Recheck among `records`; -1: all have."""
    recheck_note: str = ""
    """What the rechecks are of, as `Walk.note` writes it."""
    resume_after: int | None = None
    """States up to this number have their Resume among `records`; -1: all have."""
    now_ms: int


class BatchResult(msgspec.Struct, kw_only=True):
    """What became of an order."""

    plan: TransactionPlan
    claimed: frozenset[str]
    more_to_send: bool
    more_on_log: bool


class Batches:
    """Carries out orders, one transaction each. Keeps the log position; not safe for use by two at once."""

    def __init__(self, store: Store, options: EmbeddedOptions) -> None:
        self._store = store
        self._options = options
        self._planner = TransactionPlanner(
            self._load, keep_unconcerned=options.keep_unconcerned, stopped=store.asides.stopped
        )
        self.log_seq = 0
        self.applied_seq = 0

    def open(self) -> None:
        """Reads how far the log has come."""
        progress = {row[0]: row[1] for row in self._store.connection.execute(SQL["progress_all"])}
        self.log_seq = progress["log"]
        self.applied_seq = progress["applied"]

    def commit(self, catalog: Catalog, order: BatchOrder) -> BatchResult:
        """Evaluates and writes. Raises StorageError and its kind; then nothing has happened."""
        with self._store.transaction() as connection:
            claimed = frozenset(
                message
                for message in order.claims
                if connection.execute(SQL["ledger_claim"], {"message": message, "now_ms": order.now_ms}).rowcount
            )
            for message, links in order.links.items():
                if message in claimed:
                    text = msgspec.json.encode(links).decode()
                    connection.execute(SQL["ledger_links"], {"message": message, "links": text})
            answers = self._settle(connection, order.settlements)
            fresh = answers + order.records
            work = self._carried(connection)
            if not work.until_seq:
                work.fresh.extend(fresh)
            plan = self._planner.plan(catalog, work, log_seq=self.log_seq)
            if work.until_seq:  # new records queue up behind what is on the log
                for record, body in fresh:
                    plan.log_seq += 1
                    plan.log_rows.append((plan.log_seq, record.at_ms, record.customer, body))
            plan.asides += order.asides
            self._store.asides.write(connection, plan.asides, now_ms=order.now_ms)
            write_plan(self._store, plan)
            if plan.goes_on:  # whoever waits is asked from the beginning, also those who were asked a moment ago
                order.resume_after = 0
            _write_rest(connection, order)
            if (plan.log_seq, plan.applied_seq) != (self.log_seq, self.applied_seq):
                connection.execute(SQL["progress_advance"], {"log": plan.log_seq, "applied": plan.applied_seq})
        self.log_seq = plan.log_seq
        self.applied_seq = plan.applied_seq
        return BatchResult(
            plan=plan,
            claimed=claimed,
            more_to_send=bool(plan.ledger_rows)
            or plan.goes_on
            or any(each.status == "pending" for each in order.settlements),
            more_on_log=plan.applied_seq < plan.log_seq,
        )

    def _carried(self, connection: sqlite3.Connection) -> Work:
        """What is on the log and not evaluated yet, or its first part."""
        work = Work(carried=[], fresh=[], damaged=[])
        if self.applied_seq >= self.log_seq:
            return work
        limit = self._options.batch_records_max
        rows = connection.execute(SQL["log_after"], {"seq": self.applied_seq, "limit": limit + 1}).fetchall()
        for seq, customer, body in rows[:limit]:
            try:
                work.carried.append((seq, readable(decode_record, body)))
            except UnreadableRow as error:
                found = SetAside(kind="log", key=str(seq), customer=customer, reason=str(error), body=body)
                work.damaged.append((seq, found))
        return msgspec.structs.replace(work, until_seq=rows[limit - 1][0]) if len(rows) > limit else work

    def _settle(self, connection: sqlite3.Connection, settlements: Sequence[Settlement]) -> list[tuple[Record, bytes]]:
        answers: list[tuple[Record, bytes]] = []
        for each in settlements:
            changed = connection.execute(
                SQL["ledger_settle"],
                {
                    "message": each.message_id,
                    "status": each.status,
                    "scheduled": int(each.status == "pending"),
                    "not_before_ms": each.not_before_ms,
                    "at_ms": each.at_ms,
                    "reason": each.reason,
                    "code": each.code,
                    "provider_id": each.provider_id,
                },
            ).rowcount
            if changed:  # an answer for a message that was erased meanwhile, or given twice, says nothing new
                answers.extend((record, encode_record(record)) for record in each.records)
        return answers

    def _load(self, customers: Iterable[str]) -> dict[str, CustomerSlot]:
        names = list(customers)
        if not names:
            return {}
        if len(names) == 1:
            rows = self._store.connection.execute(SQL["state_load"], names)
        else:
            rows = self._store.connection.execute(SQL["states_load"], (json.dumps(names),))
        return {customer: _slot(customer, number, due_ms, body=state) for customer, number, due_ms, state in rows}


def _slot(customer: str, number: int, due_ms: int, *, body: bytes) -> CustomerSlot:
    try:
        return CustomerSlot(number, due_ms, state=read_state(body, customer))
    except UnreadableRow as error:
        found = SetAside(kind="state", key=customer, customer=customer, reason=str(error), body=body)
        return CustomerSlot(number, due_ms, state=None, aside=found)


def write_plan(store: Store, plan: TransactionPlan) -> None:
    """Writes what was decided. Order matters only for readers of this function: it is one transaction."""
    _write_consents(store, plan)  # first: of whom this plan forgets the proof stays, without the person
    if plan.forgets:
        erasure.forget(store, plan)
    counts = [("decision", part, count) for part, count in plan.decision_counts.items()]
    counts.append(("total", "records", plan.evaluated))
    counts.append(("total", "customers", len(plan.state_inserts) - len(plan.state_deletes)))
    counts.append(("total", "timers", len(plan.timer_inserts) - len(plan.timer_deletes)))
    suppressions = [
        (address_hash(store, each.channel, address=each.address), each.channel, each.reason, each.at_ms)
        for each in plan.suppressions
    ]
    failures = [
        (record.at_ms, f"log:{seq}", reason, record.customer, encode_record(record))
        for seq, record, reason in plan.failures
    ]
    writes: tuple[tuple[str, Sequence[tuple[Any, ...]]], ...] = (
        ("log_insert", plan.log_rows),
        ("state_update", plan.state_updates),
        ("state_insert", plan.state_inserts),
        ("state_delete", plan.state_deletes),
        ("state_defer", plan.state_defers),
        ("timer_delete", plan.timer_deletes),
        ("timer_insert", plan.timer_inserts),
        ("journal_insert", plan.journal_rows),
        ("ledger_insert", plan.ledger_rows),
        ("counters_add", [row for row in counts if row[2]]),
        ("control_set", [_control_row(each) for each in plan.pauses]),
        ("winner_insert", [(_test_key(each), each.variant, each.at_ms) for each in plan.winners]),
        ("pace_add", _pace_rows(plan)),
        ("suppressed_insert", suppressions),
        ("dead_letter_insert", failures),
    )
    for name, rows in writes:
        if rows:
            store.connection.executemany(SQL[name], rows)
    if plan.goes_on:
        store.connection.execute(SQL["ledger_unpause"])
    for flush in plan.flushes:
        values = {"channel": flush.channel, "domain": flush.domain}
        store.connection.execute(SQL["ledger_flush"], values)
    if plan.holding is not None:
        note = msgspec.json.encode(plan.holding).decode()
        store.connection.execute(SQL["progress_put"], {"name": "holding", "value": plan.holding.since_ms, "note": note})
    if plan.sent_elsewhere:
        _settle_elsewhere(store.connection, plan)


def _settle_elsewhere(connection: sqlite3.Connection, plan: TransactionPlan) -> None:
    """What is known and not final becomes `sent`; of the rest a row stays, so that it is not sent when it is decided."""
    body = encode_message(NOWHERE)
    for message, at_ms in plan.sent_elsewhere:
        values = {"message": message, "reason": SENT_ELSEWHERE, "body": body, "at_ms": at_ms}
        if not connection.execute(SQL["ledger_sent_elsewhere"], values).rowcount:
            connection.execute(SQL["ledger_sent_before"], values)


def _control_row(record: Pause) -> tuple[str, int, int, str, int]:
    since_ms = record.at_ms if record.paused and not record.drop else 0
    return record.workflow, int(record.paused), record.at_ms, record.reason, since_ms


def _write_consents(store: Store, plan: TransactionPlan) -> None:
    records = [(seq, record) for seq, decision in plan.decisions for record in records_of(decision)]
    if records:
        consents.add(store.connection, records, store.keyed_hash)


def _pace_rows(plan: TransactionPlan) -> list[tuple[int, str, int, int, int]]:
    places = dict.fromkeys((bucket_ms, workflow) for workflow, bucket_ms, _ in plan.paced)
    paced = plan.paced
    return [
        (at_ms, name, paced[name, at_ms, "queued"], paced[name, at_ms, "bounced"], paced[name, at_ms, "complained"])
        for at_ms, name in places
    ]


def _write_rest(connection: sqlite3.Connection, order: BatchOrder) -> None:
    if order.letters:
        connection.executemany(
            SQL["dead_letter_insert"],
            [(each.at_ms, each.origin, each.reason, each.customer, each.body) for each in order.letters],
        )
    for message in order.resends:
        connection.execute(SQL["ledger_resend"], {"message": message, "at_ms": order.now_ms, "reason": INTERRUPTED})
    if order.letters_done:
        connection.executemany(SQL["dead_letter_delete"], [(number,) for number in order.letters_done])
    if order.commands_done:
        connection.executemany(SQL["command_delete"], [(number,) for number in order.commands_done])
    if order.recheck_after is not None:
        connection.execute(
            SQL["progress_set"], {"name": "recheck", "value": order.recheck_after, "note": order.recheck_note}
        )
    if order.resume_after is not None:
        connection.execute(SQL["progress_set"], {"name": "resume", "value": order.resume_after, "note": ""})


def _test_key(record: Winner) -> str:
    return test_key(record.workflow, record.issue, record.step)


def address_hash(store: Store, channel: str, *, address: str) -> bytes:
    """What an address is remembered by when nothing may be sent to it."""
    return store.keyed_hash(names(channel, address)[0])
