"""Forgetting a customer: what is kept outside the state goes in the same transaction, the log follows in small steps.

Invariant: after the last step no row holds the customer's id, address or data; what stays is a receipt with a keyed hash.
Records that arrive after the erasure are a new beginning and stay.
"""

from itertools import compress

import msgspec
from msgspec.structs import replace

from engine.core.effect import Decision
from engine.runtimes.embedded.plan import Plan
from engine.runtimes.embedded.statements import SQL
from engine.runtimes.embedded.store import Store

LOG_ROWS_PER_STEP = 20_000

_encode_decision = msgspec.msgpack.Encoder().encode


def forget(store: Store, plan: Plan) -> None:
    """Carries out the plan's erasures, and takes the customers out of what the plan itself is about to write."""
    connection = store.connection
    for seq, record in plan.forgets:
        customer = record.customer
        removed = 0
        for name in ("journal_forget", "ledger_forget", "dead_letters_forget"):
            removed += connection.execute(SQL[name], {"customer": customer, "log_seq": seq}).rowcount
        kept = [customer != message.customer or at > seq for at, message in plan.messages]
        plan.messages = list(compress(plan.messages, kept))
        plan.ledger_rows = list(compress(plan.ledger_rows, kept))
        plan.failures = [each for each in plan.failures if each[1].customer != customer or each[0] > seq]
        name_hash = store.keyed_hash(f"customer:{customer}")
        alias = f"erased:{name_hash.hex()[:16]}"
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
    until = min(scanned_seq + LOG_ROWS_PER_STEP, log_seq)
    with store.transaction() as connection:
        removed = connection.execute(
            SQL["log_forget"], {"after": scanned_seq, "until": until, "customer": customer}
        ).rowcount
        connection.execute(SQL["erasure_scanned"], {"number": number, "scanned_seq": until, "rows_removed": removed})
        if until == log_seq:
            connection.execute(SQL["erasure_finish"], {"number": number, "finished_ms": now_ms})
    return True
