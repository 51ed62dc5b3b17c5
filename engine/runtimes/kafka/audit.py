"""The audit log of a cluster: the topic `audit`, one partition, kept for ever.

Invariant: what is on the topic stays as it was written. Several may append at once without a lock: a line counts if it follows
from the last one that counts; who finds that somebody was quicker writes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from engine.errors import ServiceUnreachable, StorageError
from engine.runtimes import audit
from engine.runtimes.kafka.connect import METADATA_AGE_MS
from engine.runtimes.kafka.outlet import Outlet
from engine.runtimes.kafka.topics import Outgoing, Topics

FETCH_MS = 500
TRIES_MAX = 20


async def read(bootstrap: str, topics: Topics) -> list[bytes]:
    """The lines that count, in their order. Raises ServiceUnreachable."""
    return audit.accepted(await _all(bootstrap, topics))


async def note(bootstrap: str, topics: Topics, follow: Callable[[audit.Verified], audit.AuditLine]) -> audit.AuditLine:
    """Appends the line that `follow` makes of those that are there; returns it when it is acknowledged and counts.

    Raises ServiceUnreachable, StorageError, and what `follow` raises.
    """
    outlet = Outlet(bootstrap, client="anlass-audit")
    await outlet.start()
    try:
        for _ in range(TRIES_MAX):
            line = follow(audit.verify(await read(bootstrap, topics)))
            await outlet.send([Outgoing(topics.audit, 0, None, audit.encode_line(line))])
            if audit.encode_line(line) in await read(bootstrap, topics):
                return line
            await asyncio.sleep(0.05)
    finally:
        await outlet.stop()
    raise StorageError("The audit log is written by many at once.", mend="Nothing was done. Try it again.")


async def _all(bootstrap: str, topics: Topics) -> list[bytes]:
    tp = TopicPartition(topics.audit, 0)
    consumer = AIOKafkaConsumer(
        metadata_max_age_ms=METADATA_AGE_MS,
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        client_id="anlass-audit",
    )
    found: list[bytes] = []
    try:
        await consumer.start()
        consumer.assign([tp])
        begin = (await consumer.beginning_offsets([tp]))[tp]
        end = (await consumer.end_offsets([tp]))[tp]
        consumer.seek(tp, begin)
        while await consumer.position(tp) < end:
            records = (await consumer.getmany(tp, timeout_ms=FETCH_MS)).get(tp, [])
            found += [each.value or b"" for each in records]
    except KafkaError as error:
        raise ServiceUnreachable(
            f"Kafka does not give the audit log: {error}.", mend="Look whether a broker runs there."
        ) from error
    finally:
        await consumer.stop()
    return found
