"""Where an address in a rendered message may lead: whatever came with an event, no link of it runs or opens anything but the web.

Invariant: an attribute that leads somewhere has, after a browser's reading of it, no scheme, one of `HARMLESS`, or one that the
template's author wrote out; anything else is `#`. Everything else of the document stays as it is. Linear in the length.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

HARMLESS: Final = frozenset({"http", "https", "mailto", "tel", "sms", "cid"})
_NEVER: Final = frozenset(
    {"javascript", "vbscript", "livescript", "mocha", "data", "blob", "file", "about", "view-source"}
)
"""Also when an author wrote them: an event's value may stand behind them."""
ENTITIES_DEEP: Final = 3
_NOWHERE: Final = '"#"'
_SUSPECT: Final = re.compile(
    r"""=(?<!style=)\s*+["']?+(?!https?://|mailto:|tel:|[#/])[^"'>=:&\x00-\x1f]{0,300}+[:&\x00-\x1f]"""
)
"""A value that begins like none of the usual addresses and has something in it that may make a scheme. It begins with a plain
character, so that a search costs little: it is asked for every mail.
"""
_NAME: Final = re.compile(
    r"""(?:[\s"']|<[a-z0-9]{1,20}/)(?:href|(src)|action|formaction|background|poster|cite|longdesc|srcset|data|ping|xlink:href)\s*+\Z""",
    re.IGNORECASE,
)
_NAME_CHARS: Final = 40
_VALUE: Final = re.compile(r"""\s*+("[^"]*+"|'[^']*+'|[^\s"'>][^\s>]*+)""")
_STYLE: Final = re.compile(r"url\(\s*+[\"']?\s*+(?:javascript|vbscript|data:text)[^)]*+\)", re.IGNORECASE)
_URL: Final = re.compile(r"\((?<=[uU][rR][lL]\()")
"""Begins with a plain character, too."""
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_PICTURE: Final = re.compile(r"data:image/(?:png|gif|jpe?g|webp)[;,]", re.IGNORECASE)
_WRITTEN: Final = re.compile(r"(?:href|src|action)\s*=\s*[\"']?\s*([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_COLON: Final = re.compile(r":(?<=[tTaA\s]:)")
"""Whether the next can be found at all: it costs a hundred times as much."""
_IN_TEXT: Final = re.compile(
    r"(?:\b|(?:%[0-9a-f]{2}){1,9})(?:(?:javascript|vbscript)\s*:\S*|data:[a-z]+/[\w.+-]+[;,]\S*)", re.IGNORECASE
)


def harmless_html(document: str, own: frozenset[str] = frozenset()) -> str:
    """The document with every address that leads elsewhere taken out. `own`: schemes that its author wrote (`written`)."""
    kept: list[str] = []
    done = 0
    for suspect in _SUSPECT.finditer(document):
        at = suspect.start()
        name = _NAME.search(document, max(done, at - _NAME_CHARS), at)
        value = _VALUE.match(document, at + 1) if name is not None and at >= done else None
        if name is None or value is None:
            continue
        plain = value[1].strip("\"'") if value[1][:1] in {'"', "'"} else value[1]
        if not is_harmless(plain, own, picture=name[1] is not None):
            kept += (document[done : value.start(1)], _NOWHERE)
            done = value.end(1)
    if kept:
        document = "".join((*kept, document[done:]))
    # Asked first for the bracket alone, which costs a tenth of the search.
    return _STYLE.sub("none", document) if "(" in document and _URL.search(document) else document


def harmless_text(text: str) -> str:
    """The same for plain text, where programs make links of what looks like one."""
    return _IN_TEXT.sub("#", text) if ":" in text and _COLON.search(text) else text


def is_harmless(value: str, own: frozenset[str] = frozenset(), *, picture: bool = False) -> bool:
    """Whether an attribute's value may stand, as a browser reads it: entities, blanks and control characters hide nothing."""
    start = value[:200]
    if start.startswith(("https://", "http://", "mailto:", "tel:", "#")):
        return True
    plain = value
    for _ in range(
        ENTITIES_DEEP
    ):  # what stood escaped in an event is escaped once more here, and read back by some programs
        plain = html.unescape(plain)
    read = "".join(char for char in plain if unicodedata.category(char)[0] not in "CZ")
    found = _SCHEME.match(read)
    if found is None:
        # A colon before any slash that follows no scheme a browser knows: nothing is guessed about it.
        return ":" not in re.split(r"[/?#\\]", read, maxsplit=1)[0] or read.startswith(("/", "?", "#", "\\"))
    scheme = found[1].lower()
    return (
        scheme in HARMLESS or (scheme in own and scheme not in _NEVER) or (picture and _PICTURE.match(read) is not None)
    )


def written(constants: Iterable[str]) -> frozenset[str]:
    """The schemes that a template's author wrote out, such as that of the shop's own app."""
    return frozenset(found[1].lower() for text in constants for found in _WRITTEN.finditer(text)) - HARMLESS - _NEVER
