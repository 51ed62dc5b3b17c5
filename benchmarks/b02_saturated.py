"""B2 and B3 of the embedded runtime: how many mixed events it makes durable when they wait in line, and where the time goes.

Invariant: every variant starts on an empty store, and all its events are evaluated before the clock is stopped.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Report, cpu_self_seconds, folder_bytes, quiet, run_on_uvloop, sized
from benchmarks.traffic import ROOT, as_wire, events, identify
from engine.bootstrap import open_rehearsal
from engine.clock import SystemClock
from engine.collector.intake.parse import Envelope, parse_item
from engine.core.catalog import Catalog
from engine.core.customer import CustomerState, decode_state, encode_state
from engine.core.evaluate import evaluate
from engine.core.record import Event, Record, encode_record
from engine.runtimes.embedded import EmbeddedOptions, EmbeddedRuntime

EVENTS = sized(200_000)
CUSTOMERS = {"50 k": sized(50_000), "1 M": sized(1_000_000)}
CHUNK = 200


def load_records(count: int, customers: int, seed: int) -> list[Record]:
    """Events that end now."""
    now_ms = SystemClock().now_ms()
    return list(events(count, customers, seed=seed, start_ms=now_ms - count * 20, step_ms=20))


async def append_all(
    catalog: Catalog, records: Sequence[Record], *, before: Sequence[Record] = (), keep: bool = True
) -> tuple[float, float, float]:
    """(seconds, CPU seconds, MB on disk) for appending `records` and evaluating them, after `before` was."""
    with tempfile.TemporaryDirectory() as folder:
        options = EmbeddedOptions(backlog_max=1_000_000, keep_unconcerned=keep)
        runtime = EmbeddedRuntime(Path(folder), catalog, options=options)
        await runtime.start()
        for start in range(0, len(before), 1_000):
            await runtime.append(before[start : start + 1_000])
        began, cpu = time.perf_counter(), cpu_self_seconds()
        for start in range(0, len(records), CHUNK):
            await runtime.append(records[start : start + CHUNK])
        seconds, cpu = time.perf_counter() - began, cpu_self_seconds() - cpu
        await runtime.stop()
        size = folder_bytes(Path(folder)) / 1e6
    return seconds, cpu, size


def run_once(catalog: Catalog, customers: int) -> dict[str, float]:
    """The whole path from decoded records on."""
    records = load_records(EVENTS, customers, 2)
    known = [identify(number, records[0].at_ms - 1) for number in range(customers)]
    seconds, cpu, size = run_on_uvloop(append_all(catalog, records, before=known))
    return {"events/s": EVENTS / seconds, "CPU us/event": cpu / EVENTS * 1e6, "MB on disk": size}


def stages(catalog: Catalog) -> dict[str, float]:
    """CPU us per event of each stage by itself; what is missing of the total is SQLite and the loop."""
    count = min(EVENTS, 20_000)
    records = load_records(count, max(1, count // 4), 3)
    wires = [as_wire(record) for record in records]
    envelope = Envelope(received_ms=records[-1].at_ms)
    states: dict[str, CustomerState | None] = {}
    for number in range(count // 4):
        states[f"c{number}"], _ = evaluate(catalog, None, identify(number, records[0].at_ms - 1))
    touched: list[CustomerState] = []

    def decide(record: Record) -> None:
        state, _ = evaluate(catalog, states.get(record.customer), record)
        states[record.customer] = state
        if state is not None:
            touched.append(state)

    found = {"parse JSON": _each(lambda wire: parse_item(wire, envelope), wires)}
    found["encode record"] = _each(encode_record, records)
    found["evaluate"] = _each(decide, records)
    found["encode state"] = _each(encode_state, touched)
    bodies = [encode_state(state) for state in touched]
    found["decode state"] = _each(decode_state, bodies)
    numbers = {f"{name} us": value for name, value in found.items()}
    return {**numbers, "state bytes": sum(map(len, bodies)) / len(bodies)}


def _each(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    start = time.process_time()
    for item in items:
        work(item)
    return (time.process_time() - start) / len(items) * 1e6


def skip_path(catalog: Catalog, *, keep: bool) -> dict[str, float]:
    """B3: nine of ten events have a name that no definition asks about."""
    records: list[Record] = []
    for number, record in enumerate(load_records(EVENTS, CUSTOMERS["50 k"], 4)):
        assert isinstance(record, Event)
        noise = Event(
            customer=record.customer, at_ms=record.at_ms, id=record.id, name=f"Noise {number % 20}",
            time_ms=record.time_ms, properties=record.properties,
        )  # fmt: skip
        records.append(noise if number % 10 else record)
    seconds, cpu, size = run_on_uvloop(append_all(catalog, records, keep=keep))
    return {"events/s": EVENTS / seconds, "CPU us/event": cpu / EVENTS * 1e6, "MB on disk": size}


def main() -> int:
    """Both numbers of customers, the stages, and the skip path with and without keeping what concerns nobody."""
    quiet()
    catalog = open_rehearsal(ROOT, with_templates=False).catalog
    saturated = Report(
        "b02",
        f"saturated: {EVENTS:,} mixed events, all shipped workflows, synchronous NORMAL, appended {CHUNK} at a time",
        targets={"events/s": ">= 12,000 per core"},
        notes=["mails are decided and stay in the outbox: no dispatcher runs; parsing is not part of events/s"],
    )
    variants: dict[str, Callable[[], dict[str, float]]] = {
        f"{count:,} customers": functools.partial(run_once, catalog, count) for count in CUSTOMERS.values()
    }
    saturated.rounds({**variants, "stages": functools.partial(stages, catalog)})
    status = saturated.finish()
    skipping = Report(
        "b03",
        f"skip path: {EVENTS:,} events, 90 % concern nobody",
        targets={"events/s": ">= 50,000 per core"},
        notes=["through the runtime, JSON parsing not included"],
    )
    skipping.rounds(
        {
            "kept on the log": functools.partial(skip_path, catalog, keep=True),
            "not kept": functools.partial(skip_path, catalog, keep=False),
        }
    )
    return max(status, skipping.finish())


if __name__ == "__main__":
    sys.exit(main())
