"""How the markup of an HTML document is told from its text, for those who work on templates as texts.

Invariant: a match is one whole comment, one whole element of raw text, or one tag; what lies between matches is text.
"""

from __future__ import annotations

import re
from typing import Final

SCAN: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(?P<raw>script|style|title|textarea)\b(?:[^>\"']|\"[^\"]*\"|'[^']*')*>.*?(?:</(?P=raw)\s*>|\Z)"
    r"|<[a-zA-Z/!](?:[^>\"']|\"[^\"]*\"|'[^']*')*(?:>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
ATTRIBUTE: Final = re.compile(r"([^\s\"'<>/=]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+)))?")
"""Of a tag whose `<` and name are cut off: its name, and its value in one of three groups."""


def attributes(tag: str) -> dict[str, str]:
    """The attributes of a start tag as written, by names in lower case; the first of a name counts."""
    found: dict[str, str] = {}
    head = re.match(r"<[a-zA-Z][^\s/>]*", tag)
    for one in ATTRIBUTE.finditer(tag, head.end() if head else 0, len(tag.rstrip(">"))):
        found.setdefault(one[1].lower(), one[2] or one[3] or one[4] or "")
    return found
