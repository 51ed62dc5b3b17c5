"""Complaints as mailbox providers report them (ARF, RFC 5965): somebody pressed "this is spam".

Invariant: only a report of a person against a mail is a complaint; what a machine or a contented reader says is labelled.
"""

from __future__ import annotations

import re

import msgspec

from channels.bounces.naming import bare_address, quoted_headers
from channels.bounces.parts import Mail, fields_of
from channels.delivery import DeliveryOutcome

_OUTCOME = {
    "abuse": DeliveryOutcome.COMPLAINED,
    "fraud": DeliveryOutcome.COMPLAINED,  # held for phishing: no less a wish to get nothing more of it
    "opt-out": DeliveryOutcome.UNSUBSCRIBED,
    "opt-out-list": DeliveryOutcome.UNSUBSCRIBED,
}
_TYPE = re.compile(r"^feedback-type\s*:", re.IGNORECASE | re.MULTILINE)
_MICROSOFT = ("x-hmxmroriginalrecipient", "x-original-recipient-hotmail", "x-ms-exchange-junkreport-recipient")
_MICROSOFTS = re.compile(r"@(?:[\w.-]+\.)?(?:hotmail|outlook|live|msn|microsoft)\.com\b", re.IGNORECASE)
_COMPLAINT = re.compile(r"^\s*complaint about message from\b", re.IGNORECASE)
_SPAMCOP = re.compile(r"@(?:[\w.-]+\.)?spamcop\.net\b", re.IGNORECASE)
_SPAMCOPS = re.compile(r"\[\s*spamcop\b", re.IGNORECASE)
LABELS = frozenset({*_OUTCOME, "not-spam", "virus", "other", "auth-failure", "dmarc"})


class Feedback(msgspec.Struct, frozen=True):
    """A report: `label` is its feedback type, "other" for an unknown one; `outcome` None: says nothing about the person."""

    label: str
    outcome: DeliveryOutcome | None
    recipients: tuple[str, ...]
    places: tuple[str, ...]
    """Values of fields that may name the message."""


def read_feedback(mail: Mail) -> Feedback | None:
    """The first report in the mail that has a type, in the standard's form or a provider's own; None when there is none."""
    return _standard(mail) or _of_microsoft(mail) or _of_spamcop(mail)


def _standard(mail: Mail) -> Feedback | None:
    reported = mail.report_type == "feedback-report" or any(
        part.type == "message/feedback-report" for part in mail.parts
    )
    for part in mail.parts:
        loose = reported and part.type.startswith(("text/", "application/")) and _TYPE.search(part.text)
        if part.quoted or (part.type != "message/feedback-report" and not loose):
            continue
        merged = {**{name: value for name, value in part.headers.items() if not name.startswith("content-")}}
        for group in fields_of(part.text):
            merged = {**group, **merged}
        said = merged.get("feedback-type", "").split(";")[0].strip().lower()
        if not said:
            continue
        label = said if said in LABELS else "other"
        recipient = bare_address(merged.get("original-rcpt-to", "") or merged.get("removal-recipient", ""))
        places = tuple(merged.get(name, "") for name in ("original-mail-from", "original-envelope-id", "message-id"))
        return Feedback(label, _OUTCOME.get(label), (recipient,) if recipient else (), places)
    return None


def _of_microsoft(mail: Mail) -> Feedback | None:
    """The Junk Mail Reporting Program: the mail itself, with the reader's address in a header of its own, and no fields."""
    for headers in quoted_headers(mail.parts):
        for name in _MICROSOFT:
            if name in headers and _MICROSOFTS.search(mail.first("from")):
                return _abuse(headers[name])
    if _MICROSOFTS.search(mail.first("from")) and _COMPLAINT.search(mail.first("subject")):
        return _abuse(*(headers.get("to", "") for headers in quoted_headers(mail.parts)))
    return None


def _of_spamcop(mail: Mail) -> Feedback | None:
    if _SPAMCOP.search(mail.first("from")) and _SPAMCOPS.search(mail.first("subject")):
        return _abuse(*(headers.get("to", "") for headers in quoted_headers(mail.parts)))
    return None


def _abuse(*recipients: str) -> Feedback:
    found = tuple(address for each in recipients if (address := bare_address(each)))
    return Feedback("abuse", DeliveryOutcome.COMPLAINED, found, ())
