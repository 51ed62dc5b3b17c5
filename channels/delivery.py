"""One vocabulary for what happens to a message, whatever the provider calls it, and what an SMTP reply means.

Invariants: a message's state never moves backwards (`advance`), and every 4xx or 5xx reply becomes exactly one error
(`classify_reply`); none is dropped and none is guessed to be about the address unless the server said so.
"""

from __future__ import annotations

import enum
import re
from typing import Literal

from channels.contract import PermanentError, Throttle, TransientError, Verdict
from channels.refusals.judge import Refusal, judge

Phase = Literal["mail", "rcpt", "data"]  # which command the server answered; "data" includes the content


class DeliveryOutcome(enum.StrEnum):
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
RANK: dict[DeliveryOutcome, int] = {
    DeliveryOutcome.UNKNOWN: 0,
    DeliveryOutcome.SENT: 10,
    DeliveryOutcome.FAILED: 10,
    DeliveryOutcome.SUPPRESSED: 10,
    DeliveryOutcome.DEFERRED: 20,
    DeliveryOutcome.DELIVERED: 30,
    DeliveryOutcome.BOUNCED: 40,
    DeliveryOutcome.OPENED: 50,
    DeliveryOutcome.CLICKED: 60,
    DeliveryOutcome.REPLIED: 70,
    DeliveryOutcome.UNSUBSCRIBED: 80,
    DeliveryOutcome.COMPLAINED: 90,
}


def advance(state: DeliveryOutcome | None, news: DeliveryOutcome) -> DeliveryOutcome:
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


def without_addresses(text: str) -> str:
    """Return a server's words with mail addresses masked and the length bounded, fit for a log or a ledger."""
    text = text[:_REPLY_CHARS_MAX]
    return _ADDRESS.sub("<address>", text) if "@" in text else text


def enhanced_status(text: str) -> str | None:
    """Return the enhanced status code at the start of a reply's text ("5.1.1"), None when the server gives none."""
    found = _ENHANCED.search(text[:64])
    return found.group(1) if found else None


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
    after = " (after data)" if phase == "data" else ""
    verdict = judge(Refusal(words=f"{text}{after}", reply=code, direct=True)).verdict
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
