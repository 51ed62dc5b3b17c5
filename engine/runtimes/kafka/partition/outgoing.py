"""What a partition sends: decisions, messages, removals, records for other partitions, dead letters, as records of our topics.

Invariant: pure; the same record gives the same bytes, whoever owns the partition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

import msgspec

from engine.core.consent.suppression import names
from engine.core.customer import CustomerState
from engine.core.effect import Append, Decision, Dispatch, Effect, Forget, Suppress
from engine.core.journey import duplicates
from engine.core.message import Message
from engine.core.record import Record
from engine.runtimes.effects import encode_outcome
from engine.runtimes.kafka.topics import (
    BATCH_BYTES_MAX,
    Forgotten,
    MessageHandover,
    Outgoing,
    Removed,
    Suppressed,
    Topics,
    dead_letter_headers,
    encode_decision,
    encode_input,
    encode_json,
    encode_suppressed,
)

LETTER_BYTES_MAX = BATCH_BYTES_MAX - (1 << 20)
KEY_BYTES_MAX = 4096

ParseForeign = Callable[[bytes | None, bytes, Mapping[str, str], int], list[Record]]
"""(key, value, headers, at_ms) → the records that a shop's own value holds; raises BadRecord."""


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A record as it was consumed; `at_ms` is the broker's time."""

    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class PlanNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """Where a partition's plans are made, and with whose help."""

    topics: Topics
    partition: int
    partitions: int
    parse: ParseForeign
    alias: Callable[[str], str]
    """What stands in for the id of a customer who was forgotten."""
    address_key: Callable[[str, str], bytes]
    """(channel, address) → key of `suppressions`."""


def journal_line(here: PlanNeeds, offset: int, *, index: int, decision: Decision) -> Outgoing:
    """A decision; `index` counts those of the record at `offset`."""
    key = decision.customer.encode()
    return Outgoing(here.topics.journal, here.partition, key, encode_decision(offset, index, decision))


def handover(here: PlanNeeds, offset: int, message: Message) -> Outgoing:
    """A message on its way to the dispatcher."""
    value = encode_json(MessageHandover(offset, message))
    return Outgoing(here.topics.dispatches, here.partition, message.customer.encode(), value)


def suppression(here: PlanNeeds, effect: Suppress) -> Outgoing:
    """An address that nothing is to be sent to any more."""
    value = encode_suppressed(Suppressed(effect.channel, effect.reason, effect.at_ms))
    return Outgoing(here.topics.suppressions, 0, _address_key(here, effect), value)


def _address_key(here: PlanNeeds, effect: Suppress) -> bytes:
    text = names(effect.channel, effect.address)[0]
    return here.address_key(effect.channel, text.removeprefix(f"{effect.channel}:"))


def claim(here: PlanNeeds, message: Message) -> Outgoing:
    """A customer's claim to be the one whom an issue reaches at an address. All dispatchers read them in one order."""
    kind, address = duplicates.place(message)
    value = encode_suppressed(Suppressed(duplicates.CLAIM, duplicates.claim(message), message.decided_ms))
    return Outgoing(here.topics.suppressions, 0, here.address_key(kind, address), value)


def removals(here: PlanNeeds, offset: int, *, customer: str, at_ms: int) -> tuple[Outgoing, Outgoing]:
    """What tells those who keep something about a customer to remove it."""
    alias, key = here.alias(customer), customer.encode()
    removed = Removed(offset=offset, customer=customer, alias=alias, at_ms=at_ms)
    forgotten = Forgotten(offset, customer, alias, at_ms)
    return (
        Outgoing(here.topics.journal, here.partition, key, encode_json(removed)),
        Outgoing(here.topics.dispatches, here.partition, key, encode_json(forgotten)),
    )


def forward(here: PlanNeeds, partition: int, record: Record) -> Outgoing:
    """A record on its way to the partition where it belongs."""
    return Outgoing(here.topics.touchpoints, partition, record.customer.encode(), encode_input(record))


def dead_letter(here: PlanNeeds, incoming: Incoming, reason: str) -> Outgoing:
    """The original bytes, with the reason and where they stood; of what no topic of ours could take, the beginning."""
    origin = f"{here.topics.touchpoints}:{here.partition}:{incoming.offset}"
    key, value = incoming.key, incoming.value or b""
    headers = tuple((name, body or b"") for name, body in incoming.headers)  # Kafka knows headers without a value
    size = len(key or b"") + len(value) + sum(len(name) + len(body) for name, body in headers)
    if size > LETTER_BYTES_MAX:
        key, value, headers = key and key[:KEY_BYTES_MAX], value[: LETTER_BYTES_MAX - KEY_BYTES_MAX], ()
        reason = f"{reason} Cut short."
    headers += dead_letter_headers(reason, origin, incoming.at_ms)  # last: who reads them believes ours
    return Outgoing(here.topics.dead_letters, here.partition, key, value, headers)


def waiting(here: PlanNeeds, offset: int, record: Record, *, reason: str) -> Outgoing:
    """A record that is kept until its customer is mended."""
    origin = f"{here.topics.touchpoints}:{here.partition}:{offset}"
    headers = dead_letter_headers(reason, origin, record.at_ms)
    return Outgoing(here.topics.dead_letters, here.partition, record.customer.encode(), encode_input(record), headers)


def unreadable_state(here: PlanNeeds, customer: str, row: bytes, *, at_ms: int, reason: str) -> Outgoing:
    """The bytes of a customer's row that cannot be read."""
    headers = dead_letter_headers(reason, f"state:{customer}", at_ms)
    return Outgoing(here.topics.dead_letters, here.partition, customer.encode(), row[:LETTER_BYTES_MAX], headers)


def check_outcome(here: PlanNeeds, state: CustomerState | None, effects: list[Effect]) -> None:
    """Raises when something of what a record led to cannot be stored or sent."""
    encode_outcome(state, effects)
    for effect in effects:
        match effect:
            case Decision():
                journal_line(here, 0, index=0, decision=effect)
            case Dispatch():
                handover(here, 0, effect.message)
            case Append():
                forward(here, 0, effect.record)
            case Suppress():
                suppression(here, effect)
            case Forget():
                removals(here, 0, customer=effect.customer, at_ms=0)
            case _:
                assert_never(effect)
