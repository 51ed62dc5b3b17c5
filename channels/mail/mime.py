"""Builds the bytes of a mail from a fixed skeleton: about a hundredth of what `email.message.EmailMessage` costs.

Invariant: the same message gives the same bytes, their header names are exactly those intended (checked on the result),
and the standard library reads back what was put in; the tests use it as the oracle.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from datetime import UTC, datetime
from email.utils import format_datetime

import msgspec

from channels import guard
from channels.contract import OutgoingMessage
from channels.guard import NamedAddress
from channels.mail import html_lines
from channels.mail.dkim import DkimSigner

LINE_BYTES_MAX = 998
_LINE_CHARS_SOFT = 76
_WORD_BYTES_MAX = 42  # 56 characters of base64, 68 with its brackets; fits beside "Subject: " or a folded space
_ID = re.compile(r"[0-9a-f]{32}\Z")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_PLAIN_ASCII = re.compile(r"[!-~](?:[ -~]*[!-~])?\Z")
_NOT_IN_LABELS = re.compile(r"[^a-z0-9-]+")
_FOLD_AT = re.compile(r"(?<=[!-~]) (?=[!-~])")


class WireMail(msgspec.Struct, frozen=True):
    """A mail ready for the wire.

    `wire` has CRLF line ends, doubled leading dots and the final dot; `eight_bit` tells whether the server must offer
    8BITMIME for it; `sender` and `recipient` are ASCII addresses.
    """

    wire: bytes
    eight_bit: bool
    sender: NamedAddress
    recipient: NamedAddress


def compose(delivery: OutgoingMessage, *, sender: str, eight_bit: bool, signer: DkimSigner | None = None) -> WireMail:
    """Build the mail. `sender` is used when the message names none; `eight_bit`: the server takes raw UTF-8; `signer`
    puts DKIM signatures before everything else.

    Raises `PermanentError` for anything in the message that cannot or must not be put into a mail.
    """
    assert _ID.match(delivery.id), delivery.id
    guard.refuse_unsafe(delivery)
    from_ = guard.ours(delivery.from_ or sender, configured=not delivery.from_)
    to = guard.recipient(delivery.to, delivery.to_name)
    headers = _headers(delivery, from_, to)
    text, text_encoding = _encode(delivery.text, eight_bit=eight_bit)
    if delivery.html is None:
        raw = text_encoding == "8bit"
        headers += _part_headers("plain", text_encoding)
        return _finish(_signed(delivery, headers, text, signer=signer), text, raw, from_, to)
    html, html_encoding = _encode(html_lines.shorter(delivery.html), eight_bit=eight_bit)
    boundary = f"=_{delivery.id}"
    while boundary.encode() in text or boundary.encode() in html:
        boundary += "_"
    headers.append(("Content-Type", f'multipart/alternative; boundary="{boundary}"'))
    raw = text_encoding == "8bit" or html_encoding == "8bit"
    headers.append(("Content-Transfer-Encoding", "8bit" if raw else "7bit"))
    delimiter = f"--{boundary}\r\n"
    body = b"".join(
        (
            _block(delimiter, _part_headers("plain", text_encoding)),
            text,
            _block(f"\r\n{delimiter}", _part_headers("html", html_encoding)),
            html,
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )
    return _finish(_signed(delivery, headers, body, signer=signer), body, raw, from_, to)


def message_bytes(wire: bytes) -> bytes:
    """Undo what only the SMTP transport needs (doubled dots, final dot): the message as a file."""
    assert wire.endswith(b"\r\n.\r\n")
    return (b"\r\n" + wire[:-3]).replace(b"\r\n..", b"\r\n.")[2:]


def _headers(delivery: OutgoingMessage, from_: NamedAddress, to: NamedAddress) -> list[tuple[str, str]]:
    headers = [
        ("Date", _date(delivery.date_ms // 1000)),
        ("From", _address(from_, len("From: "))),
        ("To", _address(to, len("To: "))),
        ("Message-ID", f"<{delivery.id}@{from_.domain}>"),
        ("Subject", _unstructured(delivery.subject, len("Subject: "))),
        ("MIME-Version", "1.0"),
    ]
    if delivery.reply_to:
        headers.append(("Reply-To", _address(guard.ours(delivery.reply_to), len("Reply-To: "))))
    if delivery.list_unsubscribe_url is not None:
        mail = (
            f"<mailto:{delivery.list_unsubscribe_mail}?subject=unsubscribe>" if delivery.list_unsubscribe_mail else ""
        )
        # https first: it is what one click takes (RFC 8058); on a line of its own, as both are long.
        ways = f"<{delivery.list_unsubscribe_url}>" + (f",\r\n {mail}" if mail else "")
        headers.append(("List-Unsubscribe", ways))
        if not delivery.list_unsubscribe_url.startswith("mailto:"):
            headers.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
        named = any(name.lower() == "list-id" for name, _ in delivery.headers)
        if not named and "[" not in from_.domain:
            # Receivers doubt a list that has no name (RFC 2919); each purpose is one.
            headers.append(("List-Id", f"<{_NOT_IN_LABELS.sub('-', delivery.purpose.lower())}.{from_.domain}>"))
    headers += [(name, _unstructured(value, len(name) + 2)) for name, value in delivery.headers]
    return headers


def _signed(
    delivery: OutgoingMessage, headers: list[tuple[str, str]], body: bytes, *, signer: DkimSigner | None
) -> list[tuple[str, str]]:
    if signer is None:
        return headers
    return [*signer.sign(headers, body, at_seconds=delivery.date_ms // 1000), *headers]


def _part_headers(subtype: str, encoding: str) -> list[tuple[str, str]]:
    return [("Content-Type", f'text/{subtype}; charset="utf-8"'), ("Content-Transfer-Encoding", encoding)]


def _block(prefix: str, headers: list[tuple[str, str]]) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    return "".join((prefix, *lines, "\r\n")).encode("ascii")


def _finish(headers: list[tuple[str, str]], body: bytes, raw: bool, from_: NamedAddress, to: NamedAddress) -> WireMail:  # noqa: FBT001
    head = _block("", headers)
    # The last line of defence: whatever was overlooked above, no header leaves that was not intended.
    lines = head.split(b"\r\n")
    if [line.partition(b":")[0] for line in lines if line[:1] not in {b" ", b""}] != [
        name.encode() for name, _ in headers
    ]:
        raise guard.refused("the header lines of the finished mail are not those intended")
    stray = head.count(b"\n") + head.count(b"\r") != 2 * (len(lines) - 1)
    if stray or max(map(len, lines)) > LINE_BYTES_MAX:
        raise guard.refused(f"a header line has a stray line break or more than {LINE_BYTES_MAX} bytes")
    if b"\r\n." in body or body.startswith(b"."):
        body = (b"\r\n" + body).replace(b"\r\n.", b"\r\n..")[2:]
    end = b".\r\n" if body.endswith(b"\r\n") else b"\r\n.\r\n"
    return WireMail(b"".join((head, body, end)), raw, from_, to)


def _encode(text: str, *, eight_bit: bool) -> tuple[bytes, str]:
    """Return a body with CRLF line ends and its Content-Transfer-Encoding."""
    try:
        data = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can carry and UTF-8 cannot
        data = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = data.split(b"\n")
    if max(map(len, lines)) <= LINE_BYTES_MAX and b"\0" not in data:
        if data.isascii():
            return b"\r\n".join(lines), "7bit"
        if eight_bit:
            return b"\r\n".join(lines), "8bit"
    return binascii.b2a_qp(data, istext=True).replace(b"\n", b"\r\n"), "quoted-printable"


@functools.lru_cache(maxsize=16)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))


@functools.lru_cache(maxsize=128)
def _address(mailbox: NamedAddress, used: int) -> str:
    name = mailbox.name
    if not name:
        return mailbox.address
    if _ATOMS.match(name):
        phrase = name
    elif name.isascii() and len(name) + used < _LINE_CHARS_SOFT:
        phrase = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        phrase = _encoded_words(name, used)
    separator = " " if used + len(phrase) + len(mailbox.address) < _LINE_CHARS_SOFT else "\r\n "
    return f"{phrase}{separator}<{mailbox.address}>"


@functools.lru_cache(maxsize=128)
def _unstructured(value: str, used: int) -> str:
    if not value:
        return value
    if _PLAIN_ASCII.match(value):
        if len(value) + used <= _LINE_CHARS_SOFT:
            return value
        folded = _folded(value, used)
        if folded is not None:
            return folded
    return _encoded_words(value, used)


def _folded(value: str, used: int) -> str | None:
    """Break at single spaces; None if a word is too long for a line."""
    lines: list[str] = []
    line = ""
    room = _LINE_CHARS_SOFT - used
    for word in _FOLD_AT.split(value):
        if len(word) > LINE_BYTES_MAX // 2:
            return None
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line, room = word, _LINE_CHARS_SOFT - 1
        else:
            line = f"{line} {word}" if line else word
    lines.append(line)
    return "\r\n ".join(lines)


def _encoded_words(value: str, used: int) -> str:
    """RFC 2047: UTF-8 in base64, cut between characters, one word a line; the first line has `used` characters less."""
    data = value.encode()
    words: list[str] = []
    room = max(4, (_LINE_CHARS_SOFT - used - len("=?utf-8?b??=")) // 4 * 3)
    start = 0
    while start < len(data):
        end = min(start + room, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:  # noqa: PLR2004 - a continuation byte of UTF-8
            end -= 1
        words.append(_word(data[start:end]))
        start, room = end, _WORD_BYTES_MAX
    return "\r\n ".join(words)


def _word(chunk: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(chunk).decode('ascii')}?="
