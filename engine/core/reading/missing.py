"""What "missing" means: nothing, JSON's null, and a text without a visible character.

Invariant: the one definition for intake, expressions and templates; zero, false, an empty list and an empty object are values.
"""

from __future__ import annotations


def is_missing(value: object) -> bool:
    """Whether there is nothing in it."""
    return value is None or (isinstance(value, str) and (not value or value.isspace()))
