"""The end of a sentence about an unknown word.

Invariant: pure; the same words give the same ending.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LISTED_MAX = 20


def nearest(word: str, known: Iterable[str]) -> str:
    """A suggestion, else what is known (when that is little), else nothing."""
    words = sorted(set(known))
    lowered = {known_word.lower(): known_word for known_word in words}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    if close:
        return f"; did you mean `{lowered[close[0]]}`?"
    if 0 < len(words) <= _LISTED_MAX:
        return f"; known here: {', '.join(words)}"
    return ""
