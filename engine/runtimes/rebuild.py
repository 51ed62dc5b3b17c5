"""Works a customer's state out again from the log.

Invariant: nothing is guessed. What comes of the replay counts only when it decides what the journal says was decided; whoever
asks is told otherwise why not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from engine.core.catalog import Catalog
from engine.core.customer import CustomerState
from engine.core.effect import Decision
from engine.core.message import Message
from engine.core.record import Record
from engine.runtimes.memory import Memory

Line = tuple[str, str, str, str]
"""Kind, enrollment, step and message of a decision."""


class InForce(msgspec.Struct, frozen=True):
    """A catalog, and from when on it decided."""

    from_ms: int
    catalog: Catalog


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says: the state, the messages by id, and the decisions."""

    state: CustomerState | None
    messages: dict[str, Message]
    lines: tuple[Line, ...]


def line_of(decision: Decision) -> Line:
    """What of a decision is compared."""
    return decision.kind, decision.enrollment, decision.step, str(decision.detail.get("message", ""))


def rebuild(
    catalogs: Sequence[InForce], customer: str, records: Iterable[tuple[int, Record]], *, follow: bool
) -> Rebuilt:
    """Replays (position, record) of one customer, control records among them. `catalogs` are in the order of their times.

    `follow`: what a decision appends for the same customer is not among the records.
    """
    memory = Memory(catalogs[0].catalog)
    memory.on_failure = lambda *_: None  # a dead letter already
    at = 0
    for position, record in records:
        while at + 1 < len(catalogs) and catalogs[at + 1].from_ms <= record.at_ms:
            at += 1
        before = memory.catalog
        if before.id != catalogs[at].catalog.id:
            memory.catalog = replace(catalogs[at].catalog, paused=before.paused, winners=before.winners)
        if follow:
            memory.step(record)
        else:
            memory.apply_logged(position, record)
    return Rebuilt(
        state=memory.states.get(customer),
        messages={message.id: message for message in memory.messages},
        lines=tuple(line_of(each) for each in memory.decisions if each.customer == customer),
    )
