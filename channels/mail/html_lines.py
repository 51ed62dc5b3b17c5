"""Breaks the long lines of an HTML document where a line end means nothing: within tags, and at blanks of flowing text.

Invariant: a browser shows exactly what it would have shown; a document whose lines are short is returned as it is, so doing it
twice is doing it once. Linear in the length.
"""

from __future__ import annotations

import re
from typing import Final

BYTES_MAX: Final = 500
"""What a line is cut down to; spam filters frown at much longer ones, and 998 are the end of it (RFC 5322)."""
_WS: Final = r"[ \t\n\f\r]"
_VALUE: Final = rf"(?:{_WS}*+={_WS}*+(?:\"[^\"]*+\"|'[^']*+'|[^ \t\n\f\r>\"'][^ \t\n\f\r>]*+))"
_RAW: Final = (
    "script",
    "style",
    "textarea",
    "title",
    "pre",
    "listing",
    "xmp",
    "iframe",
    "noembed",
    "noframes",
    "plaintext",
)
_PIECE: Final = re.compile(
    r"(?P<comment><!--.*?(?:-->|\Z)|<[!?][^>]*+(?:>|\Z))"
    rf"|(?P<tag></?[a-zA-Z](?:[^ \t\n\f\r/>]*+)(?:{_WS}*+[^ \t\n\f\r>=\"']++{_VALUE}?+)*+{_WS}*+>)"
    r"|(?P<odd></?[a-zA-Z][^>]*+(?:>|\Z))|(?P<text>[^<]++)|<",
    re.DOTALL,
)
_NAME: Final = re.compile(r"</?([a-zA-Z][^ \t\n\f\r/>]*)")
_PART: Final = re.compile(rf"{_WS}++|</?[a-zA-Z][^ \t\n\f\r/>]*+|/?>|[^ \t\n\f\r>=\"']++{_VALUE}?+")
_BLANK: Final = re.compile(r"(?<=[^ \t\n\f\r]) (?=[^ \t\n\f\r])")
_KEEPS_BLANKS: Final = re.compile(r"white-space\s*+:\s*+(?!normal|nowrap)", re.IGNORECASE)


def shorter(document: str) -> str:
    """The document with no line longer than `BYTES_MAX`, as far as that can be without changing what it shows."""
    if len(document) <= BYTES_MAX or max(map(len, document.encode("utf-8", "replace").split(b"\n"))) <= BYTES_MAX:
        return document
    return _Breaker(flowing=_KEEPS_BLANKS.search(document) is None).broken(document)


class _Breaker:
    """Writes a document again, from one place where it may break to the next."""

    def __init__(self, *, flowing: bool) -> None:
        self._flowing = flowing
        self._done: list[str] = []
        self._length = 0  # of the line that is being written

    def broken(self, document: str) -> str:
        """The document with line ends put in."""
        at = 0
        held = ""  # the element of raw text we are in
        for piece in _PIECE.finditer(document):
            at = piece.end()
            text = piece.group()
            if piece["tag"]:
                named = _NAME.match(text)
                name = named[1].lower() if named else ""
                if not held or (text.startswith("</") and name == held):
                    self._tag(text)
                    held = "" if held else name if name in _RAW and not text.startswith("</") else ""
                    continue
            elif piece["text"] and self._flowing and not held:
                self._text(text)
                continue
            self._put(text)
        self._put(document[at:])
        return "".join(self._done)

    def _put(self, text: str) -> None:
        self._done.append(text)
        length = len(text.rpartition("\n")[2].encode("utf-8", "replace"))
        self._length = length if "\n" in text else self._length + length

    def _fits(self, text: str) -> bool:
        return self._length + len(text.partition("\n")[0].encode("utf-8", "replace")) <= BYTES_MAX

    def _tag(self, tag: str) -> None:
        if self._fits(tag):
            self._put(tag)
            return
        blank = ""
        for part in _PART.finditer(tag):
            text = part.group()
            if text.isspace():
                blank = text
                continue
            if part.start() and not self._fits(blank + text) and (blank or text[-1] == ">"):
                self._put("\n" + text)
            else:
                self._put(blank + text)
            blank = ""

    def _text(self, text: str) -> None:
        if self._fits(text) and "\n" not in text:
            self._put(text)
            return
        at = 0
        for blank in _BLANK.finditer(text):
            self._word(text[at : blank.start()])
            at = blank.start()
        self._word(text[at:])

    def _word(self, word: str) -> None:
        if word.startswith(" ") and not self._fits(word):
            word = "\n" + word[1:]
        self._put(word)
