"""The mail builder against the standard library, which it replaces on the hot path."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from channels.contract import OutgoingMessage, PermanentError, Verdict
from channels.guard import NamedAddress
from channels.mail import html_lines
from channels.mail.mime import _finish, compose, message_bytes

ID = "0123456789abcdef" * 2
SENDER = "Shop <shop@example.com>"

# What the guard lets through: no control characters, line separators, surrogates.
header_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters=""), max_size=200
).filter(lambda value: "=?" not in value)
body_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=2_000) | st.builds(
    lambda line, times: line * times,
    st.sampled_from(["a", "ü", ".", "\r", "\n.", "\r\n..", " ", "=", "\t\n"]),
    st.integers(0, 3_000),
)


def message(**changes: object) -> OutgoingMessage:
    fields: dict[str, object] = {
        "id": ID,
        "channel": "email",
        "to": "ana@example.com",
        "text": "Hello\n",
        "date_ms": 1_790_000_000_123,
    }
    return OutgoingMessage(**(fields | changes))  # type: ignore[arg-type]  # a test names the fields it means


def parsed(delivery: OutgoingMessage, *, eight_bit: bool = True) -> EmailMessage:
    built = compose(delivery, sender=SENDER, eight_bit=eight_bit)
    content = message_bytes(built.wire)
    assert_wire(built.wire, eight_bit=built.eight_bit)
    result = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(result, EmailMessage)
    assert not result.defects
    return result


def assert_wire(wire: bytes, *, eight_bit: bool) -> None:
    lines = wire.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    assert b"." not in lines[:-2]
    assert all(len(line) <= 999 for line in lines)  # 998 and the doubled dot
    assert not any(b"\n" in line or b"\r" in line for line in lines)
    assert wire.isascii() or eight_bit
    assert b"\0" not in wire


def normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(subject=header_text)
@example("")
@example(" padded ")
@example("a" * 70 + " b " + "c" * 70)
@example("x" * 1_500)
@example("ü" * 300)
@example("word " * 60 + "end")
@example("👩‍👩‍👧‍👦" * 30)
def test_any_subject_is_read_back(subject: str) -> None:
    """Whatever passes the guard is what the standard library reads."""
    assert parsed(message(subject=subject))["Subject"] == subject


@given(name=header_text)
@example('Meyer, "Ana" <evil@example.com>')
@example("Ana\\")
@example("Jörg, Müller; Söhne: Gruppe")
@example("a" * 256)
@example("ü" * 256)
@example("@")
@example("()")
def test_any_name_is_one_recipient(name: str) -> None:
    """A name never adds, removes or changes an address, and is read back.

    The name by the older parser: the newer one of Python 3.11 puts spaces between the encoded words of a long name.
    """
    delivery = message(to_name=name)
    (address,) = parsed(delivery)["To"].addresses
    assert address.addr_spec == "ana@example.com"
    older = email.message_from_bytes(message_bytes(compose(delivery, sender=SENDER, eight_bit=True).wire))
    read, also = parseaddr(older["To"])
    assert also == "ana@example.com"
    assert str(make_header(decode_header(read))) in {name[:256], name[:256].strip()}


@pytest.mark.parametrize("eight_bit", [True, False])
@given(text=body_text, html=st.none() | body_text)
@example(text=f"--=_{ID}\n--=_{ID}--\n", html=f"--=_{ID}_\n")
@example(text=".", html=".")
@example(text="", html="")
@example(text="\ud800 lone", html=None)
def test_any_body_is_read_back(eight_bit: bool, text: str, html: str | None) -> None:
    """Text and HTML come out as they went in, up to line ends and long lines of HTML, on servers with and without 8BITMIME."""
    result = parsed(message(text=text, html=html), eight_bit=eight_bit)
    if "\ud800" in text:
        text = text.replace("\ud800", "\ufffd")
    plain = result.get_body(("plain",))
    assert plain is not None
    got = normal(plain.get_content())
    if html is None:
        # A mail ends with a line end, whether the text did or not.
        assert got == normal(text) or got == normal(text) + "\n"
        return
    assert got == normal(text)
    rich = result.get_body(("html",))
    assert rich is not None
    assert normal(rich.get_content()) == normal(html_lines.shorter(html))
    assert [part.get_content_type() for part in result.iter_parts()] == ["text/plain", "text/html"]


@given(value=header_text)
def test_any_extra_header_is_read_back(value: str) -> None:
    """Values of other headers, ASCII or not, short or long."""
    assert parsed(message(headers=(("X-Campaign", value),)))["X-Campaign"] == value


@given(st.text(max_size=60), st.sampled_from(["subject", "to_name", "from_", "reply_to", "to"]))
@example("a\r\nBcc: x@example.com", "subject")
@example("=?utf-8?q?a=0D=0ABcc:_x@example.com?=", "to_name")
def test_nothing_forges_a_header(value: str, where: str) -> None:
    """Arbitrary text in any field is refused or stays in its field: the header names are the intended ones."""
    changes: dict[str, object] = {where: value}
    if where in {"from_", "reply_to"}:
        changes = {where: f"{value} <a@example.com>"}
    try:
        result = parsed(message(**changes))
    except PermanentError:
        return
    expected = [
        "Date",
        "From",
        "To",
        "Message-ID",
        "Subject",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
    ]
    if where == "reply_to":
        expected.insert(6, "Reply-To")
    assert result.keys() == expected
    assert len(result["To"].addresses) == 1
    assert len(result["From"].addresses) == 1


def test_it_says_what_the_standard_library_would() -> None:
    """Header by header and part by part the same as an `EmailMessage` made of the same values."""
    delivery = message(
        to_name="Müller, Jörg",
        from_="Läden & Söhne <shop@example.com>",
        reply_to="help@example.com",
        subject="Grüße aus dem Süden und noch viel mehr, damit es eine lange Zeile wird",
        html="<p>Grüße</p>\n",
        text="Grüße\n",
        list_unsubscribe_url="https://example.com/u/" + "t" * 300,
        headers=(("X-Campaign", "spring"),),
    )
    oracle = EmailMessage(policy=email.policy.SMTP.clone(max_line_length=998))
    oracle["Date"] = "Mon, 21 Sep 2026 14:13:20 +0000"
    oracle["From"] = Address("Läden & Söhne", "shop", "example.com")
    oracle["To"] = Address("Müller, Jörg", "ana", "example.com")
    oracle["Message-ID"] = f"<{ID}@example.com>"
    oracle["Subject"] = delivery.subject
    oracle["Reply-To"] = "help@example.com"
    oracle["List-Unsubscribe"] = f"<{delivery.list_unsubscribe_url}>"
    oracle["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    oracle["List-Id"] = "<transactional.example.com>"
    oracle["X-Campaign"] = "spring"
    oracle.set_content("Grüße\n", cte="8bit")
    oracle.add_alternative("<p>Grüße</p>\n", subtype="html", cte="8bit")
    theirs = email.message_from_bytes(oracle.as_bytes(), policy=email.policy.default)
    ours = parsed(delivery)
    skipped = {"Content-Type", "Content-Transfer-Encoding"}
    assert {k: v for k, v in ours.items() if k not in skipped} == {k: v for k, v in theirs.items() if k not in skipped}
    for kind in ("plain", "html"):
        mine, other = ours.get_body((kind,)), theirs.get_body((kind,))
        assert mine is not None
        assert other is not None
        assert mine.get_content() == other.get_content()
        for name in ("Content-Type", "Content-Transfer-Encoding"):
            assert mine[name] == other[name]


def test_the_unsubscribe_header_is_never_folded_or_encoded() -> None:
    """Mail providers read it as one line (RFC 8058), so it is one."""
    url = "https://example.com/u/" + "t" * 800
    built = compose(message(list_unsubscribe_url=url), sender=SENDER, eight_bit=True)
    assert (
        f"\r\nList-Unsubscribe: <{url}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n".encode() in built.wire
    )


def test_a_mail_without_unsubscribe_url_has_no_such_header() -> None:
    """Transactional mail."""
    result = parsed(message())
    assert "List-Unsubscribe" not in result
    assert "List-Unsubscribe-Post" not in result


def test_the_same_message_is_the_same_bytes() -> None:
    """A retry is recognisable: id, date and boundary come from the message alone."""
    delivery = message(html="<p>ü</p>", subject="ü")
    first = compose(delivery, sender=SENDER, eight_bit=True)
    assert first == compose(delivery, sender=SENDER, eight_bit=True)
    assert parsed(delivery)["Message-ID"] == f"<{ID}@example.com>"


def test_eight_bit_is_only_claimed_when_needed() -> None:
    """ASCII stays 7bit, raw UTF-8 needs 8BITMIME, and without it the body is quoted-printable."""
    assert not compose(message(html="<p>a</p>"), sender=SENDER, eight_bit=True).eight_bit
    assert compose(message(html="<p>ü</p>"), sender=SENDER, eight_bit=True).eight_bit
    without = compose(message(html="<p>ü</p>"), sender=SENDER, eight_bit=False)
    assert not without.eight_bit
    assert b"Content-Transfer-Encoding: quoted-printable" in without.wire


@pytest.mark.parametrize("id_", ["", "A" * 32, "0" * 31, "0" * 32 + "\n", "../etc"])
def test_an_id_that_is_none_is_our_own_mistake(id_: str) -> None:
    """The engine always makes 32 hex digits."""
    with pytest.raises(AssertionError):
        compose(message(id=id_), sender=SENDER, eight_bit=True)


def test_it_is_many_times_faster_than_the_standard_library() -> None:
    """Guards the reason for this module: at least five times, measured in processor time on the same mail."""
    import time

    html = "<tr><td>Größe some text some text some text</td></tr>\n" * 100
    delivery = message(html=html, text="über\n" * 100, subject="Grüße", to_name="Jörg")

    def oracle() -> bytes:
        made = EmailMessage(policy=email.policy.SMTP.clone(max_line_length=998))
        made["From"] = SENDER
        made["To"] = Address("Jörg", "ana", "example.com")
        made["Subject"] = delivery.subject
        made.set_content(delivery.text, cte="8bit")
        made.add_alternative(html, subtype="html", cte="8bit")
        return made.as_bytes()

    def seconds(call: Callable[[], object]) -> float:
        started = time.process_time()
        for _ in range(30):
            call()
        return time.process_time() - started

    ours = min(seconds(lambda: compose(delivery, sender=SENDER, eight_bit=True)) for _ in range(3))
    assert min(seconds(oracle) for _ in range(3)) > 5 * ours


@pytest.mark.parametrize("value", ["a\r\nBcc: x@example.com", "a\nBcc: x@example.com", "a\rBcc: x", "x" * 1_200])
def test_the_finished_head_is_checked_once_more(value: str) -> None:
    """Should a header value ever get past the guard, the finished bytes are refused."""
    box = NamedAddress("", "a@example.com")
    with pytest.raises(PermanentError) as caught:
        _finish([("Subject", value), ("MIME-Version", "1.0")], b"x", False, box, box)
    assert caught.value.address_verdict is Verdict.MESSAGE
    assert _finish([("Subject", "fine\r\n folded"), ("MIME-Version", "1.0")], b"x", False, box, box).wire


def test_a_bad_sender_that_a_message_brought_is_not_our_fault() -> None:
    """A template may make its reply address of a customer's data: that must not pause the campaign for everybody."""
    for changes in ({"reply_to": "a@example.com, b@example.com"}, {"from_": "not an address"}):
        with pytest.raises(PermanentError) as caught:
            compose(message(**changes), sender=SENDER, eight_bit=True)
        assert caught.value.address_verdict is Verdict.MESSAGE
    with pytest.raises(PermanentError) as caught:
        compose(message(from_=""), sender="not an address", eight_bit=True)
    assert caught.value.address_verdict is Verdict.OUR_FAULT
