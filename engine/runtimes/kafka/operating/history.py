"""The newest records of one customer, read backwards from the end of their partition of `touchpoints`.

Invariant: reads only, without a group; it looks at no more than it is told to, and says whether that was all.
"""

from __future__ import annotations

from aiokafka import TopicPartition

from engine.core.record import Record
from engine.runtimes.base import History
from engine.runtimes.kafka.operating.looking import between, looking
from engine.runtimes.kafka.partition.arrival import Incoming, ParseForeign, PlanNeeds, read_arrival
from engine.runtimes.kafka.topics import Topics, partition_of

CHUNK = 5_000
LOOKED_MAX = 100_000


async def newest_of(
    bootstrap: str, topics: Topics, customer: str, *, partitions: int, parse: ParseForeign, limit: int
) -> History:
    """At most `limit` records, newest first. Raises ServiceUnreachable."""
    number = partition_of(customer.encode(), partitions)
    tp = TopicPartition(topics.touchpoints, number)
    here = PlanNeeds(
        topics=topics, partition=number, partitions=partitions, parse=parse,
        alias=lambda customer: customer, address_key=lambda _channel, _address: b"",
    )  # fmt: skip
    # Nobody is forgotten and nothing is suppressed by reading.
    found: list[Record] = []
    looked = 0
    what = "the customer's records"
    async with looking(bootstrap, tp, client="anlass-history", what=what) as consumer:
        begin, until = (await consumer.beginning_offsets([tp]))[tp], (await consumer.end_offsets([tp]))[tp]
        while until > begin and len(found) < limit and looked < LOOKED_MAX:
            since = max(begin, until - CHUNK)
            chunk = [
                Incoming(each.offset, each.timestamp, each.key, each.value, tuple(each.headers))
                for each in await between(consumer, tp, since=since, until=until)
            ]
            looked += until - since
            until = since
            records = [record for each in chunk for record in read_arrival(here, each).inputs]
            found += [each for each in reversed(records) if getattr(each, "customer", "") == customer]  # type: ignore[misc]
    return History(records=tuple(found[:limit]), looked=looked, whole=until <= begin or len(found) >= limit)
