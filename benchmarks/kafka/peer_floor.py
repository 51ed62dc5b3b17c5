"""The floor: aiokafka's `getmany` and nothing else; what any consumer in Python pays before it decodes a byte.

Invariant: it writes one line per record of a marker, so that it is seen to be ready and done as the others are.

    BENCH_BOOTSTRAP=… BENCH_PREFIX=… BENCH_PARTITIONS=4 python peer_floor.py
"""

import asyncio
import os

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

PREFIX = os.environ["BENCH_PREFIX"]
MARKER = b"m"
ORDER = b"Order Completed"


async def main() -> None:
    """Consumes until it is ended; passes markers on to `dispatches`."""
    where = {"bootstrap_servers": os.environ["BENCH_BOOTSTRAP"]}
    consumer = AIOKafkaConsumer(
        f"{PREFIX}touchpoints", group_id=f"{PREFIX}floor", auto_offset_reset="earliest", **where
    )
    async with AIOKafkaProducer(acks="all", **where) as producer, consumer:
        while True:
            for partition, records in (await consumer.getmany(timeout_ms=1_000)).items():
                for record in records:
                    if record.key.startswith(MARKER) and ORDER in record.value:
                        await producer.send(f"{PREFIX}dispatches", record.value, record.key, partition.partition)


if __name__ == "__main__":
    asyncio.run(main())
