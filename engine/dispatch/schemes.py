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
_ATTRIBUTE: Final = re.compile(
    r"""(?<=[\s"'/])(href|src|action|formaction|background|poster|cite|longdesc|srcset|data|ping|xlink:href)"""
    r"""(\s*+=\s*+)("[^"]*+"|'[^']*+'|[^\s"'>][^\s>]*+)""",
    re.IGNORECASE,
)
_STYLE: Final = re.compile(r"url\(\s*+[\"']?\s*+(?:javascript|vbscript|data:text)[^)]*+\)", re.IGNORECASE)
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_PICTURE: Final = re.compile(r"data:image/(?:png|gif|jpe?g|webp)[;,]", re.IGNORECASE)
_WRITTEN: Final = re.compile(r"(?:href|src|action)\s*=\s*[\"']?\s*([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_IN_TEXT: Final = re.compile(r"\b(?:javascript|vbscript)\s*:\S*|\bdata:[a-z]+/[\w.+-]+[;,]\S*", re.IGNORECASE)


def harmless_html(document: str, own: frozenset[str] = frozenset()) -> str:
    """The document with every address that leads elsewhere taken out. `own`: schemes that its author wrote (`written`)."""

    def put(match: re.Match[str]) -> str:
        value = match[3].strip("\"'") if match[3][:1] in {'"', "'"} else match[3]
        return (
            match.group()
            if is_harmless(value, own, picture=match[1].lower() == "src")
            else match[1] + match[2] + _NOWHERE
        )

    return _STYLE.sub("none", _ATTRIBUTE.sub(put, document))


def harmless_text(text: str) -> str:
    """The same for plain text, where programs make links of what looks like one."""
    return _IN_TEXT.sub("#", text) if ":" in text else text


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
