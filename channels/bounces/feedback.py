"""Complaints as mailbox providers report them (ARF, RFC 5965): somebody pressed "this is spam".

Invariant: only a report of a person against a mail is a complaint; what a machine or a contented reader says is labelled.
"""

from __future__ import annotations

import msgspec

from channels.bounces.parts import Part, fields_of
from channels.delivery import Outcome

_OUTCOME = {
    "abuse": Outcome.COMPLAINED,
    "fraud": Outcome.COMPLAINED,  # held for phishing: no less a wish to get nothing more of it
    "opt-out": Outcome.UNSUBSCRIBED,
    "opt-out-list": Outcome.UNSUBSCRIBED,
}
LABELS = frozenset({*_OUTCOME, "not-spam", "virus", "other", "auth-failure", "dmarc"})


class Feedback(msgspec.Struct, frozen=True):
    """A report: `label` is its feedback type, "other" for an unknown one; `outcome` None: says nothing about the person."""

    label: str
    outcome: Outcome | None
    recipients: tuple[str, ...]
    places: tuple[str, ...]
    """Values of fields that may name the message."""


def read_feedback(parts: tuple[Part, ...]) -> Feedback | None:
    """The first report in the mail that has a type; None when there is none."""
    for part in parts:
        if part.type != "message/feedback-report" or part.quoted:
            continue
        merged = {**{name: value for name, value in part.headers.items() if not name.startswith("content-")}}
        for group in fields_of(part.text):
            merged = {**group, **merged}
        said = merged.get("feedback-type", "").split(";")[0].strip().lower()
        if not said:
            continue
        label = said if said in LABELS else "other"
        recipient = merged.get("original-rcpt-to", "").strip().strip("<>").lower()
        places = tuple(merged.get(name, "") for name in ("original-mail-from", "original-envelope-id", "message-id"))
        return Feedback(label, _OUTCOME.get(label), (recipient,) if recipient else (), places)
    return None
