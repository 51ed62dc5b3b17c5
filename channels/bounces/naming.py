"""Finds which of our messages a mail is about.

Invariant: `proven` is said only where a mark of ours was found; a Message-ID alone proves nothing, for whoever got a mail, or can
work out its id, can write it down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from channels.bounces.parts import Mail, MailPart, fields_of
from channels.mail.marks import HEADER, Marks

_OURS = re.compile(r"<([0-9a-f]{32})@[^<>\s]{1,255}>", re.IGNORECASE)
_DELIVERED_TO = ("x-original-to", "delivered-to", "envelope-to", "x-envelope-to", "x-rcpt-to", "to", "cc")
_QUOTED_MAILS = frozenset({"message/rfc822", "message/global", "message/partial"})
_QUOTED_HEADERS = frozenset({"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"})
_IDS = ("message-id", "x-original-message-id", "in-reply-to", "references")


class NamedMessage(msgspec.Struct, frozen=True):
    """The message's id, "" when none was found, and whether a mark of ours says it."""

    message: str = ""
    proven: bool = False


def find(mail: Mail, envelope_to: Sequence[str], marks: Marks | None) -> NamedMessage:
    """The message that the mail is about: by its return path, by our header in what it quotes, by our Message-ID there."""
    quoted = list(quoted_headers(mail.parts))
    if marks is not None:
        for text in (*envelope_to, *_marked(mail, quoted)):
            if message := marks.read(text):
                return NamedMessage(message, proven=True)
    for headers in quoted:
        for name in _IDS[:2]:
            if found := _OURS.search(headers.get(name, "")):
                return NamedMessage(found[1].lower())
    own = [value for name in _IDS[2:] for value in mail.headers.get(name, ())]
    for text in (*own, *(part.text for part in mail.parts)):
        if found := _OURS.search(text):
            return NamedMessage(found[1].lower())
    return NamedMessage()


def addressed_to(mail: Mail, envelope_to: Sequence[str], marks: Marks | None) -> NamedMessage:
    """The message whose own address the mail was sent to; else the one that it answers, unproven."""
    to = [value for name in _DELIVERED_TO for value in mail.headers.get(name, ())]
    for text in (*envelope_to, *to) if marks is not None else ():
        if marks is not None and (message := marks.read(text)):
            return NamedMessage(message, proven=True)
    for name in _IDS[2:]:
        for value in mail.headers.get(name, ()):
            if found := _OURS.search(value):
                return NamedMessage(found[1].lower())
    return NamedMessage()


def bare_address(value: str) -> str:
    """The address in `Ana <ana@example.com>`, in small letters; "" when there is none."""
    inner = value.rpartition("<")[2].partition(">")[0].strip().lower() if "<" in value else value.strip().lower()
    return inner.split(";")[-1].strip() if "@" in inner else ""


def quoted_headers(parts: Iterable[MailPart]) -> Iterator[dict[str, str]]:
    """The headers of each mail that is quoted, whole or its headers only."""
    for part in parts:
        if part.type in _QUOTED_MAILS:
            yield part.headers
        elif part.type in _QUOTED_HEADERS:
            yield from fields_of(part.text)[:1]


def _marked(mail: Mail, quoted: list[dict[str, str]]) -> Iterator[str]:
    """Where a mark of ours may stand, best places first."""
    for name in _DELIVERED_TO:
        yield from mail.headers.get(name, ())
    for headers in quoted:
        yield headers.get(HEADER.lower(), "")
        yield headers.get("return-path", "")
    for part in mail.parts:
        yield part.text
