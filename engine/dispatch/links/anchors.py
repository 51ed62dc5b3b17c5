"""Finds the links of a rendered message and puts others in their place, in HTML as a browser reads it and in plain text.

Invariant: what is not a link that a browser would follow (comments, scripts, attributes of other elements, text) stays as it is,
byte for byte, and so does every link that is not to be changed. Linear in the length: no pattern here ever goes back.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from html.entities import html5
from typing import Final
from urllib.parse import quote

Replace = Callable[[str], str | None]
"""The address of a link → what is to stand there; None: it stays."""

_WS: Final = r"[ \t\n\f\r]"
_ATTRIBUTE: Final = (
    rf"[^ \t\n\f\r/>][^ \t\n\f\r/>=]*+"
    rf"(?:{_WS}*+=(?:{_WS}*+(?:\"[^\"]*+\"|'[^']*+'|(?=>)|[^ \t\n\f\r>\"'][^ \t\n\f\r>]*+))|(?!{_WS}*+=))"
)
_ATTRIBUTES: Final = rf"(?:[ \t\n\f\r/]++|{_ATTRIBUTE})*+"
_RAW: Final = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
_ENDS: Final = r"[ \t\n\f\r/>]"
# One alternative each: a group that is referred to, in a repetition that never goes back, breaks `re` in Python 3.11.
_RAW_ELEMENTS: Final = "|".join(
    rf"{name}(?={_ENDS}){_ATTRIBUTES}>[^<]*+(?:<(?!/{name}{_ENDS})[^<]*+)*+" for name in _RAW
)
_SKIPPED: Final = re.compile(
    rf"""[^<]*+(?:<(?:
      /[a-zA-Z](?:[^>"'=]*+|[^ \t\n\f\r/>]*+{_ATTRIBUTES})>
    | (?!(?:a|area|{"|".join(_RAW)}){_ENDS})[a-zA-Z][^ \t\n\f\r/>]*+{_ATTRIBUTES}>
    | (?=[sStTxXiInN])(?:{_RAW_ELEMENTS})
    | !--(?:-?>|[^-]*+(?:-(?!-!?>)[^-]*+)*+(?:--!?>|\Z))
    | (?:[!?]|/(?![a-zA-Z]))[^>]*+(?:>|\Z)
    | (?![a-zA-Z/!?])
    )[^<]*+)*+""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_ANCHOR: Final = re.compile(rf"<(?:a|area)(?=[ \t\n\f\r/>])({_ATTRIBUTES})>", re.IGNORECASE | re.DOTALL)
_ONE: Final = re.compile(
    rf"[ \t\n\f\r/]*+([^ \t\n\f\r/>][^ \t\n\f\r/>=]*+)"
    rf"(?:{_WS}*+={_WS}*+(?:\"([^\"]*+)\"|'([^']*+)'|(?=>)|([^ \t\n\f\r>\"'][^ \t\n\f\r>]*+)))?+"
)
_REFERENCE: Final = re.compile(r"&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[0-9a-zA-Z]+;?)(=?)")
_AROUND: Final = "".join(map(chr, range(0x21)))
_INSIDE: Final = re.compile(r"[\t\n\r]")
_IN_TEXT: Final = re.compile(r"https?://[^\s<>\"`{}|\\^]+", re.IGNORECASE)
# Where programs that make links of texts end one; browsers write all of these encoded, too.
_CUTTING: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f\u3000\ufeff\"<>`{}|\\^]")
_ENDS_MAX: Final = 20
_CLOSERS: Final = {")": "(", "]": "["}


def in_html(document: str, replace: Replace) -> str:
    """The document with the `href` of every `a` and `area` element asked about."""
    pieces: list[str] = []
    done = at = 0
    while True:
        skipped = _SKIPPED.match(document, at)
        assert skipped is not None, "it matches nothing, too"
        anchor = _ANCHOR.match(document, skipped.end())
        if anchor is None:  # the end, or a tag that never closes: a browser shows nothing of it
            break
        at = anchor.end()
        found = _href(anchor)
        if found is None:
            continue
        start, end, value = found
        new = replace(value)
        if new is not None and new != value:
            pieces += (document[done:start], '"', html.escape(new), '"')
            done = end
    if not pieces:
        return document
    pieces.append(document[done:])
    return "".join(pieces)


def in_text(text: str, replace: Replace, known: Mapping[str, str] | None = None) -> str:
    """The text with every http address in it asked about; a full stop or bracket after one is not part of it.

    `known` are addresses, as `spelled`, that stand for what they lead to, whatever they end in.
    """
    known = known or {}

    def put(match: re.Match[str]) -> str:
        shown = match.group()
        address = _without_end(shown)
        for end in range(len(shown), max(len(address) - 1, len(shown) - _ENDS_MAX), -1):
            if shown[:end] in known:
                return known[shown[:end]] + shown[end:]
        new = replace(address)
        return shown if new is None else new + shown[len(address) :]

    return _IN_TEXT.sub(put, text)


def spelled(address: str) -> str:
    """The address as it stands in a text: nothing in it lets a mail program end the link before its end."""
    return _CUTTING.sub(lambda match: quote(match.group(), safe=""), address)


def spelled_value(value: str) -> str:
    """A part of an address, as `spelled`; a browser passes over line ends within one, and blanks around it."""
    return spelled(_INSIDE.sub("", value)) if _CUTTING.search(value) else value


def with_pixel(document: str, address: str) -> str:
    """The document with an invisible image before the end of its body."""
    image = f'<img src="{html.escape(address)}" width="1" height="1" alt="" style="display:block;border:0">'
    at = max(document.rfind("</body>"), document.rfind("</BODY>"))
    if at < 0:
        return document + image
    return document[:at] + image + document[at:]


def _href(anchor: re.Match[str]) -> tuple[int, int, str] | None:
    """Where the value stands, with its quotes, and the address as a browser understands it. The first `href` counts."""
    for one in _ONE.finditer(anchor.string, anchor.start(1), anchor.end(1)):
        if one.group(1).lower() != "href":
            continue
        for group in (2, 3, 4):
            if one.group(group) is not None:
                quote = 0 if group == 4 else 1  # noqa: PLR2004 - the group of a value without quotes
                value = _INSIDE.sub("", _REFERENCE.sub(_character, one.group(group)).strip(_AROUND))
                return one.start(group) - quote, one.end(group) + quote, value
        return None
    return None


def _character(match: re.Match[str]) -> str:
    """A character reference as it counts in an attribute: `&copy=1` of a query is not the copyright sign."""
    name, equals = match.groups()
    if name.startswith("#"):
        return html.unescape(f"&{name}") + equals
    if name.endswith(";"):
        if name in html5:
            return html5[name] + equals
        return match.group()
    return html5[name] if name in html5 and not equals else match.group()


def _without_end(address: str) -> str:
    while True:
        last = address[-1]
        opening = _CLOSERS.get(last)
        if last in ".,;:!?*_'" or (opening is not None and address.count(opening) < address.count(last)):
            address = address[:-1]
        else:
            return address
