"""Mails that come back are understood: reports, complaints, bounces in words, automatic answers; bad ones never raise."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from channels.bounces import Kind, Marks, understand
from channels.bounces.parts import MAIL_BYTES_MAX
from channels.mail.marks import HEADER, LOCAL_CHARS_MAX, local_part_chars
from tests.channels.returned_mails import (
    ADDRESS,
    MARKS,
    MESSAGE,
    RETURN_PATH,
    complaint,
    delivery_report,
    plain,
    report_of,
)
from tests.properties import examples

STATUSES = [
    # action, status, diagnostic → outcome, verdict, code
    ("failed", "5.1.1", "smtp; 550 5.1.1 No such user", "bounced", "suppress", "550 5.1.1"),
    ("failed", "5.1.10", "smtp; 550 5.1.10 RESOLVER.ADR.RecipientNotFound", "bounced", "suppress", "550 5.1.10"),
    ("failed", "5.0.0", "smtp; 550 5.1.1 <ana@example.com>: unknown", "bounced", "suppress", "550 5.1.1"),
    ("failed", "5.0.0", "smtp; 550 unknown", "bounced", "soft", "550 5.0.0"),
    ("failed", "5.2.2", "smtp; 552 5.2.2 Over quota", "bounced", "soft", "552 5.2.2"),
    ("failed", "4.4.7", "smtp; 451 4.4.7 expired", "bounced", "soft", "451 4.4.7"),
    ("failed", "4.1.1", "smtp; 550 5.1.1 no such user", "bounced", "suppress", "550 5.1.1"),
    ("failed", "5.7.1", "smtp; 554 5.7.1 blocked using zen.spamhaus.org", "bounced", "our_fault", "554 5.7.1"),
    ("failed", "5.7.26", "smtp; 550-5.7.26 unauthenticated", "bounced", "our_fault", "550 5.7.26"),
    ("failed", "5.7.515", "smtp; 550 5.7.515 Access denied", "bounced", "our_fault", "550 5.7.515"),
    ("failed", "5.0.0", "smtp; 550 our block list has you, see Spamhaus", "bounced", "our_fault", "550 5.0.0"),
    ("failed", "5.7.133", "smtp; 550 5.7.133 only members may write", "bounced", "soft", "550 5.7.133"),
    ("failed", "5.3.4", "smtp; 552 5.3.4 too big", "bounced", "message", "552 5.3.4"),
    ("failed", "5.5.0", "smtp; 550 5.5.0 mailbox unavailable", "bounced", "suppress", "550 5.5.0"),
    ("failed", "2.0.0", "smtp; 250 fine", "bounced", "soft", "2.0.0"),
    ("failed", "", "smtp; 550 5.1.1 No such user", "bounced", "suppress", "550 5.1.1"),
    ("failed", "nonsense", "x-unix; something", "bounced", "soft", None),
    ("FAILED (permanent)", "5.1.1 (bad)", "smtp; 550 5.1.1 x", "bounced", "suppress", "550 5.1.1"),
    ("delayed", "4.4.1", "smtp; connection timed out", "deferred", None, "4.4.1"),
    ("delayed", "5.1.1", "smtp; 550 5.1.1 x", "deferred", None, "5.1.1"),
    ("relayed", "2.1.9", "smtp; 250 ok", "delivered", None, "2.1.9"),
    ("delivered", "2.0.0", "smtp; 250 ok", "delivered", None, "2.0.0"),
    ("expanded", "2.1.5", "smtp; 250 ok", "delivered", None, "2.1.5"),
]


@pytest.mark.parametrize(("action", "status", "diagnostic", "outcome", "verdict", "code"), STATUSES)
def test_a_delivery_report_is_judged_by_its_status(
    action: str, status: str, diagnostic: str, outcome: str, verdict: str | None, code: str | None
) -> None:
    """The refusing server's words and code decide, then the Status; only what is plainly about the address suppresses it."""
    read = understand(delivery_report(action=action, status=status, diagnostic=diagnostic), marks=MARKS)
    assert read.kind is Kind.STATUS
    assert read.report is not None
    assert (str(read.report.outcome), read.report.detail.get("verdict")) == (outcome, verdict)
    assert read.report.detail.get("code") == code
    assert (read.report.message, read.proven) == (MESSAGE, True)
    assert "@" not in str(read.report.detail)


def _recipient(action: str, status: str, name: str) -> str:
    return f"Final-Recipient: rfc822; {name}@example.com\nAction: {action}\nStatus: {status}\n"


@pytest.mark.parametrize(
    ("groups", "outcome", "verdict"),
    [
        ([("failed", "5.1.1"), ("failed", "5.1.1")], "bounced", "suppress"),
        ([("failed", "5.1.1"), ("failed", "5.2.2")], "bounced", "soft"),
        ([("failed", "5.1.1"), ("delayed", "4.4.1")], "deferred", None),
        ([("failed", "5.1.1"), ("delivered", "2.0.0")], "delivered", None),
    ],
)
def test_of_several_recipients_the_mildest_counts(
    groups: list[tuple[str, str]], outcome: str, verdict: str | None
) -> None:
    """Our mail has one recipient; several are where it was forwarded, and one that works is enough."""
    read = understand(
        report_of(*(_recipient(action, status, f"r{n}") for n, (action, status) in enumerate(groups))), marks=MARKS
    )
    assert read.report is not None
    assert (str(read.report.outcome), read.report.detail.get("verdict")) == (outcome, verdict)
    assert read.recipients == ("r0@example.com", "r1@example.com")


def test_the_message_is_found_in_many_places() -> None:
    """By the envelope, the To header, our header in what is given back, whatever the case; else by the Message-ID, unproven."""
    group = _recipient("failed", "5.1.1", "ana")
    bare = report_of(group, to="bounces@shop.example")
    assert understand(bare, marks=MARKS).report is None
    assert "names no message" in understand(bare, marks=MARKS).reason
    places = {
        "envelope": understand(bare, envelope_to=[RETURN_PATH.upper()], marks=MARKS),
        "To": understand(report_of(group), marks=MARKS),
        "header": understand(
            report_of(group, to="b@x.de", returned=f"Subject: x\n{HEADER}: {MARKS.mark(MESSAGE)}\n"), marks=MARKS
        ),
        "complaint": understand(
            complaint(returned=f"{HEADER}: {MARKS.mark(MESSAGE)}\nMIME-Version: 1.0\n"), marks=MARKS
        ),
        "complaint's field": understand(complaint(fields=f"Original-Mail-From: <{RETURN_PATH}>\n"), marks=MARKS),
    }
    for where, read in places.items():
        assert read.report is not None, where
        assert (read.report.message, read.proven) == (MESSAGE, True), where
    by_id = understand(
        report_of(group, to="b@x.de", returned=f"Message-ID: <{MESSAGE}@shop.example>\nTo: Ana <a@b.c>\n")
    )
    assert by_id.report is not None
    assert (by_id.report.message, by_id.proven) == (MESSAGE, False)
    assert by_id.recipients == ("ana@example.com", "a@b.c")


def test_a_mark_of_somebody_else_is_none() -> None:
    """Another secret, another id, another code: none of these names a message."""
    other = Marks(b"another secret, as long as it is").mark(MESSAGE)
    mark = MARKS.mark(MESSAGE)
    forged = [other, mark.replace("4be2", "4be3"), mark[:-1] + ("a" if mark[-1] != "a" else "b"), mark[:-1], MESSAGE]
    for text in forged:
        read = understand(report_of(_recipient("failed", "5.1.1", "ana"), to=f"b+{text}@x.de"), marks=MARKS)
        assert read.report is None, text
    assert local_part_chars("b+{id}@bounces.shop.example") <= LOCAL_CHARS_MAX


@given(st.text(st.sampled_from("0123456789abcdef"), min_size=32, max_size=32), st.text(max_size=20), st.booleans())
def test_a_mark_survives_what_servers_do_to_addresses(message: str, before: str, upper: bool) -> None:
    """Upper case, brackets, SRS prefixes: the mark is found, and it is the id's own."""
    mark = MARKS.mark(message)
    text = f"<SRS0=xx=yy=b+{mark.upper() if upper else mark}@z.de>"
    assert MARKS.read(text) == message
    assert MARKS.read(f"{before} {text}") == message


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("abuse", "complained"), ("fraud", "complained"), ("ABUSE", "complained"), ("opt-out", "unsubscribed"),
        ("not-spam", None), ("virus", None), ("auth-failure", None), ("other", None), ("new-thing", None),
    ],
)  # fmt: skip
def test_a_feedback_report_is_a_complaint_only_when_a_person_complains(kind: str, outcome: str | None) -> None:
    """The type decides; the others are counted under their label and nothing follows."""
    read = understand(complaint(kind, fields=f"Original-Mail-From: <{RETURN_PATH}>\n"), marks=MARKS)
    assert read.kind is Kind.FEEDBACK
    assert (str(read.report.outcome) if read.report else None) == outcome
    assert read.ignored == (outcome is None)
    assert read.label == (kind.lower() if kind != "new-thing" else "other")


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        (plain("failure notice", "<ana@example.com>:\nSorry, no mailbox here by that name. (#5.1.1)"), "hard"),
        (plain("failure notice", "<ana@example.com>:\nI'm not going to try again. (#4.4.1)"), "soft"),
        (plain("Undeliverable", "The user does not exist, version 5.1.2653"), "hard"),
        (plain("Undeliverable", "The user may not exist, or the mailbox is full, version 5.1.2653"), "soft"),
        (plain("Mail delivery failed", "550 5.7.1 your IP is on our block list"), "our_fault"),
        (
            plain("Returned mail", "They said: 554 5.1.1 gone.\n--- Original message ---\n550 5.7.1 in a quoted text"),
            "hard",
        ),
    ],
)
def test_words_are_judged_by_what_they_say(raw: bytes, label: str) -> None:
    """A bounce in words is hard by a code or by words that state it; a guess states nothing."""
    read = understand(raw, marks=MARKS)
    assert (read.kind, read.label) == (Kind.WORDS, label)
    assert read.report is not None


AUTOMATIC = [
    plain("Out of Office: back on Monday", "I am away.", sender="ana@example.com"),
    plain("Automatische Antwort: Angebot", "Ich bin im Urlaub.", sender="ana@example.com"),
    plain("Abwesenheitsnotiz", "Ich bin nicht da. 550 5.1.1", sender="ana@example.com"),
    plain("Re: Hello", "Thanks, ticket #5.1.1", sender="x@y.de", headers="Auto-Submitted: auto-replied\r\n"),
    plain("Re: Hello", "I am away", sender="x@y.de", headers="X-Autoreply: yes\r\n"),
    plain("Re: Hello", "I am away", sender="x@y.de", headers="Precedence: auto_reply\r\n"),
    plain("Hello", "on leave", sender="x@y.de", headers="Auto-Submitted: auto-replied (vacation)\r\n"),
    plain(
        "Read: Hello",
        "x",
        headers="Content-Type: multipart/report; report-type=disposition-notification; boundary=x\r\n",
    ),
]


@pytest.mark.parametrize("raw", AUTOMATIC)
def test_automatic_answers_are_ignored(raw: bytes) -> None:
    """They are recognised, counted, and change nothing."""
    read = understand(raw, marks=MARKS)
    assert (read.kind, read.report, read.ignored) == (Kind.AUTOMATIC, None, True)


def test_a_person_is_no_bounce() -> None:
    """What somebody wrote is kept for somebody to read."""
    read = understand(plain("Re: your offer", "Please call me at 550 511 2222.", sender="ana@example.com"), marks=MARKS)
    assert (read.kind, read.report, read.ignored) == (Kind.OTHER, None, False)
    assert read.reason


_DEEP = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(50))
_MANY = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Type: text/plain\n\nx\n" * 5_000
_NESTED = b"Content-Type: message/rfc822\n\n" * 150


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\r\n\r\n", b"\0" * 1000, b"x" * (MAIL_BYTES_MAX + 1), _DEEP, _MANY, _NESTED,
        b"Content-Type: multipart/report; boundary=x\n\n" * 10_000,
        b"Content-Type: multipart/mixed; boundary=" + b"x" * 100_000 + b"\n\nx",
    ],
)  # fmt: skip
def test_what_is_beyond_the_bounds_is_refused(raw: bytes) -> None:
    """Empty, huge, deep, and many: nothing of it raises, and nothing of it names an outcome."""
    read = understand(raw, marks=MARKS)
    assert read.report is None
    assert read.kind in {Kind.MALFORMED, Kind.OTHER}
    assert read.reason


_SAMPLES = [
    delivery_report(),
    complaint(fields=f"Original-Mail-From: <{RETURN_PATH}>\n"),
    plain("failure notice", "<ana@example.com>:\n(#5.1.1)"),
    AUTOMATIC[0],
]


@settings(max_examples=examples(300))
@given(st.sampled_from(_SAMPLES), st.lists(st.tuples(st.integers(0, 3_000), st.binary(max_size=12)), max_size=12))
@example(b"Content-Type: message/delivery-status; charset=\xff\n\nStatus: \xff\n", [])
@example(b"Content-Type: text/plain; charset=unicode_escape\n\n\\N{x}", [])
@example(b"Content-Type: text/plain; charset=rot13\nContent-Transfer-Encoding: uuencode\n\nbegin 666 x\n", [])
@example(b"Content-Type: multipart/report; report-type*0=delivery; boundary*=utf-8''%ff\n\n--\xff", [])
@example(b"Subject: =?utf-8?b?////?=\nFrom: =?x?q?=00?=\n\n", [])
def test_damaged_mails_never_raise(raw: bytes, damage: list[tuple[int, bytes]]) -> None:
    """Fuzzed: real mails with bytes written over. Whatever is left, it is understood or said to be malformed."""
    data = bytearray(raw)
    for place, piece in damage:
        start = place % (len(data) + 1)
        data[start : start + len(piece)] = piece
    read = understand(bytes(data), marks=MARKS)
    assert isinstance(read.kind, Kind)
    if read.report is not None:
        assert len(read.report.message) == 32
        assert set(read.report.message) <= set(string.hexdigits.lower())
        assert len(str(read.report.detail)) < 1_000
    else:
        assert read.ignored or read.reason


@settings(max_examples=examples(300))
@given(st.binary(max_size=3_000))
def test_any_bytes_are_taken(raw: bytes) -> None:
    """Fuzzed: noise is never an outcome of a message."""
    read = understand(raw, envelope_to=[RETURN_PATH], marks=MARKS)
    assert read.report is None or read.kind in {Kind.STATUS, Kind.WORDS, Kind.FEEDBACK}


def test_the_address_is_there_for_comparison() -> None:
    """Who uses an unproven report needs the addresses it speaks of, without a type and in lower case."""
    read = understand(delivery_report(Original_Recipient="rfc822;ANA@Example.com"), marks=MARKS)
    assert read.recipients == (ADDRESS,)
