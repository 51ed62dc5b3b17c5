"""Reads Postmark's webhooks, which have no signature: the login in the webhook's URL is all the proof there is.

Invariant: nothing is believed without the login, compared in constant time.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from channels.callbacks import CallbackRequest, Forged, Heard, UnreadableCallback
from channels.callbacks.mail_events import (
    bounce_detail,
    delay_detail,
    json_in,
    object_in,
    our_id,
    part_of,
    report,
    rfc3339_ms,
    text_of,
)
from channels.contract import Verdict
from channels.delivery import DeliveryOutcome
from channels.section import read_section

PASSWORD_CHARS_MIN = 16
_BOUNCES: dict[str, Verdict] = {
    "hardbounce": Verdict.SUPPRESS, "bademailaddress": Verdict.SUPPRESS, "manuallydeactivated": Verdict.SUPPRESS,
    "addresschange": Verdict.SOFT, "softbounce": Verdict.SOFT, "dnserror": Verdict.SOFT, "unknown": Verdict.SOFT,
    "challengeverification": Verdict.SOFT, "undeliverable": Verdict.SOFT, "inbounderror": Verdict.SOFT,
    "blocked": Verdict.OUR_FAULT, "spamnotification": Verdict.OUR_FAULT, "dmarcpolicy": Verdict.OUR_FAULT,
    "smtpapierror": Verdict.OUR_FAULT, "openrelaytest": Verdict.OUR_FAULT,
    "virusnotification": Verdict.MESSAGE, "templaterenderingfailed": Verdict.MESSAGE,
}  # fmt: skip
_IGNORED = frozenset({"autoresponder", "subscribe"})


class PostmarkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The login that stands in the webhook's URL: `https://USERNAME:PASSWORD@host/callbacks/postmark/…`."""

    username: str
    password: str


class PostmarkReader:
    """The reader of `/callbacks/postmark/…`."""

    def __init__(self, settings: PostmarkSettings) -> None:
        """`ValueError` for a password that can be guessed."""
        if len(settings.password) < PASSWORD_CHARS_MIN:
            raise ValueError(f"The postmark setting `password` has fewer than {PASSWORD_CHARS_MIN} characters.")
        login = f"{settings.username}:{settings.password}".encode()
        self._login = b"Basic " + base64.b64encode(login)

    def read(self, request: CallbackRequest) -> Heard:
        said = request.headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(said, self._login):
            raise Forged("the login is missing or wrong")
        event = object_in(json_in(request.body), "the body")
        told = _told(event)
        if told is None:
            return Heard()
        outcome, detail, at = told
        found = report(
            "postmark", str(event.get("ID") or at)[:60], outcome,
            message=our_id(part_of(event, "Metadata").get("anlass")),
            provider_id=text_of(event, "MessageID"),
            more={"at_ms": rfc3339_ms(at), "detail": detail},
        )  # fmt: skip
        return Heard(reports=(found,))


def create(settings: Mapping[str, object]) -> PostmarkReader:
    """Builds the reader from its section of the settings; `ValueError` says which setting is wrong."""
    return PostmarkReader(read_section(settings, PostmarkSettings, section="postmark"))


def _told(event: dict[str, Any]) -> tuple[DeliveryOutcome, dict[str, Any], str] | None:
    """Outcome, detail and time; None when nothing follows."""
    kind = text_of(event, "RecordType").lower()
    if kind == "bounce":
        return _bounce(event)
    if kind == "spamcomplaint":
        return DeliveryOutcome.COMPLAINED, {"reason": "abuse"}, text_of(event, "BouncedAt")
    if kind == "delivery":
        return DeliveryOutcome.DELIVERED, {}, text_of(event, "DeliveredAt")
    if kind == "open":
        return DeliveryOutcome.OPENED, {}, text_of(event, "ReceivedAt")
    if kind == "click":
        return DeliveryOutcome.CLICKED, {"url": text_of(event, "OriginalLink")}, text_of(event, "ReceivedAt")
    if kind == "subscriptionchange":
        at, reason = text_of(event, "ChangedAt"), text_of(event, "SuppressionReason").lower()
        if event.get("SuppressSending") is not True or reason != "manualsuppression":
            return None  # bounces and complaints come as themselves, too; who wants mail again says so to the shop
        return DeliveryOutcome.UNSUBSCRIBED, {}, at
    raise UnreadableCallback("an event of a kind that is not known")


def _bounce(event: dict[str, Any]) -> tuple[DeliveryOutcome, dict[str, Any], str] | None:
    kind, at = text_of(event, "Type").lower(), text_of(event, "BouncedAt")
    words = text_of(event, "Details") or text_of(event, "Description")
    if kind in _IGNORED:
        return None
    if kind == "transient":
        return DeliveryOutcome.DEFERRED, delay_detail("", words), at
    if kind == "spamcomplaint":
        return DeliveryOutcome.COMPLAINED, {"reason": "abuse"}, at
    if kind == "unsubscribe":
        return DeliveryOutcome.UNSUBSCRIBED, {}, at
    if kind not in _BOUNCES:
        raise UnreadableCallback("a bounce of a kind that is not known")
    return DeliveryOutcome.BOUNCED, bounce_detail("", words, verdict=_BOUNCES[kind]), at
