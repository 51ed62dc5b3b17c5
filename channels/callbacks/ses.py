"""Reads what Amazon SES tells by SNS: bounces, complaints, deliveries, delays, and the confirmation of the subscription itself.

Invariant: only notifications of the topics in the settings are believed, signed by a certificate that came from an SNS host of
Amazon or from the operator; nothing else is ever fetched.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from channels.callbacks import CallbackRequest, Forged, Heard, Report, UnreadableCallback
from channels.callbacks.amazon import fetch
from channels.callbacks.mail_events import (
    bounce_detail,
    json_in,
    must_be_fresh,
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

_HOST = re.compile(r"sns\.[a-z0-9-]{3,30}\.amazonaws\.com(?:\.cn)?\Z")
_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{8,64}\.pem\Z")
_TOPIC = re.compile(r"arn:aws[a-z-]{0,10}:sns:[a-z0-9-]{3,30}:\d{12}:[A-Za-z0-9_.-]{1,256}\Z")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_CERTIFICATES_MAX = 16
_SIMPLE = {
    "delivery": DeliveryOutcome.DELIVERED,
    "deliverydelay": DeliveryOutcome.DEFERRED,
    "open": DeliveryOutcome.OPENED,
    "click": DeliveryOutcome.CLICKED,
    "subscription": DeliveryOutcome.UNSUBSCRIBED,
    "send": DeliveryOutcome.SENT,
}
_MESSAGE = frozenset({"messagetoolarge", "contentrejected", "attachmentrejected"})
_NO_COMPLAINT = frozenset({"not-spam", "virus"})


class SesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`topics` are ARNs; `certificates_file` is PEM, used instead of fetching."""

    topics: tuple[str, ...]
    certificates_file: str = ""


class SesReader:
    """The reader of `/callbacks/ses/…`. It may have to fetch a certificate: it is called in a thread."""

    blocking = True

    def __init__(self, settings: SesSettings, *, fetch: Callable[[str], bytes] = fetch) -> None:
        """`fetch` gets a URL that was found to be Amazon's, and raises OSError. `ValueError` for settings that cannot be used."""
        for topic in settings.topics:
            if not _TOPIC.match(topic):
                raise ValueError(f"The ses setting `topics` has {topic!r}, which is not an ARN of an SNS topic.")
        self._topics = frozenset(settings.topics)
        self._fetch = fetch
        self._given = _certificates(settings.certificates_file)
        self._fetched: OrderedDict[str, rsa.RSAPublicKey] = OrderedDict()

    def read(self, request: CallbackRequest) -> Heard:
        try:
            envelope = object_in(json_in(request.body), "the body")
        except UnreadableCallback as error:
            raise Forged("it is not signed") from error
        kind = text_of(envelope, "Type")
        if kind not in _SIGNED or text_of(envelope, "TopicArn") not in self._topics:
            raise Forged("it is of no topic in the settings")
        self._check(envelope, kind)
        must_be_fresh(rfc3339_ms(text_of(envelope, "Timestamp")), request.now_ms)
        if kind == "SubscriptionConfirmation":
            return self._confirm(envelope)
        if kind == "UnsubscribeConfirmation":
            raise UnreadableCallback("the subscription to the topic was ended")
        return _heard(object_in(json_in(text_of(envelope, "Message").encode()), "the message"), envelope)

    def _check(self, envelope: dict[str, Any], kind: str) -> None:
        """Raises Forged unless the signature is good."""
        names = [name for name in _SIGNED[kind] if isinstance(envelope.get(name), str)]
        signed = "".join(f"{name}\n{envelope[name]}\n" for name in names).encode("utf-8", "surrogatepass")
        try:
            signature = base64.b64decode(text_of(envelope, "Signature"), validate=True)
        except (binascii.Error, ValueError) as error:
            raise Forged("the signature is not base64") from error
        version = text_of(envelope, "SignatureVersion")
        if version not in {"1", "2"}:
            raise Forged("the version of the signature is unknown")
        algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303 - what SNS signs version 1 with
        for key in self._keys(text_of(envelope, "SigningCertURL")):
            try:
                key.verify(signature, signed, padding.PKCS1v15(), algorithm)
            except InvalidSignature:
                continue
            return
        raise Forged("the signature is wrong")

    def _keys(self, url: str) -> list[rsa.RSAPublicKey]:
        if self._given:
            return self._given
        parts = _amazons(url)
        if parts is None or not _CERTIFICATE_PATH.match(parts.path) or parts.query or parts.fragment:
            raise Forged("its certificate is not Amazon's")
        key = self._fetched.get(url)
        if key is None:
            try:
                key = _key_of(x509.load_pem_x509_certificate(self._fetch(url)))
            except (OSError, ValueError) as error:
                raise Forged("its certificate cannot be fetched now") from error
            self._fetched[url] = key
            while len(self._fetched) > _CERTIFICATES_MAX:
                self._fetched.popitem(last=False)
        return [key]

    def _confirm(self, envelope: dict[str, Any]) -> Heard:
        """The topic is in the settings, so the operator wants it: the subscription is confirmed."""
        url = text_of(envelope, "SubscribeURL")
        parts = _amazons(url)
        query = parse_qs(parts.query) if parts is not None else {}
        wanted = query.get("Action") == ["ConfirmSubscription"] and query.get("TopicArn") == [envelope["TopicArn"]]
        if not wanted:
            raise UnreadableCallback("the address that confirms the subscription is not Amazon's")
        try:
            self._fetch(url)
        except OSError as error:
            reason = "the subscription could not be confirmed; open the SubscribeURL in this letter"
            raise UnreadableCallback(reason) from error
        return Heard()


def create(settings: Mapping[str, object]) -> SesReader:
    """Builds the reader from its section of the settings; `ValueError` says which setting is wrong."""
    return SesReader(read_section(settings, SesSettings, section="ses"))


def _heard(event: dict[str, Any], envelope: dict[str, Any]) -> Heard:
    kind = (text_of(event, "eventType") or text_of(event, "notificationType")).replace(" ", "").lower()
    mail = part_of(event, "mail")
    if not mail and "notification" in text_of(envelope, "Message").lower()[:200]:
        return Heard()  # SES says hello to a topic that was just set
    headers = mail.get("headers")
    named = {
        str(each.get("name", "")).lower(): each.get("value")
        for each in (headers if isinstance(headers, list) else [])
        if isinstance(each, dict)
    }
    message = our_id(
        part_of(mail, "tags").get("anlass"), named.get("x-anlass-id"), named.get("message-id"),
        part_of(mail, "commonHeaders").get("messageId"),
    )  # fmt: skip
    outcome, detail, at = _told(kind, event)
    if outcome is None:
        return Heard()
    found: Report = report(
        "ses", text_of(envelope, "MessageId"), outcome, message=message, provider_id=text_of(mail, "messageId"),
        more={"at_ms": rfc3339_ms(at), "detail": detail},
    )  # fmt: skip
    return Heard(reports=(found,))


def _told(kind: str, event: dict[str, Any]) -> tuple[DeliveryOutcome | None, dict[str, Any], str]:
    """Outcome (None: nothing follows), detail, and when."""
    if kind == "bounce":
        bounce = part_of(event, "bounce")
        return DeliveryOutcome.BOUNCED, _bounce(bounce), text_of(bounce, "timestamp")
    if kind == "complaint":
        complaint = part_of(event, "complaint")
        label = text_of(complaint, "complaintFeedbackType").lower() or "abuse"
        outcome = None if label in _NO_COMPLAINT else DeliveryOutcome.COMPLAINED
        return outcome, {"reason": label}, text_of(complaint, "timestamp")
    if kind in {"reject", "renderingfailure"}:
        words = text_of(part_of(event, "reject"), "reason") or "the service could not send it"
        return DeliveryOutcome.BOUNCED, {"reason": words[:100], "verdict": str(Verdict.MESSAGE)}, ""
    known = _SIMPLE.get(kind)
    if known is None:
        raise UnreadableCallback("an event of a kind that is not known")
    told = part_of(event, "deliveryDelay" if kind == "deliverydelay" else kind)
    detail: dict[str, Any] = {"url": text_of(told, "link")} if kind == "click" else {}
    if kind == "deliverydelay":
        detail = {"reason": text_of(told, "delayType")[:100]}
    return known, detail, text_of(told, "timestamp")


def _bounce(bounce: dict[str, Any]) -> dict[str, Any]:
    recipients = bounce.get("bouncedRecipients")
    first = recipients[0] if isinstance(recipients, list) and recipients and isinstance(recipients[0], dict) else {}
    _, _, words = text_of(first, "diagnosticCode").partition(";")
    words = words.strip() or text_of(first, "diagnosticCode")
    kind, below = text_of(bounce, "bounceType").lower(), text_of(bounce, "bounceSubType").lower()
    if below in {"suppressed", "onaccountsuppressionlist", "noemail"}:
        return bounce_detail(text_of(first, "status"), words, verdict=Verdict.SUPPRESS)
    if kind == "transient":
        verdict = Verdict.MESSAGE if below in _MESSAGE else Verdict.SOFT
        return bounce_detail(text_of(first, "status"), words, verdict=verdict)
    if kind == "permanent":
        detail = bounce_detail(text_of(first, "status"), words)
        if below == "general" and not detail.get("code"):
            detail["verdict"] = str(Verdict.SUPPRESS)
        return detail
    return bounce_detail(text_of(first, "status"), words, verdict=Verdict.SOFT)


def _amazons(url: str) -> SplitResult | None:
    """The parts of an address of an SNS host; None for every other."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts if parts.scheme == "https" and _HOST.match(parts.netloc) else None


def _certificates(path: str) -> list[rsa.RSAPublicKey]:
    if not path:
        return []
    try:
        return [_key_of(each) for each in x509.load_pem_x509_certificates(Path(path).read_bytes())]
    except (OSError, ValueError) as error:
        raise ValueError(f"The ses setting `certificates_file` names {path}, which cannot be used: {error}.") from error


def _key_of(certificate: x509.Certificate) -> rsa.RSAPublicKey:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("the certificate has no RSA key")  # noqa: TRY004 - its value is wrong
    return key
