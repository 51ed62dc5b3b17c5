"""What may become of a ledger's entry: from which status to which, and what a row of it looks like.

Invariant: pure functions, with the rules of the embedded runtime's ledger: only what is pending is claimed; a final answer
stays, except that `unknown` may still be found out to be something else.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from engine.core.journey import duplicates
from engine.core.message import CONTRACT, Message
from engine.core.record import Flush, Outcome, Record
from engine.dispatch.ports import FINAL, Settlement, Status
from engine.dispatch.sending.feedback import INTERRUPTED, NOWHERE, SENT_ELSEWHERE, interrupted
from engine.dispatch.sending.throttle import domain_of
from engine.runtimes.effects import flushes
from engine.runtimes.kafka.dispatcher.ledger_entry import LedgerEntry
from engine.runtimes.kafka.dispatcher.ledger_queue import QueuedMessage
from engine.runtimes.kafka.topics import PREFIX_BYTES, Answered, MessageHandover
from engine.runtimes.unreadable import UnreadableRow, readable

CLAIMED_DUE_MS = 1
"""In the prefix of a claimed row: so the index by due time, which holds nothing of what is final, finds all that is open."""
RESEND_DELAY_MS = 10_000
"""A message that may be sent again after its dispatcher died waits this long for a late answer to the first attempt."""


def fresh(handover: MessageHandover, number: int) -> LedgerEntry:
    """The entry of a message that is not known; `number` is the offset of its handover."""
    message = handover.message
    later_ms = message.due_ms if message.due_ms > message.decided_ms else 0
    if duplicates.matters(message) and message.consented_ms:  # claims of others to the address may be on their way
        later_ms = max(later_ms, message.decided_ms + duplicates.WAIT_MS)
    return LedgerEntry(
        message=message,
        not_before_ms=later_ms,
        updated_ms=message.decided_ms,
        offset=handover.offset,
        number=number,
    )


def claimed(entry: LedgerEntry | None, now_ms: int, *, links: Mapping[str, str] | None = None) -> LedgerEntry | None:
    """The entry once a provider is about to be called, with the tracked links that it leaves with; None: it must not be."""
    if entry is None or entry.status != "pending":
        return None
    return replace(
        entry,
        status="claimed",
        attempts=entry.attempts + 1,
        first_attempt_ms=entry.first_attempt_ms or now_ms,
        updated_ms=now_ms,
        links={**entry.links, **links} if links else entry.links,
    )


def settled(entry: LedgerEntry | None, answer: Settlement) -> LedgerEntry | None:
    """The entry with an answer; None: the answer says nothing (any more), and neither do its records."""
    if entry is None or entry.status not in ("pending", "claimed", "unknown"):
        return None
    if entry.status == "unknown" and answer.status == "unknown":
        return None
    return replace(
        entry,
        message=_shrunk(entry.message, answer.status),
        status=answer.status,
        not_before_ms=answer.not_before_ms,
        updated_ms=answer.at_ms,
        reason=answer.reason,
        code=answer.code,
        provider_id=answer.provider_id or entry.provider_id,
    )


def answered(entry: LedgerEntry | None, late: Answered) -> tuple[LedgerEntry, tuple[Record, ...]] | None:
    """The entry with an answer that a former owner of the partition got, and what the customer is to hear; None: too late.

    The same attempt must be the last one, and nobody may be trying another right now: or it would be sent twice.
    """
    if entry is None or entry.attempts != late.attempts or entry.status not in ("unknown", "pending"):
        return None
    changed, answer = settled(entry, late.settlement), late.settlement
    if changed is None:
        return None
    records = answer.records
    if answer.status == "sent":  # the customer was told `unknown`
        message = entry.message
        told = Outcome(
            customer=message.customer, at_ms=answer.at_ms, id=f"{message.id}:sent", time_ms=answer.at_ms, outcome="sent",
            message=message.id, workflow=message.workflow, step=message.step,
        )  # fmt: skip
        records = (told, *records)
    return changed, records


def recovered(entry: LedgerEntry, *, resend: bool, now_ms: int) -> tuple[LedgerEntry, tuple[Record, ...]]:
    """A claimed entry whose dispatcher is gone, and what the customer is to hear. `resend`: it may be sent again."""
    assert entry.status == "claimed", entry.status
    if resend:
        again = replace(
            entry, status="pending", not_before_ms=now_ms + RESEND_DELAY_MS, updated_ms=now_ms, reason=INTERRUPTED
        )
        return again, ()
    answer = interrupted(entry.message, now_ms)
    changed = settled(entry, answer)
    assert changed is not None, "a claimed message can be settled"
    return changed, answer.records


def due_of(entry: LedgerEntry) -> int:
    """What the index by due time holds for a row: nothing for what is final."""
    if entry.status == "pending":
        return max(entry.not_before_ms or entry.message.decided_ms, CLAIMED_DUE_MS + 1)
    return CLAIMED_DUE_MS if entry.status == "claimed" else 0


def flushed(entry: LedgerEntry | None, flush: Flush) -> LedgerEntry | None:
    """The entry when it waits for its next attempt no more; None: it did not, or is not meant."""
    if entry is None or entry.status != "pending" or not entry.attempts or not entry.not_before_ms:
        return None
    return replace(entry, not_before_ms=0) if flushes(flush, entry.message, entry.reason) else None


def sent_elsewhere(entry: LedgerEntry | None, at_ms: int) -> LedgerEntry | None:
    """The entry of a message that a provider's log knows as sent; None: it is final already. One not decided yet has one, too."""
    if entry is None:
        return LedgerEntry(message=NOWHERE, status="sent", updated_ms=at_ms, reason=SENT_ELSEWHERE)
    if entry.status not in {"pending", "unknown"}:
        return None
    return replace(
        entry, message=_shrunk(entry.message, "sent"), status="sent", not_before_ms=0, updated_ms=at_ms,
        reason=SENT_ELSEWHERE, code="",
    )  # fmt: skip


def slot_of(key: bytes, entry: LedgerEntry | Outline) -> QueuedMessage:
    """The place of a pending message in the queue."""
    message = entry.message
    return QueuedMessage(
        key,
        (int(message.consent != CONTRACT), -message.priority, entry.number),
        lane=(message.channel, domain_of(message.address)),
        offset=entry.offset,
        times_ms=(message.decided_ms, entry.not_before_ms),
        workflow=message.workflow,
    )


def _shrunk(message: Message, status: Status) -> Message:
    """What is final needs no data to render it with. `unknown` may turn out not to have been sent."""
    return replace(message, context={}) if status in FINAL and status != "unknown" and message.context else message


# ------------------------------------------------------------------------------------------- rows, read without content


class MessageOutline(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first fields of a `Message`, the content among them undecoded; what follows is skipped."""

    id: str
    customer: str
    enrollment: str
    workflow: str
    version: str
    step: str
    channel: str
    address: str
    template: str
    purpose: str
    decided_ms: int
    due_ms: int
    deadline_ms: int
    priority: int
    locale: msgspec.Raw = msgspec.Raw()
    sender: msgspec.Raw = msgspec.Raw()
    context: msgspec.Raw = msgspec.Raw()
    more_channels: msgspec.Raw = msgspec.Raw()
    fallback_on: msgspec.Raw = msgspec.Raw()
    quiet_hours: msgspec.Raw = msgspec.Raw()
    consent: str = ""


class Outline(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A `LedgerEntry` without what is only needed to send it."""

    message: MessageOutline
    status: Status
    attempts: int
    first_attempt_ms: int
    not_before_ms: int
    updated_ms: int
    reason: str = ""
    code: str = ""
    provider_id: str = ""
    offset: int = -1
    number: int = -1


_decoder = msgspec.msgpack.Decoder(Outline)


def outline_of(row: bytes) -> Outline:
    """The outline of a row, prefix included. Raises UnreadableRow."""
    return readable(_decoder.decode, row[PREFIX_BYTES:])


def outline_or_none(row: bytes) -> Outline | None:
    """As `outline_of`; None: the row cannot be read."""
    try:
        return outline_of(row)
    except UnreadableRow:
        return None
