"""Delivery reports (DSN, RFC 3464): what the groups of fields say about each recipient, and what that makes of the message.

Invariant: the words and the code of the server that refused decide, then the Status of the one that reports; whatever is missing
or contradicts itself is never a reason to suppress an address.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import msgspec

from channels.bounces.parts import MailPart, fields_of
from channels.contract import Verdict
from channels.delivery import DeliveryOutcome
from channels.refusals.judge import Refusal, judge

GROUPS_MAX = 100
_STATUS_PARTS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_CODE = re.compile(r"(?<![\d.])([245])\.(\d{1,3}\.\d{1,3})(?![\d.])")
_MILD = (Verdict.MESSAGE, Verdict.SOFT, Verdict.OUR_FAULT, Verdict.SUPPRESS)
_ARRIVED = frozenset({"delivered", "relayed", "expanded", "deliverable", "success", "displayed"})
_FAILED = frozenset({"failed", "failure", "fail", "failed-permanent", "undeliverable", "rejected"})
_DELAYED = frozenset({"delayed", "delay", "deferred", "transient-failure"})
_MORE_WORDS = ("x-supplementary-info", "x-smtp-diagnostic", "x-diagnostic-code", "x-mailer-diagnostic", "x-reason",
    "x-powermta-bouncecategory")  # fmt: skip
_SAYS_SOMETHING = re.compile(r"[^\W\d_]{3}")


class DeliveryFate(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a message: `code` as "5.1.1" or "550 5.1.1"; `words` of the server, with addresses in them."""

    outcome: DeliveryOutcome
    verdict: Verdict | None = None
    code: str = ""
    words: str = ""
    recipients: tuple[str, ...] = ()
    action: str = ""


def read_status(parts: tuple[MailPart, ...], *, to: Collection[str] = (), said: str = "") -> DeliveryFate | None:
    """The fate that the first delivery report in the mail tells; None when there is no report that says anything.

    `to`: whom the mail that is given back was written to. `said`: the words of the server in the part for people, for reports
    whose fields have none.
    """
    for part in parts:
        if part.type in _STATUS_PARTS and not part.quoted:
            groups = fields_of(part.text)[:GROUPS_MAX]
            fates = [fate for group in groups if (fate := _fate(group, said if len(groups) < 3 else "")) is not None]  # noqa: PLR2004 - one about the message, one about a recipient
            if fates:
                return _together([fate for fate in fates if not to or set(to) & set(fate.recipients)] or fates)
    return None


def _fate(group: dict[str, str], said: str) -> DeliveryFate | None:
    """What one group says; None for the group about the whole message."""
    action = group.get("action", "").split("(")[0].split(";")[0].strip().lower()
    if not action and "status" not in group and "final-recipient" not in group:
        return None
    found = _CODE.search(group.get("status", ""))
    status = found[0] if found else ""
    kind, semicolon, rest = group.get("diagnostic-code", "").partition(";")
    words = (rest if semicolon else kind).strip()
    if not _SAYS_SOMETHING.search(words):
        more = next((group[name] for name in _MORE_WORDS if group.get(name)), "") or said
        words = f"{words} {more}".strip()
    recipients = tuple(
        address for name in ("original-recipient", "final-recipient") if (address := _address(group.get(name, "")))
    )
    told: dict[str, Any] = {"code": status, "words": words, "recipients": recipients, "action": action}
    class_ = status[:1]
    if action in _ARRIVED or (action not in _FAILED and class_ == "2"):
        return DeliveryFate(outcome=DeliveryOutcome.DELIVERED, **told)
    if action in _DELAYED or (not action and class_ == "4"):
        return DeliveryFate(outcome=DeliveryOutcome.DEFERRED, **told)
    if action in _FAILED and class_ == "2":  # contradicts itself
        return DeliveryFate(outcome=DeliveryOutcome.BOUNCED, verdict=Verdict.SOFT, **told)
    if action not in _FAILED and class_ != "5":
        return None
    where = " ".join((group.get("remote-mta", ""), *recipients))
    judged = judge(Refusal(words=words, status=status, where=where))
    told["code"] = judged.code
    return DeliveryFate(outcome=DeliveryOutcome.BOUNCED, verdict=judged.verdict, **told)


def _together(fates: list[DeliveryFate]) -> DeliveryFate:
    """One of our mails has one recipient, so several groups are what became of it further on: the mildest counts."""
    best = min(fates, key=lambda fate: (_order(fate.outcome), _MILD.index(fate.verdict or Verdict.MESSAGE)))
    recipients = tuple(dict.fromkeys(address for fate in fates for address in fate.recipients))
    return msgspec.structs.replace(best, recipients=recipients)


def _order(outcome: DeliveryOutcome) -> int:
    return (DeliveryOutcome.DELIVERED, DeliveryOutcome.DEFERRED, DeliveryOutcome.BOUNCED).index(outcome)


def _address(value: str) -> str:
    _, semicolon, address = value.partition(";")
    return (address if semicolon else value).strip().strip("<>").lower()
