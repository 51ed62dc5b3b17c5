"""What mail services send, after the examples that they publish, signed with keys of the tests."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from channels.callbacks import CallbackRequest
from tests.channels.returned_mails import MESSAGE

NOW_MS = 1_790_000_000_000
TOPIC = "arn:aws:sns:eu-central-1:123456789012:ses-events"
CERTIFICATE_URL = (
    "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem"
)
MAILGUN_KEY = "a-webhook-signing-key"
POSTMARK_LOGIN = ("postmark", "a-long-password-of-tests")
AT = datetime.fromtimestamp(NOW_MS / 1000, UTC)


class SnsKey:
    """A key and its certificate, as SNS has one, and how often it was fetched."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(AT - timedelta(days=1))
            .not_valid_after(AT + timedelta(days=1))
            .sign(self.key, hashes.SHA256())
        )
        self.fetched: list[str] = []

    def fetch(self, url: str) -> bytes:
        """The certificate, whatever is asked for."""
        self.fetched.append(url)
        return self.certificate.public_bytes(Encoding.PEM)

    def envelope(self, message: object, *, version: str = "2", **changes: Any) -> dict[str, Any]:
        """A signed notification of the message."""
        fields: dict[str, Any] = {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Message": message if isinstance(message, str) else json.dumps(message),
            "Timestamp": AT.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "SignatureVersion": version,
            "SigningCertURL": CERTIFICATE_URL,
            "UnsubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe",
            **changes,
        }
        names = ["Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn", "Type"]
        signed = "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields)
        algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303 - what version 1 is
        fields["Signature"] = base64.b64encode(self.key.sign(signed.encode(), padding.PKCS1v15(), algorithm)).decode()
        return fields


class SendgridKey:
    """A key as SendGrid has one."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public = base64.b64encode(
            self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).decode()

    def request(self, events: object, *, at: str = str(NOW_MS // 1000), body: bytes | None = None) -> CallbackRequest:
        """A signed request; `body` replaces what was signed."""
        raw = json.dumps(events).encode() + b"\r\n"
        signature = base64.b64encode(self.key.sign(at.encode() + raw, ec.ECDSA(hashes.SHA256()))).decode()
        return request(
            raw if body is None else body,
            {
                "x-twilio-email-event-webhook-signature": signature,
                "x-twilio-email-event-webhook-timestamp": at,
            },
        )


def request(body: bytes | object, headers: dict[str, str] | None = None, *, now_ms: int = NOW_MS) -> CallbackRequest:
    """A request with the body, JSON unless it is bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CallbackRequest(url="https://x/callbacks/p/s", headers=headers or {}, body=raw, now_ms=now_ms)


def ses_mail(**changes: Any) -> dict[str, Any]:
    """The `mail` of an event, with our id as a tag."""
    return {
        "timestamp": "2026-09-21T14:13:00.000Z",
        "messageId": "00000138111222aa-33322211-cccc-cccc-cccc-ddddaaaa0680-000000",
        "source": "hello@shop.example",
        "destination": ["ana@example.com"],
        "tags": {"ses:configuration-set": ["shop"], "anlass": [MESSAGE]},
        **changes,
    }


def ses_bounce(kind: str, below: str, status: str, words: str) -> dict[str, Any]:
    """A bounce, as the guide for developers shows it."""
    recipient = {"emailAddress": "ana@example.com", "status": status, "action": "failed", "diagnosticCode": words}
    return {
        "notificationType": "Bounce",
        "bounce": {
            "bounceType": kind,
            "bounceSubType": below,
            "reportingMTA": "dns; email.example.com",
            "bouncedRecipients": [{name: value for name, value in recipient.items() if value}],
            "timestamp": "2026-09-21T14:13:10.000Z",
            "feedbackId": "00000138111222aa-33322211-cccc-cccc-cccc-ddddaaaa068a-000000",
        },
        "mail": ses_mail(),
    }


def sendgrid_event(event: str, **more: Any) -> dict[str, Any]:
    """An event, as the reference shows it, with our id as a custom argument."""
    return {
        "email": "ana@example.com",
        "timestamp": NOW_MS // 1000,
        "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
        "event": event,
        "sg_event_id": "ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        "anlass": MESSAGE,
        **more,
    }


def mailgun_event(event: str, *, token: str = "t" * 50, at: str = str(NOW_MS // 1000), **more: Any) -> dict[str, Any]:
    """An event, as the user's manual shows it, with our id as a variable."""
    signature = hmac.new(MAILGUN_KEY.encode(), f"{at}{token}".encode(), "sha256").hexdigest()
    return {
        "signature": {"timestamp": at, "token": token, "signature": signature},
        "event-data": {
            "event": event,
            "id": "G9Bn5sl1TC6nu79C8C0bwg",
            "timestamp": NOW_MS / 1000,
            "recipient": "ana@example.com",
            "message": {"headers": {"message-id": f"{MESSAGE}@shop.example", "to": "Ana <ana@example.com>"}},
            "user-variables": {"anlass": MESSAGE},
            **more,
        },
    }


def postmark_event(record: str, **more: Any) -> dict[str, Any]:
    """An event, as the developers' documentation shows it, with our id as metadata."""
    return {
        "RecordType": record,
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "ID": 4323372036854775807,
        "Email": "ana@example.com",
        "BouncedAt": "2026-09-21T14:13:10Z",
        "DeliveredAt": "2026-09-21T14:13:10Z",
        "ReceivedAt": "2026-09-21T14:13:10Z",
        "ChangedAt": "2026-09-21T14:13:10Z",
        "Metadata": {"anlass": MESSAGE},
        **more,
    }


def postmark_headers(password: str = POSTMARK_LOGIN[1]) -> dict[str, str]:
    """The login."""
    return {"authorization": "Basic " + base64.b64encode(f"{POSTMARK_LOGIN[0]}:{password}".encode()).decode()}
