"""Bounces in words, of servers that send no delivery report: qmail, Exim, Exchange, Domino, the large providers' own forms.

Invariant: words are asked only of what a mail server wrote, and only its own: neither the mail that it gives back nor its guesses
("this may be because …") say anything about the address.
"""

from __future__ import annotations

import html
import re
from typing import Any

from flufl.bounce import all_failures

from channels.bounces.machines import failure_in, speaks_of_delivery
from channels.bounces.parts import Mail
from channels.bounces.status import DeliveryFate
from channels.contract import Verdict
from channels.delivery import DeliveryOutcome
from channels.refusals.judge import Judgement, Refusal, judge, of_words

_CODE = re.compile(
    r"(?:\b[45]\d\d[ \t-]+|[#(\[<]\s*|\bstatus(?: code)?:?\s*|\bcode:?\s*|\bDSN=)([45]\.\d{1,3}\.\d{1,3})(?![\d.])",
    re.IGNORECASE,
)
_REPLY = re.compile(r"(?<![\d.:/-])([45]\d\d)[ \t-](?=[^\d\s])")
_COPY_BELOW = re.compile(
    r"^[^\w\n]{0,80}(?:below this line is a copy|this is a copy|(?:the )?original (?:message|mail)|unsent message|"
    r"the following is a copy|copy of (?:the|your)|here is (?:your|the|a copy)|"
    r"message headers? follow|message text follows|returned message|returned mail|the header page follows|"
    r"the header of the original|header of the|included is a copy|forwarded message|"
    r"urspr(?:ü|ue)ngliche nachricht|originalnachricht|message d'origine|messaggio originale|mensaje original|"
    r"mensagem original|oorspronkelijk bericht)|^(?:received|return-path|dkim-signature|message-id):\s",
    re.IGNORECASE | re.MULTILINE,
)
_DELAYED = re.compile(
    r"\bdelay|\bwarning\b|deferred|verzöger|retard|ritard|retras|demora|atras|vertrag|opóźn|задерж|"
    r"延迟|遅延|still (?:being|trying)",
    re.IGNORECASE,
)
_STILL_TRYING = re.compile(
    r"this is a warning message only|(?:do|does) not need to (?:re)?send|will (?:keep|continue) (?:\w+ )?(?:to )?(?:be |"
    r"re)?(?:try|deliver|attempt)|attempts? will (?:continue|be made)|(?:has not|not) (?:yet )?been delivered yet|"
    r"not yet (?:been )?delivered|"
    r"will be retried|will retry|wird weiter versucht|weitere zustellversuche|noch nicht zugestellt",
    re.IGNORECASE,
)
_GAVE_UP = re.compile(r"giv(?:en|ing) up|gave up|permanent|will not (?:be )?retr|no longer|final", re.IGNORECASE)
_ARRIVED = re.compile(
    r"^\s*(?:relayed|delivered|zugestellt|remis|recapitato|entregado|entregue|bezorgd|weitergeleitet)\s*:|\(success\)|"
    r"successful(?:ly)? (?:mail )?deliver|delivery (?:report )?.{0,10}success|erfolgreich zugestellt",
    re.IGNORECASE,
)
_GUESS = re.compile(
    r"\b(?:may|might|could be|can be|possibl[ey]|perhaps|maybe|for (?:example|instance)|such as|e\.g|i\.e|usually|typically|"
    r"likely|often|sometimes|either|if (?:you|the|your|this)|please|"
    r"ймовірно|можливо|возможно|вероятно|może|kanske|"
    r"eventuell|möglicherweise|vielleicht|peut|puede|potrebbe|pode|mogelijk|z\.b)\b|可能|かもしれ",
    re.IGNORECASE,
)
_WRAPPED = re.compile(r"(?<=[^\n.;:])\n[ \t]{0,20}(?=[a-z])")
_SENTENCE = re.compile(r"[.;](?=\s|$)|[。\n]")
_TAG = re.compile(
    r"<(?:style|script)\b.*?</(?:style|script)>|<!--.*?-->|<(?=/?[a-z!])[^<>@]{0,2000}>", re.IGNORECASE | re.DOTALL
)
_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/li|/h\d|/td)\b[^<>]{0,500}>", re.IGNORECASE)
_WORDS_CHARS, _JUDGED_CHARS, _BEFORE_CHARS = 300, 1_500, 400
_LINES = 2
_TEXT_CHARS_MAX = 20_000


def read_prose(mail: Mail) -> DeliveryFate | None:
    """What a bounce in words says; None when it is none."""
    if not speaks_of_delivery(mail):
        return None
    subject = mail.first("subject")
    text = own_words(mail)
    code = _CODE.search(text)
    temporary, permanent = _recognised(mail)
    named = failure_in(subject) or _DELAYED.search(subject) or _ARRIVED.search(subject)
    if not (temporary or permanent or code or named or "x-failed-recipients" in mail.headers):
        return None
    failed = tuple(mail.first("x-failed-recipients").lower().replace(" ", "").split(","))
    recipients = tuple(sorted({*permanent, *temporary, *(address for address in failed if "@" in address)}))
    about: dict[str, Any] = {"words": _around(text, code or _REPLY.search(text)), "recipients": recipients}
    if _ARRIVED.search(subject) and not code:
        return DeliveryFate(outcome=DeliveryOutcome.DELIVERED, **about)
    judged = _judged(text, " ".join(recipients))
    delayed = _DELAYED.search(subject) and judged.verdict is not Verdict.SUPPRESS
    trying = (delayed or _STILL_TRYING.search(text)) and not _GAVE_UP.search(text)
    if trying or (temporary and not permanent and judged.verdict is Verdict.SOFT and not judged.code.startswith("5")):
        return DeliveryFate(outcome=DeliveryOutcome.DEFERRED, code=judged.code, **about)
    return DeliveryFate(outcome=DeliveryOutcome.BOUNCED, verdict=judged.verdict, code=judged.code, **about)


def own_words(mail: Mail) -> str:
    """What the server itself wrote, without the mail that it gives back."""
    pieces = [part.text for part in mail.parts if part.type.startswith("text/plain") and not part.quoted]
    if not any(piece.strip() for piece in pieces):
        pieces = [_plain(part.text) for part in mail.parts if part.type.startswith("text/") and not part.quoted]
    text = "\n".join(pieces)[:_TEXT_CHARS_MAX]
    below = _COPY_BELOW.search(text)
    return text[: below.start()] if below and text[: below.start()].strip() else text


def server_said(text: str) -> str:
    """The paragraph in which a server is quoted: the one with its reply or its code; "" when there is none."""
    found = _CODE.search(text) or _REPLY.search(text)
    if found is None:
        return ""
    start = max(text.rfind("\n\n", 0, found.start()), found.start() - _BEFORE_CHARS, 0)
    end = text.find("\n\n", found.end())
    return text[start : min(end if end >= 0 else len(text), found.end() + _JUDGED_CHARS)]


def _judged(text: str, where: str) -> Judgement:
    plain = text.replace("\r\n", "\n")
    if words := server_said(plain):
        judged = judge(Refusal(words=words, where=where))
        if judged.by_words or judged.verdict is Verdict.SUPPRESS:
            return judged
        told = of_words(_stated(plain), where=where)
        return Judgement(judged.code, told, by_words=True) if told and not judged.code.startswith("4") else judged
    return Judgement("", of_words(_stated(plain), where=where) or Verdict.SOFT)


def _stated(text: str) -> str:
    """The text without the sentences that guess or advise."""
    return ". ".join(each for each in _SENTENCE.split(_WRAPPED.sub(" ", text)) if not _GUESS.search(each))


def _recognised(mail: Mail) -> tuple[set[str], set[str]]:
    try:
        temporary, permanent = all_failures(mail.tree)
    except Exception:  # noqa: BLE001 - its detectors meet what no server should have sent; then they recognise nothing
        return set(), set()
    return {_text(each) for each in temporary}, {_text(each) for each in permanent}


def _plain(text: str) -> str:
    """HTML as text, roughly: its words are all that is wanted."""
    if "<" not in text:
        return text
    return html.unescape(_TAG.sub(" ", _BREAK.sub("\n", text)))


def _around(text: str, found: re.Match[str] | None) -> str:
    if found is None:
        return ""
    start = text.rfind("\n", 0, found.start()) + 1
    return " ".join(" ".join(text[start : start + _WORDS_CHARS].splitlines()[:_LINES]).split())


def _text(address: bytes | str) -> str:
    return (address.decode("utf-8", "replace") if isinstance(address, bytes) else address).lower()
