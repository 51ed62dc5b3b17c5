"""Recognises what answers by itself: out-of-office notes, confirmations of receipt, tickets that were opened.

Invariant: it is asked after delivery reports were looked for, which also say that no person wrote them.
"""

from __future__ import annotations

import re

from channels.bounces.parts import Mail

_HEADERS = frozenset(
    {"x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-reply", "x-mail-autoreply", "x-autoreply-from"}
    | {"x-amazon-auto-reply", "x-auto-response", "x-vacation"}
)
_SUBJECT = re.compile(
    r"^\s*(?:re:|aw:|fwd?:|wg:)*\s*\[?(?:"
    r"out[ -]of[ -](?:the[ -])?office|automatic(?:ally generated)? (?:reply|response)|"
    r"auto[ -]?(?:matic )?(?:reply|response)|autoreply|"
    r"vacation(?: reply|:)|away from (?:my|the) office|i am (?:currently )?(?:away|out of)|"
    r"abwesen|automatische antwort|auto-?antwort|(?:ich bin )?(?:nicht|außer) (?:im|des) (?:büro|haus)|"
    r"r[ée]ponse automatique|absence|respuesta autom|fuera de la oficina|risposta automatica|"
    r"automatisch antwoord|afwezig|automatiskt svar|autosvar"
    r")",
    re.IGNORECASE,
)
_RECEIPT = "disposition-notification"


def answers_by_itself(mail: Mail, *, plainly: bool) -> bool:
    """Whether no person wrote it. `plainly`: only by signs that no bounce has."""
    submitted = mail.first("auto-submitted").lower()
    if "rejected" in submitted:  # a filter of the recipient's that sends it back: a bounce, whatever it calls itself
        return not plainly
    if _HEADERS & mail.headers.keys() or mail.report_type == _RECEIPT:
        return True
    if any(part.type == "message/disposition-notification" for part in mail.parts):
        return True
    if "vacation" in submitted or mail.first("precedence").strip().lower() in {"auto_reply", "auto-reply"}:
        return True
    if _SUBJECT.search(mail.first("subject")):
        return True
    return not plainly and submitted.split(";")[0].split("(")[0].strip() not in {"", "no"}
