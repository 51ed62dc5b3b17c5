"""Delivery reports (DSN, RFC 3464): what the groups of fields say about each recipient, and what that makes of the message.

Invariant: the class of the Status decides whether it is for good; whatever is missing or contradicts itself is never a reason to
suppress an address.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from channels.bounces.parts import Part, fields_of
from channels.contract import Verdict
from channels.delivery import Outcome, refusal_verdict

GROUPS_MAX = 100
_STATUS_PARTS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_CODE = re.compile(r"(?<![\d.])([245])\.(\d{1,3}\.\d{1,3})(?![\d.])")
_REPLY = re.compile(r"(?<![\d.])([45]\d\d)(?=[ \t#-]|$)")
_GENERAL = re.compile(r"\d+\.0\Z")
_PROTOCOL = range(500, 505)
_MILD = (Verdict.MESSAGE, Verdict.SOFT, Verdict.OUR_FAULT, Verdict.SUPPRESS)


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a message: `code` as "5.1.1" or "550 5.1.1"; `words` of the server, with addresses in them."""

    outcome: Outcome
    verdict: Verdict | None = None
    code: str = ""
    words: str = ""
    recipients: tuple[str, ...] = ()
    action: str = ""


def read_status(parts: tuple[Part, ...]) -> Fate | None:
    """The fate that the first delivery report in the mail tells; None when there is no report that says anything."""
    for part in parts:
        if part.type in _STATUS_PARTS and not part.quoted:
            fates = [fate for group in fields_of(part.text)[:GROUPS_MAX] if (fate := _fate(group)) is not None]
            if fates:
                return _together(fates)
    return None


def judge(status: str, reply: int, words: str) -> tuple[str, Verdict]:
    """For a permanent failure: the code to keep, and the verdict. `status` may be "", `reply` 0.

    A status of "other" (5.0.0, 5.1.0) gives way to a better one of the same class in the words.
    """
    class_, _, subject_detail = status.partition(".")
    for found in _CODE.finditer(words[:1_000]):
        if (not status) or (found[1] == class_ and _says_little(subject_detail) and not _says_little(found[2])):
            status, class_, subject_detail = found[0], found[1], found[2]
            break
    if not reply and (number := _REPLY.search(words[:1_000])):
        reply = int(number[1])
    code = f"{reply} {status}".strip() if reply else status
    if class_ == "4" or (not class_ and 400 <= reply < 500):  # noqa: PLR2004 - SMTP's temporary replies
        return code, Verdict.SOFT
    if subject_detail.startswith("5."):  # the next server's trouble with the one after it: no protocol of ours
        return code, Verdict.SOFT
    if reply in _PROTOCOL and _says_little(subject_detail):  # likewise: some say "500 unknown recipient"
        reply = 0
    return code, refusal_verdict(subject_detail, reply, words)


def _fate(group: dict[str, str]) -> Fate | None:
    """What one group says; None for the group about the whole message."""
    action = group.get("action", "").split("(")[0].strip().lower()
    if not action and "status" not in group and "final-recipient" not in group:
        return None
    found = _CODE.search(group.get("status", ""))
    status = found[0] if found else ""
    kind, semicolon, rest = group.get("diagnostic-code", "").partition(";")
    words = (rest if semicolon else kind).strip()
    recipients = tuple(
        address for name in ("original-recipient", "final-recipient") if (address := _address(group.get(name, "")))
    )
    told: dict[str, Any] = {"code": status, "words": words, "recipients": recipients, "action": action}
    class_ = status[:1]
    if action in {"delivered", "relayed", "expanded"} or (not action and class_ == "2"):
        return Fate(outcome=Outcome.DELIVERED, **told)
    if action == "delayed" or (not action and class_ == "4"):
        return Fate(outcome=Outcome.DEFERRED, **told)
    if action == "failed" and class_ == "2":  # contradicts itself
        return Fate(outcome=Outcome.BOUNCED, verdict=Verdict.SOFT, **told)
    if action != "failed" and class_ != "5":
        return None
    told["code"], verdict = judge(status, 0, words)
    return Fate(outcome=Outcome.BOUNCED, verdict=verdict, **told)


def _together(fates: list[Fate]) -> Fate:
    """One of our mails has one recipient, so several groups are what became of it further on: the mildest counts."""
    best = min(fates, key=lambda fate: (_order(fate.outcome), _MILD.index(fate.verdict or Verdict.MESSAGE)))
    recipients = tuple(dict.fromkeys(address for fate in fates for address in fate.recipients))
    return msgspec.structs.replace(best, recipients=recipients)


def _order(outcome: Outcome) -> int:
    return (Outcome.DELIVERED, Outcome.DEFERRED, Outcome.BOUNCED).index(outcome)


def _address(value: str) -> str:
    _, semicolon, address = value.partition(";")
    return (address if semicolon else value).strip().strip("<>").lower()


def _says_little(subject_detail: str) -> bool:
    return not subject_detail or _GENERAL.match(subject_detail) is not None
