"""B4 and B9: many enrolled customers with a timer each: size, opening, idling, a burst of due timers, and a changed segment.

Invariant: time is shifted, never compressed: the timers fire by the clock of `anlass run` plus a constant.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Report, cpu_self_seconds, folder_bytes, percentile, probe, quiet, run_on_uvloop, sized
from benchmarks.killing import make_project
from benchmarks.processes import rss_mb
from engine.bootstrap import open_rehearsal
from engine.clock import SystemClock
from engine.core.catalog import Catalog
from engine.core.record import Event, Identify
from engine.definition.load import load_project
from engine.runtimes.embedded import EmbeddedOptions, EmbeddedRuntime
from engine.telemetry import Metrics

CUSTOMERS = sized(1_000_000)
DUE_PER_SECOND = 5_000
DUE_SECONDS = 5.0
IDLE_SECONDS = 5.0
CHUNK = 500
HOUR_MS = 3_600_000
SEGMENTS = "segments:\n  north: {where: customer.city == 'Hamburg'}\n"


class ShiftedClock(SystemClock):
    """The machine's clock, a constant ahead."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


class Lags:
    """Stands for the histogram of timer lags: keeps every value."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def observe(self, seconds: float) -> None:
        """One timer's lag."""
        self.seconds.append(seconds)


def project_catalog(folder: Path, *, waits: str) -> Catalog:
    """The kill loop's project, with a longer wait."""
    make_project(folder)
    file = folder / "workflows" / "reminder.yaml"
    file.write_text(file.read_text("utf-8").replace("wait: 1s", f"wait: {waits}"), "utf-8")
    return open_rehearsal(folder).catalog


async def enroll_all(runtime: EmbeddedRuntime, start_ms: int) -> None:
    """Everybody has an address, consent and a cart; the first due ones lie 1/5,000 s apart, the others follow in an hour."""
    burst = int(DUE_PER_SECOND * DUE_SECONDS)
    for start in range(0, CUSTOMERS, CHUNK):
        people, carts = [], []
        for number in range(start, min(CUSTOMERS, start + CHUNK)):
            at_ms = start_ms + (number * 1_000 // DUE_PER_SECOND if number < burst else HOUR_MS + number)
            customer = f"c{number}"
            traits: dict[str, Any] = {"email": f"{customer}@example.com", "city": ("Hamburg", "Köln")[number % 2]}
            traits["consent"] = {"marketing": ["email"]}
            people.append(Identify(customer=customer, at_ms=at_ms, id=f"i{number}", time_ms=at_ms, traits=traits))
            carts.append(
                Event(
                    customer=customer,
                    at_ms=at_ms,
                    id=f"e{number}",
                    name="Cart Left",
                    time_ms=at_ms,
                    properties={"cart": "k"},
                )
            )
        await runtime.append(people)
        await runtime.append(carts)


async def scenario(folder: Path, b04: Report, b09: Report) -> None:
    """The life of one store."""
    catalog = project_catalog(folder / "project", waits="2h")
    clock, options, var = ShiftedClock(), EmbeddedOptions(backlog_max=1_000_000), folder / "var"
    start_ms = clock.now_ms()
    runtime = EmbeddedRuntime(var, catalog, clock=clock, options=options)
    began = time.perf_counter()
    await runtime.start()
    await enroll_all(runtime, start_ms)
    numbers = {"enrolled/s": CUSTOMERS / (time.perf_counter() - began)}
    await runtime.stop()
    numbers["bytes on disk per customer"] = folder_bytes(var) / CUSTOMERS
    lags, metrics = Lags(), Metrics()
    metrics.timer_lag_seconds = lags  # type: ignore[assignment]
    runtime = EmbeddedRuntime(var, catalog, clock=clock, options=options, metrics=metrics)
    began = time.perf_counter()
    await runtime.start()
    numbers["open s"] = time.perf_counter() - began
    await runtime.idle()
    cpu = cpu_self_seconds()
    await asyncio.sleep(IDLE_SECONDS)
    numbers["idle CPU %"] = (cpu_self_seconds() - cpu) / IDLE_SECONDS * 100
    # From one second before the first is due on.
    clock.ahead_ms = start_ms + 2 * HOUR_MS - 1_000 - SystemClock().now_ms()
    runtime._loop.wake()  # noqa: SLF001 - the clock jumped
    expected = min(CUSTOMERS, int(DUE_PER_SECOND * DUE_SECONDS))
    cpu, began = cpu_self_seconds(), time.perf_counter()
    while len(lags.seconds) < expected and time.perf_counter() - began < DUE_SECONDS * 12:  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # nothing tells of a timer
    if len(lags.seconds) < expected:
        b04.wrong.append(f"{len(lags.seconds)} of {expected} timers fired")
    numbers["CPU us/timer"] = (cpu_self_seconds() - cpu) / expected * 1e6
    numbers["lag p50 ms"] = percentile(lags.seconds, 0.5) * 1_000
    numbers["lag p99 ms"] = percentile(lags.seconds, 0.99) * 1_000
    numbers["RSS MB"] = rss_mb("self")
    b04.add(f"{CUSTOMERS:,} customers", numbers)
    await _recheck(runtime, folder / "project", b09)
    await runtime.stop()


async def _recheck(runtime: EmbeddedRuntime, project: Path, report: Report) -> None:
    """B9: a segment appears; everybody is worked out anew."""
    (project / "workflows" / "segments.yaml").write_text(SEGMENTS, "utf-8")
    loaded = load_project(project)
    assert loaded.catalog is not None, loaded.problems
    began, cpu = time.perf_counter(), cpu_self_seconds()
    await runtime.deploy(loaded.catalog)
    await runtime.idle()
    seconds, cpu = time.perf_counter() - began, cpu_self_seconds() - cpu
    entered = (await runtime.counts())["decisions"].get("segment_entered", 0)
    if entered != (CUSTOMERS + 1) // 2:
        report.wrong.append(f"{entered} entered the segment, {(CUSTOMERS + 1) // 2} expected")
    report.add(
        f"{CUSTOMERS:,} customers", {"customers/s": CUSTOMERS / seconds, "CPU us/customer": cpu / CUSTOMERS * 1e6}
    )


def main() -> int:
    """One round: loading takes most of it. More rounds by running it again."""
    quiet()
    b04 = Report(
        "b04",
        f"{CUSTOMERS:,} enrolled with a timer each; then {DUE_PER_SECOND:,}/s due for {DUE_SECONDS:g} s",
        targets={
            "bytes on disk per customer": "<= 1,000", "RSS MB": "<= 300", "lag p99 ms": "<= 250", "idle CPU %": "<= 1",
            "open s": "<= 2",
        },
        notes=["one round; the size holds log and journal too"],
    )  # fmt: skip
    b09 = Report(
        "b09",
        f"a segment is added: {CUSTOMERS:,} customers worked out anew",
        targets={"customers/s": ">= 20,000"},
        notes=["one round, without B1's load beside it"],
    )
    b04.probes.append(probe())
    with tempfile.TemporaryDirectory() as folder:
        run_on_uvloop(scenario(Path(folder), b04, b09))
    return max(b04.finish(), b09.finish())


if __name__ == "__main__":
    sys.exit(main())
