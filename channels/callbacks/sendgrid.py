"""Reads SendGrid's signed event webhook.

Invariant: nothing is believed before the ECDSA signature over timestamp and raw body was found good; an event that is not known
is said to be so, and keeps no other from being used.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from channels.callbacks import CallbackRequest, Forged, Heard, Report, UnreadableCallback
from channels.callbacks.mail_events import (
    EVENTS_MAX,
    bounce_detail,
    delay_detail,
    json_in,
    must_be_fresh,
    object_in,
    our_id,
    report,
    seconds_ms,
    text_of,
)
from channels.contract import Verdict
from channels.delivery import DeliveryOutcome
from channels.section import read_section

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
_SIMPLE = {
    "processed": DeliveryOutcome.SENT,
    "delivered": DeliveryOutcome.DELIVERED,
    "deferred": DeliveryOutcome.DEFERRED,
    "open": DeliveryOutcome.OPENED,
    "click": DeliveryOutcome.CLICKED,
    "spamreport": DeliveryOutcome.COMPLAINED,
    "unsubscribe": DeliveryOutcome.UNSUBSCRIBED,
    "group_unsubscribe": DeliveryOutcome.UNSUBSCRIBED,
}
_IGNORED = frozenset({"group_resubscribe"})  # who wants mail again says so to the shop
_CLASSES = {
    "invalid address": Verdict.SUPPRESS, "reputation": Verdict.OUR_FAULT, "content": Verdict.MESSAGE,
    "mailbox unavailable": Verdict.SOFT, "technical failure": Verdict.SOFT, "technical": Verdict.SOFT,
    "frequency or volume too high": Verdict.SOFT,
}  # fmt: skip


class SendgridSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`public_key`: the verification key, as SendGrid shows it (base64)."""

    public_key: str


class SendgridReader:
    """The reader of `/callbacks/sendgrid/…`."""

    def __init__(self, settings: SendgridSettings) -> None:
        """`ValueError` for a key that is none."""
        try:
            key = load_der_public_key(base64.b64decode(settings.public_key, validate=True))
        except (ValueError, binascii.Error, UnsupportedAlgorithm) as error:
            raise ValueError("The sendgrid setting `public_key` is not a verification key of SendGrid's.") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("The sendgrid setting `public_key` is not an ECDSA key.")  # noqa: TRY004 - its value is wrong
        self._key = key

    def read(self, request: CallbackRequest) -> Heard:
        at = request.headers.get(TIMESTAMP, "")
        try:
            signature = base64.b64decode(request.headers.get(SIGNATURE, ""), validate=True)
            self._key.verify(signature, at.encode("utf-8", "replace") + request.body, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError, binascii.Error) as error:
            raise Forged("the signature is missing or wrong") from error
        must_be_fresh(seconds_ms(at), request.now_ms)
        events = json_in(request.body)
        if not isinstance(events, list) or len(events) > EVENTS_MAX:
            raise UnreadableCallback("the body is not a list of events")
        reports: list[Report] = []
        wrong: list[str] = []
        for event in events:
            try:
                found = _report(object_in(event, "an event"))
            except UnreadableCallback as error:
                wrong.append(error.reason)
            else:
                reports += [found] if found is not None else []
        return Heard(reports=tuple(reports), unreadable=tuple(wrong))


def create(settings: Mapping[str, object]) -> SendgridReader:
    """Builds the reader from its section of the settings; `ValueError` says which setting is wrong."""
    return SendgridReader(read_section(settings, SendgridSettings, section="sendgrid"))


def _report(event: dict[str, Any]) -> Report | None:
    kind = text_of(event, "event")
    if kind in _IGNORED:
        return None
    outcome, detail = _told(kind, event)
    return report(
        "sendgrid", text_of(event, "sg_event_id"), outcome,
        message=our_id(event.get("anlass"), event.get("smtp-id")),
        provider_id=text_of(event, "sg_message_id").partition(".")[0],
        more={"at_ms": seconds_ms(event.get("timestamp")), "detail": detail},
    )  # fmt: skip


def _told(kind: str, event: dict[str, Any]) -> tuple[DeliveryOutcome, dict[str, Any]]:
    reason = text_of(event, "reason") or text_of(event, "response")
    if kind == "bounce":
        verdict = _CLASSES.get(text_of(event, "bounce_classification").lower())
        if text_of(event, "type") == "blocked" and verdict in {None, Verdict.SUPPRESS}:
            verdict = Verdict.SOFT  # the server refused this mail; SendGrid itself goes on sending to the address
        return DeliveryOutcome.BOUNCED, bounce_detail(text_of(event, "status"), reason, verdict=verdict)
    if kind == "dropped":
        said = reason.lower()
        if "unsubscribed" in said:
            return DeliveryOutcome.UNSUBSCRIBED, {"reason": "dropped: unsubscribed"}
        hard = "bounced address" in said or "spam reporting" in said or said.startswith("invalid")
        return DeliveryOutcome.BOUNCED, {
            "reason": f"dropped: {reason}"[:100],
            "verdict": str(Verdict.SUPPRESS if hard else Verdict.MESSAGE),
        }
    outcome = _SIMPLE.get(kind)
    if outcome is None:
        raise UnreadableCallback("an event of a kind that is not known")
    detail: dict[str, Any] = {}
    if kind == "deferred":
        detail = delay_detail("", reason)
    if kind == "click":
        detail["url"] = text_of(event, "url")
    if event.get("sg_machine_open") is True:
        detail["machine"] = True
    return outcome, detail
