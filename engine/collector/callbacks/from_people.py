"""What people send us: an objection, a renewed wish, a cry for help, or an answer.

Invariant: an objection is recorded for every customer who was ever written to at that address, or has given it with a
consent, and for every purpose that needs consent; a renewed wish gives back only what an objection of that kind had taken. What
comes from nobody we know is kept as a dead letter with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from channels.callbacks import Inbound
from engine.core.consent.may_send import address_of, normal_address
from engine.core.customer import Granted
from engine.core.journey.outcome import ANSWERED, ANSWERED_NOTHING
from engine.core.record import Consent, Event, Outcome, Record
from engine.runtimes.base import Front, MessageStatus

RECIPIENTS_MAX = 1_000
ANSWER_EVENT = "Message Received"
STRANGER = "somebody wrote to us to whom nothing was ever sent"


async def records_of(runtime: Front, inbound: Inbound, *, now_ms: int) -> list[Record]:
    """The records that this message leads to; none when nobody is known at its address, or it wants nothing recorded."""
    recipients = await runtime.written_to(inbound.address, limit=RECIPIENTS_MAX)
    if inbound.wish in {"stop", "start"}:
        customers = dict.fromkeys(status.message.customer for status in recipients)
        if inbound.wish == "stop":
            customers |= dict.fromkeys(await _reachable(runtime, inbound))
        records: list[Record] = []
        for customer in customers:
            records += await _consent(runtime, inbound, customer, now_ms=now_ms)
            if inbound.wish == "stop":  # after the consent, whose source is to stay
                records += _objected(customer, recipients, inbound, now_ms=now_ms)
        return records
    return [] if inbound.wish == "help" else _answer(recipients, inbound, now_ms)


async def is_known(runtime: Front, inbound: Inbound) -> bool:
    """Whether anything was ever sent to the address."""
    return bool(await runtime.written_to(inbound.address, limit=1))


async def _reachable(runtime: Front, inbound: Inbound) -> list[str]:
    """Whose consent is about this address that they still have: an objection may come before the first message."""
    names = dict.fromkeys(record.customer for record in await runtime.consents(address=inbound.address))
    states = [await runtime.state(name) for name in list(names)[:RECIPIENTS_MAX]]
    wanted = normal_address(inbound.address, inbound.channel)
    return [
        state.id
        for state in states
        if state is not None and normal_address(address_of(state, inbound.channel), inbound.channel) == wanted
    ]


async def _consent(runtime: Front, inbound: Inbound, customer: str, *, now_ms: int) -> Iterable[Record]:
    state = await runtime.state(customer)
    given = {} if state is None else {purpose: by.get(inbound.channel) for purpose, by in state.consent.items()}
    purposes = [name for name, rule in runtime.catalog.policy.purposes.items() if rule.consent != "none"]
    if inbound.wish == "stop":
        taken = [name for name in purposes if _is_given(given.get(name))]
        rest = [name for name in purposes if name not in taken]
        changes = [("withdraw", ANSWERED, taken), ("withdraw", ANSWERED_NOTHING, rest)]
    else:
        back = [name for name in purposes if _was_taken(given.get(name))]
        if await _came_before(runtime, inbound, customer):
            return ()
        changes = [("grant", ANSWERED, back)]
    proof = {
        "form": f"{inbound.channel} answer", "wording": inbound.wish.upper(), "origin": inbound.id, "address": inbound.address,
    }  # fmt: skip
    return [
        Consent(
            customer=customer, at_ms=now_ms, id=f"{inbound.id}:{action}:{source}", time_ms=now_ms, action=action,
            purposes={name: [inbound.channel] for name in names}, source=source, proof=proof,
        )
        for action, source, names in changes
        if names
    ]  # fmt: skip


def _objected(customer: str, recipients: Sequence[MessageStatus], inbound: Inbound, *, now_ms: int) -> Iterable[Record]:
    """What became of the newest message there, for workflows that wait for it."""
    for status in recipients:
        message = status.message
        if message.customer == customer and message.channel == inbound.channel:
            told = f"{inbound.id}:unsubscribed"
            yield Outcome(
                customer=customer, at_ms=now_ms, id=told, time_ms=now_ms, outcome="unsubscribed", message=message.id
            )
            return


def _is_given(consent: Granted | None) -> bool:
    if consent is None:
        return False
    return (consent.status == "granted" and consent.basis == "consent") or _was_taken(consent)


def _was_taken(consent: Granted | None) -> bool:
    return consent is not None and consent.status == "withdrawn" and consent.source == ANSWERED


async def _came_before(runtime: Front, inbound: Inbound, customer: str) -> bool:
    """Whether this very message was acted upon: a renewed wish that is played back later must not undo an objection."""
    return any(entry.proof.get("origin") == inbound.id for entry in await runtime.consents(customer=customer))


def _answer(recipients: Sequence[MessageStatus], inbound: Inbound, now_ms: int) -> list[Record]:
    """An answer is one to the newest message there: it is that message's outcome, and an event that workflows can wait for."""
    newest = next((status.message for status in recipients if status.message.channel == inbound.channel), None)
    if newest is None:
        return []
    told = {"channel": inbound.channel, "text": inbound.text, "message": newest.id}
    return [
        Outcome(
            customer=newest.customer, at_ms=now_ms, id=f"{inbound.id}:replied", time_ms=now_ms, outcome="replied",
            message=newest.id,
        ),
        Event(
            customer=newest.customer, at_ms=now_ms, id=inbound.id, name=ANSWER_EVENT, time_ms=now_ms, properties=told
        ),
    ]  # fmt: skip
