"""The newest records of one customer, read backwards from the end of their partition of `touchpoints`.

Invariant: reads only, without a group; it looks at no more than it is told to, and says whether that was all.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from engine.core.record import Record
from engine.errors import ServiceUnreachable
from engine.runtimes.base import History
from engine.runtimes.kafka.arrival import Here, Incoming, ParseForeign, read_arrival
from engine.runtimes.kafka.topics import Topics, partition_of

CHUNK = 5_000
LOOKED_MAX = 100_000
FETCH_MS = 500


async def newest_of(
    bootstrap: str, topics: Topics, customer: str, *, partitions: int, parse: ParseForeign, limit: int
) -> History:
    """At most `limit` records, newest first. Raises ServiceUnreachable."""
    number = partition_of(customer.encode(), partitions)
    tp = TopicPartition(topics.touchpoints, number)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, client_id="anlass-history")
    here = Here(
        topics=topics, partition=number, partitions=partitions, parse=parse,
        alias=lambda customer: customer, address_key=lambda _channel, _address: b"",
    )  # fmt: skip
    # Nobody is forgotten and nothing is suppressed by reading.
    found: list[Record] = []
    looked = 0
    try:
        await consumer.start()
        consumer.assign([tp])
        begin = (await consumer.beginning_offsets([tp]))[tp]
        until = (await consumer.end_offsets([tp]))[tp]
        while until > begin and len(found) < limit and looked < LOOKED_MAX:
            since = max(begin, until - CHUNK)
            chunk = await _between(consumer, tp, since, until)
            looked += until - since
            until = since
            records = [record for each in chunk for record in read_arrival(here, each).inputs]
            found += [each for each in reversed(records) if getattr(each, "customer", "") == customer]  # type: ignore[misc]
    except KafkaError as error:
        raise ServiceUnreachable(
            f"Could not read the customer's records from Kafka: {error}.", mend="Check that a broker is running there."
        ) from error
    finally:
        await consumer.stop()
    return History(records=tuple(found[:limit]), looked=looked, whole=until <= begin or len(found) >= limit)


async def _between(consumer: AIOKafkaConsumer, tp: TopicPartition, since: int, until: int) -> Sequence[Incoming]:
    consumer.seek(tp, since)
    found: list[Incoming] = []
    while await consumer.position(tp) < until:
        records = (await consumer.getmany(tp, timeout_ms=FETCH_MS)).get(tp, [])
        if not records and await consumer.position(tp) < until:
            continue
        found += [
            Incoming(each.offset, each.timestamp, each.key, each.value, tuple(each.headers))
            for each in records
            if each.offset < until
        ]  # fmt: skip
    return found
