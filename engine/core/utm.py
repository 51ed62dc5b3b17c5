"""Campaign parameters: their names, what may stand in braces, and how a template writes its own.

Invariant: pure, and nothing of a recipient can be named in them, so that they need nobody's consent.
"""

from __future__ import annotations

import functools
import re

NAMES = ("source", "medium", "campaign", "content", "term")
PLACEHOLDERS = ("workflow", "step", "template", "channel", "purpose", "locale")
"""What a campaign parameter may hold in braces."""
OFF = "off"
VALUE_CHARS_MAX = 200
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def unknown_placeholder(value: str) -> str:
    """The first word in braces that is not known; "" when all are."""
    return next((word for word in _PLACEHOLDER.findall(value) if word not in PLACEHOLDERS), "")


def problem_of(text: str) -> str:
    """Why a template's `utm` cannot be read, with the mend; "" when it can."""
    if text == OFF:
        return ""
    if "{{" in text or "{%" in text:
        return "'utm' is the same for everybody, so it holds no '{{'; write campaign=spring, or campaign={workflow}"
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name not in NAMES or len(value) > VALUE_CHARS_MAX:
            return f"'utm' is 'off', or pairs such as 'campaign=spring, content=top'; available: {', '.join(NAMES)}"
        word = unknown_placeholder(value)
        if word:
            return f"'{{{word}}}' is not known in 'utm'; available: {', '.join(PLACEHOLDERS)}"
    return ""


@functools.lru_cache(maxsize=256)
def with_own(rules: tuple[tuple[str, str], ...], text: str) -> tuple[tuple[str, str], ...]:
    """The policy's parameters with those of a template over them; an empty value leaves one out, `off` all."""
    if not text:
        return rules
    if text == OFF:
        return ()
    own = {f"utm_{name.strip()}": value.strip() for name, _, value in (part.partition("=") for part in text.split(","))}
    return tuple((dict(rules) | own).items())
