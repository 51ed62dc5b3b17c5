"""What stands in a consumed record: which inputs belong to this partition, which to another, which to nobody.

Invariant: every record that was consumed ends as inputs, as records sent elsewhere, or as a dead letter with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from engine.core.record import Pause, Record
from engine.errors import BadRecord
from engine.runtimes.effects import CUSTOMER_CHARS_MAX
from engine.runtimes.kafka.topics import (
    RECORD_BYTES_MAX,
    Deployed,
    Input,
    Outgoing,
    Shard,
    Topics,
    dead_letter_headers,
    decode_input,
    encode_input,
    headers_of,
    is_ours,
    partition_of,
)

ParseForeign = Callable[[bytes | None, bytes, Mapping[str, str], int], list[Record]]
"""(key, value, headers, at_ms) → the records that a shop's own value holds; raises BadRecord."""


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A record as it was consumed; `at_ms` is the broker's time."""

    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Here(msgspec.Struct, frozen=True, kw_only=True):
    """Where a partition's plans are made, and with whose help."""

    topics: Topics
    partition: int
    partitions: int
    parse: ParseForeign
    alias: Callable[[str], str]
    """What stands in for the id of a customer who was forgotten."""
    address_key: Callable[[str, str], bytes]
    """(channel, address) → key of `suppressions`."""


class Arrival:
    """One consumed record, read. `inputs` belong here, `sent` goes elsewhere: (customer, record); `dead` are counted."""

    __slots__ = ("dead", "incoming", "inputs", "sent")

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming
        self.inputs: list[Input] = []
        self.sent: list[tuple[str, Outgoing]] = []
        self.dead = 0


def read_arrival(here: Here, incoming: Incoming) -> Arrival:
    """Never raises for what stands in the record."""
    arrival = Arrival(incoming)
    value = incoming.value
    if value is None or len(value) > RECORD_BYTES_MAX:
        size = 0 if value is None else len(value)
        _die(here, arrival, f"A record of {size} bytes; 1 to {RECORD_BYTES_MAX} are taken.")
        return arrival
    try:
        if is_ours(value) and not incoming.headers:
            record = decode_input(value)
            if not isinstance(record, (Deployed, Shard, Pause)):
                _check_customer(record.customer)
            arrival.inputs.append(record)
            return arrival
        records = here.parse(incoming.key, value, headers_of(incoming.headers), incoming.at_ms)
    except (BadRecord, msgspec.ValidationError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        _die(here, arrival, str(error))
        return arrival
    for record in records:
        try:
            _check_customer(record.customer)
            number = partition_of(record.customer.encode(), here.partitions)
        except (BadRecord, UnicodeError) as error:
            _die(here, arrival, str(error))
            continue
        if number == here.partition:
            arrival.inputs.append(record)
        else:  # keyed by something else, by another partitioner, or not at all
            arrival.sent.append((record.customer, forward(here, number, record)))
    return arrival


def forward(here: Here, partition: int, record: Record) -> Outgoing:
    """A record on its way to the partition where it belongs."""
    return Outgoing(here.topics.touchpoints, partition, record.customer.encode(), encode_input(record))


def dead_letter(here: Here, incoming: Incoming, reason: str) -> Outgoing:
    """The original bytes, with the reason and where they stood."""
    origin = f"{here.topics.touchpoints}:{here.partition}:{incoming.offset}"
    headers = dead_letter_headers(reason, origin, incoming.at_ms) + incoming.headers
    return Outgoing(here.topics.dead_letters, here.partition, incoming.key, incoming.value or b"", headers)


def _die(here: Here, arrival: Arrival, reason: str) -> None:
    arrival.dead += 1
    arrival.sent.append(("", dead_letter(here, arrival.incoming, reason)))


def _check_customer(customer: str) -> None:
    if not customer or len(customer) > CUSTOMER_CHARS_MAX or "\0" in customer:
        raise BadRecord("bad_customer", f"A customer's id has 1 to {CUSTOMER_CHARS_MAX} characters and no NUL.")
