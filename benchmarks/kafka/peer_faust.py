"""Stock Faust doing the work: one event per iteration, a stock table in RocksDB, one `send` per message.

Invariant: nothing of Faust is replaced or tuned. `BENCH_*` say where; the rest are its defaults (acks=all among them).

    BENCH_BOOTSTRAP=… BENCH_PREFIX=… BENCH_FOLDER=… BENCH_PARTITIONS=4 python peer_faust.py worker
"""

import os
import sys
from typing import Any

import faust
import work  # type: ignore[import-not-found, unused-ignore]

PREFIX = os.environ["BENCH_PREFIX"]
PARTITIONS = int(os.environ["BENCH_PARTITIONS"])

app = faust.App(
    f"{PREFIX}faust",
    broker=f"kafka://{os.environ['BENCH_BOOTSTRAP']}",
    store="rocksdb://",
    datadir=os.environ["BENCH_FOLDER"],
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    web_enabled=False,
)
touchpoints = app.topic(f"{PREFIX}touchpoints", partitions=PARTITIONS, key_type=str, key_serializer="raw")
dispatches = app.topic(f"{PREFIX}dispatches", partitions=PARTITIONS, key_type=str, key_serializer="raw")
states = app.Table("states", partitions=PARTITIONS)


@app.agent(touchpoints)  # type: ignore[untyped-decorator, unused-ignore]
async def decide(events: Any) -> None:
    """One event after the other, as Faust's guide writes it."""
    async for event in events:
        customer = event["userId"]
        states[customer], message = work.apply(states.get(customer), event)
        if message is not None:
            await dispatches.send(key=customer, value=message)


if __name__ == "__main__":
    # Not Faust's default, `warn`: with that its spinner sets the root logger to DEBUG, which costs it a tenth of its speed.
    sys.argv += ["--loglevel=info", "--without-web"]
    app.main()
