"""B1: from the moment an event is due at the client to the moment the mail server has its mail, through HTTP.

Invariant: open loop; latency counts from the due time; a round counts only when every mail came exactly once.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.account import opened
from benchmarks.harness import Report, percentile, scale
from benchmarks.killing import make_project
from benchmarks.processes import ROOT, cpu_seconds, engine_environment, free_port, rss_peak_mb, sink, start_engine

RATES = (100, 500, 1_000)
SECONDS = max(3.0, min(30.0, 30 * scale()))
SETTLE_SECONDS_MAX = 20.0
CUSTOMERS = 1_000


def run_once(report: Report, rate: int, module: str) -> dict[str, float]:
    """One engine, one load, one sink."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project, journal = make_project(folder / "project"), folder / "sink.jsonl"
        with sink(journal=journal) as receiver:
            environment = engine_environment(port=free_port(), smtp_port=receiver.port)
            engine = start_engine(project, environment, module=module)
            try:
                introduce(engine.url, CUSTOMERS)
                _load(engine.url, rate, 1.0, "warm")  # connections, caches
                before = cpu_seconds(engine.pid)
                load = _load(engine.url, rate, SECONDS, "r")
                expected = int(load["events"]) + rate
                deadline = time.monotonic() + SETTLE_SECONDS_MAX
                while (stats := receiver.stats())["messages"] < expected and time.monotonic() < deadline:
                    time.sleep(0.05)
                cpu, memory = cpu_seconds(engine.pid) - before, rss_peak_mb(engine.pid)
                engine.stop()
            finally:
                engine.kill()
        events = int(load["events"])
        with opened(project / "var" / "anlass.db") as connection:  # ids are salted with when a customer was seen first
            names = dict(connection.execute("SELECT message, enrollment FROM journal WHERE kind = 'send'").fetchall())
        arrivals = {
            names.get(line["id"], ""): line["at"] for line in map(json.loads, journal.read_text("utf-8").splitlines())
        }
        latencies, missing = [], 0
        for number in range(events):
            at = arrivals.get(_enrollment(number))
            missing += at is None
            if at is not None:
                latencies.append((at - load["start_at"] - number / rate) * 1_000)
        if missing or stats["duplicates"] or load["ok"] != events:
            report.wrong.append(f"{rate}/s: {missing} missing, {stats['duplicates']} twice, {load}")
        return {
            "p50 ms": percentile(latencies, 0.5),
            "p99 ms": percentile(latencies, 0.99),
            "max ms": max(latencies),
            "engine CPU us/event": cpu / events * 1e6,
            "load CPU us/event": load["cpu_seconds"] / events * 1e6,
            "sink CPU us/mail": float(stats["cpu_seconds"]) / expected * 1e6,
            "engine RSS peak MB": memory,
        }


def introduce(url: str, customers: int) -> None:
    """Gives every customer an address."""
    for start in range(0, customers, 500):
        batch = [
            {"type": "identify", "userId": f"c{number}", "traits": {"email": f"c{number}@example.com"}}
            for number in range(start, min(customers, start + 500))
        ]
        urllib.request.urlopen(f"{url}/v1/batch", json.dumps({"batch": batch}).encode(), timeout=30).close()  # noqa: S310


def _enrollment(number: int) -> str:
    """The enrollment of event `number` of 1,000 customers, which sends one message."""
    return f"receipt/c{number % CUSTOMERS}/r-{number}"


def _load(url: str, rate: int, seconds: float, tag: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.load", "--url", url, "--rate", str(rate), "--tag", tag]
    command += ["--seconds", str(seconds)]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def main() -> int:
    """All rates with synchronous NORMAL, the highest with FULL too."""
    report = Report(
        "b01",
        f"event -> dispatch through HTTP, every event mails; {SECONDS:g} s per round, 20 SMTP connections, no DKIM, no TLS",
        targets={"p50 ms": "<= 3 at 1,000/s", "p99 ms": "<= 15 at 1,000/s"},
    )
    variants = {
        f"{rate}/s NORMAL": functools.partial(run_once, report, rate, "engine.cli") for rate in RATES
    } | {"1000/s FULL": functools.partial(run_once, report, 1_000, "benchmarks.serve_full")}  # fmt: skip
    report.rounds(variants)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
