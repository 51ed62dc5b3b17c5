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
    r"(?:re: )?on (?:annual |parental |maternity |sick )?(?:leave|holiday|vacation)|(?:away|out) (?:until|till|on|from)|"
    r"on vacation|ooo\b|i'm (?:away|out|on)|urlaub|nicht im b[üu]ro|(?:ich )?bin (?:im urlaub|derzeit|bis|zurzeit)|"
    r"r[ée]ponse (?:automatique|auto)|absence|absent|en vacances|en cong[ée]|message d'absence|respuesta autom|"
    r"fuera de (?:la )?oficina|de vacaciones|ausente|ausencia|"
    r"risposta automatica|fuori (?:sede|ufficio)|assenza|assente|in ferie|resposta autom|fora do escrit|aus[êe]ncia|f[ée]rias|"
    r"automatisch(?:e)? (?:antwoord|reactie|beantwoording)|afwezig|niet aanwezig|vakantie|automatiskt? svar|autosvar|"
    r"automatisk svar|frånvar(?:o|ande)|odpowied[źz] automatyczna|(?:on )?pto\b|not in (?:the )?office|"
    r"betriebsferien|vacaciones|cong[ée]s|fravær|ferie|på ferie|semester|"
    r"automatyczna odpowied|autoodpowied|nieobecno|poza biurem|urlop|automatick[áa] odpov|nep[řr][íi]tomn|mimo kancel|dovolen|"
    r"automatikus v[áa]lasz|szabads[áa]g|automaattinen vastaus|poissa|lomalla|"
    r"otomatik (?:yan[ıi]t|cevap)|i[şs] d[ıi][şs][ıi]nda|r[ăa]spuns automat|αυτόματη απάντηση|автоответ|автоматическ\w+ ответ|"
    r"в отпуске|отсутств|автовідповід|自动回复|自動回覆|自动答复|外出|不在|自動応答|自動返信|休暇|부재|자동 ?(?:응답|회신)"
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
