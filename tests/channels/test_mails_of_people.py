"""Mails at the address for bounces that people wrote, or their programs: answers, objections, complaints, absences."""

from __future__ import annotations

import base64

import pytest

from channels.bounces import Kind, Understood, understand
from tests.channels.returned_mails import ADDRESS, MARKS, MESSAGE, RETURN_PATH, delivery_report, plain, report_of

PERSON = f"Ana <{ADDRESS}>"


def _read(raw: bytes) -> Understood:
    return understand(raw, marks=MARKS)


def _group(name: str, code: str, words: str) -> str:
    action = "delayed" if code.startswith("4") else "failed"
    return f"Final-Recipient: rfc822; {name}\nAction: {action}\nStatus: {code}\nDiagnostic-Code: smtp; {words}\n"


QUOTED = "Danke!\n\nAm 30.11.2026 schrieb Lindenhof an ana@example.com:\n> Hallo\n>, Ana, ana@example.com, friend@example.org"
FORWARDED = "Was heißt das?\n\n<ana@example.com>: host mx said: 550 5.1.1 User unknown\nMail delivery failed"
SES = '{"notificationType":"Bounce","bounce":{"bounceType":"Permanent","bouncedRecipients":[{"emailAddress":"a@b.de","status":"5.1.1"}]}}'


@pytest.mark.parametrize(
    "raw",
    [
        plain("Re: Dein Warenkorb ist noch da", QUOTED, sender=PERSON, headers=f"In-Reply-To: <{MESSAGE}@shop.example>\r\n"),
        plain("Fwd: Undelivered Mail Returned to Sender", FORWARDED, sender=PERSON),
        plain("WG: Mail delivery failed", FORWARDED, sender="Postmaster Müller <postmaster@example.com>"),
        plain("Frage", FORWARDED, sender=PERSON),
        plain("Amazon SES Email Event Notification", SES, sender="no-reply@sns.amazonaws.com"),
        plain("Re: News", f"ok\n\n> {SES}", sender=PERSON),
        delivery_report().replace(b"From: MAILER-DAEMON@mx.example.com (Mail Delivery System)", f"From: {PERSON}".encode())
        .replace(b"Return-Path: <>\r\n", b"").replace(b"Auto-Submitted: auto-replied\r\n", b"")
        .replace(b"multipart/report; report-type=delivery-status;", b"multipart/mixed;").replace(b"Subject: U",
        b"Subject: Fwd: U"),
    ],
)  # fmt: skip
def test_nothing_that_a_person_wrote_counts_against_an_address(raw: bytes) -> None:
    """Quoted lists, forwarded bounces, notices of services: kept for somebody to read."""
    read = _read(raw)
    assert (read.kind, read.report) == (Kind.OTHER, None)


APPLE = "Auto-Submitted: auto-replied\r\nX-Apple-Unsubscribe: true\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        plain("unsubscribe", "Apple Mail sent this email to unsubscribe from the message.", sender=PERSON, headers=APPLE),
        plain("Unsubscribe", "", sender=PERSON),
        plain("unsubscribe", "This message was sent by Gmail to unsubscribe you.", sender=PERSON,
        headers="Auto-Submitted: auto-generated\r\n"),
        plain("Abmelden", "", sender=PERSON),
        plain("Re: News", "Abmeldung bitte\n\nAm 30.11.2026 schrieb Lindenhof:\n> Hallo", sender=PERSON),
        plain("AW: News", "STOP\n\n-- \nAna", sender=PERSON),
    ],
)  # fmt: skip
def test_a_mail_that_asks_for_no_more_is_an_objection(raw: bytes) -> None:
    """Sent to the message's own address it is proven; whose consent ends is the message's customer."""
    read = _read(raw)
    assert (read.kind, read.label, read.proven) == (Kind.OBJECTION, "unsubscribe", True)
    assert read.report is not None
    assert (str(read.report.outcome), read.report.message) == ("unsubscribed", MESSAGE)


def test_an_objection_elsewhere_has_to_come_from_the_address() -> None:
    """By the Message-ID that it answers it is unproven, and the sender's address is compared."""
    raw = plain("Re: unsubscribe", "", sender=PERSON, headers=f"In-Reply-To: <{MESSAGE}@shop.example>\r\n")
    read = _read(raw.replace(RETURN_PATH.encode(), b"hello@shop.example"))
    assert (read.kind, read.proven, read.recipients) == (Kind.OBJECTION, False, (ADDRESS,))


@pytest.mark.parametrize(
    "raw",
    [
        plain("Re: News", "Please don't stop, I like it", sender=PERSON),
        plain("Re: News", "Wie kann ich mich abmelden?", sender=PERSON),
        plain("Out of office: unsubscribe", "away", sender=PERSON, headers="Auto-Submitted: auto-replied\r\n"),
        plain("failure notice", f"<{ADDRESS}>:\nunsubscribe (#5.2.2)"),
    ],
)
def test_what_is_no_objection(raw: bytes) -> None:
    """A sentence, an absence, a bounce."""
    assert _read(raw).kind is not Kind.OBJECTION


def _complaint(sender: str, subject: str, quoted: str, *, encoding: str = "") -> bytes:
    body = (
        f"{quoted}From: shop@shop.example\nTo: {ADDRESS}\nX-Anlass-Id: {MARKS.mark(MESSAGE)}\nSubject: Neu\n\nHallo\n"
    )
    if encoding:
        body = base64.encodebytes(body.encode()).decode()
    more = f"Content-Transfer-Encoding: {encoding}\n" if encoding else ""
    return (
        f"From: {sender}\nTo: fbl@shop.example\nSubject: {subject}\nMIME-Version: 1.0\n"
        f'Content-Type: multipart/mixed; boundary="F"\n\n--F\nContent-Type: message/rfc822\n{more}\n{body}\n--F--\n'
    ).encode()


@pytest.mark.parametrize(
    "raw",
    [
        _complaint("staff@hotmail.com", "complaint about message from 203.0.113.10", f"X-HmXmrOriginalRecipient: {ADDRESS}\n"),
        _complaint("staff@hotmail.com", "complaint about message from 203.0.113.10", ""),
        _complaint("staff@hotmail.com", "Fw: junk", f"X-HmXmrOriginalRecipient: {ADDRESS}\n", encoding="base64"),
        _complaint("123.abc@reports.spamcop.net", "[SpamCop (203.0.113.10) id:7312]Neu", ""),
    ],
)  # fmt: skip
def test_complaints_without_the_standards_form(raw: bytes) -> None:
    """Microsoft's and SpamCop's: the mail itself, our mark in it."""
    read = _read(raw)
    assert (read.kind, read.label, read.proven) == (Kind.FEEDBACK, "abuse", True)
    assert read.report is not None
    assert str(read.report.outcome) == "complained"
    assert ADDRESS in read.recipients


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "message/feedback-report"])
def test_a_report_of_complaint_in_a_part_of_another_type(kind: str) -> None:
    """mail.ru and others give the fields another type than the standard's."""
    raw = (
        f"From: fbl@corp.mail.ru\nTo: {RETURN_PATH}\nSubject: Abuse report\nMIME-Version: 1.0\n"
        f'Content-Type: multipart/report; report-type=feedback-report; boundary="F"\n\n--F\nContent-Type: {kind}\n\n'
        f"Feedback-Type: abuse\nUser-Agent: x/1\nOriginal-Rcpt-To: {ADDRESS}\n--F--\n"
    )
    read = _read(raw.encode())
    if kind == "application/octet-stream":  # it is no text, so nothing of it is read
        assert read.report is None
    else:
        assert (read.kind, read.label, read.recipients) == (Kind.FEEDBACK, "abuse", (ADDRESS,))


ABSENCES = """Out of Office: back|Automatic reply: x|Automatische Antwort: x|Abwesenheit: x|Ich bin im Urlaub|Réponse automatique : x|Absence du bureau
Respuesta automática: x|Fuera de la oficina|Risposta automatica: x|Fuori sede|Resposta automática: x|Ausência|Automatisch antwoord: x|Afwezig|Autosvar: x|Automatiskt svar: x
Frånvaro|Frånvarande|Odpowiedź automatyczna: x|On PTO until Monday|Betriebsferien|Vacaciones|Congés|Not in the office|Automatyczna odpowiedź: x|Nieobecność|Automatická odpověď: x|Automatikus válasz: x|Automaattinen vastaus: x|Otomatik yanıt: x|Автоматический ответ: x|Αυτόματη απάντηση: x
自动回复: x|自動応答|OOO: x|On vacation""".replace("\n", "|").split("|")


@pytest.mark.parametrize("subject", ABSENCES)
def test_absences_in_a_dozen_languages(subject: str) -> None:
    """Told by the subject alone."""
    assert _read(plain(subject, "Bis bald.", sender=PERSON)).kind is Kind.AUTOMATIC


def test_reports_about_several_recipients() -> None:
    """Who the mail was written to counts; without that the mildest."""
    gone, full = (
        _group(ADDRESS, "5.1.1", "550 5.1.1 User unknown"),
        _group("b@example.com", "5.2.2", "552 5.2.2 Over quota"),
    )
    returned = f"To: Ana <{ADDRESS}>\nSubject: x\n"
    assert _read(report_of(gone, full, returned=returned)).label == "hard"
    assert _read(report_of(full, gone, returned=returned)).label == "hard"
    assert _read(report_of(gone, full)).label == "soft"


def test_a_later_hard_bounce_is_another_report() -> None:
    """So that it is not taken for the first one come again."""
    first, second = (
        _read(report_of(_group(ADDRESS, code, words)))
        for code, words in (("5.2.2", "552 full"), ("5.1.1", "550 unknown user"))
    )
    assert first.report is not None
    assert second.report is not None
    assert first.report.id != second.report.id


HTML = (
    "<html><style>p{}</style><body><p>Delivery has failed to these recipients:</p><p>ana@example.com<br>"
    "The email address you entered <b>couldn&#39;t be found</b>.</p></body></html>"
)


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        (plain("Undeliverable: x", HTML, headers="Content-Type: text/html\r\n"), "hard"),
        (plain("Mail delivery failed: returning message to sender", "The following address(es) failed:\n\n  ana@example.com\n "
        "   host mx [203.0.113.9]\n    SMTP error from remote mail server after RCPT TO:<ana@example.com>:\n    550 Mailbox "
        "not found"), "hard"),
        (plain("Mail delivery failed: returning message to sender", "The following address(es) failed:\n\n  ana@example.com\n "
        "   Unrouteable address"), "hard"),
        (plain("Mail delivery failed: returning message to sender", "  ana@example.com\n    retry timeout exceeded"), "soft"),
        (plain("Warning: message x delayed 24 hours", "A message that you sent has not yet been delivered.\nDelivery attempts "
        "will continue to be made"), "deferred"),
        (plain("failure notice", "<ana@example.com>:\nThe users mailfolder is over the allowed quota (size). (#5.2.2)"), "soft"),
        (plain("DELIVERY FAILURE: User ana not listed in Domino Directory",
        "Your message could not be delivered because:\n\nUser ana (ana@example.com) not listed in Domino Directory"), "hard"),
        (plain("Unzustellbar: x", "Ihre Nachricht konnte nicht zugestellt werden.\nDie Adresse existiert nicht."), "hard"),
        (plain("Undeliverable: x", "Your message couldn't be delivered. This may be because the address does not exist."),
        "soft"),
        (plain("Undelivered Mail Returned to Sender", "could not be delivered to one or more destinations.\n\nYou can\ndelete your own text.\n\n<ana@example.com>: Command died with status 17"), "soft"),
        (plain("Delivery Status Notification (Failure)", "グループが存在しないか、権限がない可能性があります。"), "soft"),
        (plain("Successful Mail Delivery Report", "Your message was successfully delivered to ana@example.com"), "delivered"),
    ],
)  # fmt: skip
def test_servers_own_forms(raw: bytes, label: str) -> None:
    """Exim, qmail, Domino, Exchange, in HTML only, in German; a guess is no statement."""
    assert _read(raw).label == label
