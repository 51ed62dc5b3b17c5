"""Countries: ISO codes of two and three letters, names in English, German and the country's own language, usual aliases.

Invariant: as the package's. The canonical form is the ISO code of two capital letters; case, accents, dots and blanks
make no difference.
"""

from __future__ import annotations

import functools
import re
import unicodedata

from engine.core.reading.country_names import COUNTRY_NAMES
from engine.core.reading.country_names_abroad import ABROAD
from engine.core.reading.missing import is_missing

COUNTRY_CHARS_MAX = 80
NOT_UNDERSTOOD = "it is not a country that is known; write its ISO code, such as DE"
_NOTHING = frozenset({"n/a", "n.a.", "n.a", "n-a", "n / a", "n. a.", "n\\a"})
"""Not available, which is not Namibia."""
_TWICE = re.compile(r"[()\[\]/]")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


def _folded(text: str) -> str:
    spread = unicodedata.normalize("NFKD", text.casefold().replace("&", " and "))
    return "".join(char for char in spread if char.isalnum())


@functools.cache
def _known() -> dict[str, str]:
    known: dict[str, str] = {}
    for entry in " ".join(COUNTRY_NAMES.split()).split(";"):
        if not entry.strip():
            continue
        code, long_code, names = entry.strip().split(" ", 2)
        for name in (code, long_code, *names.split("|")):
            known[_folded(name)] = code
            known[_folded(name.casefold().translate(_UMLAUTS))] = code
    for entry in " ".join(ABROAD.split()).split(";"):
        code, _, names = entry.strip().partition(" ")
        for name in names.split("|") if names else ():
            known.setdefault(_folded(name), code)
    return known


@functools.lru_cache(maxsize=1_024)
def _code(text: str) -> str:
    if text.strip().casefold() in _NOTHING:
        return ""
    whole = _named(text)
    if whole:
        return whole
    before, comma, after = text.rpartition(",")
    if comma and before.strip() and after.strip():  # `Ireland, Republic of`
        turned = _named(f"{after} {before}")
        if turned:
            return turned
    # `Germany (DE)`, `Österreich/Austria`: said twice; it counts when both say the same.
    parts = {_named(part) for part in _TWICE.split(text) if part.strip()}
    return parts.pop() if len(parts) == 1 else ""


def _named(text: str) -> str:
    folded = _folded(text)
    return _known().get(folded) or _known().get(folded.removeprefix("the"), "")


def read_country(value: object) -> tuple[str, str]:
    """(the ISO code of two letters, "") or ("", why not). A missing one is ("", "")."""
    if is_missing(value):
        return "", ""
    if not isinstance(value, str) or len(value) > COUNTRY_CHARS_MAX:
        return "", NOT_UNDERSTOOD
    code = _code(value)
    return (code, "") if code else ("", NOT_UNDERSTOOD)


def country_codes() -> frozenset[str]:
    """All codes of two letters."""
    return frozenset(_known().values())
