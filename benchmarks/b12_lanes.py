"""B12: order mail while a newsletter goes out on the same channel: how long an order waits for its confirmation.

Invariant: every mail arrives once, which the sink says; the newsletter is still going out when the last order is measured.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from benchmarks.b05_newsletter import CHUNK, _due, _person
from benchmarks.harness import Report, percentile, quiet, run_on_uvloop, sized
from benchmarks.newsletter import make_project
from benchmarks.processes import Sink, sink
from channels.contract import Channel, OutgoingMessage, Receipt
from engine.bootstrap import channel_names, open_channels, open_mailbox, open_project, open_runtime
from engine.bootstrap.service import DeployedRenderer
from engine.clock import SystemClock
from engine.core.record import Event, Identify
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.sending.compose import Composer
from engine.dispatch.sending.dispatcher import Dispatcher
from engine.project.parts import dispatch_options
from engine.telemetry import Metrics

RECIPIENTS = sized(100_000)
ORDERS = max(20, sized(300))
EVERY_SECONDS = 0.02
ORDER = """
workflow: order
purpose: transactional
trigger: {event: Order Completed}
steps:
  - send: {channel: email, template: order}
    id: mail
"""


class Timed:
    """A channel that notes when a customer's mail was accepted."""

    def __init__(self, inner: Channel) -> None:
        self._inner = inner
        self.name, self.capabilities = inner.name, inner.capabilities
        self.open, self.close = inner.open, inner.close
        self.accepted: dict[str, float] = {}
        self.count = 0

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        """As the channel's own."""
        receipt = await self._inner.send(delivery)
        self.count += 1
        if delivery.purpose == "transactional":
            self.accepted[delivery.customer] = time.perf_counter()
        return receipt


async def measure(folder: Path, receiver: Sink, report: Report, *, rate: float) -> dict[str, float]:
    """The newsletter waits whole; then it goes out, and an order comes every few milliseconds."""
    settings = {
        "ANLASS_EMAIL__HOST": "127.0.0.1",
        "ANLASS_EMAIL__PORT": str(receiver.port),
        "ANLASS_EMAIL__CONNECTIONS": "20",
        "ANLASS_EMAIL__RATE_PER_SECOND": str(rate),
    }
    root = make_project(folder)
    (root / "workflows" / "order.yaml").write_text(ORDER, "utf-8")
    (root / "templates" / "email" / "order.html").write_text(
        "---\nsubject: Your order\n---\n<p>Thank you.</p>\n", "utf-8"
    )
    with mock.patch.dict(os.environ, settings):
        project = open_project(root)
    clock, metrics = SystemClock(), Metrics()
    runtime = open_runtime(project, clock=clock, metrics=metrics)
    await runtime.start()
    await runtime.deploy(project.catalog, sources=project.sources)
    now_ms = clock.now_ms()
    for start in range(0, RECIPIENTS, CHUNK):
        numbers = range(start, min(RECIPIENTS, start + CHUNK))
        await runtime.append([_person(number, now_ms) for number in numbers])
        await runtime.append([_due(number, now_ms) for number in numbers])
    mailbox = open_mailbox(project.var)
    opened = open_channels(project.settings, channel_names(project.catalog), mailbox)
    timed = Timed(opened["email"])
    composer = Composer(
        DeployedRenderer(project.templates), SignedLinks("https://shop.example", TokenSigner(b"x" * 32))
    )
    dispatcher = Dispatcher(
        runtime, {**opened, "email": timed}, composer=composer, clock=clock, metrics=metrics,
        options=dispatch_options(project.settings),
    )  # fmt: skip
    running = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0.5)
    began: dict[str, float] = {}
    for number in range(ORDERS):
        name, now_ms = f"o{number}", clock.now_ms()
        began[name] = time.perf_counter()
        await runtime.append([
            Identify(customer=name, at_ms=now_ms, id=f"i-{name}", time_ms=now_ms, traits={"email": f"{name}@example.com"}),
            Event(customer=name, at_ms=now_ms, id=f"e-{name}", name="Order Completed", time_ms=now_ms),
        ])  # fmt: skip
        await asyncio.sleep(EVERY_SECONDS)
    for _ in range(600):
        if len(timed.accepted) == ORDERS:
            break
        await asyncio.sleep(0.05)
    newsletters = timed.count - len(timed.accepted)
    await dispatcher.stop()
    await running
    await runtime.stop()
    mailbox.close()
    if len(timed.accepted) != ORDERS:
        report.wrong.append(f"{len(timed.accepted)} of {ORDERS} orders were confirmed")
    if receiver.stats()["duplicates"]:
        report.wrong.append("something arrived twice")
    if newsletters >= RECIPIENTS:
        report.wrong.append("the newsletter was over before the orders were: take a larger scale")
    waits = sorted((timed.accepted[name] - began[name]) * 1e3 for name in timed.accepted)
    return {
        "order mail p50 ms": percentile(waits, 0.5),
        "order mail p99 ms": percentile(waits, 0.99),
        "order mail max ms": waits[-1],
        "newsletters meanwhile": float(newsletters),
    }


def main() -> int:
    """Without a limit of rate, and with a provider's."""
    quiet()
    report = Report(
        "b12",
        f"{ORDERS} order mails, one each {EVERY_SECONDS * 1e3:.0f} ms, while a newsletter to {RECIPIENTS:,} goes out",
        targets={"order mail p99 ms": "<= 100"},
        notes=["from the event's arrival to the provider's acceptance, one process, 20 connections, embedded runtime"],
    )

    def run(rate: float) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder, sink() as receiver:
            return run_on_uvloop(measure(Path(folder) / "project", receiver, report, rate=rate))

    variants = {"no limit": 0.0, "200 a second": 200.0}
    count = int(os.environ.get("ROUNDS", "3"))
    report.rounds({name: functools.partial(run, rate) for name, rate in variants.items()}, count=count)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
