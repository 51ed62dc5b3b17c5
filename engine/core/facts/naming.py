"""Whether a text may be somebody's name: it stands in mails, where an address of the web would become a link.

Invariant: pure; one judge for whatever takes names (traits of a shop, the customer's own page). What is refused changes nothing.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.core.turn import Turn

TRAITS = frozenset(
    {"name", "first_name", "last_name", "firstName", "lastName", "firstname", "lastname", "middle_name", "nickname"}
)
"""Traits that are names of a person."""
REASON = "it holds an address of the web, and is not a name"
_CHARS_MAX = 1_000
_DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61\u2024\u00b7", "."))
# What stands before a dot in names without a blank after it: "Dr.Weiss", "St.John", "Dipl.Ing".
_TITLES = frozenset(
    {
        "dr", "st", "sta", "sto", "ste", "mr", "mrs", "ms", "mx", "prof", "jr", "sr", "fr", "hr", "ph", "van", "von", "dipl",
        "ing", "mag", "lic", "med", "rer", "phil", "phd", "msc", "bsc", "rev", "hon", "sen", "esq",
    }
)  # fmt: skip
_SCHEME = re.compile(
    r"[a-z][a-z0-9+.-]*\s*:\s*/|\b(?:https?|hxxps?|ftp|mailto|tel|javascript|data|vbscript)\s*:|\bwww\d?\s*\."
)
_DOTTED = re.compile(r"([\w-]+)\.(\w[\w-]*)")
_NUMERIC = re.compile(r"\d+\.\d+\.\d+\.\d+")


def is_name(value: object) -> bool:
    """Whether nothing in it is, or would be shown as, a link. What is not text is not judged."""
    if not isinstance(value, str):
        return True
    text = _plain(value[:_CHARS_MAX])
    if _SCHEME.search(text) or _NUMERIC.search(text):
        return False
    if "@" in text.strip("@") and "." in text.rpartition("@")[2]:
        return False
    return not any(_is_domain(found) for found in _DOTTED.finditer(text))


def has_scheme(text: str) -> bool:
    """Whether a link is in it for certain: other words of a customer, such as a street, may have dots."""
    return _SCHEME.search(_plain(text[:_CHARS_MAX])) is not None


def _is_domain(found: re.Match[str]) -> bool:
    left, right = found[1].strip("-_"), found[2]
    if len(right) < 2 or right[:1].isdigit():  # noqa: PLR2004 - no top-level domain has one letter
        return False
    slashed = found.string[found.end() :].startswith(("/", ":", "?"))
    return slashed or (len(left) > 1 and left not in _TITLES)


def _plain(text: str) -> str:
    """As a reader sees it: without invisible characters, in the usual forms of letters and dots, in small letters."""
    text = unicodedata.normalize("NFKC", text.translate(_DOTS))
    return "".join(char for char in text if unicodedata.category(char) not in {"Cf", "Cc"} or char in "\t\n\r ").lower()


def with_names(turn: Turn, traits: Mapping[str, Any]) -> Mapping[str, Any]:
    """The traits without names that are none; each is a line of the journal, and the name known before stays."""
    wrong = [name for name in traits if name in TRAITS and not is_name(traits[name])]
    for name in wrong:
        turn.decide("trait_refused", trait=name, reason=REASON)
    return {name: value for name, value in traits.items() if name not in wrong} if wrong else traits
