"""Forgetting a customer: what is kept outside the state goes in the same transaction, the log follows in small steps.

Invariant: after the last step no row holds the customer's id, address or data; what stays is a receipt with a keyed hash, and
the consent ledger without the person.
Records that arrive after the erasure are a new beginning and stay.
"""

import sqlite3
from itertools import compress

import msgspec
from msgspec.structs import replace

from engine.core.consent.suppression import ERASED
from engine.core.effect import Decision
from engine.errors import StorageError
from engine.runtimes import consents
from engine.runtimes.base import same_addresses
from engine.runtimes.consent_chain import hidden_from
from engine.runtimes.embedded.plan import TransactionPlan
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import Store
from engine.telemetry import Action, get_log

LOG_ROWS_PER_STEP = 20_000
WAL_TRIES_MAX = 200
_log = get_log("erasure")

_encode_decision = msgspec.msgpack.Encoder().encode


def forget(store: Store, plan: TransactionPlan) -> None:
    """Carries out the plan's erasures, and takes the customers out of what the plan itself is about to write."""
    connection = store.connection
    for seq, record in plan.forgets:
        customer = record.customer
        removed = 0
        for name in ("journal_forget", "ledger_forget", "dead_letters_forget", "set_aside_forget"):
            removed += connection.execute(SQL[name], {"customer": customer, "log_seq": seq}).rowcount
        removed += _forget_nameless_letters(connection, plan)
        kept = [customer != message.customer or at > seq for at, message in plan.messages]
        plan.messages = list(compress(plan.messages, kept))
        plan.ledger_rows = list(compress(plan.ledger_rows, kept))
        plan.failures = [each for each in plan.failures if each[1].customer != customer or each[0] > seq]
        name_hash = store.keyed_hash(f"customer:{customer}")
        alias = f"erased:{name_hash.hex()[:16]}"
        _hide_consents(store, customer, log_seq=seq, alias=alias, erased_ms=record.at_ms)
        plan.journal_rows = [
            _redacted(decision, alias, at) if at == seq and decision.customer == customer else row
            for (at, decision), row in zip(plan.decisions, plan.journal_rows, strict=True)
            if decision.customer != customer or at >= seq
        ]
        plan.decisions = [
            (at, replace(decision, customer=alias) if at == seq and decision.customer == customer else decision)
            for at, decision in plan.decisions
            if decision.customer != customer or at >= seq
        ]
        connection.execute(
            SQL["erasure_insert"],
            {
                "customer_hash": name_hash,
                "customer": customer,
                "requested_ms": record.at_ms,
                "log_seq": seq,
                "rows_removed": removed,
            },
        )


def _forget_nameless_letters(connection: sqlite3.Connection, plan: TransactionPlan) -> int:
    """Dead letters that do not say whose they are, and hold an address of somebody who is erased."""
    erased = {each.address for each in plan.suppressions if each.channel.startswith(f"{ERASED}/") and each.address}
    addresses = {text for address in erased for text in same_addresses(address)}
    return sum(
        connection.execute(SQL["dead_letters_forget_address"], {"address": address}).rowcount for address in addresses
    )


def _hide_consents(store: Store, customer: str, *, log_seq: int, alias: str, erased_ms: int) -> None:
    rows = store.connection.execute(SQL["consents_forget"], {"customer": customer, "log_seq": log_seq}).fetchall()
    for row in rows:
        known = consents.record_of(row[:-1])
        without = consents.without_person(known, alias=alias, keyed_hash=store.keyed_hash)
        hidden = hidden_from(without, row[-1])
        store.connection.execute(
            SQL["consents_hide"],
            {
                "record": known.id,
                "hidden": hidden.id,
                "customer": alias,
                "address": hidden.address,
                "proof": consents.row_of(hidden)[-2],
                "erased_ms": max(erased_ms, 1),
            },
        )


def _redacted(decision: Decision, alias: str, seq: int) -> tuple[int, int, str, str, str, str, str, bytes]:
    """The journal line of the erasure itself, without the customer: it says that it happened, and counts."""
    line = Decision(at_ms=decision.at_ms, customer=alias, kind=decision.kind, workflow=decision.workflow)
    return (seq, line.at_ms, alias, line.workflow, line.kind, "", "", _encode_decision(line))


def step(store: Store, now_ms: int) -> bool:
    """Cleans one stretch of the log for the oldest unfinished erasure. Returns whether there is more to do."""
    row = store.connection.execute(SQL["erasure_open"]).fetchone()
    if row is None:
        return False
    number, customer, log_seq, scanned_seq = row
    if scanned_seq == 0:
        try:
            store.on_forget(customer)
        except StorageError as error:
            _log.error(Action.BATCH_FAILED, cause=error)
            return False  # it is tried again in the next round; until then the erasure is not finished
    until = min(scanned_seq + LOG_ROWS_PER_STEP, log_seq)
    with store.transaction() as connection:
        removed = connection.execute(
            SQL["log_forget"], {"after": scanned_seq, "until": until, "customer": customer}
        ).rowcount
        connection.execute(SQL["erasure_scanned"], {"number": number, "scanned_seq": until, "rows_removed": removed})
        if until == log_seq:
            connection.execute(SQL["erasure_finish"], {"number": number, "finished_ms": now_ms})
    if until == log_seq:
        store.wal_tries = WAL_TRIES_MAX
        _log.info(Action.CUSTOMER_ERASED, number=number)
    return True
