"""What stands on `dispatches`, as the ledger takes it: new messages, customers to forget, late answers.

Invariant: every record that was read changes the ledger, is known to it already, or is a dead letter with its reason; none
holds up the ones behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from engine.core.record import Flush, Settled
from engine.dispatch.ports import FINAL
from engine.runtimes.kafka.dispatcher.draft import Draft
from engine.runtimes.kafka.dispatcher.ledger_entry import encode_entry
from engine.runtimes.kafka.dispatcher.transitions import Outline, answered, flushed, fresh, sent_elsewhere
from engine.runtimes.kafka.partition.arrival import Incoming
from engine.runtimes.kafka.topics import (
    Answered,
    Dispatched,
    Forgotten,
    MessageHandover,
    Outgoing,
    dead_letter_headers,
    decode_dispatch,
)

VALUE_BYTES_MAX = 8 << 20
"""A larger message is a dead letter, and that is cut: it might not fit into a batch of the changelog."""
PART_BYTES_MAX = 2 << 20
FORGETS_MAX = 10_000


class DeadLetterTarget(msgspec.Struct, frozen=True):
    """Where dead letters go, and when they died."""

    topic: str
    partition: int
    now_ms: int


class RefusedRecord(msgspec.Struct, frozen=True):
    """A record that cannot be taken."""

    reason: str
    origin: str


class HandedPart(msgspec.Struct, frozen=True):
    """Records that are taken in one commit."""

    records: list[tuple[Incoming, Dispatched | RefusedRecord]]
    forgets: frozenset[str]

    @property
    def keys(self) -> list[bytes]:
        """Of the entries that they are about."""
        return [key for _, what in self.records for key in _key_of(what)]

    @property
    def flushes(self) -> list[Flush]:
        """What operators ended."""
        return [what for _, what in self.records if isinstance(what, Flush)]


class Forgets:
    """Customers who were forgotten lately, and up to which offset of `touchpoints`.

    A worker that had lost its partition may hand a message over once more after its customer was forgotten. What is asked again
    just before a message leaves would stop it, but it is not to be kept either.
    """

    def __init__(self) -> None:
        self._until: dict[str, int] = {}

    def add(self, forgotten: Forgotten) -> None:
        """Remembers one, and forgets the oldest when there are too many."""
        self._until[forgotten.customer] = max(forgotten.offset, self._until.pop(forgotten.customer, -1))
        if len(self._until) > FORGETS_MAX:
            del self._until[next(iter(self._until))]

    def covers(self, handover: MessageHandover) -> bool:
        """Whether the message was decided before its customer was forgotten."""
        return handover.offset <= self._until.get(handover.message.customer, -1)


def parts(records: Sequence[Incoming], origin: str) -> Iterator[HandedPart]:
    """Cuts records into parts that fit into a batch, so that customers to forget come first in theirs.

    `origin` is `topic:partition` of the records.
    """
    part: list[tuple[Incoming, Dispatched | RefusedRecord]] = []
    size = 0
    for each in records:
        what = _read(each, origin)
        size += len(each.value or b"")
        others = part and not isinstance(part[-1][1], Forgotten)
        if part and (size > PART_BYTES_MAX or (isinstance(what, Forgotten) and others)):
            yield _part(part)
            part, size = [], len(each.value or b"")
        part.append((each, what))
    if part:
        yield _part(part)


def _part(records: list[tuple[Incoming, Dispatched | RefusedRecord]]) -> HandedPart:
    return HandedPart(records, frozenset(what.customer for _, what in records if isinstance(what, Forgotten)))


def _read(each: Incoming, origin: str) -> Dispatched | RefusedRecord:
    origin = f"{origin}:{each.offset}"
    value = each.value
    if value is None or len(value) > VALUE_BYTES_MAX:
        return RefusedRecord(f"A record of {len(value or b'')} bytes; 1 to {VALUE_BYTES_MAX} are taken.", origin)
    try:
        what = decode_dispatch(value)
        if any(not key or b"\0" in key for key in _key_of(what)):
            return RefusedRecord("A message's id has at least one character and no NUL.", origin)
        if isinstance(what, MessageHandover):
            encode_entry(fresh(what, each.offset))  # JSON can carry what a row cannot
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
        return RefusedRecord(str(error), origin)
    return what


def _key_of(what: Dispatched | RefusedRecord) -> list[bytes]:
    if isinstance(what, MessageHandover):
        return [what.message.id.encode()]
    if isinstance(what, Settled):
        return [message.encode() for message in what.messages]
    return [what.settlement.message_id.encode()] if isinstance(what, Answered) else []


def apply(
    draft: Draft, part: HandedPart, doomed: Mapping[str, Sequence[bytes]], *, forgotten: Forgets, here: DeadLetterTarget
) -> int:
    """Puts a part into a draft; returns how many of its records are dead. `doomed` are the keys of who is to be forgotten."""
    dead = 0
    for each, what in part.records:
        if each.offset <= draft.applied:
            continue
        if isinstance(what, MessageHandover):
            key = what.message.id.encode()
            if not draft.knows(key) and not forgotten.covers(what):
                draft.put(key, fresh(what, each.offset))
        elif isinstance(what, Flush):
            for key, entry in ((key, flushed(draft.get(key), what)) for key in draft.known):
                if entry is not None:
                    draft.put(key, entry)
        elif isinstance(what, Settled):
            for key in _key_of(what):
                entry = sent_elsewhere(draft.get(key), what.at_ms)
                if entry is not None:
                    draft.put(key, entry)
        elif isinstance(what, Forgotten):
            forgotten.add(what)
            _forget(draft, what, doomed.get(what.customer, ()))
        elif isinstance(what, Answered):
            key = what.settlement.message_id.encode()
            found = answered(draft.get(key), what)
            if found is not None:
                draft.put(key, *found)
        else:
            dead += 1
            headers = dead_letter_headers(what.reason, what.origin, here.now_ms) + each.headers
            value = (each.value or b"")[:VALUE_BYTES_MAX]
            draft.send(Outgoing(here.topic, here.partition, each.key, value, headers))
        draft.applied = each.offset
    return dead


def _forget(draft: Draft, what: Forgotten, keys: Sequence[bytes]) -> None:
    for key in keys:
        entry = draft.get(key)
        if entry is None or (
            entry.message.customer == what.customer and entry.offset <= what.offset
        ):  # it cannot be read, but holds the id of somebody who is forgotten
            draft.put(key, None)


def is_old(outline: Outline, before_ms: int) -> bool:
    """Whether an entry has been final since before a moment."""
    return outline.status in FINAL and outline.updated_ms < before_ms
