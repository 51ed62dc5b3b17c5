"""What the consent ledger has about the time before there was one: from the journal, else from customers' states.

Invariant: nothing is said that was not decided then. What comes from a state alone has the source `before the ledger`; the
addresses and words that nobody kept then are left empty.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.core.consent.proof import PROOF_KEYS, ConsentRecord, record_id, records_of, standing
from engine.core.customer import CustomerState
from engine.core.effect import Decision

BEFORE = "before the ledger"
_ACTIONS = {"requested": "request", "granted": "grant", "withdrawn": "withdraw"}


def from_journal(decision: Decision, place: str) -> list[ConsentRecord]:
    """The entries that a line of the journal stands for, whichever version wrote it; `place` names the line.

    Raises msgspec.ValidationError as `records_of`.
    """
    detail = decision.detail
    if decision.kind != "consent":
        return []
    if "records" in detail:
        return records_of(decision)
    purpose, action, proof = str(detail.get("purpose", "")), str(detail.get("action", "")), detail.get("proof")
    known = proof.items() if isinstance(proof, dict) else ()
    kept = {name: text for name, text in known if name in PROOF_KEYS and isinstance(text, str)}
    return [
        ConsentRecord(
            id=record_id(f"journal:{place}", customer=decision.customer, action=action, purpose=purpose, channel=channel),
            customer=decision.customer, purpose=purpose, channel=channel, action=action, source=str(detail.get("source", "")),
            at_ms=decision.at_ms, recorded_ms=decision.at_ms, proof={**kept, "origin": f"the journal, {BEFORE}"},
        )
        for channel in detail.get("channels", ())
        if isinstance(channel, str)
    ]  # fmt: skip


def from_state(state: CustomerState, known: Iterable[ConsentRecord]) -> list[ConsentRecord]:
    """What a customer's state says of consent and `known`, all that the ledger has under the customer's ids, does not."""
    stands = {(each.purpose, each.channel): each for each in standing(known)}
    found = []
    for purpose, channels in state.consent.items():
        for channel, granted in channels.items():
            told = stands.get((purpose, channel))
            last = (told.withdrawn or told.given or told.requested) if told is not None else None
            if told is not None and (told.status == granted.status or (last and last.at_ms > granted.at_ms)):
                continue
            action = _ACTIONS.get(granted.status, "")
            if action:
                key = record_id(BEFORE, customer=state.id, action=action, purpose=purpose, channel=channel)
                found.append(
                    ConsentRecord(
                        id=key, customer=state.id, purpose=purpose, channel=channel, action=action, basis=granted.basis,
                        address=granted.address, source=BEFORE, at_ms=granted.at_ms, recorded_ms=granted.at_ms,
                        proof={"origin": f"the customer's state; its source then: {granted.source or 'not kept'}"},
                    )
                )  # fmt: skip
    return found
