"""What a text costs as an SMS: its encoding, its segments, and how to say it in the cheaper alphabet.

Invariant: counts are those of GSM 03.38 and 03.40: 160 septets in one segment and 153 in each of several, or 70 and 67 UTF-16
units; nothing that takes two places is cut in two.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

Encoding = Literal["GSM-7", "UCS-2"]

BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENDED: Final = frozenset("\f^{}\\[~]|€")
"""Written with an escape before them: they take two places."""
_PLACES: Final[dict[Encoding, tuple[int, int]]] = {"GSM-7": (160, 153), "UCS-2": (70, 67)}
_JOINERS: Final = frozenset("\u200d\ufe0e\ufe0f")
_SAID_OTHERWISE: Final = {
    **dict.fromkeys("„“”«»‟″", '"'),
    **dict.fromkeys("‚‘’‹›‛′`´ʼ", "'"),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("\u00a0\u2002\u2003\u2009\u202f\t", " "),
    **dict.fromkeys("\u00ad\u200b\u2060\ufeff", ""),
    "…": "...", "•": "-", "·": "-", "×": "x", "ẞ": "SS", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "œ": "oe", "Œ": "OE",
    "ı": "i", "©": "(c)", "®": "(R)", "™": "(TM)", "₂": "2", "№": "No.",
}  # fmt: skip


class Size(msgspec.Struct, frozen=True):
    """`units` are septets (GSM-7) or UTF-16 units (UCS-2); a text without any is one segment all the same."""

    encoding: Encoding
    units: int
    segments: int

    def __str__(self) -> str:
        """As people are told: `2 segments, GSM-7`."""
        return f"{self.segments} segment{'' if self.segments == 1 else 's'}, {self.encoding}"


def size_of(text: str) -> Size:
    """What it takes to send the text."""
    if all(char in BASIC or char in EXTENDED for char in text):
        return _counted("GSM-7", (2 if char in EXTENDED else 1 for char in text))
    return _counted("UCS-2", _signs(text))


def foreign(text: str) -> str:
    """The characters that make a text UCS-2, each once, in the order of their appearance."""
    return "".join(dict.fromkeys(char for char in text if char not in BASIC and char not in EXTENDED))


def transliterated(text: str) -> str:
    """The text with signs of GSM-7 for those that have a like: quotes, dashes, accents. An emoji or Greek stays what it is."""
    return "".join(
        char if char in BASIC or char in EXTENDED else _alike(char) for char in unicodedata.normalize("NFC", text)
    )


def _alike(char: str) -> str:
    said = _SAID_OTHERWISE.get(char)
    if said is None:
        said = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    return said if all(part in BASIC or part in EXTENDED for part in said) else char


def _signs(text: str) -> Iterable[int]:
    """UTF-16 units of each sign that is not cut: a letter with its accents, an emoji with what it is joined from."""
    units, joined, flag = 0, False, False
    for char in text:
        letter = "\U0001f1e6" <= char <= "\U0001f1ff"
        pair = letter and flag  # two of these letters are a flag
        clings = (
            joined or pair or char in _JOINERS or unicodedata.combining(char) or "\U0001f3fb" <= char <= "\U0001f3ff"
        )
        if units and not clings:
            yield units
            units = 0
        units += 2 if char > "\uffff" else 1
        flag = letter and not pair
        joined = char == "\u200d"
    if units:
        yield units


def _counted(encoding: Encoding, places: Iterable[int]) -> Size:
    alone, together = _PLACES[encoding]
    taken = list(places)
    units = sum(taken)
    if units <= alone:
        return Size(encoding, units, 1)
    segments, used = 1, 0
    for place in taken:
        while place > together:  # a pile of accents that no segment holds: it is cut after all
            segments, used, place = segments + 1, 0, place - together  # noqa: PLW2901 - what is left of it
        if used + place > together:
            segments, used = segments + 1, 0
        used += place
    return Size(encoding, units, segments)
