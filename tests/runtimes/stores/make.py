"""Makes the stores of an earlier version, to be opened by the present one: `python make.py FOLDER [BOOTSTRAP]`.

Run by the code of that version (a work tree of its commit first on PYTHONPATH). Invariant: what is written is what that code
writes; `expected` is what it would have decided next.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

from engine.core.record import Consent, Enroll, Pause
from engine.dispatch.ports import Settlement
from engine.runtimes.base import DeadLetter
from tests.conformance.harness import EmbeddedHarness, decisions, messages
from tests.conformance.kafka_harness import KafkaHarness
from tests.conformance.shop import T0, catalog
from tests.conformance.test_contract import DAY, HOUR, event, identify

TOPICS = ("touchpoints", "dispatches", "journal", "dead_letters", "definitions", "states", "ledger", "suppressions")


async def live(harness: Any) -> None:
    """A shop in the middle of things: runs that wait, messages in every status, consent, a letter, a paused workflow."""
    for name in ("ann", "bob", "cem", "dora"):
        await harness.append(identify(name))
    grant = Consent(
        customer="ann", at_ms=T0, id="c1", time_ms=T0, action="grant", purposes={"newsletter": ["email"]}, source="form"
    )
    away = Consent(
        customer="bob",
        at_ms=T0,
        id="c2",
        time_ms=T0,
        action="withdraw",
        purposes={"newsletter": ["email"]},
        source="link",
    )
    await harness.append(grant, away)
    await harness.append(event("ann", "Product Added"), event("bob", "Product Added"), event("cem", "Order Completed"))
    await harness.advance(T0 + HOUR)
    found = {f"{each.message.customer}/{each.message.template}": each.message.id for each in await messages(harness)}
    await harness.runtime.claim([found["ann/cart"], found["cem/order"]])
    at_ms = harness.clock.now_ms()
    await harness.settle(Settlement(message_id=found["cem/order"], status="sent", at_ms=at_ms, provider_id="p1"))
    await harness.append(event("dora", "Product Added", at_ms=at_ms))
    await harness.append(Pause(customer="", at_ms=at_ms, workflow="thanks", paused=True, id="p1"))
    letter = DeadLetter(at_ms=at_ms, origin="http:/v1/track", reason="bad", body=b"{")
    await harness.runtime.dead_letter([letter])


async def goes_on(harness: Any) -> list[list[str]]:
    """What is decided next, of everybody."""
    before = len(await decisions(harness))
    await harness.append(Enroll(customer="dora", at_ms=harness.clock.now_ms(), id="e1", workflow="order"))
    await harness.append(Pause(customer="", at_ms=harness.clock.now_ms(), workflow="thanks", paused=False, id="p2"))
    await harness.advance(T0 + 4 * DAY)
    return sorted([each.customer, each.kind, each.workflow, each.step] for each in (await decisions(harness))[before:])


async def embedded(folder: Path) -> None:
    """`anlass.db.gz`, and what comes next."""
    var = folder / "var"
    harness = EmbeddedHarness(catalog(), T0, var=var)
    await harness.reopen()
    await live(harness)
    await harness.close()
    with sqlite3.connect(var / "anlass.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    (folder / "embedded.db.gz").write_bytes(gzip.compress((var / "anlass.db").read_bytes(), mtime=0))
    harness = EmbeddedHarness(catalog(), T0 + HOUR, var=var)
    await harness.reopen()
    (folder / "embedded.json").write_text(json.dumps(await goes_on(harness), indent=0))
    await harness.close()
    shutil.rmtree(var)


async def kafka(folder: Path, bootstrap: str) -> None:
    """`kafka.json.gz`: every record of every topic, and what comes next."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    var = folder / "var"
    harness = KafkaHarness(catalog(), T0, var=var, bootstrap=bootstrap, prefix="old.")
    await harness.reopen()
    await live(harness)
    await harness.close()
    kept: dict[str, list[Any]] = {}
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    for name in TOPICS:
        place = TopicPartition(getattr(harness._topics, name), 0)
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        kept[name] = []
        while await consumer.position(place) < end:
            for each in (await consumer.getmany(place, timeout_ms=100)).get(place, []):
                kept[name].append([each.offset, each.timestamp, _text(each.key), _text(each.value),
                                   [[header, _text(body)] for header, body in each.headers]])  # fmt: skip
    await consumer.stop()
    (folder / "kafka.json.gz").write_bytes(gzip.compress(json.dumps(kept).encode(), mtime=0))
    harness = KafkaHarness(catalog(), T0 + HOUR, var=var, bootstrap=bootstrap, prefix="old.")
    harness._made = True
    await harness.reopen()
    (folder / "kafka.json").write_text(json.dumps(await goes_on(harness), indent=0))
    await harness.close()
    shutil.rmtree(var)


def _text(body: bytes | None) -> str | None:
    return None if body is None else base64.b64encode(body).decode()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(embedded(target))
    if sys.argv[2:]:
        asyncio.run(kafka(target, sys.argv[2]))
