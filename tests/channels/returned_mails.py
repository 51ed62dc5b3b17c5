"""Mails that come back, as servers write them: built by tests, each with what the test wants to say."""

from __future__ import annotations

from channels.mail.marks import Marks

MARKS = Marks(b"a secret of the tests, 32 bytes.")
MESSAGE = "4be2f43ae2d1ae5c8a35a1fd8d2f63a9"
RETURN_PATH = f"b+{MARKS.mark(MESSAGE)}@bounces.shop.example"
ADDRESS = "ana@example.com"


def delivery_report(
    *, action: str = "failed", status: str = "5.1.1", diagnostic: str = "smtp; 550 5.1.1 No such user", **more: str
) -> bytes:
    """A report as Postfix writes it (RFC 3464), about ADDRESS. More fields of the recipient: `Original_Recipient="…"`."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in more.items())
    return report_of(
        f"Final-Recipient: rfc822; {ADDRESS}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: {diagnostic}\n{fields}"
    )


def report_of(*recipients: str, to: str = RETURN_PATH, returned: str = "Message-ID: <x@y>\nSubject: Hello\n") -> bytes:
    """A report with these groups of fields; `returned` are the headers of the mail that it gives back."""
    groups = "\n".join(recipients)
    text = f"""\
Return-Path: <>
Date: Mon, 16 Nov 2026 08:00:00 +0000
From: MAILER-DAEMON@mx.example.com (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {to}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"

--=_b
Content-Type: text/plain

This is the mail system at host mx.example.com.

--=_b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com
Arrival-Date: Mon, 16 Nov 2026 07:59:00 +0000

{groups}
--=_b
Content-Type: text/rfc822-headers

{returned}
--=_b--
"""
    return text.replace("\n", "\r\n").encode()


def complaint(kind: str = "abuse", *, returned: str = "", fields: str = "", to: str = "fbl@shop.example") -> bytes:
    """A complaint as a mailbox provider reports it (RFC 5965)."""
    text = f"""\
From: <abusedesk@example.com>
Date: Mon, 16 Nov 2026 08:00:00 +0000
Subject: FW: Earn money
To: {to}
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="part1"

--part1
Content-Type: text/plain; charset="US-ASCII"

This is an email abuse report for an email message.

--part1
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: SomeGenerator/1.0
Version: 1
{fields}
--part1
Content-Type: message/rfc822
Content-Disposition: inline

{returned}Subject: Earn money

Spam spam spam
--part1--
"""
    return text.encode()


def plain(subject: str, text: str, *, sender: str = "MAILER-DAEMON@mx.example.com", headers: str = "") -> bytes:
    """A mail of words only."""
    return f"From: {sender}\r\nTo: {RETURN_PATH}\r\nSubject: {subject}\r\n{headers}\r\n{text}\r\n".encode()
