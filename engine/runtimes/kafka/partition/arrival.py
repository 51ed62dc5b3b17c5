"""What stands in a consumed record: which inputs belong to this partition, which to another, which to nobody.

Invariant: every record that was consumed ends as inputs, as records sent elsewhere, or as a dead letter with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.core.record import CONTROL, Merge, Record
from engine.errors import BadRecord
from engine.runtimes.effects import CUSTOMER_CHARS_MAX
from engine.runtimes.kafka.partition.outgoing import Incoming, ParseForeign, PlanNeeds, dead_letter, forward
from engine.runtimes.kafka.topics import (
    ORIGIN,
    RECORD_BYTES_MAX,
    Deployed,
    Input,
    Mended,
    Outgoing,
    Shard,
    decode_input,
    headers_of,
    is_ours,
    partition_of,
)

__all__ = ["Arrival", "Incoming", "ParseForeign", "PlanNeeds", "read_arrival"]


class Arrival:
    """One consumed record, read. `inputs` belong here, `sent` goes elsewhere: (customer, record); `dead` are counted."""

    __slots__ = ("dead", "incoming", "inputs", "sent")

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming
        self.inputs: list[Input] = []
        self.sent: list[tuple[str, Outgoing]] = []
        self.dead = 0


def read_arrival(here: PlanNeeds, incoming: Incoming) -> Arrival:
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
            if not isinstance(record, (Deployed, Shard, Mended, *CONTROL)):
                _check_customers(record)
            arrival.inputs.append(record)
            return arrival
        records = here.parse(incoming.key, value, _with_place(here, incoming), incoming.at_ms)
    except Exception as error:  # noqa: BLE001 - whatever a producer wrote must not stop the records after it
        _die(here, arrival, str(error) or type(error).__name__)
        return arrival
    for record in records:
        try:
            _check_customers(record)
            number = partition_of(record.customer.encode(), here.partitions)
        except (BadRecord, UnicodeError) as error:
            _die(here, arrival, str(error))
            continue
        if number == here.partition:
            arrival.inputs.append(record)
        else:  # keyed by something else, by another partitioner, or not at all
            arrival.sent.append((record.customer, forward(here, number, record)))
    return arrival


def _with_place(here: PlanNeeds, incoming: Incoming) -> Mapping[str, str]:
    """Its headers, and where it stands: what has no id of its own gets one from there, the same whenever it is read."""
    place = f"{here.topics.touchpoints}:{here.partition}:{incoming.offset}"
    return {ORIGIN: place, **headers_of(incoming.headers)}


def _die(here: PlanNeeds, arrival: Arrival, reason: str) -> None:
    arrival.dead += 1
    arrival.sent.append(("", dead_letter(here, arrival.incoming, reason)))


def _check_customers(record: Record) -> None:
    named = (record.customer, record.into) if type(record) is Merge else (record.customer,)
    for customer in named:
        if not customer or len(customer) > CUSTOMER_CHARS_MAX or "\0" in customer:
            raise BadRecord("bad_customer", f"A customer's id has 1 to {CUSTOMER_CHARS_MAX} characters and no NUL.")
