"""The account at the end: what happened, how fast, and whether the engine's books agree with what the mail server took.

Invariant: every number comes from the store, the mail server or the shop, and a difference between them is a failure.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

import msgspec

from channels.recording import Mailbox
from engine.clock import from_rfc3339
from engine.core.channel import MAIL_CHANNELS
from engine.core.effect import Decision
from engine.core.message import Message
from engine.demo.postbox import Postbox
from engine.demo.shop import Shop
from engine.demo.texts import Texts
from engine.runtimes.base import Query, Reader

_PAGE = 5_000
_MAILBOX_KEEPS = 10_000


class DemoDoors(msgspec.Struct, frozen=True):
    """Where messages leave through: the mail server, and the stand-in of Twilio."""

    postbox: Postbox
    texts: Texts


class Account(msgspec.Struct, kw_only=True):
    """All of it. `answers`: channel → Counter of what became of each send: sent, failed, unknown, or why not."""

    counts: dict[str, Any]
    told: dict[str, int]
    customers: int
    turned_away: int
    seconds: float
    answers: dict[str, Counter[str]]
    templates: Counter[str]
    """Messages that were sent, by `channel/template`."""
    bounced: int
    deferred: int
    latency_ms: list[float]
    """From the beginning of the request that told an event to the 250 for a mail that it caused, sorted."""
    star: str
    """Somebody with a story worth looking at."""
    differences: list[str]
    decisions: int

    def percentile(self, share: float) -> float:
        """Milliseconds within which that share of the mails arrived; NaN without any."""
        if not self.latency_ms:
            return math.nan
        return self.latency_ms[min(len(self.latency_ms) - 1, int(share * len(self.latency_ms)))]


async def draw_up(reader: Reader, *, shop: Shop, doors: DemoDoors, seconds: float) -> Account:
    """Asks everybody. `seconds` is how long the shop was open."""
    postbox = doors.postbox
    counts = await reader.counts()
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for channel, by in counts["messages"].items():
        for status, number in by.items():
            if status != "suppressed" and number:
                answers[channel][status] += number
    stories: dict[str, set[str]] = defaultdict(set)
    async for decision in _decisions(reader):
        if decision.kind == "entered":
            stories[decision.customer].add(decision.workflow)
        elif decision.detail["answer"] == "suppressed":
            answers[decision.detail["channel"]][str(decision.detail["reason"])] += 1
        elif decision.detail["answer"] == "held":
            answers[decision.detail["channel"]]["held for a while"] += 1
    for message in await reader.messages(status="suppressed", limit=_PAGE):  # by the second question, before leaving
        answers[message.message.channel][message.code] += 1
    templates: Counter[str] = Counter()
    latency_ms, differences = await _compare(reader, shop=shop, postbox=postbox, sent_to=templates)
    differences += _books(counts, doors)
    return Account(
        counts=counts,
        told=dict(shop.counts),
        customers=counts["customers"],
        turned_away=len(shop.turned_away),
        seconds=seconds,
        answers=dict(answers),
        templates=templates,
        bounced=postbox.bounced,
        deferred=postbox.deferred,
        latency_ms=sorted(latency_ms),
        star=max(sorted(stories), key=lambda who: len(stories[who]), default=""),
        differences=differences,
        decisions=sum(counts["decisions"].values()),
    )


async def _decisions(reader: Reader) -> Any:
    """Entries and sends of the whole journal, page by page."""
    after = 0
    while True:
        page: list[tuple[int, Decision]] = await reader.decisions(
            Query(kinds=("entered", "send"), after_seq=after, limit=_PAGE, oldest_first=True)
        )
        for seq, decision in page:
            after = seq
            yield decision
        if len(page) < _PAGE:
            return


async def _compare(
    reader: Reader, *, shop: Shop, postbox: Postbox, sent_to: Counter[str]
) -> tuple[list[float], list[str]]:
    """Looks up every mail that the server took."""
    latency_ms: list[float] = []
    wrong: list[str] = []
    for message_id, copies in postbox.received.items():
        known = await reader.message(message_id)
        if known is None or known.status != "sent":
            wrong.append(f"mail {message_id} arrived, the ledger says {known.status if known else 'nothing'}")
            continue
        if copies != 1:
            wrong.append(f"mail {message_id} arrived {copies} times")
        sent_to[f"{known.message.channel}/{known.message.template}"] += 1
        told_s = shop.told_at.get(_cause(known.message))
        if told_s is not None and not known.attempts > 1:
            latency_ms.append((postbox.arrived_at[message_id] - told_s) * 1_000)
    return latency_ms, wrong


def _cause(message: Message) -> str:
    """The id of the event that led to this message at once; "" when time had to pass first."""
    event = message.context.get("event")
    if event is not None:
        return str(event["id"])
    enrollment = message.context["enrollment"]
    direct = from_rfc3339(enrollment["entered_at"]) == message.decided_ms
    return str(enrollment["event"]["id"]) if direct else ""


def _books(counts: dict[str, Any], doors: DemoDoors) -> list[str]:
    """What the totals say."""
    wrong = []
    postbox, texts = doors.postbox, doors.texts.received
    sent = counts["messages"].get("sms", {}).get("sent", 0)
    if sent != len(texts) or sent != texts.total():
        wrong.append(f"the ledger has {sent} texts sent, Twilio took {texts.total()} of {len(texts)} messages")
    mails = sum(counts["messages"].get(channel, {}).get("sent", 0) for channel in MAIL_CHANNELS)
    if mails != len(postbox.received):
        wrong.append(f"the ledger has {mails} mails sent, the mail server took {len(postbox.received)}")
    if postbox.strangers:
        wrong.append(f"{postbox.strangers} mails came without an id of ours")
    for channel, by in counts["messages"].items():
        wrong += [
            f"{by[status]} messages of {channel} are {status}" for status in ("claimed", "unknown") if by.get(status)
        ]
    return wrong


def mailbox_differences(mailbox: Mailbox, counts: dict[str, Any]) -> list[str]:
    """Whether everything that was sent can be read in the mailbox (as far as it keeps them)."""
    sent = sum(by.get("sent", 0) for by in counts["messages"].values())
    kept = mailbox.count()
    if kept != min(sent, _MAILBOX_KEEPS) and sent <= _MAILBOX_KEEPS:
        return [f"{sent} messages were sent, the mailbox has {kept}"]
    return []
