"""Every kind of event of every mail service, signed, and what it is in our words."""

from __future__ import annotations

from typing import Any

from channels.callbacks import CallbackReader, CallbackRequest
from channels.callbacks.mailgun import MailgunReader, MailgunSettings
from channels.callbacks.postmark import PostmarkReader, PostmarkSettings
from channels.callbacks.sendgrid import SendgridReader, SendgridSettings
from channels.callbacks.ses import SesReader, SesSettings
from tests.channels.service_payloads import (
    MAILGUN_KEY,
    POSTMARK_LOGIN,
    TOPIC,
    SendgridKey,
    SnsKey,
    mailgun_event,
    postmark_event,
    postmark_headers,
    request,
    sendgrid_event,
    ses_bounce,
    ses_mail,
)

SNS = SnsKey()
SENDGRID = SendgridKey()


def ses(key: SnsKey = SNS) -> SesReader:
    return SesReader(SesSettings(topics=(TOPIC,)), fetch=key.fetch)


def sendgrid() -> SendgridReader:
    return SendgridReader(SendgridSettings(public_key=SENDGRID.public))


def mailgun() -> MailgunReader:
    return MailgunReader(MailgunSettings(secret=MAILGUN_KEY))


def postmark() -> PostmarkReader:
    return PostmarkReader(PostmarkSettings(username=POSTMARK_LOGIN[0], password=POSTMARK_LOGIN[1]))


def of_ses(event: dict[str, Any]) -> tuple[CallbackReader, CallbackRequest]:
    return ses(), request(SNS.envelope({"mail": ses_mail(), **event}))


def of_sendgrid(kind: str, **more: Any) -> tuple[CallbackReader, CallbackRequest]:
    return sendgrid(), SENDGRID.request([sendgrid_event(kind, **more)])


def of_mailgun(kind: str, **more: Any) -> tuple[CallbackReader, CallbackRequest]:
    return mailgun(), request(mailgun_event(kind, **more))


def of_postmark(kind: str, **more: Any) -> tuple[CallbackReader, CallbackRequest]:
    return postmark(), request(postmark_event(kind, **more), postmark_headers())


EVENTS: list[tuple[str, tuple[CallbackReader, CallbackRequest], str, str | None, str | None]] = [
    # name, called, outcome, verdict, code
    (
        "ses hard",
        of_ses(ses_bounce("Permanent", "General", "5.1.1", "smtp; 550 5.1.1 <ana@example.com>... User")),
        "bounced",
        "suppress",
        "550 5.1.1",
    ),
    ("ses no status", of_ses(ses_bounce("Permanent", "General", "", "")), "bounced", "suppress", None),
    ("ses listed", of_ses(ses_bounce("Permanent", "OnAccountSuppressionList", "", "")), "bounced", "suppress", None),
    (
        "ses spam",
        of_ses(ses_bounce("Permanent", "General", "5.7.1", "smtp; 554 5.7.1 blocked")),
        "bounced",
        "our_fault",
        "554 5.7.1",
    ),
    (
        "ses full",
        of_ses(ses_bounce("Transient", "MailboxFull", "5.2.2", "smtp; 552 5.2.2 full")),
        "bounced",
        "soft",
        "552 5.2.2",
    ),
    ("ses general", of_ses(ses_bounce("Transient", "General", "", "")), "bounced", "soft", None),
    (
        "ses large",
        of_ses(ses_bounce("Transient", "MessageTooLarge", "5.3.4", "smtp; 552 5.3.4 x")),
        "bounced",
        "message",
        "552 5.3.4",
    ),
    ("ses unclear", of_ses(ses_bounce("Undetermined", "Undetermined", "", "")), "bounced", "soft", None),
    (
        "ses complaint",
        of_ses(
            {
                "notificationType": "Complaint",
                "complaint": {"complaintFeedbackType": "abuse", "timestamp": "2026-09-21T14:13:10Z"},
            }
        ),
        "complained",
        None,
        None,
    ),
    (
        "ses delivery",
        of_ses({"eventType": "Delivery", "delivery": {"timestamp": "2026-09-21T14:13:10Z", "smtpResponse": "250 ok"}}),
        "delivered",
        None,
        None,
    ),
    (
        "ses delay",
        of_ses({"eventType": "DeliveryDelay", "deliveryDelay": {"delayType": "MailboxFull"}}),
        "deferred",
        None,
        None,
    ),
    ("ses reject", of_ses({"eventType": "Reject", "reject": {"reason": "Bad content"}}), "bounced", "message", None),
    ("ses open", of_ses({"eventType": "Open", "open": {"ipAddress": "192.0.2.1"}}), "opened", None, None),
    ("ses click", of_ses({"eventType": "Click", "click": {"link": "https://x.de/"}}), "clicked", None, None),
    ("ses leave", of_ses({"eventType": "Subscription", "subscription": {"source": "x"}}), "unsubscribed", None, None),
    (
        "sendgrid hard",
        of_sendgrid(
            "bounce",
            status="5.1.1",
            reason="550 5.1.1 no such user",
            type="bounce",
            bounce_classification="Invalid Address",
        ),
        "bounced",
        "suppress",
        "550 5.1.1",
    ),
    (
        "sendgrid unclassified",
        of_sendgrid("bounce", status="5.0.0", reason="500 unknown recipient", type="bounce"),
        "bounced",
        "suppress",
        "500 5.0.0",
    ),
    (
        "sendgrid blocked",
        of_sendgrid(
            "bounce", status="5.7.1", reason="550 5.7.1 spam", type="blocked", bounce_classification="Reputation"
        ),
        "bounced",
        "our_fault",
        "550 5.7.1",
    ),
    (
        "sendgrid reputation",
        of_sendgrid("bounce", status="", reason="refused", type="blocked", bounce_classification="Reputation"),
        "bounced",
        "our_fault",
        None,
    ),
    (
        "sendgrid block",
        of_sendgrid(
            "bounce", status="5.1.1", reason="550 5.1.1 x", type="blocked", bounce_classification="Invalid Address"
        ),
        "bounced",
        "soft",
        "550 5.1.1",
    ),
    ("sendgrid dropped", of_sendgrid("dropped", reason="Bounced Address"), "bounced", "suppress", None),
    (
        "sendgrid dropped spam",
        of_sendgrid("dropped", reason="Spam Content (if spam checker app enabled)"),
        "bounced",
        "message",
        None,
    ),
    (
        "sendgrid dropped unsubscribed",
        of_sendgrid("dropped", reason="Unsubscribed Address"),
        "unsubscribed",
        None,
        None,
    ),
    (
        "sendgrid deferred",
        of_sendgrid("deferred", response="400 try again later", attempt="5"),
        "deferred",
        None,
        "400",
    ),
    ("sendgrid delivered", of_sendgrid("delivered", response="250 OK"), "delivered", None, None),
    ("sendgrid processed", of_sendgrid("processed"), "sent", None, None),
    ("sendgrid spam", of_sendgrid("spamreport"), "complained", None, None),
    ("sendgrid group", of_sendgrid("group_unsubscribe", asm_group_id=10), "unsubscribed", None, None),
    (
        "mailgun hard",
        of_mailgun(
            "failed",
            severity="permanent",
            reason="bounce",
            **{
                "delivery-status": {
                    "code": 550,
                    "enhanced-code": "5.1.1",
                    "message": "5.1.1 <ana@example.com> no mailbox",
                }
            },
        ),
        "bounced",
        "suppress",
        "550 5.1.1",
    ),
    (
        "mailgun listed",
        of_mailgun(
            "failed",
            severity="permanent",
            reason="suppress-bounce",
            **{"delivery-status": {"code": 605, "description": "Not delivering to previously bounced address"}},
        ),
        "bounced",
        "suppress",
        None,
    ),
    (
        "mailgun left",
        of_mailgun("failed", severity="permanent", reason="suppress-unsubscribe"),
        "unsubscribed",
        None,
        None,
    ),
    (
        "mailgun spam",
        of_mailgun(
            "failed",
            severity="permanent",
            reason="espblock",
            **{"delivery-status": {"code": 554, "message": "blocked using Spamhaus"}},
        ),
        "bounced",
        "our_fault",
        "554",
    ),
    (
        "mailgun old",
        of_mailgun(
            "failed", severity="permanent", reason="old", **{"delivery-status": {"code": 602, "message": "Too old"}}
        ),
        "bounced",
        "soft",
        None,
    ),
    (
        "mailgun temporary",
        of_mailgun(
            "failed",
            severity="temporary",
            reason="generic",
            **{"delivery-status": {"code": 452, "message": "4.2.2 full"}},
        ),
        "deferred",
        None,
        "452 4.2.2",
    ),
    ("mailgun rejected", of_mailgun("rejected", reject={"reason": "Sandbox"}), "bounced", "message", None),
    ("mailgun delivered", of_mailgun("delivered"), "delivered", None, None),
    ("mailgun complained", of_mailgun("complained"), "complained", None, None),
    ("mailgun unsubscribed", of_mailgun("unsubscribed"), "unsubscribed", None, None),
    ("mailgun accepted", of_mailgun("accepted"), "sent", None, None),
    (
        "postmark hard",
        of_postmark("Bounce", Type="HardBounce", TypeCode=1, Details="smtp;550 5.1.1 gone"),
        "bounced",
        "suppress",
        "550 5.1.1",
    ),
    ("postmark soft", of_postmark("Bounce", Type="SoftBounce", Details="full"), "bounced", "soft", None),
    ("postmark delay", of_postmark("Bounce", Type="Transient", Details="later"), "deferred", None, None),
    ("postmark block", of_postmark("Bounce", Type="SpamNotification", Details="x"), "bounced", "our_fault", None),
    ("postmark complaint", of_postmark("SpamComplaint", Type="SpamComplaint"), "complained", None, None),
    ("postmark delivery", of_postmark("Delivery"), "delivered", None, None),
    (
        "postmark left",
        of_postmark("SubscriptionChange", SuppressSending=True, SuppressionReason="ManualSuppression"),
        "unsubscribed",
        None,
        None,
    ),
    ("postmark click", of_postmark("Click", OriginalLink="https://x.de/"), "clicked", None, None),
]
