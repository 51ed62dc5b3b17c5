"""The judge of deliveries: it finds what was lost, repeated, or left open, and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from engine.core.message import Message
from engine.runtimes.kafka.dispatcher.ledger_entry import LedgerEntry, encode_entry
from engine.runtimes.kafka.topics import pack_row
from tests.chaos.delivery import check_delivery, unsettled
from tests.chaos.reading import Found, Topic


def _message(name: str, purpose: str) -> Message:
    return Message(
        id=name, customer="c", enrollment="e", workflow="w", version="v", step="s", channel="email", address="a@example.com",
        template="t", purpose=purpose, decided_ms=1, due_ms=1,
    )  # fmt: skip


MESSAGES = {"order": _message("order", "transactional"), "advert": _message("advert", "marketing")}


def _ledger(**statuses: Any) -> Topic:
    """Each message pending first, then what is said of it, which stands before it on the topic: versions decide."""
    rows: list[Found] = []
    versions: tuple[tuple[int, dict[str, Any]], ...] = ((2, statuses), (1, dict.fromkeys(statuses, "pending")))
    for version, wanted in versions:
        for name, status in wanted.items():
            entry = LedgerEntry(message=MESSAGES[name], status=status)
            rows.append(Found(0, len(rows), 1, name.encode(), pack_row(version, 0, encode_entry(entry))))
    return {0: rows}


def _wrong(ledger: Topic, **arrived: int) -> str:
    return "\n".join(check_delivery(ledger, MESSAGES, Counter(arrived), interrupted_max=1).wrong)


def test_sent_once_and_arrived_once_is_sound() -> None:
    """And so is what was under way at a kill: an advert that nobody knows about, or an order that came twice."""
    assert _wrong(_ledger(order="sent", advert="sent"), order=1, advert=1) == ""
    assert _wrong(_ledger(order="sent", advert="unknown"), order=1) == ""
    assert _wrong(_ledger(order="sent", advert="sent"), order=2, advert=1) == ""


@pytest.mark.parametrize(
    ("statuses", "arrived", "said"),
    [
        ({"order": "sent"}, {"order": 1}, "not in the ledger"),
        ({"order": "sent", "advert": "sent"}, {"order": 1}, "never arrived"),
        ({"order": "pending", "advert": "sent"}, {"advert": 1}, "not settled"),
        ({"order": "unknown", "advert": "sent"}, {"advert": 1}, "stayed unknown"),
        ({"order": "sent", "advert": "sent"}, {"order": 1, "advert": 2}, "marketing messages that arrived"),
        ({"order": "sent", "advert": "sent"}, {"order": 3, "advert": 1}, "more than the 1 under way"),
        ({"order": "sent", "advert": "sent"}, {"order": 1, "advert": 1, "other": 1}, "mails that nothing leads to"),
    ],
)
def test_what_went_wrong_is_found(statuses: dict[str, str], arrived: dict[str, int], said: str) -> None:
    """Lost, repeated beyond what kills explain, or never ended."""
    assert said in _wrong(_ledger(**statuses), **arrived)


def test_what_is_still_open_is_counted_by_the_newest_row() -> None:
    """A row of an older version says nothing any more, wherever it stands."""
    assert unsettled(_ledger(order="sent", advert="claimed")) == 1
