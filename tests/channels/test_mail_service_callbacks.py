"""Webhooks of mail services: each event in our vocabulary, nothing forged believed, nothing unknown dropped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.callbacks import CallbackReader, CallbackRequest, Forged, Heard, UnreadableCallback
from channels.callbacks.sendgrid import SendgridReader, SendgridSettings
from channels.callbacks.ses import SesReader, SesSettings
from channels.registry import CALLBACKS, load_callbacks
from tests.channels.returned_mails import MESSAGE
from tests.channels.service_events import (
    EVENTS,
    SENDGRID,
    SNS,
    mailgun,
    of_mailgun,
    of_postmark,
    of_sendgrid,
    of_ses,
    postmark,
    sendgrid,
    ses,
)
from tests.channels.service_payloads import (
    CERTIFICATE_URL,
    NOW_MS,
    TOPIC,
    SendgridKey,
    SnsKey,
    mailgun_event,
    postmark_event,
    postmark_headers,
    request,
    sendgrid_event,
    ses_bounce,
)
from tests.properties import examples

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("called", "outcome", "verdict", "code"), [each[1:] for each in EVENTS], ids=[each[0] for each in EVENTS]
)
def test_each_event_in_our_words(
    called: tuple[CallbackReader, CallbackRequest], outcome: str, verdict: str | None, code: str | None
) -> None:
    """One vocabulary, our id, no address; and the same report when it comes again."""
    reader, asked = called
    (report,) = reader.read(asked).reports
    assert (str(report.outcome), report.detail.get("verdict"), report.detail.get("code")) == (outcome, verdict, code)
    assert report.message == MESSAGE
    assert "@" not in str(report.detail)
    assert 0 <= report.at_ms <= NOW_MS + DAY_MS
    assert reader.read(asked).reports == (report,)


IGNORED = [
    of_ses({"notificationType": "Complaint", "complaint": {"complaintFeedbackType": "not-spam"}}),
    (
        ses(),
        request(
            SNS.envelope(
                '{"notificationType":"AmazonSnsSubscriptionSucceeded","message":"You have successfully subscribed"}'
            )
        ),
    ),
    of_sendgrid("group_resubscribe"),
    of_postmark("Bounce", Type="AutoResponder"),
    of_postmark("SubscriptionChange", SuppressSending=False, SuppressionReason=None),
]


@pytest.mark.parametrize("called", IGNORED)
def test_what_says_nothing_about_a_message_is_answered_and_ignored(
    called: tuple[CallbackReader, CallbackRequest],
) -> None:
    """Nothing follows, and the service does not come again."""
    reader, asked = called
    assert reader.read(asked) == Heard()


UNREADABLE = [
    of_ses({"eventType": "Surprise"}),
    (ses(), request(SNS.envelope("no json"))),
    (ses(), request(SNS.envelope([1]))),
    (ses(), request(SNS.envelope({"notificationType": "Bounce", "bounce": {}, "mail": {"x": 1}}))),
    (ses(), request(SNS.envelope("x", Type="UnsubscribeConfirmation", Token="t", SubscribeURL="https://x"))),
    (sendgrid(), SENDGRID.request({"not": "a list"})),
    (sendgrid(), SENDGRID.request([{}] * 5_001)),
    of_mailgun("surprise"),
    of_postmark("Surprise"),
    of_postmark("Bounce", Type="Surprise"),
    (postmark(), request(b"[]", postmark_headers())),
    (postmark(), request(b"\xff", postmark_headers())),
]


@pytest.mark.parametrize("called", UNREADABLE)
def test_what_is_signed_and_not_understood_is_said_to_be_so(called: tuple[CallbackReader, CallbackRequest]) -> None:
    """It becomes a dead letter, never silence."""
    reader, asked = called
    with pytest.raises(UnreadableCallback):
        reader.read(asked)


def test_one_unknown_event_does_not_cost_the_others() -> None:
    """SendGrid sends many at once: what is known is used, and the request is kept beside it."""
    heard = sendgrid().read(
        SENDGRID.request([sendgrid_event("delivered"), sendgrid_event("surprise"), 7, sendgrid_event("spamreport")])
    )
    assert [str(report.outcome) for report in heard.reports] == ["delivered", "complained"]
    assert len(heard.unreadable) == 2


def _changed(envelope: dict[str, Any], **changes: Any) -> CallbackRequest:
    return request({**envelope, **changes})


_BOUNCE = SNS.envelope(ses_bounce("Permanent", "General", "5.1.1", "smtp; 550 5.1.1 x"))
_SENDGRID_GOOD = SENDGRID.request([sendgrid_event("bounce")])
_MAILGUN_GOOD = mailgun_event("complained")
_MAILGUN_OTHER = mailgun_event("complained", token="e0" + "t" * 48)["signature"]
_MAILGUN_SHIFTED = {**_MAILGUN_OTHER, "timestamp": f"{_MAILGUN_OTHER['timestamp']}e0", "token": "t" * 48}
"""The same signature for another token: only where the time ends was moved."""
OLD = str((NOW_MS - 2 * DAY_MS) // 1000)
EARLY = str((NOW_MS + DAY_MS) // 1000)
FORGED = [
    ("ses not json", ses(), request(b"x")),
    ("ses other message", ses(), _changed(_BOUNCE, Message="{}")),
    ("ses other topic", ses(), request(SNS.envelope({}, TopicArn=TOPIC + "x"))),
    ("ses other key", ses(), request(SnsKey().envelope({}))),
    ("ses no signature", ses(), _changed(_BOUNCE, Signature="")),
    ("ses odd signature", ses(), _changed(_BOUNCE, Signature="?")),
    ("ses version 3", ses(), _changed(_BOUNCE, SignatureVersion="3")),
    ("ses version 1 of 2", ses(), _changed(_BOUNCE, SignatureVersion="1")),
    ("ses old", ses(), request(SNS.envelope({}, Timestamp="2026-09-18T14:13:10.000Z"))),
    ("ses no time", ses(), request(SNS.envelope({}, Timestamp="yesterday"))),
    ("ses type", ses(), request(SNS.envelope({}, Type="Notice"))),
    *(
        (f"ses certificate of {url}", ses(), request(SNS.envelope({}, SigningCertURL=url)))
        for url in (
            "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0.pem",
            "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-01d088a6f77103d0.pem",
            "https://evil.example/sns.eu-central-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0.pem",
            "https://sns.eu-central-1.amazonaws.com@evil.example/SimpleNotificationService-01d088a6f77103d0.pem",
            "https://sns.eu-central-1.amazonaws.com:8443/SimpleNotificationService-01d088a6f77103d0.pem",
            "https://my-bucket.s3.amazonaws.com/SimpleNotificationService-01d088a6f77103d0.pem",
            "https://sns.eu-central-1.amazonaws.com/../x.pem",
            "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0.pem?x=1",
            "https://SNS.evil.amazonaws.com.\u2024example/SimpleNotificationService-01d088a6f77103d0.pem",
            "https://[::1/x.pem",
            "",
        )
    ),
    ("sendgrid other body", sendgrid(), SENDGRID.request([], body=_SENDGRID_GOOD.body)),
    ("sendgrid other key", sendgrid(), SendgridKey().request([])),
    ("sendgrid no signature", sendgrid(), request(b"[]")),
    ("sendgrid old", sendgrid(), SENDGRID.request([], at=OLD)),
    ("sendgrid early", sendgrid(), SENDGRID.request([], at=EARLY)),
    ("sendgrid odd time", sendgrid(), SENDGRID.request([], at="nan")),
    ("mailgun not json", mailgun(), request(b"x")),
    ("mailgun no signature", mailgun(), request({"event-data": _MAILGUN_GOOD["event-data"]})),
    ("mailgun wrong", mailgun(), request({**_MAILGUN_GOOD, "signature": {**_MAILGUN_GOOD["signature"], "token": "u" * 50}})),
    ("mailgun odd", mailgun(), request({**_MAILGUN_GOOD, "signature": {"timestamp": 1, "token": "x", "signature": "ü"}})),
    ("mailgun shifted", mailgun(), request({**_MAILGUN_GOOD, "signature": _MAILGUN_SHIFTED})),
    ("mailgun old", mailgun(), request(mailgun_event("complained", at=OLD))),
    ("mailgun early", mailgun(), request(mailgun_event("complained", at=EARLY))),
    ("postmark no login", postmark(), request(postmark_event("SpamComplaint"))),
    ("postmark wrong login", postmark(), request(postmark_event("SpamComplaint"), postmark_headers("x" * 24))),
    ("postmark odd login", postmark(), request(postmark_event("SpamComplaint"), {"authorization": "Basic ü\udcff"})),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "asked"), [each[1:] for each in FORGED], ids=[each[0] for each in FORGED])
def test_nothing_forged_is_believed(reader: CallbackReader, asked: CallbackRequest) -> None:
    """Another key, body, topic, time, host of the certificate, or nothing at all."""
    with pytest.raises(Forged):
        reader.read(asked)


def test_certificates_come_from_amazon_only_and_once() -> None:
    """Nothing else is ever asked for; a known certificate is not asked for again; versions 1 and 2 are both checked."""
    key = SnsKey()
    reader = ses(key)
    for version in ("1", "2", "2"):
        assert reader.read(
            request(key.envelope(ses_bounce("Permanent", "General", "5.1.1", "x"), version=version))
        ).reports
    assert key.fetched == [CERTIFICATE_URL]
    for _, other, asked in FORGED:
        if isinstance(other, SesReader):
            with pytest.raises(Forged):
                reader.read(asked)
    assert key.fetched == [CERTIFICATE_URL]


def test_certificates_may_be_given(tmp_path: Path) -> None:
    """Then nothing is fetched: a good signature is believed, another key's is not, whatever address it names."""
    key = SnsKey()
    (tmp_path / "sns.pem").write_bytes(key.fetch(""))
    key.fetched.clear()
    reader = SesReader(SesSettings(topics=(TOPIC,), certificates_file=str(tmp_path / "sns.pem")), fetch=key.fetch)
    assert reader.read(request(key.envelope(ses_bounce("Permanent", "General", "5.1.1", "x")))).reports
    with pytest.raises(Forged):
        reader.read(request(_BOUNCE))
    assert key.fetched == []


def test_a_subscription_is_confirmed_at_amazon_only() -> None:
    """For a topic of the settings, signed: the address is asked once. Any other address is not."""
    good = f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
    key = SnsKey()
    asked = request(
        key.envelope("You have chosen…", Type="SubscriptionConfirmation", Token="2336412f37", SubscribeURL=good)
    )
    assert ses(key).read(asked) == Heard()
    assert key.fetched == [CERTIFICATE_URL, good]
    for bad in (
        good.replace("https", "http"), good.replace(TOPIC, TOPIC + "x"), good.replace("Confirm", "Delete"),
        good.replace("amazonaws.com", "amazonaws.com.evil.example"), "file:///etc/passwd", "",
    ):  # fmt: skip
        key.fetched.clear()
        with pytest.raises(UnreadableCallback):
            ses(key).read(request(key.envelope("x", Type="SubscriptionConfirmation", Token="t", SubscribeURL=bad)))
        assert key.fetched == [CERTIFICATE_URL]


def test_an_unreachable_certificate_is_forged_for_now() -> None:
    """Without it nothing can be believed; SNS tries again."""

    def away(_url: str) -> bytes:
        raise OSError("no route")

    with pytest.raises(Forged):
        SesReader(SesSettings(topics=(TOPIC,)), fetch=away).read(request(_BOUNCE))


def test_a_token_of_mailguns_is_believed_once() -> None:
    """Its signature does not cover the event: the same again is a repetition, another event with it is forged."""
    reader = mailgun()
    first = request(mailgun_event("delivered"))
    assert reader.read(first) == reader.read(first)
    with pytest.raises(Forged):
        reader.read(request(mailgun_event("complained")))
    assert reader.read(request(mailgun_event("complained", token="u" * 50))).reports


def test_sendgrids_own_example_verifies() -> None:
    """The key, signature and payload that SendGrid's libraries are tested with."""
    key = (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eN"
        "Ec6wEA3F+g=="
    )
    signature = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
    event = {
        "email": "hello@world.com", "event": "dropped", "reason": "Bounced Address",
        "sg_event_id": "ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",
        "sg_message_id": "LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",
        "smtp-id": "<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>", "timestamp": 1600112492,
    }  # fmt: skip
    body = json.dumps([event], sort_keys=True, separators=(",", ":")).encode() + b"\r\n"
    headers = {
        "x-twilio-email-event-webhook-signature": signature,
        "x-twilio-email-event-webhook-timestamp": "1600112502",
    }
    reader = SendgridReader(SendgridSettings(public_key=key))
    (report,) = reader.read(request(body, headers, now_ms=1_600_112_502_000)).reports
    assert (report.message, report.provider_id) == ("", "LRzXl_NHStOGhQ4kofSm_A")
    assert report.detail["verdict"] == "suppress"
    with pytest.raises(Forged):
        reader.read(request(body.replace(b"hello", b"hallo"), headers, now_ms=1_600_112_502_000))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_KEYS = (
    "bounce",
    "mail",
    "event",
    "reason",
    "Type",
    "delivery-status",
    "message",
    "tags",
    "headers",
    "timestamp",
    "click",
)


@settings(max_examples=examples(200))
@given(st.sampled_from(_KEYS), _json, st.sampled_from(EVENTS))
def test_signed_nonsense_never_raises_anything_else(
    key: str, value: Any, event: tuple[str, tuple[CallbackReader, CallbackRequest], str, str | None, str | None]
) -> None:
    """Fuzzed: any JSON in any place, rightly signed, is a report, ignored, or unreadable."""
    name = event[0].split()[0]
    body = json.loads(event[1][1].body)
    calls: dict[str, Callable[[], Heard]] = {
        "ses": lambda: ses().read(request(SNS.envelope({**json.loads(body["Message"]), key: value}))),
        "sendgrid": lambda: sendgrid().read(SENDGRID.request([{**body[0], key: value}])),
        "mailgun": lambda: mailgun().read(request({**body, "event-data": {**body["event-data"], key: value}})),
        "postmark": lambda: postmark().read(request({**body, key: value}, postmark_headers())),
    }
    try:
        heard = calls[name]()
    except UnreadableCallback:
        pass
    else:
        assert all(0 < len(report.id) <= 200 for report in heard.reports)


@settings(max_examples=examples(200))
@given(st.binary(max_size=400), st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=3))
def test_noise_is_forged(body: bytes, headers: dict[str, str]) -> None:
    """Fuzzed: whatever comes unsigned is refused, by all of them."""
    for reader in (ses(), sendgrid(), mailgun(), postmark()):
        with pytest.raises(Forged):
            reader.read(request(body, headers))


@pytest.mark.parametrize(
    ("provider", "wrong"),
    [
        ("ses", {"topics": ("shop",)}), ("ses", {"topics": (TOPIC,), "certificates_file": "/nowhere.pem"}),
        ("sendgrid", {"public_key": "AAAA"}), ("sendgrid", {"public_key": "?"}),
        ("mailgun", {"secret": ""}), ("postmark", {"username": "x", "password": "short"}), ("postmark", {}),
    ],
)  # fmt: skip
def test_wrong_settings_are_said(provider: str, wrong: dict[str, object]) -> None:
    """At the start, with the name of the setting."""
    with pytest.raises(ValueError, match=provider):
        load_callbacks(provider)(wrong)


def test_all_services_are_registered() -> None:
    """The names are those of the paths."""
    assert {"ses", "sendgrid", "mailgun", "postmark"} <= CALLBACKS.keys()
