"""The consent ledger's records: what was asked, given, confirmed and withdrawn, by whom, where and with which words.

Invariant: a record says one thing that happened and is never changed; where consent stands now follows from the records, in the
order of their times. Records are made of the journal's `consent` decisions, on every runtime by `records_of`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from engine.core.effect import Decision

RECORD_ID_CHARS = 24
PROOF_KEYS = frozenset(
    {
        "wording", "wording_version", "language", "form", "page", "ip", "user_agent", "requested_at", "confirmed_at", "zone",
        "message", "address", "basis", "reason", "operator", "origin", "row",
    }
)  # fmt: skip
"""What a proof may say, each as text. `message` is the id of the double opt-in mail; `origin` and `row`: of an import."""
PROOF_CHARS_MAX = 4_000


class ConsentRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry. Times are UTC milliseconds.

    `action` is `request`, `grant`, `confirm` or `withdraw`; `basis` is `consent`, `existing_customer` (§ 7(3) UWG) or `contract`.
    `address` is normalised, "" when none was known. `at_ms` is when it happened, `recorded_ms` when we were told.
    `requested_ms` of a confirmation is when it had been asked for. `proof` holds what `PROOF_KEYS` names.
    """

    id: str
    customer: str
    purpose: str
    channel: str
    action: str
    basis: str = "consent"
    address: str = ""
    source: str = ""
    at_ms: int = 0
    recorded_ms: int = 0
    requested_ms: int = 0
    proof: dict[str, Any] = {}


class ConsentStanding(msgspec.Struct, frozen=True, kw_only=True):
    """Where one purpose and channel stands: the status, and the records it follows from (None: there is none)."""

    purpose: str
    channel: str
    status: str
    address: str
    basis: str
    requested: ConsentRecord | None = None
    given: ConsentRecord | None = None
    withdrawn: ConsentRecord | None = None


def record_id(origin: str, *, customer: str, action: str, purpose: str, channel: str) -> str:
    """The id of an entry: the same whenever the same change is applied again."""
    text = f"{origin}\x1f{customer}\x1f{action}\x1f{purpose}\x1f{channel}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:RECORD_ID_CHARS]


def records_of(decision: Decision) -> list[ConsentRecord]:
    """The ledger's entries that a journal line stands for; none unless it is about consent.

    Raises msgspec.ValidationError for a line that is none of ours.
    """
    if decision.kind != "consent":
        return []
    detail = decision.detail
    shared = {
        "customer": decision.customer,
        "purpose": detail.get("purpose"),
        "action": detail.get("action"),
        "source": detail.get("source", ""),
        "at_ms": detail.get("time_ms", decision.at_ms),
        "recorded_ms": decision.at_ms,
        "proof": detail.get("proof", {}),
    }
    entries = msgspec.convert(detail.get("records", []), list[dict[str, Any]])
    return [msgspec.convert({**shared, **each}, ConsentRecord) for each in entries]


def standing(records: Iterable[ConsentRecord]) -> list[ConsentStanding]:
    """Where each purpose and channel stands after all these records: the newest by the time it happened decides."""
    found: dict[tuple[str, str], ConsentStanding] = {}
    for record in sorted(records, key=lambda each: (each.at_ms, each.recorded_ms)):
        place = (record.purpose, record.channel)
        known = found.get(place)
        now = known or ConsentStanding(purpose=record.purpose, channel=record.channel, status="", address="", basis="")
        if record.action == "withdraw":
            now = msgspec.structs.replace(now, status="withdrawn", withdrawn=record)
        elif record.basis != "consent" and now.withdrawn is not None:
            continue  # told later than the objection that stands against it
        elif record.action == "request":
            now = msgspec.structs.replace(now, status="requested", requested=record, given=None, withdrawn=None)
        else:
            now = msgspec.structs.replace(now, status="granted", given=record, withdrawn=None)
        if record.action != "withdraw":
            now = msgspec.structs.replace(now, address=record.address, basis=record.basis)
        found[place] = now
    return [found[place] for place in sorted(found)]
