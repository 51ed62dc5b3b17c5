"""Reads Mailgun's webhooks.

Invariant: the signature covers only a time and a token, not the event. So a token is believed once: another body with the same
token is forged, the same body is the service trying again.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

from channels.callbacks import CallbackRequest, Forged, Heard, UnreadableCallback
from channels.callbacks.mail_events import (
    bounce_detail,
    delay_detail,
    json_in,
    must_be_fresh,
    object_in,
    our_id,
    part_of,
    report,
    seconds_ms,
    text_of,
)
from channels.contract import Verdict
from channels.delivery import DeliveryOutcome
from channels.section import read_section

TOKENS_MAX = 100_000
_SIMPLE = {
    "accepted": DeliveryOutcome.SENT,
    "delivered": DeliveryOutcome.DELIVERED,
    "opened": DeliveryOutcome.OPENED,
    "clicked": DeliveryOutcome.CLICKED,
    "unsubscribed": DeliveryOutcome.UNSUBSCRIBED,
    "complained": DeliveryOutcome.COMPLAINED,
}
_SUPPRESSED = {"suppress-bounce", "suppress-complaint"}


class MailgunSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`secret`: the HTTP webhook signing key."""

    secret: str


class MailgunReader:
    """The reader of `/callbacks/mailgun/…`."""

    def __init__(self, settings: MailgunSettings) -> None:
        """`ValueError` for an empty key."""
        if not settings.secret:
            raise ValueError("The mailgun setting `secret` is empty.")
        self._key = settings.secret.encode()
        self._tokens: OrderedDict[str, bytes] = OrderedDict()

    def read(self, request: CallbackRequest) -> Heard:
        try:
            body = object_in(json_in(request.body), "the body")
        except UnreadableCallback as error:
            raise Forged("it is not signed") from error
        signature = part_of(body, "signature")
        at, token = text_of(signature, "timestamp"), text_of(signature, "token")
        good = hmac.digest(self._key, f"{at}{token}".encode("utf-8", "replace"), "sha256").hex()
        if not token or not hmac.compare_digest(
            good.encode(), text_of(signature, "signature").encode("utf-8", "replace")
        ):
            raise Forged("the signature is missing or wrong")
        if not (
            at.isascii() and at.isdigit()
        ):  # `1700000000e0` would be the same time, with a piece of the token in it
            raise Forged("the signed time is not a time")
        must_be_fresh(seconds_ms(at), request.now_ms)
        event = part_of(body, "event-data")
        self._once(token, hashlib.sha256(msgspec.json.encode(event, order="deterministic")).digest())
        outcome, detail = _told(event)
        headers = part_of(part_of(event, "message"), "headers")
        found = report(
            "mailgun", text_of(event, "id"), outcome,
            message=our_id(part_of(event, "user-variables").get("anlass"), headers.get("message-id")),
            provider_id=text_of(headers, "message-id"),
            more={"at_ms": seconds_ms(event.get("timestamp")), "detail": detail},
        )  # fmt: skip
        return Heard(reports=(found,))

    def _once(self, token: str, digest: bytes) -> None:
        known = self._tokens.setdefault(token, digest)
        while len(self._tokens) > TOKENS_MAX:
            self._tokens.popitem(last=False)
        if known != digest:
            raise Forged("its token was used for something else")


def create(settings: Mapping[str, object]) -> MailgunReader:
    """Builds the reader from its section of the settings; `ValueError` says which setting is wrong."""
    return MailgunReader(read_section(settings, MailgunSettings, section="mailgun"))


def _told(event: dict[str, Any]) -> tuple[DeliveryOutcome, dict[str, Any]]:
    kind, reason = text_of(event, "event"), text_of(event, "reason")
    status = part_of(event, "delivery-status")
    words = text_of(status, "message") or text_of(status, "description") or reason
    code = status.get("code")
    reply = code if isinstance(code, int) and 400 <= code < 560 else 0  # noqa: PLR2004 - above are Mailgun's own (605, 607)
    if kind == "failed" and text_of(event, "severity") == "temporary":
        return DeliveryOutcome.DEFERRED, delay_detail(text_of(status, "enhanced-code"), words, reply=reply)
    if kind == "failed" and reason == "suppress-unsubscribe":
        return DeliveryOutcome.UNSUBSCRIBED, {"reason": reason}
    if kind == "failed":
        verdict = Verdict.SUPPRESS if reason in _SUPPRESSED else None
        return DeliveryOutcome.BOUNCED, bounce_detail(
            text_of(status, "enhanced-code"), words, reply=reply, verdict=verdict
        )
    if kind == "rejected":
        words = text_of(part_of(event, "reject"), "reason") or reason
        return DeliveryOutcome.BOUNCED, {"reason": words[:100], "verdict": str(Verdict.MESSAGE)}
    outcome = _SIMPLE.get(kind)
    if outcome is None:
        raise UnreadableCallback("an event of a kind that is not known")
    detail: dict[str, Any] = {"url": text_of(event, "url")} if kind == "clicked" else {}
    if text_of(part_of(event, "client-info"), "bot"):
        detail["machine"] = True
    return outcome, detail
