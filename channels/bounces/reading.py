"""Understands one mail that came to the address for bounces: delivery report, complaint, bounce in words, automatic answer.

Invariant: `understand` never raises, whatever the bytes; every mail gets exactly one kind, and a mail that says nothing certain
about a message of ours has no report.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import msgspec

from channels.bounces.feedback import Feedback, read_feedback
from channels.bounces.machines import from_machine
from channels.bounces.naming import NamedMessage, addressed_to, bare_address, find, quoted_headers
from channels.bounces.objections import asks_to_end
from channels.bounces.parts import Mail, Malformed, open_mail
from channels.bounces.prose import own_words, read_prose, server_said
from channels.bounces.replies import answers_by_itself
from channels.bounces.status import DeliveryFate, read_status
from channels.callbacks import Report
from channels.delivery import DeliveryOutcome, without_addresses
from channels.mail.marks import Marks

REASON_CHARS_MAX = 300


class Kind(enum.StrEnum):
    """What a mail is."""

    STATUS = "status"  # a delivery report (RFC 3464)
    WORDS = "words"  # a bounce without one
    FEEDBACK = "feedback"  # a complaint (RFC 5965)
    OBJECTION = "objection"  # somebody, or their mail program, asks for no more
    AUTOMATIC = "automatic"  # an out-of-office note and the like
    OTHER = "other"  # something else: of a person, spam
    MALFORMED = "malformed"  # cannot be read


class Understood(msgspec.Struct, frozen=True, kw_only=True):
    """What a mail says. `report` is there when it names a message and an outcome; `reason` says why it is not.

    `proven`: the message was named by a mark of ours. If it was not, whoever uses the report compares `recipients` (addresses,
    lower case) with the message's: a forger would have to know both.
    """

    kind: Kind
    label: str
    """`hard`, `soft`, `our_fault`, `message`, `deferred`, `delivered`, a feedback type, or the kind."""
    reason: str = ""
    report: Report | None = None
    proven: bool = False
    recipients: tuple[str, ...] = ()

    @property
    def ignored(self) -> bool:
        """It was understood, and nothing follows from it: counted, not kept."""
        return self.report is None and (self.kind is Kind.AUTOMATIC or (self.kind is Kind.FEEDBACK and not self.reason))


def understand(raw: bytes, *, envelope_to: Sequence[str] = (), marks: Marks | None = None) -> Understood:
    """What the mail says. `envelope_to`: the addresses it was delivered to, as far as the server tells."""
    try:
        mail = open_mail(raw)
    except Malformed as error:
        return Understood(kind=Kind.MALFORMED, label="malformed", reason=error.reason)
    feedback = read_feedback(mail)
    if feedback is not None:
        return _complaint(feedback, _named(mail, (*envelope_to, *feedback.places), marks))
    if asks_to_end(mail):
        return _objection(mail, envelope_to, marks)
    quoted_to = _quoted_to(mail)
    fate, kind = None, Kind.STATUS
    if from_machine(mail):
        said = server_said(own_words(mail).replace("\r\n", "\n"))
        fate = read_status(mail.parts, to=quoted_to, said=said)
    if fate is None:
        if answers_by_itself(mail, plainly=True):
            return Understood(kind=Kind.AUTOMATIC, label="automatic")
        fate, kind = read_prose(mail), Kind.WORDS
    if fate is not None:
        return _bounce(kind, fate, _named(mail, envelope_to, marks), quoted_to)
    if answers_by_itself(mail, plainly=False):
        return Understood(kind=Kind.AUTOMATIC, label="automatic")
    return Understood(kind=Kind.OTHER, label="other", reason="it is not a bounce, no complaint and no automatic answer")


def _named(mail: Mail, envelope_to: Sequence[str], marks: Marks | None) -> NamedMessage:
    return find(mail, envelope_to, marks)


def _bounce(kind: Kind, fate: DeliveryFate, named: NamedMessage, quoted_to: tuple[str, ...]) -> Understood:
    label = _LABELS.get(str(fate.verdict), str(fate.verdict)) if fate.verdict else str(fate.outcome)
    recipients = tuple(dict.fromkeys((*fate.recipients, *quoted_to)))
    detail: dict[str, Any] = {"code": fate.code, "reason": without_addresses(fate.words)[:REASON_CHARS_MAX]}
    if fate.verdict is not None:
        detail["verdict"] = str(fate.verdict)
    if fate.action in {"relayed", "expanded"}:
        detail["reason"] = detail["reason"] or fate.action
    return _about(kind, label, (fate.outcome, detail, recipients), named)


def _complaint(feedback: Feedback, named: NamedMessage) -> Understood:
    if feedback.outcome is None:
        return Understood(kind=Kind.FEEDBACK, label=feedback.label)
    return _about(
        Kind.FEEDBACK, feedback.label, (feedback.outcome, {"reason": feedback.label}, feedback.recipients), named
    )


def _objection(mail: Mail, envelope_to: Sequence[str], marks: Marks | None) -> Understood:
    """The message whose return path it was written to, or that it answers; then the sender's own address has to fit."""
    sender = bare_address(mail.first("from"))
    told = (DeliveryOutcome.UNSUBSCRIBED, {"reason": "a mail asked for it"}, (sender,) if sender else ())
    return _about(Kind.OBJECTION, "unsubscribe", told, addressed_to(mail, envelope_to, marks))


def _about(
    kind: Kind, label: str, told: tuple[DeliveryOutcome, dict[str, Any], tuple[str, ...]], named: NamedMessage
) -> Understood:
    outcome, detail, recipients = told
    if not named.message:
        reason = "it names no message of ours: neither its recipient, nor a header, nor a Message-ID"
        return Understood(kind=kind, label=label, reason=reason, recipients=recipients)
    report = Report(
        id=":".join((named.message, str(outcome), *([str(detail["verdict"])] if "verdict" in detail else []), "mail")),
        outcome=outcome,
        message=named.message,
        detail={name: value for name, value in detail.items() if value},
    )
    return Understood(kind=kind, label=label, report=report, proven=named.proven, recipients=recipients)


def _quoted_to(mail: Mail) -> tuple[str, ...]:
    """Whom the quoted mail was written to."""
    return tuple(address for headers in quoted_headers(mail.parts) if (address := bare_address(headers.get("to", ""))))


_LABELS = {"suppress": "hard"}
