"""Bounces in words, of servers that send no delivery report: recognised by flufl.bounce, judged by the codes in them.

Invariant: without an enhanced status code in its words such a mail suppresses nobody, whoever says it is permanent.
"""

from __future__ import annotations

import re

from flufl.bounce import all_failures

from channels.bounces.parts import Mail
from channels.bounces.status import Fate, judge
from channels.contract import Verdict
from channels.delivery import Outcome

_CODE = re.compile(
    r"(?:\b[45]\d\d[ \t-]+|[#(\[<]\s*|\bstatus(?: code)?:?\s*|\bcode:?\s*|\bDSN=)([45]\.\d{1,3}\.\d{1,3})(?![\d.])",
    re.IGNORECASE,
)
_REPLY = re.compile(r"(?<![\d.:-])([45]\d\d)[ \t-](?=[^\d\s])")
_COPY_BELOW = re.compile(
    r"^-+\s*(?:below this line is a copy|this is a copy|original message|unsent message|the following is a copy|"
    r"message headers? follow|message text follows|returned message|the header page follows)|^(?:received|return-path):\s",
    re.IGNORECASE | re.MULTILINE,
)
_MACHINE = re.compile(r"mailer-daemon|postmaster|mail delivery|mailsystem|mailadm|\bndr@|<>", re.IGNORECASE)
_SUBJECT = re.compile(
    r"mail delivery failed|delivery status notification|delivery failure|delivery has failed|undeliver|returned mail|"
    r"failure notice|mail could not be delivered|unzustellbar|nicht zustellbar|zustellung fehlgeschlagen|"
    r"automatically rejected",
    re.IGNORECASE,
)
_WORDS_CHARS = 300
_LINES = 2
_TEXT_CHARS_MAX = 20_000


def read_prose(mail: Mail) -> Fate | None:
    """What a bounce in words says; None when it is none."""
    try:
        temporary, permanent = all_failures(mail.tree)
    except Exception:  # noqa: BLE001 - its detectors meet what no server should have sent; then they recognise nothing
        temporary, permanent = frozenset(), frozenset()
    text = own_words(mail)
    code = _CODE.search(text)
    if (
        not temporary
        and not permanent
        and not (_from_machine(mail) and (code or _SUBJECT.search(mail.first("subject"))))
    ):
        return None
    status = code[1] if code else ""
    reply = _REPLY.search(text)
    number = int(reply[1]) if reply else 0
    recipients = tuple(sorted(_text(address) for address in (*permanent, *temporary)))
    words = _around(text, code or reply)
    if temporary and not permanent and not status.startswith("5"):
        return Fate(outcome=Outcome.DEFERRED, code=status, words=words, recipients=recipients)
    verdict, kept = Verdict.SOFT, status
    if status:
        kept, verdict = judge(status, number, words)
    elif number:
        kept = str(number)
    return Fate(outcome=Outcome.BOUNCED, verdict=verdict, code=kept, words=words, recipients=recipients)


def own_words(mail: Mail) -> str:
    """What the server itself wrote, without the mail that it gives back."""
    pieces = [part.text for part in mail.parts if part.type.startswith("text/plain") and not part.quoted]
    pieces = pieces or [part.text for part in mail.parts if part.type.startswith("text/") and not part.quoted]
    text = "\n".join(pieces)[:_TEXT_CHARS_MAX]
    below = _COPY_BELOW.search(text)
    return text[: below.start()] if below and below.start() else text


def _from_machine(mail: Mail) -> bool:
    return _MACHINE.search(f"{mail.first('return-path')} {mail.first('from')}") is not None


def _around(text: str, found: re.Match[str] | None) -> str:
    if found is None:
        return ""
    start = text.rfind("\n", 0, found.start()) + 1
    return " ".join(" ".join(text[start : start + _WORDS_CHARS].splitlines()[:_LINES]).split())


def _text(address: bytes | str) -> str:
    return (address.decode("utf-8", "replace") if isinstance(address, bytes) else address).lower()
