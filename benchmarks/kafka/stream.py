"""The input of the Kafka benchmarks: made once, appended in the same bytes for every variant, with what must come of it.

Invariant: the last record of each partition is a marker that decides a message, so once all messages are out, all records
were processed.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiokafka import AIOKafkaProducer

from benchmarks.kafka import work
from engine.runtimes.kafka.topics import partition_of

BATCH_BYTES = 64 * 1024
STEP_MS = 20

Record = tuple[int, bytes, bytes]
"""(partition, key, value)."""


@dataclass(frozen=True)
class Stream:
    """`known`: one identify per customer and a marker per partition. `events`: what is measured, and again the markers."""

    partitions: int
    known: Sequence[Record]
    events: Sequence[Record]
    markers: frozenset[str]
    """Ids of the marker events, the earlier and the later ones."""
    dispatches: Mapping[str, int]
    """Id of each event that decides a message → events of its customer until then."""
    counts: Mapping[str, int]
    """Customer → events in all; customers that were only identified have 0."""

    @property
    def bytes_mean(self) -> float:
        """Mean size of a measured record's value."""
        return sum(len(value) for _, _, value in self.events) / len(self.events)


@dataclass
class _Maker:
    partitions: int
    dispatches: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    markers: set[str] = field(default_factory=set)

    def record(self, body: dict[str, Any]) -> Record:
        customer = body["userId"]
        if body["type"] == "track":
            self.counts[customer] += 1
            if body["event"] == work.ORDER:
                self.dispatches[body["messageId"]] = self.counts[customer]
        else:
            self.counts[customer] += 0
        key = customer.encode()
        return partition_of(key, self.partitions), key, json.dumps(body, ensure_ascii=False).encode()

    def ends(self, when: str, at_ms: int, dice: random.Random) -> list[Record]:
        """A marker for each partition, by a customer who lives there and has an address."""
        found: dict[int, list[Record]] = {}
        for number in count():
            customer = f"{work.MARKER}{number}"
            partition = partition_of(customer.encode(), self.partitions)
            if partition not in found:
                name = f"{work.MARKER}{when}-{partition}"
                self.markers.add(name)
                known = work.identify(customer, number, at_ms=at_ms)
                order = work.track(work.ORDER, customer, id=name, at_ms=at_ms, dice=dice)
                found[partition] = [self.record(known | {"messageId": f"i-{name}"}), self.record(order)]
            if len(found) == self.partitions:
                break
        return [record for records in found.values() for record in records]


def make_stream(events: int, customers: int, *, partitions: int, seed: int = 7, orders_only: bool = False) -> Stream:
    """`events` events of `customers` customers that end now; every tenth, or with `orders_only` each, decides a message."""
    dice = random.Random(seed)
    start_ms = round(time.time() * 1_000) - events * STEP_MS
    maker = _Maker(partitions)
    known = [maker.record(work.identify(f"c{number}", number, at_ms=start_ms - 2)) for number in range(customers)]
    known += maker.ends("begin", start_ms - 1, dice)
    body: list[Record] = []
    for number in range(events):
        dispatching = orders_only or number % work.EVENTS_PER_DISPATCH == work.EVENTS_PER_DISPATCH - 1
        name = work.ORDER if dispatching else dice.choice(work.OTHERS)
        customer, at_ms = f"c{dice.randrange(customers)}", start_ms + number * STEP_MS
        body.append(maker.record(work.track(name, customer, id=f"e{number}", at_ms=at_ms, dice=dice)))
    body += maker.ends("end", start_ms + events * STEP_MS, dice)
    return Stream(
        partitions, known, body, markers=frozenset(maker.markers), dispatches=maker.dispatches, counts=maker.counts
    )


async def append(producer: AIOKafkaProducer, topic: str, records: Sequence[Record]) -> float:
    """Appends the records in batches and returns when all are acknowledged; the time (epoch seconds) of the first sending.

    The batches are made before that, so that little of the load's own work falls into what is measured.
    """
    batches: list[tuple[int, Any]] = []
    open_ones: dict[int, Any] = {}
    for partition, key, value in records:
        batch = open_ones.get(partition)
        if batch is None or batch.append(key=key, value=value, timestamp=None) is None:
            batch = open_ones[partition] = producer.create_batch()
            batches.append((partition, batch))
            batch.append(key=key, value=value, timestamp=None)
    for _, batch in batches:
        batch.close()
    began = time.time()
    waiting = [await producer.send_batch(batch, topic, partition=partition) for partition, batch in batches]
    for answer in waiting:
        await answer
    return began
