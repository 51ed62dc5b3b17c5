"""What became of the messages: the ledger's last word on each, and what arrived at the mail server.

Invariant: a message is settled for good, once; it arrived as often as that says. Only what was under way when its dispatcher died
may be `unknown` (marketing) or arrive twice (transactional, which the policy sends again), and that is bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from engine.core.message import Message
from engine.dispatch.ports import FINAL
from engine.runtimes.kafka.dispatcher.ledger_entry import LedgerEntry, decode_entry
from engine.runtimes.kafka.topics import CHECKPOINT_KEY, OWNER_KEY, PREFIX_BYTES, unpack_prefix
from tests.chaos.reading import Topic

SENT, UNKNOWN = "sent", "unknown"


class Delivered(msgspec.Struct):
    """Counts, and what is wrong about them."""

    wrong: list[str] = []
    sent: int = 0
    unknown: int = 0
    arrived_again: int = 0


def check_delivery(
    ledger: Topic, messages: Mapping[str, Message], arrived: Counter[str], *, interrupted_max: int
) -> Delivered:
    """`messages`: everything that was decided; `interrupted_max`: how many sends can have been under way at kills."""
    found = Delivered()
    entries = _entries(ledger)
    _say(found, "messages that are not in the ledger", messages.keys() - entries.keys())
    _say(found, "ledger entries that nothing leads to", entries.keys() - messages.keys())
    _say(found, "mails that nothing leads to", arrived.keys() - messages.keys())
    statuses = {key: entries[key].status for key in entries if key in messages}
    final = {SENT, UNKNOWN}
    _say(
        found,
        "messages that are not settled",
        [f"{key} {status}" for key, status in statuses.items() if status not in final],
    )
    sent = [key for key, status in statuses.items() if status == SENT]
    unknown = [key for key, status in statuses.items() if status == UNKNOWN]
    _say(found, "messages sent that never arrived", [key for key in sent if not arrived[key]])
    _say(
        found, "transactional messages that stayed unknown", [k for k in unknown if messages[k].purpose != "marketing"]
    )
    twice = [key for key, count in arrived.items() if count > 1]
    marketing = [key for key in twice if key in messages and messages[key].purpose == "marketing"]
    _say(found, "marketing messages that arrived more than once", marketing)
    found.sent, found.unknown, found.arrived_again = len(sent), len(unknown), sum(arrived[key] - 1 for key in twice)
    if found.unknown + found.arrived_again > interrupted_max:
        found.wrong.append(
            f"{found.unknown} unknown and {found.arrived_again} arrived again: more than the {interrupted_max} under way at kills"
        )
    return found


def unsettled(ledger: Topic) -> int:
    """How many messages the ledger has that are not done."""
    return sum(entry.status not in FINAL for entry in _entries(ledger).values())


def _entries(ledger: Topic) -> dict[str, LedgerEntry]:
    """Message id → its newest row, by version."""
    rows: dict[bytes, tuple[int, bytes]] = {}
    for found in ledger.values():
        for each in found:
            if each.key in {CHECKPOINT_KEY, OWNER_KEY} or each.key is None or each.value is None:
                continue
            position, _ = unpack_prefix(each.value)
            if position >= rows.get(each.key, (-1, b""))[0]:
                rows[each.key] = (position, each.value)
    return {key.decode(): decode_entry(row[PREFIX_BYTES:]) for key, (_, row) in rows.items()}


def _say(found: Delivered, what: str, which: object) -> None:
    names = sorted(which)  # type: ignore[call-overload]
    if names:
        found.wrong.append(f"{what}: {len(names)}, such as {', '.join(names[:5])}")
