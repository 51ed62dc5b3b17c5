"""B5, the whole way: a broadcast comes due for everybody at once, is decided, rendered and sent through SMTP, in one process.

Invariant: every recipient gets exactly one mail, which the sink says; the clock starts with the schedule, not with the first
mail.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from benchmarks.b05_newsletter import CHUNK, RECIPIENTS, _person
from benchmarks.harness import ROUNDS, Report, cpu_self_seconds, quiet, rss_self_peak_mb, run_on_uvloop
from benchmarks.newsletter import make_project
from benchmarks.processes import Sink, sink
from engine.bootstrap import channel_names, open_channels, open_mailbox, open_project, open_runtime
from engine.bootstrap.service import DeployedRenderer
from engine.clock import SystemClock, to_rfc3339
from engine.core.record import Event
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.sending.compose import Composer
from engine.dispatch.sending.dispatcher import Dispatcher
from engine.project.parts import dispatch_options
from engine.telemetry import Metrics

WORKFLOW = """workflow: news
purpose: marketing
trigger: {{schedule: {{at: {at}}}}}
steps:
  - send: {{channel: newsletter, template: letter}}
    id: mail
"""
STALLED_SECONDS = 120
"""Nothing arrived for so long: it is over."""


def make_broadcast(folder: Path, at_ms: int) -> Path:
    """The letter of B5 as a newsletter that begins at that time."""
    make_project(folder)
    (folder / "workflows" / "letter.yaml").unlink()
    (folder / "workflows" / "news.yaml").write_text(WORKFLOW.format(at=to_rfc3339(at_ms)), "utf-8")
    (folder / "templates" / "email").rename(folder / "templates" / "newsletter")
    return folder


async def broadcast(folder: Path, receiver: Sink, report: Report) -> dict[str, float]:
    """Load everybody, let the time come, wait for the last mail."""
    clock, metrics = SystemClock(), Metrics()
    begin_ms = clock.now_ms() + int(RECIPIENTS / 800 + 10) * 1_000
    settings = {
        "ANLASS_EMAIL__HOST": "127.0.0.1",
        "ANLASS_EMAIL__PORT": str(receiver.port),
        "ANLASS_EMAIL__CONNECTIONS": "20",
        "ANLASS_EMAIL__DOMAIN_CONNECTIONS": "20",
    }
    with mock.patch.dict(os.environ, settings):
        project = open_project(make_broadcast(folder, begin_ms))
    runtime = open_runtime(project, clock=clock, metrics=metrics)
    await runtime.start()
    await runtime.deploy(project.catalog, sources=project.sources)
    for start in range(0, RECIPIENTS, CHUNK):
        now_ms = clock.now_ms()
        await runtime.append([_person(number, now_ms) for number in range(start, min(RECIPIENTS, start + CHUNK))])
    if clock.now_ms() >= begin_ms:
        report.wrong.append("the machine was too slow to load everybody before the broadcast began")
    mailbox = open_mailbox(project.var)
    channels = open_channels(project.settings, channel_names(project.catalog), mailbox)
    composer = Composer(
        DeployedRenderer(project.templates), SignedLinks("https://shop.example", TokenSigner(b"x" * 32))
    )
    options = dispatch_options(project.settings)
    dispatcher = Dispatcher(runtime, channels, composer=composer, clock=clock, metrics=metrics, options=options)
    running = asyncio.create_task(dispatcher.run())
    await clock.sleep_until(begin_ms)
    start_s, cpu = time.perf_counter(), cpu_self_seconds()
    sent, moved_s, first_s, decided_s, intake = 0, start_s, 0.0, 0.0, []
    while sent < RECIPIENTS and time.perf_counter() - moved_s < STALLED_SECONDS and not running.done():
        await asyncio.sleep(0.05)
        counts = await runtime.counts()
        by_status = counts["messages"].get("newsletter", {})
        now_s = time.perf_counter()
        if by_status.get("sent", 0) > sent:
            sent, moved_s = by_status["sent"], now_s
            first_s = first_s or now_s - start_s
        if not decided_s and sum(by_status.values()) == RECIPIENTS:
            decided_s = now_s - start_s
        if not decided_s:  # how long an event of the shop waits meanwhile
            at_ms = clock.now_ms()
            event = Event(customer="c0", at_ms=at_ms, id=f"e{at_ms}", name="Product Viewed", time_ms=at_ms)
            await runtime.append([event])
            intake.append(time.perf_counter() - now_s)
    seconds, cpu = time.perf_counter() - start_s, cpu_self_seconds() - cpu
    await dispatcher.stop()
    await running
    await runtime.stop()
    mailbox.close()
    stats = receiver.stats()
    if stats["distinct"] != RECIPIENTS or stats["duplicates"]:
        report.wrong.append(f"{stats['distinct']} of {RECIPIENTS} arrived, {stats['duplicates']} twice")
    return {
        "messages/s": RECIPIENTS / seconds,
        "messages per CPU s": RECIPIENTS / cpu,
        "engine CPU us/message": cpu / RECIPIENTS * 1e6,
        "until the first left s": first_s,
        "until all were decided s": decided_s,
        "until all left s": seconds,
        "longest wait of an event s": max(intake, default=0.0),
        "sink CPU us/message": float(stats["cpu_seconds"]) / RECIPIENTS * 1e6,
        "RSS peak MB": rss_self_peak_mb(),
    }


def main() -> int:
    """Rounds of the same newsletter, each on an empty store."""
    quiet()
    report = Report(
        "b05_schedule",
        f"newsletter to {RECIPIENTS:,} from the schedule to SMTP: due at once, 5.3 KB HTML and text, 20 connections, no TLS",
        targets={"messages per CPU s": ">= 3,000", "RSS peak MB": "<= 150"},
        notes=["evaluation, dispatch and sending share one core; B5 measures the sending alone"],
    )

    def run() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder, sink() as receiver:
            return run_on_uvloop(broadcast(Path(folder) / "project", receiver, report))

    report.rounds({"broadcast": run}, count=int(os.environ.get("ROUNDS", ROUNDS)))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
