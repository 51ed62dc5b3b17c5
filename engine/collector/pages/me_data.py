"""A copy of what is kept about a customer, for the customer (Art. 15 and 20 GDPR).

Invariant: everything that is about them and that they may take along; nothing about how the engine works, and no other person.
"""

from __future__ import annotations

from typing import Any

from engine.clock import to_rfc3339
from engine.core.consent.proof import ConsentRecord
from engine.core.customer import CustomerState
from engine.core.facts.usable import unusable
from engine.runtimes.base import Front, MessageStatus

MESSAGES_MAX = 10_000


async def everything(runtime: Front, customer: str, *, now_ms: int) -> dict[str, Any]:
    """As JSON data; times are RFC 3339."""
    state = await runtime.state(customer)
    names = [customer, *(state.aliases if state is not None else ())]
    consents = [record for name in names for record in await runtime.consents(customer=name)]
    messages = await runtime.messages(customer=customer, limit=MESSAGES_MAX)
    return {
        "customer": customer,
        "exported_at": to_rfc3339(now_ms),
        "known_since": to_rfc3339(state.first_seen_ms) if state is not None and state.first_seen_ms else None,
        "details": state.traits if state is not None else {},
        "cannot_be_used": cannot_be_used(runtime, state, now_ms=now_ms),
        "groups": sorted(state.segments) if state is not None else [],
        "consents": [_consent(record) for record in consents],
        "messages": [_message(status) for status in messages],
    }


def cannot_be_used(runtime: Front, state: CustomerState | None, *, now_ms: int) -> dict[str, str]:
    """Details of which the newest value cannot be used, and why."""
    if state is None:
        return {}
    return {**unusable(runtime.catalog, state.traits, now_ms=now_ms), **state.refused}


def _consent(record: ConsentRecord) -> dict[str, Any]:
    return {
        "purpose": record.purpose,
        "channel": record.channel,
        "address": record.address,
        "what": record.action,
        "legal_basis": record.basis,
        "at": to_rfc3339(record.at_ms),
        "from": record.source,
        "proof": {name: text for name, text in record.proof.items() if name != "operator"},
    }


def _message(status: MessageStatus) -> dict[str, Any]:
    message = status.message
    return {
        "id": message.id,
        "channel": message.channel,
        "address": message.address,
        "purpose": message.purpose,
        "what": message.template,
        "decided_at": to_rfc3339(message.decided_ms),
        "status": status.status,
        "rests_on": message.consent,
    }
