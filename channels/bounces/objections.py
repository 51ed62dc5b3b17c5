"""Recognises mails that ask for no more: those that mail programs send for their users (RFC 2369), and those of people.

Invariant: nothing but the wish may stand in it. A sentence with such a word, an automatic note and whatever is quoted are none.
"""

from __future__ import annotations

import re

from channels.bounces.machines import failure_in
from channels.bounces.parts import Mail
from channels.phone import opt_out

APPLE = "x-apple-unsubscribe"
_PREFIX = re.compile(r"^\s*(?:(?:re|aw|fwd?|wg|tr|antw|sv|vs|r|rv|odp)\s*:\s*)+", re.IGNORECASE)
_WORDS = frozenset(
    {
        "unsubscribe",
        "list unsubscribe",
        "unsubscribe me",
        "please unsubscribe me",
        "optout",
        "opt out",
        "remove",
        "remove me",
        "unsubscribe request",
    }
)
_QUOTED = re.compile(
    r"^(?:>|(?:am|on|le|il|el|op|em|w dniu|den)\b.{4,160}(?:schrieb|wrote|a écrit|ha scritto|escribió|schreef|escreveu|"
    r"napisał|skrev).{0,80}:?|-{2,}.{0,60}|_{5,}|(?:von|from|de|da|van|od):\s.*)$",
    re.IGNORECASE,
)
_SIGNATURE = re.compile(
    r"^(?:-- ?|sent from my|gesendet von|von meinem|envoyé de|inviato da|enviado desde|get outlook|holen sie sich outlook)",
    re.IGNORECASE,
)
_LINES_MAX = 3
_BODY_CHARS_MAX = 2_000


def asks_to_end(mail: Mail) -> bool:
    """Whether the mail is nothing but the wish to get no more."""
    if APPLE in mail.headers:
        return True
    subject = mail.first("subject")
    if failure_in(subject) or mail.type == "multipart/report" or _MAILER.search(mail.first("from")):
        return False
    automatic = mail.first("auto-submitted").strip().lower() not in {"", "no"}
    plain = _PREFIX.sub("", subject)
    if opt_out.folded(plain) in _WORDS or (not automatic and _PREFIX.search(subject) is None and _wishes(plain)):
        return not automatic or opt_out.folded(plain) in _WORDS
    return not automatic and _PREFIX.search(subject) is not None and _wishes(written(mail))


def written(mail: Mail) -> str:
    """What the person wrote, without quotes and signature; "" when it is more than a few lines."""
    text = next((part.text for part in mail.parts if part.type == "text/plain" and not part.quoted), "")
    lines: list[str] = []
    for line in text[:_BODY_CHARS_MAX].splitlines():
        line = line.strip()  # noqa: PLW2901 - its margins say nothing
        if _QUOTED.match(line) or _SIGNATURE.match(line):
            break
        lines += [line] if line else []
    return " ".join(lines) if len(lines) <= _LINES_MAX else ""


def _wishes(text: str) -> bool:
    return opt_out.wish_of(text) == "stop"


_MAILER = re.compile(r"mailer-daemon|postmaster@", re.IGNORECASE)
