"""What an adapter answered, as a settlement for the ledger and as records for the customer.

Invariant: every answer leads to exactly one settlement, and each of the adapter contract's results to a different one.
"""

from __future__ import annotations

import msgspec

from channels.contract import ChannelError, PermanentError, Receipt, TransientError, UnknownOutcome, Verdict
from engine.core.message import Message
from engine.core.record import Event, Outcome, Pause, Record
from engine.dispatch.ports import Pending, Settlement
from engine.dispatch.sending.retry import RESEND_ATTEMPTS_MAX, next_attempt_ms

REASON_CHARS_MAX = 300
LATER_MS = 1_000
INTERRUPTED = "process ended while sending"
SENT_ELSEWHERE = "the provider's log says that it was sent"
NOWHERE = Message(
    id="", customer="", enrollment="", workflow="", version="", step="", channel="", address="", template="", purpose="",
    decided_ms=0, due_ms=0,
)  # fmt: skip
"""Of a message that was sent elsewhere and is not decided here yet: all that is known is its id."""
_KINDS = {Verdict.SUPPRESS: "bounced", Verdict.SOFT: "bounced", Verdict.OPT_OUT: "unsubscribed"}


def settle(
    pending: Pending, answer: Receipt | ChannelError, *, now_ms: int, resend_unknown: bool = False
) -> Settlement:
    """The settlement of one attempt. `resend_unknown`: the purpose allows sending again what may have arrived."""
    message = pending.message
    if isinstance(answer, Receipt):
        return Settlement(
            message_id=message.id, status="sent", at_ms=now_ms, reason=_words(answer.response),
            provider_id=_words(answer.provider_id), records=_raised(message, answer, now_ms),
        )  # fmt: skip
    reason = _words(answer.reason)
    if isinstance(answer, TransientError):
        return _again(pending, answer, reason, now_ms)
    if isinstance(answer, PermanentError):
        return Settlement(
            message_id=message.id, status="failed", at_ms=now_ms, reason=reason, code=answer.code,
            records=_refused(message, answer, now_ms),
        )  # fmt: skip
    assert isinstance(answer, UnknownOutcome), answer
    if resend_unknown and pending.attempt + 1 < RESEND_ATTEMPTS_MAX:
        return Settlement(
            message_id=message.id, status="pending", at_ms=now_ms, reason=f"resent, outcome unknown: {reason}",
            code="unknown", not_before_ms=now_ms,
        )  # fmt: skip
    return Settlement(message_id=message.id, status="unknown", at_ms=now_ms, reason=reason, code="unknown")


def with_gaps(settlement: Settlement, warnings: tuple[str, ...]) -> Settlement:
    """The settlement of a message in whose text something is left out, because its data could not be read; it says so."""
    reason = "; ".join(("with a gap: " + ", ".join(warnings), settlement.reason)).removesuffix("; ")
    return msgspec.structs.replace(settlement, reason=reason[:REASON_CHARS_MAX])


def _raised(message: Message, answer: Receipt, now_ms: int) -> tuple[Record, ...]:
    """The event that the acceptance means; its id follows from the message's, so a repetition is the same one."""
    if not answer.event:
        return ()
    origin = {"workflow": message.workflow, "enrollment": message.enrollment, "step": message.step}
    return (
        Event(
            customer=message.customer, at_ms=now_ms, id=f"{message.id}:accepted", name=answer.event, time_ms=now_ms,
            properties={**origin, **answer.properties},
        ),
    )  # fmt: skip


def _again(pending: Pending, answer: TransientError, reason: str, now_ms: int) -> Settlement:
    message = pending.message
    at_ms = next_attempt_ms(
        message.id,
        pending.attempt,
        now_ms=now_ms,
        first_attempt_ms=pending.first_attempt_ms or now_ms,
        retry_after_seconds=answer.retry_after_seconds,
    )
    if at_ms is not None:
        return Settlement(
            message_id=message.id, status="pending", at_ms=now_ms, reason=reason, code=answer.code, not_before_ms=at_ms
        )
    outcome = _outcome(message, "bounced", now_ms, code=answer.code, reason=reason, verdict=str(Verdict.SOFT))
    return Settlement(
        message_id=message.id, status="failed", at_ms=now_ms, reason=f"given up: {reason}", code=answer.code,
        records=(outcome,),
    )  # fmt: skip


def _refused(message: Message, answer: PermanentError, now_ms: int) -> tuple[Record, ...]:
    """A refused address bounces; a refusal that is our own fault pauses the workflow and blames nobody's address."""
    verdict = answer.address_verdict
    kind = _KINDS.get(verdict, "failed")
    outcome = _outcome(message, kind, now_ms, code=answer.code, reason=_words(answer.reason), verdict=str(verdict))
    if verdict is not Verdict.OUR_FAULT:
        return (outcome,)
    pause = Pause(
        customer="", at_ms=now_ms, id=f"our-fault:{message.id}", workflow=message.workflow,
        reason=f"our_fault: message {message.id} was refused with {answer.code}",
    )  # fmt: skip
    return (outcome, pause)


def later(message: Message, now_ms: int) -> Settlement:
    """Of a message of which it is not known yet whether its address gets the issue by another customer."""
    return Settlement(
        message_id=message.id, status="pending", at_ms=now_ms, reason="duplicate_check",
        not_before_ms=now_ms + LATER_MS,
    )  # fmt: skip


def suppressed(message: Message, reason: str, now_ms: int, *, detail: str = "") -> Settlement:
    """The second question was answered no, or the template could not be rendered."""
    return Settlement(
        message_id=message.id,
        status="suppressed",
        at_ms=now_ms,
        reason=f"{reason}: {detail}" if detail else reason,
        code=reason,
    )


def interrupted(message: Message, now_ms: int) -> Settlement:
    """It was claimed by a process that is gone: whether the provider has it nobody can say."""
    outcome = Outcome(
        customer=message.customer, at_ms=now_ms, id=f"{message.id}:unknown", time_ms=now_ms, outcome="unknown",
        message=message.id, workflow=message.workflow, step=message.step, detail={"reason": INTERRUPTED},
    )  # fmt: skip
    return Settlement(message_id=message.id, status="unknown", at_ms=now_ms, reason=INTERRUPTED, records=(outcome,))


def found(message: Message, receipt: Receipt, now_ms: int) -> Settlement:
    """It was settled as unknown, and its provider turned out to have it: the customer hears that it was sent after all."""
    told = Outcome(
        customer=message.customer, at_ms=now_ms, id=f"{message.id}:sent", time_ms=now_ms, outcome="sent",
        message=message.id, workflow=message.workflow, step=message.step,
    )  # fmt: skip
    return Settlement(
        message_id=message.id, status="sent", at_ms=now_ms, reason=_words(f"found at the provider: {receipt.response}"),
        provider_id=_words(receipt.provider_id), records=(told,),
    )  # fmt: skip


def mistaken(message: Message, error: Exception, now_ms: int) -> Settlement:
    """A mistake of ours about this message: its text may hold data, so only its kind is told."""
    reason = f"a mistake of Anlass ({type(error).__name__}); the log says where"
    return Settlement(message_id=message.id, status="failed", at_ms=now_ms, reason=reason, code="internal")


def _words(text: str) -> str:
    """A provider's own words, as far as they can be stored: no lone surrogates, not too many."""
    return text[:REASON_CHARS_MAX].encode("utf-8", "replace").decode()


def _outcome(message: Message, outcome: str, now_ms: int, **detail: str) -> Outcome:
    return Outcome(
        customer=message.customer, at_ms=now_ms, id=f"{message.id}:{outcome}", time_ms=now_ms, outcome=outcome,
        message=message.id, detail=detail,
    )  # fmt: skip
