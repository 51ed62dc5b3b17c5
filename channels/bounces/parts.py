"""Reads the parts of a mail that anybody may have written: with bounds on size, number and depth, and without trust in headers.

Invariant: `open_mail` returns or raises `Malformed`, whatever the bytes; what it returns is bounded in everything.
"""

from __future__ import annotations

import re
from base64 import b64decode
from email import message_from_bytes, policy
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parsedate_to_datetime
from quopri import decodestring as quopri

import msgspec

MAIL_BYTES_MAX = 1_000_000
PARTS_MAX = 60
DEPTH_MAX = 8
CONTAINERS_MAX = 200
HEADERS_MAX = 300
TEXT_CHARS_MAX = 100_000
_VALUE_CHARS_MAX = 4_000
_BOUNDARY = re.compile(rb"boundary\s*=", re.IGNORECASE)
_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_RFC822 = re.compile(rb"message/", re.IGNORECASE)


class Malformed(Exception):
    """It cannot be read within the bounds. `reason` says why, without its content."""

    def __init__(self, reason: str) -> None:
        """Keep the reason both as attribute and as the text of the exception."""
        super().__init__(reason)
        self.reason = reason


class MailPart(msgspec.Struct, frozen=True):
    """One part: its type, its headers by lower-case name (first of each), its text ("" for what is not text).

    A quoted mail is a part of its own, with the headers of that mail; its own parts follow and are `quoted`.
    """

    type: str
    headers: dict[str, str]
    text: str = ""
    quoted: bool = False


class Mail(msgspec.Struct, frozen=True):
    """The mail's own headers (all of a name, in order), its parts without the containers, and the parsed tree."""

    headers: dict[str, list[str]]
    type: str
    report_type: str
    parts: tuple[MailPart, ...]
    tree: Message

    def first(self, name: str) -> str:
        """The first header of this lower-case name, or ""."""
        return self.headers.get(name, [""])[0]


def open_mail(raw: bytes) -> Mail:
    """The mail in the bytes. Raises Malformed for what is empty, too large or too deep."""
    if not raw.strip():
        raise Malformed("the mail is empty")
    if len(raw) > MAIL_BYTES_MAX:
        raise Malformed(f"the mail has more than {MAIL_BYTES_MAX} bytes")
    # The parser of the standard library goes down a level of the stack for each container: count before it does.
    if len(_BOUNDARY.findall(raw)) + len(_RFC822.findall(raw)) > CONTAINERS_MAX:
        raise Malformed("the mail has too many containers")
    try:
        tree = message_from_bytes(raw, policy=policy.compat32)
        parts: list[MailPart] = []
        _collect(tree, parts, depth=0)
        headers = _headers(tree)
        report_type = str(tree.get_param("report-type") or "").lower()
        return Mail(headers, tree.get_content_type(), report_type, tuple(parts), tree)
    except Malformed:
        raise
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError) as error:
        raise Malformed(f"the mail cannot be parsed ({type(error).__name__})") from error


def fields_of(text: str) -> list[dict[str, str]]:
    """Groups of `Name: value` lines, separated by empty lines, as in RFC 3464; names in lower case, the first one counts."""
    groups: list[dict[str, str]] = []
    group: dict[str, str] = {}
    last = ""
    for line in text[:TEXT_CHARS_MAX].splitlines():
        if not line.strip():
            if group:
                groups.append(group)
            group, last = {}, ""
        elif line[0] in " \t" and last:
            group[last] = f"{group[last]} {line.strip()}"[:_VALUE_CHARS_MAX]
        else:
            name, colon, value = line.partition(":")
            last = name.strip().lower() if colon else ""
            if last and last not in group:
                group[last] = value.strip()[:_VALUE_CHARS_MAX]
    return [*groups, group] if group else groups


def date_ms(value: str) -> int:
    """A date of a header as UTC milliseconds; 0 when there is none that can be read."""
    try:
        return max(0, int(parsedate_to_datetime(value).timestamp() * 1000))
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return 0


def _collect(message: Message, parts: list[MailPart], *, depth: int, quoted: bool = False) -> None:
    if depth > DEPTH_MAX:
        raise Malformed(f"the mail has parts more than {DEPTH_MAX} deep")
    if len(parts) >= PARTS_MAX:
        raise Malformed(f"the mail has more than {PARTS_MAX} parts")
    message = _unwrapped(message)
    kind, payload = message.get_content_type(), message.get_payload()
    if kind in _STATUS and isinstance(payload, list):
        # The standard library makes a part of each group of fields.
        blocks = [block for block in payload if isinstance(block, Message)]
        groups = ("".join(f"{name}: {value}\n" for name, value in block.items()) for block in blocks)
        parts.append(MailPart(kind, _first(message), "\n".join(groups)[:TEXT_CHARS_MAX], quoted))
    elif isinstance(payload, list):
        children = [child for child in payload if isinstance(child, Message)]
        is_mail = kind.startswith("message/")
        if is_mail:
            parts.append(MailPart(kind, _first(children[0]) if children else {}, "", quoted))
        for child in children:
            _collect(child, parts, depth=depth + 1, quoted=quoted or (is_mail and kind != "message/feedback-report"))
    else:
        parts.append(MailPart(kind, _first(message), _text(message), quoted))


def _unwrapped(message: Message) -> Message:
    """A part that holds a mail or fields and was encoded against the standard, decoded; every other as it is."""
    encoding = str(message.get("Content-Transfer-Encoding", "")).strip().lower()
    payload = message.get_payload()
    if encoding not in {"base64", "quoted-printable"} or message.get_content_maintype() != "message" or not payload:
        return message
    inner = payload[0] if isinstance(payload, list) else None
    if not isinstance(inner, Message):
        return message
    fields = "".join(f"{name}: {value}" for name, value in inner.items())
    raw = f"{fields}{'' if inner.is_multipart() else inner.get_payload()}"
    try:
        data = b64decode(raw, validate=False) if encoding == "base64" else quopri(raw.encode("ascii", "replace"))
    except ValueError:
        return message
    if b":" not in data[:MAIL_BYTES_MAX]:
        return message
    head = f"Content-Type: {message.get_content_type()}\n\n".encode()
    return message_from_bytes(head + data[:MAIL_BYTES_MAX], policy=policy.compat32)


def _first(message: Message) -> dict[str, str]:
    return {name: values[0] for name, values in _headers(message).items()}


def _headers(message: Message) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number, (name, value) in enumerate(message.raw_items()):
        if number == HEADERS_MAX:
            break
        found.setdefault(str(name).lower(), []).append(_decoded(str(value)))
    return found


def _decoded(value: str) -> str:
    # Some write their letters into a header as they are, unencoded.
    value = value[:_VALUE_CHARS_MAX].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    value = " ".join(value.split())
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))[:_VALUE_CHARS_MAX]
    except (MessageError, ValueError, LookupError, UnicodeError):
        return value


def _text(message: Message) -> str:
    kind = message.get_content_type()
    if not kind.startswith(("text/", "message/")):
        return ""
    payload = message.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else str(message.get_payload()).encode("utf-8", "surrogateescape")
    try:
        return data.decode(message.get_content_charset("utf-8"), "replace")[:TEXT_CHARS_MAX]
    except (LookupError, ValueError):
        return data.decode("utf-8", "replace")[:TEXT_CHARS_MAX]
