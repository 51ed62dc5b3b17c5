"""What all scenarios share: rounds, the speed probe, the description of the machine, the table and the raw JSON.

Invariant: variants take turns within every round, and every number in the table is the median of what stands in the JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import resource
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROUNDS = 5
OUT = Path(__file__).resolve().parent.parent / "var" / "bench"
_T = TypeVar("_T")


def scale() -> float:
    """What sizes are multiplied by: `SCALE=1` is the size of the specification, the default is a tenth of it."""
    return float(os.environ.get("SCALE", "0.1"))


def sized(full: int, *, least: int = 1) -> int:
    """A size of the specification at the scale of this run."""
    return max(least, round(full * scale()))


def probe() -> float:
    """Speed of one core right now: million small steps of Python and SHA-256 per second. The machine drifts; this shows it."""
    start = time.perf_counter()
    data, total = b"x" * 200, 0
    for number in range(40_000):
        total += len(str(number))
        data = hashlib.sha256(data).digest()
    return 0.04 / (time.perf_counter() - start)


def cpu_self_seconds() -> float:
    """CPU time of this process so far, its threads included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss_self_peak_mb() -> float:
    """The most memory this process ever had resident, in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def folder_bytes(folder: Path) -> int:
    """What the files of a folder take."""
    return sum(file.stat().st_size for file in folder.iterdir())


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def quiet() -> None:
    """The engine's log lines are not a part of a table."""
    from engine.telemetry import configure_logging  # noqa: PLC0415 - scenarios with processes of their own do without

    configure_logging(stream=Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for the rest of the process


def run_on_uvloop(main: Coroutine[Any, Any, _T]) -> _T:
    """Runs a coroutine on the loop that `anlass run` uses."""
    import uvloop  # noqa: PLC0415 - not every scenario needs it

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def machine() -> dict[str, Any]:
    """Where it ran."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8").splitlines()
    except OSError:
        return []


@dataclass
class Report:
    """The numbers of one scenario. `targets` says beside which metric which target stands."""

    name: str
    title: str
    targets: Mapping[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    probes: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What the sink or the account found: a run with anything in it has no speed."""

    def add(self, variant: str, numbers: Mapping[str, float]) -> None:
        """The numbers of one variant in one round."""
        for metric, value in numbers.items():
            self.values.setdefault(variant, {}).setdefault(metric, []).append(value)

    def rounds(self, variants: Mapping[str, Callable[[], Mapping[str, float]]], *, count: int = ROUNDS) -> None:
        """Runs all variants in turn, `count` times, with a speed probe before each."""
        for number in range(count):
            for variant, run in variants.items():
                self.probes.append(probe())
                self.add(variant, run())
                print(f"  round {number + 1}/{count} {variant}", file=sys.stderr, flush=True)

    def ratio(self, metric: str, over: str, under: str) -> float:
        """The median of the ratios of two variants within the rounds."""
        pairs = zip(self.values[over][metric], self.values[under][metric], strict=True)
        return statistics.median(first / second for first, second in pairs)

    def finish(self) -> int:
        """Prints the table, writes the JSON; the exit status, 1 when something was lost or came twice."""
        where = machine()
        print(f"\n{self.name.upper()}  {self.title}")
        speed = f"{min(self.probes):.2f}-{max(self.probes):.2f}" if self.probes else "-"
        print(f"    scale {scale():g}, load {where['load_average'][0]}, probe {speed}")
        for variant, metrics in self.values.items():
            for metric, values in metrics.items():
                spread = f"[{_shown(min(values))} - {_shown(max(values))}]" if len(values) > 1 else ""
                target = self.targets.get(metric, "")
                line = f"    {variant:<26} {metric:<30} {_shown(statistics.median(values)):>11} {spread:<23} {target}"
                print(line.rstrip())
        for note in self.notes:
            print(f"    {note}")
        for line in self.wrong:
            print(f"    WRONG: {line}")
        OUT.mkdir(parents=True, exist_ok=True)
        raw = {"machine": where, "scale": scale(), **vars(self), "targets": dict(self.targets)}
        (OUT / f"{self.name}.json").write_text(json.dumps(raw, indent=1, default=str), "utf-8")
        sys.stdout.flush()
        return 1 if self.wrong else 0


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
