"""The consent ledger as every store keeps it: its rows, and what stays of them when their customer is erased.

Invariant: rows are added and never changed, but for one thing, once: an erasure takes out who it was. Then a keyed hash of the
address stays with what was asked, given and withdrawn, when and with which words: whoever says later that they were written to
without consent names the address, and the proof is found (Art. 17(3)(e) GDPR; § 7a UWG asks for five years).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from engine.core.channel import ADDRESS_TRAITS
from engine.core.consent.may_send import normal_address
from engine.core.consent.proof import RECORD_ID_CHARS, ConsentRecord
from engine.core.facts.address import kept_as

PROOF_YEARS = 5
"""How long the proof of somebody who was erased is kept."""
PROOF_MS = (PROOF_YEARS * 365 + 2) * 86_400_000
STAYS = frozenset(
    {"wording", "wording_version", "language", "form", "page", "requested_at", "confirmed_at", "zone", "basis"}
)
"""What stays of a proof; `ip`, `user_agent`, `message` and free texts go."""
CONSENTS_MAX = 10_000

KeyedHash = Callable[[str], bytes]
Row = Sequence[Any]


def row_of(record: ConsentRecord, *, erased_ms: int = 0) -> tuple[Any, ...]:
    """The columns of `consents`, from `record` on."""
    texts = (record.id, record.customer, record.purpose, record.channel, record.action, record.basis, record.address)
    times = (record.at_ms, record.recorded_ms, record.requested_ms)
    proof = json.dumps(record.proof, ensure_ascii=True, sort_keys=True)
    return (*(_plain(text) for text in (*texts, record.source)), *times, proof, erased_ms)


def record_of(row: Row) -> ConsentRecord:
    """The record that a row holds."""
    key, customer, purpose, channel, action, basis, address, source, at_ms, recorded_ms, requested_ms, proof, _ = row
    return ConsentRecord(
        id=key, customer=customer, purpose=purpose, channel=channel, action=action, basis=basis, address=address,
        source=source, at_ms=at_ms, recorded_ms=recorded_ms, requested_ms=requested_ms, proof=json.loads(proof),
    )  # fmt: skip


def without_person(record: ConsentRecord, *, alias: str, keyed_hash: KeyedHash) -> ConsentRecord:
    """What stays of a record when its customer is erased."""
    return replace(
        record,
        id=keyed_hash(f"consent-record:{record.id}").hex()[:RECORD_ID_CHARS],
        customer=alias,
        address=hidden_address(record.address, record.channel, keyed_hash) if record.address else "",
        proof={name: text for name, text in record.proof.items() if name in STAYS},
    )


def hidden_address(address: str, channel: str, keyed_hash: KeyedHash) -> str:
    """What an address is found by after an erasure. The same for all channels that use it."""
    return _hidden(normal_address(address, channel), channel, keyed_hash)


def _hidden(address: str, channel: str, keyed_hash: KeyedHash) -> str:
    kind = ADDRESS_TRAITS.get(channel, channel)
    return "hash:" + keyed_hash(f"consent:{kind}:{address}").hex()


def looked_up(address: str, keyed_hash: KeyedHash) -> list[str]:
    """Under which texts an address may stand in the ledger: as it is, and hidden, by the rule of today and by older ones."""
    channel = "email" if "@" in address else "sms"
    texts = kept_as(address) if channel == "email" else (normal_address(address, channel),)
    return [*texts, *(_hidden(text, channel, keyed_hash) for text in texts)]


def found(rows: Iterable[Row]) -> list[ConsentRecord]:
    """The records of rows, oldest first."""
    return [record_of(row) for row in rows]


def _plain(text: str) -> str:
    return text.replace("\0", "\ufffd")
