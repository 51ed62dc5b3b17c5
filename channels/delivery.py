"""One vocabulary for what happens to a message, whatever the provider calls it, and what an SMTP reply means.

Invariants: a message's state never moves backwards (`advance`), and every 4xx or 5xx reply becomes exactly one error
(`classify_reply`); none is dropped and none is guessed to be about the address unless the server said so.
"""

from __future__ import annotations

import enum
import re
from typing import Literal

from channels.contract import PermanentError, Throttle, TransientError, Verdict

Phase = Literal["mail", "rcpt", "data"]  # which command the server answered; "data" includes the content


class Outcome(enum.StrEnum):
    """Everything that can become of a message once it was queued."""

    SENT = "sent"  # a provider accepted it
    FAILED = "failed"  # no provider accepted it
    SUPPRESSED = "suppressed"  # the second policy check held it back
    UNKNOWN = "unknown"  # a provider may have it, and nobody can say
    DEFERRED = "deferred"  # the provider is still trying
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    OPENED = "opened"
    CLICKED = "clicked"
    REPLIED = "replied"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"


# Higher overwrites lower. The three answers of our own dispatch exclude each other, so the first one stays; `unknown`
# gives way to anything learned later. A bounce may follow a delivery (the next server refused it); whoever opens, clicks
# or complains has received it, whatever was reported before.
RANK: dict[Outcome, int] = {
    Outcome.UNKNOWN: 0,
    Outcome.SENT: 10,
    Outcome.FAILED: 10,
    Outcome.SUPPRESSED: 10,
    Outcome.DEFERRED: 20,
    Outcome.DELIVERED: 30,
    Outcome.BOUNCED: 40,
    Outcome.OPENED: 50,
    Outcome.CLICKED: 60,
    Outcome.REPLIED: 70,
    Outcome.UNSUBSCRIBED: 80,
    Outcome.COMPLAINED: 90,
}


def advance(state: Outcome | None, news: Outcome) -> Outcome:
    """Return the state after `news` arrived, in whatever order outcomes come."""
    if state is None or RANK[news] > RANK[state]:
        return news
    return state


_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_ADDRESS = re.compile(r"<?[^\s<>@]{1,64}@[^\s<>@,;:]{1,255}>?")
_RETRY_AFTER = re.compile(
    r"(?:again|retry|wait|greylisted|delayed)\D{0,24}(\d{1,5})\s*(s|sec|seconds?|m|min|minutes?|h|hours?)\b",
    re.IGNORECASE,
)
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_REFUSALS = range(400, 600)
_PERMANENT_FROM = 500
_SERVICE_CLOSING = 421
_REPLY_CHARS_MAX = 500
_RETRY_AFTER_SECONDS_MAX = 86_400

# By subject.detail of the enhanced status code (RFC 3463 and the IANA registry); the reply's own first digit says
# whether it is permanent.
_VERDICT_BY_DETAIL: dict[str, Verdict] = {
    "1.1": Verdict.SUPPRESS,  # no such mailbox
    "1.2": Verdict.SUPPRESS,  # no such domain
    "1.6": Verdict.SUPPRESS,  # mailbox moved, no forwarding
    "1.7": Verdict.OUR_FAULT,  # our sender's syntax
    "1.8": Verdict.OUR_FAULT,  # our sender's domain
    "1.10": Verdict.SUPPRESS,  # null MX: the domain takes no mail (RFC 7505)
    "2.3": Verdict.MESSAGE,  # longer than this mailbox takes
    "3.4": Verdict.MESSAGE,  # longer than this server takes
    "5.0": Verdict.SOFT,  # "other": some large services say "mailbox unavailable" with it
    "7.2": Verdict.SOFT,  # the recipient's list lets nobody of us write to it
    "7.17": Verdict.SUPPRESS,  # the mailbox has a new owner (RFC 7293)
    "7.18": Verdict.SUPPRESS,  # the domain has a new owner (RFC 7293)
    # Exchange: this recipient takes mail of chosen senders only. Nothing about our reputation.
    **dict.fromkeys(("7.12", "7.120", "7.121", "7.122", "7.123", "7.124", "7.125"), Verdict.SOFT),
    **dict.fromkeys(("7.129", "7.130", "7.131", "7.132", "7.133", "7.134", "7.135", "7.136"), Verdict.SOFT),
}
_VERDICT_BY_SUBJECT: dict[str, Verdict] = {
    "5": Verdict.OUR_FAULT,  # protocol
    "6": Verdict.MESSAGE,  # content
    "7": Verdict.OUR_FAULT,  # policy, reputation, authentication: 5.7.1, 5.7.26, 5.7.515 and their kin
}
# Without an enhanced code. 550 and 554 mean too many things to blame the address for.
_VERDICT_BY_CODE: dict[int, Verdict] = {
    500: Verdict.OUR_FAULT,
    501: Verdict.OUR_FAULT,
    502: Verdict.OUR_FAULT,
    503: Verdict.OUR_FAULT,
    504: Verdict.OUR_FAULT,
    530: Verdict.OUR_FAULT,
    534: Verdict.OUR_FAULT,
    535: Verdict.OUR_FAULT,
    538: Verdict.OUR_FAULT,
    556: Verdict.SUPPRESS,  # the domain takes no mail (RFC 7504)
}
# What filters say about a sender, where they give no code that says so, or one of "other".
_OUR_REPUTATION = re.compile(
    r"spamhaus|spamcop|barracuda|\b(?:block|black|deny)[ -]?list|blacklisted|\brbl\b|\bdnsbl\b|\breputation\b|"
    r"\bdmarc\b|\bdkim\b|\bspf\b|(?:considered|classified|identified|detected) as (?:a )?(?:spam|uce)|"
    r"(?:looks|seems) like spam|spam (?:message|content|mail)|unsolicited",
    re.IGNORECASE,
)
_SAYS_LITTLE = frozenset({"", "0.0", "1.0", "2.0", "3.0", "4.0", "5.0"})


def without_addresses(text: str) -> str:
    """Return a server's words with mail addresses masked and the length bounded, fit for a log or a ledger."""
    text = text[:_REPLY_CHARS_MAX]
    return _ADDRESS.sub("<address>", text) if "@" in text else text


def enhanced_status(text: str) -> str | None:
    """Return the enhanced status code at the start of a reply's text ("5.1.1"), None when the server gives none."""
    found = _ENHANCED.search(text[:64])
    return found.group(1) if found else None


def refusal_verdict(subject_detail: str, code: int, text: str) -> Verdict:
    """What a permanent refusal says about the address. `subject_detail`: "1.1" of "5.1.1"; `code` 0 where there is none.

    Where the codes say little, words that only a filter of senders uses make it our own fault. Unclear ones are soft.
    """
    if subject_detail in _SAYS_LITTLE and _OUR_REPUTATION.search(text[:_REPLY_CHARS_MAX]):
        return Verdict.OUR_FAULT
    subject = subject_detail.partition(".")[0]
    found = _VERDICT_BY_DETAIL.get(subject_detail) or _VERDICT_BY_SUBJECT.get(subject) or _VERDICT_BY_CODE.get(code)
    return found or Verdict.SOFT


def classify_reply(code: int, text: str, *, phase: Phase) -> TransientError | PermanentError:
    """Turn a refusing SMTP reply (400-599) into the error it means.

    421 and 4.7.x throttle the destination domain; every other 4xx is simply tried again. 5xx is permanent, and its
    enhanced status decides about the address; a refused MAIL FROM is never about the recipient.
    """
    assert code in _REFUSALS, code
    enhanced = enhanced_status(text)
    stable = f"{code} {enhanced}" if enhanced else str(code)
    reason = f"the server answered {code} {without_addresses(text)}".rstrip()
    subject_detail = enhanced.partition(".")[2] if enhanced else ""
    subject = subject_detail.partition(".")[0]
    if code < _PERMANENT_FROM:
        throttle: Throttle | None = "domain" if code == _SERVICE_CLOSING or subject == "7" else None
        return TransientError(reason, code=stable, retry_after_seconds=_retry_after_seconds(text), throttle=throttle)
    verdict = refusal_verdict(subject_detail, code, text)
    if phase == "mail" and verdict is not Verdict.MESSAGE:
        verdict = Verdict.OUR_FAULT
    return PermanentError(reason, code=stable, address_verdict=verdict)


def _retry_after_seconds(text: str) -> float | None:
    """Read the delay greylisting servers name in prose ("try again in 300 seconds")."""
    found = _RETRY_AFTER.search(text[:_REPLY_CHARS_MAX])
    if found is None:
        return None
    seconds = int(found.group(1)) * _SECONDS[found.group(2)[0].lower()]
    return float(min(seconds, _RETRY_AFTER_SECONDS_MAX))
