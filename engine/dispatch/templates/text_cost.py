"""Says which templates of text messages will be dearer than their author thinks: another alphabet, or many segments.

Invariant: reads what stands in the file, not what is put in later; so it warns too little rather than too much.
"""

from __future__ import annotations

import re
from pathlib import Path

from channels.phone import gsm
from engine.dispatch.templates.template_problem import TemplateProblem

CHANNEL = "sms"
SEGMENTS_MAX = 3
"""Of the words alone, without what is put in: more than this is worth a warning."""
SHOWN_MAX = 8
_BYTES_MAX = 200_000
_PUT_IN = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


def dear_texts(templates: Path) -> list[TemplateProblem]:
    """Warnings about the files in `sms/` of the templates folder, in order; what cannot be read is another check's matter."""
    found: list[TemplateProblem] = []
    for path in sorted((templates / CHANNEL).glob("*.txt")):
        try:
            text = path.read_text("utf-8") if path.stat().st_size <= _BYTES_MAX else ""
        except (OSError, UnicodeDecodeError):
            continue
        found += cost_of(f"{CHANNEL}/{path.name}", text)
    return found


def cost_of(file: str, text: str) -> list[TemplateProblem]:
    """What one template's own words cost."""
    words = _PUT_IN.sub(lambda put_in: "\n" * put_in[0].count("\n"), text)
    found = []
    foreign = gsm.foreign(words)
    if foreign:
        line, column = _place(words, foreign[0])
        shown = " ".join(repr(sign).strip("'") for sign in foreign[:SHOWN_MAX])
        message = (
            f"{shown} {'is' if len(foreign) == 1 else 'are'} not in the GSM alphabet: a segment then takes 70 characters"
            " instead of 160; write it otherwise, or set sms.transliterate"
        )
        found.append(TemplateProblem(file, line, column, "text_alphabet", message))
    size = gsm.size_of(words.strip())
    if size.segments > SEGMENTS_MAX:
        message = f"the words alone take {size}, each of which is charged; say it shorter"
        found.append(TemplateProblem(file, 1, 1, "text_long", message))
    return found


def _place(words: str, sign: str) -> tuple[int, int]:
    at = words.index(sign)
    return words.count("\n", 0, at) + 1, at - (words.rfind("\n", 0, at) + 1) + 1
