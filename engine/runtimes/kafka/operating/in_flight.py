"""Where the customers of a partition are in their workflows, read from its changelog.

Invariant: it joins no group and reads up to the end that the changelog had when it began.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition

from engine.core.customer import decode_state
from engine.runtimes.kafka.connect import METADATA_AGE_MS
from engine.runtimes.kafka.leaving import stopped
from engine.runtimes.kafka.topics import CHECKPOINT_KEY, PREFIX_BYTES, Topics
from engine.runtimes.unreadable import UnreadableRow, readable

POLL_MS = 200

Places = tuple[tuple[str, str, str], ...]
"""(workflow, version, step) of each enrollment of a customer."""


async def places_in_flight(bootstrap: str, topics: Topics, partition: int) -> Iterable[Places]:
    """For each customer of the partition who is in a workflow."""
    tp = TopicPartition(topics.states, partition)
    consumer = AIOKafkaConsumer(
        metadata_max_age_ms=METADATA_AGE_MS,
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    places: dict[bytes, Places] = {}
    try:
        await consumer.start()
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        await consumer.seek_to_beginning(tp)
        while await consumer.position(tp) < end:
            for record in (await consumer.getmany(tp, timeout_ms=POLL_MS)).get(tp, []):
                if record.key == CHECKPOINT_KEY:
                    continue
                found = _places(record.value)
                if found:
                    places[record.key] = found
                else:
                    places.pop(record.key, None)
    finally:
        await stopped(consumer)
    return places.values()


def _places(value: bytes | None) -> Places:
    if value is None:
        return ()
    try:
        state = readable(decode_state, value[PREFIX_BYTES:])
    except UnreadableRow:
        return ()  # set aside: whoever it is stays where they are
    return tuple((one.workflow, one.version, one.step) for one in state.enrollments)
