"""Countries: ISO codes of two and three letters, names in English, German and the country's own language, usual aliases.

Invariant: as the package's. The canonical form is the ISO code of two capital letters; case, accents, dots and blanks
make no difference.
"""

from __future__ import annotations

import functools
import unicodedata

from engine.core.reading.country_names import COUNTRY_NAMES
from engine.core.reading.missing import is_missing

COUNTRY_CHARS_MAX = 80
NOT_UNDERSTOOD = "it is not a country that is known; write its ISO code, such as DE"
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
    return known


@functools.lru_cache(maxsize=1_024)
def _code(text: str) -> str:
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
