"""Numbers that came as text: `"9.90"`, as Shopify and WooCommerce write money.

Invariant: a text is a number only when it is written as exactly one: a sign, digits without a leading zero, a point and
digits, at most some blanks around it. `600,00`, `1.234,50`, `1e5`, `0151`, `nan` are texts; nobody guesses.
"""

from __future__ import annotations

import math
import re

DIGITS_MAX = 40
_EXACT = re.compile(r"\s*(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)\s*", re.ASCII)


def exact_number(value: object) -> int | float | None:
    """The value when it is a finite number, or the number that a text is exactly; None for everything else."""
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None


def _of_text(text: str) -> int | float | None:
    if len(text) > DIGITS_MAX:
        return None
    found = _EXACT.fullmatch(text)
    if found is None:
        return None
    return float(found[1]) if "." in found[1] else int(found[1])
