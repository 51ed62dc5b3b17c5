"""The one judge of refusals: what codes and words of a server say about the address, by SMTP, in a mail, or by webhook.

Invariant: pure, and never raises. The words and the code of the server that refused win over the status that another one reports;
what may be a full mailbox, a limit, a filter or a passing fault is never held against the address.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import msgspec

from channels.contract import Verdict
from channels.refusals.receivers import rules_for
from channels.refusals.words import AMBIGUOUS, NOT_THE_ADDRESS, RELAY, THE_ADDRESS, VAGUE, Rule, first_of

WORDS_CHARS_MAX: Final = 2_000
_ENHANCED: Final = re.compile(r"(?<![\d.])([245])\.(\d{1,3}\.\d{1,3})(?![\d.])")
_REPLY: Final = re.compile(r"(?<![\d.:/-])([45]\d\d)(?=[ \t#:<(,-]|$)")
_SAID: Final = re.compile(r"(?:said|answered|replied|responded(?: with)?|response|dialog|error|rcpt to:?\s*<[^>]*>|"
r"command):\s+(?=[45]\d\d\b)", re.IGNORECASE)  # fmt: skip
_ADDRESS: Final = re.compile(r"<?[^\s<>@\"(,;]{1,64}@[^\s<>@,;:)\]\"]{1,255}>?")
_URL: Final = re.compile(r"https?://([^\s/?]{1,255})\S*", re.IGNORECASE)
_HOST: Final = re.compile(
    r"(?:remote )?host said:|"
    r"\b(?:host|server|site|system|mx|mta|gateway|by|at|from|to|generating server) [\w-]+(?:\.[\w-]+)+|\[[\w.:-]*\d[\w.:-]*\]|"
    r"\(\S+\.\S+ ?\[[^\]]*\]\)"
)
_LINE_CODE: Final = re.compile(r"(?<=\s)[45]\d\d-(?:#?[45]\.\d{1,3}\.\d{1,3})?\s*")
_ADVICE: Final = re.compile(r"(?:please |kindly )?(?:check|verify|correct|double-check\w*|review|"
r"confirm)\b[^.;]{0,120}?\b(?:try|send|resend\w*|retry\w*)\b[^.;]{0,30}(?:again|$)|try (?:checking|"
r"double-checking)[^.;]{0,120}")  # fmt: skip
_SPACES: Final = re.compile(r"\s+")
_RULERS: Final = re.compile(r"[-=_*#~.]{3,}")
_QUOTES: Final = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"', "„": '"'})
_GENERAL: Final = re.compile(r"\d+\.0\Z")
_GIVES_WAY: Final = frozenset({"0.0", "1.0", "5.0"})
_NO_NAME: Final = re.compile(r"\bnx ?domain|dns error: domain name not found|domainnonexistent")
_PROTOCOL: Final = range(500, 505)
_RCPT_REPLIES: Final = frozenset({0, 550, 551, 553, 554})
_AFTER_CONTENT: Final = re.compile(r"end of data|data command|after data|message content|pipelined")
_AT_MAIL_FROM: Final = re.compile(
    r"in reply to mail from|mail from command|after mail from|in reply to (?:ehlo|helo)|initial connection|in reply to auth"
)
_TEMPORARY = "4"
_PLAINLY: Final = re.compile(r"no such (?:user|recipient|mailbox|account)|(?:user|recipient|mailbox|account|"
r"address) (?:\(?<>\)? )?(?:is )?(?:unknown|does not exist|doesn't exist|not found)|unknown (?:user|recipient|mailbox|"
r"address)")  # fmt: skip
_OTHERS: Final = re.compile(r"sender|\bfrom\b|\bip\b|client|domain|blocked|too many")

_MEMBERS_ONLY: Final = frozenset({"7.2", "7.12", *(f"7.{number}" for number in (*range(120, 126), *range(129, 137)))})
"""The recipient's list, or Exchange's recipient, takes mail of chosen senders only: nothing about our reputation."""
# By subject.detail of the enhanced status code (RFC 3463 and the IANA registry), where the words say nothing.
_BY_DETAIL: Final[dict[str, Verdict]] = {
    "1.1": Verdict.SUPPRESS,  # no such mailbox
    "1.2": Verdict.SUPPRESS,  # no such domain
    "1.3": Verdict.SUPPRESS,  # the address is written in a way that server can never take
    "1.6": Verdict.SUPPRESS,  # mailbox moved, no forwarding
    "1.7": Verdict.OUR_FAULT,  # our sender's syntax
    "1.8": Verdict.OUR_FAULT,  # our sender's domain
    "1.9": Verdict.OUR_FAULT,
    "1.10": Verdict.SUPPRESS,  # null MX: the domain takes no mail (RFC 7505)
    "2.3": Verdict.MESSAGE,  # longer than this mailbox takes
    "3.4": Verdict.MESSAGE,  # longer than this server takes
    "4.4": Verdict.SUPPRESS,  # no way to this domain
    "5.0": Verdict.SOFT,
    "7.17": Verdict.SUPPRESS,  # the mailbox has a new owner (RFC 7293)
    "7.18": Verdict.SUPPRESS,  # the domain has a new owner (RFC 7293)
    **dict.fromkeys(_MEMBERS_ONLY, Verdict.SOFT),
}
_BY_SUBJECT: Final[dict[str, Verdict]] = {
    "5": Verdict.OUR_FAULT,  # protocol
    "6": Verdict.MESSAGE,  # content
    "7": Verdict.OUR_FAULT,  # policy, reputation, authentication: 5.7.1, 5.7.26, 5.7.515 and their kin
}
# Without an enhanced code. 550 and 554 mean too many things to blame the address for.
_BY_REPLY: Final[dict[int, Verdict]] = {
    **dict.fromkeys((500, 501, 502, 503, 504, 530, 534, 535, 538), Verdict.OUR_FAULT),
    556: Verdict.SUPPRESS,  # the domain takes no mail (RFC 7504)
}


class Judgement(msgspec.Struct, frozen=True):
    """`code` as "550 5.1.1"; `by_words`: the server's own words say it, so nobody's class of bounces is better."""

    code: str
    verdict: Verdict
    by_words: bool = False


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of it. `status`: the reporting server's ("5.1.1"); `reply`: the SMTP reply, 0 for none but in the words.

    `where`: names of servers and domains that it came from. `direct`: the server that we hand our mail to said it to us.
    """

    words: str = ""
    status: str = ""
    reply: int = 0
    where: str = ""
    direct: bool = False


def judge(refusal: Refusal) -> Judgement:
    """For a failure that somebody calls permanent: what it says about the address."""
    words = refusal.words[:WORDS_CHARS_MAX]
    reply, own = _said(words, refusal.reply)
    reported = _ENHANCED.search(refusal.status)
    status, detail = _best(own, (reported[1], reported[2]) if reported else None)
    code = f"{reply} {status}".strip() if reply else status
    class_ = str(reply)[0] if reply else status[:1]
    if class_ == _TEMPORARY:
        return Judgement(code, Verdict.SOFT, by_words=bool(reply or own))
    full, bare = folded(words)
    if detail in _MEMBERS_ONLY:
        return Judgement(code, Verdict.SOFT, by_words=True)
    told = _by_words(full, bare, refusal, reply)
    if told is Verdict.OUR_FAULT and own == ("5", "1.1") and _PLAINLY.search(bare) and not _OTHERS.search(bare):
        told = Verdict.SUPPRESS  # it says who its filter is, too
    if told is not None:
        return Judgement(code, told, by_words=True)
    if (
        detail.startswith("5.") and not refusal.direct
    ):  # the next server's trouble with the one after it: no protocol of ours
        return Judgement(code, Verdict.SOFT)
    guessed = own is None or _says_little(own[1])
    if guessed and reply and VAGUE.search(bare) and _BY_DETAIL.get(detail) is Verdict.SUPPRESS:
        return Judgement(code, Verdict.SOFT)  # the server refused without a reason, and another one guessed it
    if reply in _PROTOCOL and _says_little(detail) and not refusal.direct:  # likewise: some say "500 unknown recipient"
        reply = 0
    return Judgement(code, _by_codes(detail, reply))


def of_words(words: str, *, where: str = "") -> Verdict | None:
    """What words without any code say; None when they say nothing that is known."""
    full, bare = folded(words[:WORDS_CHARS_MAX])
    return _by_words(full, bare, Refusal(words=words, where=where), 0)


def folded(words: str) -> tuple[str, str]:
    """In small letters, without accents, addresses and breaks: with names of hosts and whole URLs, and without."""
    text = _LINE_CODE.sub(" ", _SPACES.sub(" ", _RULERS.sub(" ", f" {words}")))
    text = unicodedata.normalize("NFKD", _ADDRESS.sub("<>", text).translate(_QUOTES).lower())
    full = _SPACES.sub(" ", "".join(char for char in text if not unicodedata.combining(char)))[: 2 * WORDS_CHARS_MAX]
    bare = _SPACES.sub(" ", _ADVICE.sub(" ", _HOST.sub(" ", _URL.sub(r"\1", full))))
    return full.strip(), bare.strip()


def _by_words(full: str, bare: str, refusal: Refusal, reply: int) -> Verdict | None:
    if not bare:
        return None
    general = first_of(NOT_THE_ADDRESS, bare)
    if general is Verdict.SOFT and _NO_NAME.search(bare):
        return Verdict.SUPPRESS
    theirs = first_of(rules_for(full, refusal.where.lower()), full)
    if _AT_MAIL_FROM.search(full):
        return general if general in {Verdict.SOFT, Verdict.MESSAGE} else Verdict.OUR_FAULT
    if theirs is Verdict.SUPPRESS and first_of(_FIRST_OF_ALL, bare) is not None:
        return general
    if theirs is not None:
        return theirs
    if RELAY.search(bare) and "authent" not in bare and "block" not in bare:
        return Verdict.OUR_FAULT if refusal.direct else Verdict.SUPPRESS
    found = general or first_of(THE_ADDRESS, bare)
    if found is None and reply in _RCPT_REPLIES and AMBIGUOUS.search(bare) and not _AFTER_CONTENT.search(full):
        says_address = "mail" in bare or "recipient" in bare or "account" in bare
        return Verdict.SUPPRESS if says_address else None
    return found


_FIRST_OF_ALL: Final[tuple[Rule, ...]] = NOT_THE_ADDRESS[:3]
"""Full, too large, too many: whatever a receiver's rule says."""


def _said(words: str, reply: int) -> tuple[int, tuple[str, str] | None]:
    """The reply and the enhanced code of the server that refused; what it is quoted with ("said: 550 …") comes first."""
    start = quoted.end() if (quoted := _SAID.search(words)) else 0
    number = _REPLY.search(words, start) or _REPLY.search(words)
    # The code of a server's words stands beside its reply; the one that stands alone may be the reporter's.
    own = _ENHANCED.search(words, number.start() if number else start) or _ENHANCED.search(words)
    found = int(number[1]) if number else 0
    if own is not None and own[1] == "2":
        own = None
    return reply or found, (own[1], own[2]) if own else None


def _best(own: tuple[str, str] | None, reported: tuple[str, str] | None) -> tuple[str, str]:
    """The status to go by: the refusing server's, unless it says as good as nothing and the reported one more."""
    if own is None or (reported and own[1] in _GIVES_WAY and not _says_little(reported[1]) and own[0] == reported[0]):
        own = reported or own
    return (f"{own[0]}.{own[1]}", own[1]) if own else ("", "")


def _by_codes(detail: str, reply: int) -> Verdict:
    subject = detail.partition(".")[0]
    return _BY_DETAIL.get(detail) or _BY_SUBJECT.get(subject) or _BY_REPLY.get(reply) or Verdict.SOFT


def _says_little(detail: str) -> bool:
    return not detail or _GENERAL.match(detail) is not None
