"""B5: one letter to many: decided first, then the dispatcher sends the whole outbox through SMTP.

Invariant: every recipient gets exactly one mail, which the sink says.
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

from benchmarks.harness import Report, cpu_self_seconds, quiet, rss_self_peak_mb, run_on_uvloop, sized
from benchmarks.newsletter import make_project
from benchmarks.processes import Sink, sink
from channels.mail.dkim_keys import make_key
from engine.bootstrap import channel_names, open_channels, open_mailbox, open_project, open_runtime
from engine.bootstrap.service import DeployedRenderer
from engine.clock import SystemClock
from engine.core.record import Event, Identify
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.sending.compose import Composer
from engine.dispatch.sending.dispatcher import Dispatcher
from engine.telemetry import Metrics

RECIPIENTS = sized(100_000)
CHUNK = 500


async def send_letter(folder: Path, receiver: Sink, report: Report, *, signing: str = "") -> dict[str, float]:
    """Decide for everybody, then send; `signing` is the kind of the DKIM key, if mail is signed."""
    settings = {
        "ANLASS_EMAIL__HOST": "127.0.0.1",
        "ANLASS_EMAIL__PORT": str(receiver.port),
        "ANLASS_EMAIL__CONNECTIONS": "20",
        **(_key(folder.parent, signing) if signing else {}),
    }
    with mock.patch.dict(os.environ, settings):
        project = open_project(make_project(folder))
    clock, metrics = SystemClock(), Metrics()
    runtime = open_runtime(project, clock=clock, metrics=metrics)
    await runtime.start()
    await runtime.deploy(project.catalog, sources=project.sources)
    decided, now_ms = time.perf_counter(), clock.now_ms()
    for start in range(0, RECIPIENTS, CHUNK):
        numbers = range(start, min(RECIPIENTS, start + CHUNK))
        await runtime.append([_person(number, now_ms) for number in numbers])
        await runtime.append([_due(number, now_ms) for number in numbers])
    decided = time.perf_counter() - decided
    mailbox = open_mailbox(project.var)
    channels = open_channels(project.settings, channel_names(project.catalog), mailbox)
    composer = Composer(
        DeployedRenderer(project.templates), SignedLinks("https://shop.example", TokenSigner(b"x" * 32))
    )
    dispatcher = Dispatcher(runtime, channels, composer=composer, clock=clock, metrics=metrics)
    start_s, cpu = time.perf_counter(), cpu_self_seconds()
    running = asyncio.create_task(dispatcher.run())
    while (await runtime.counts())["messages"].get("email", {}).get("sent", 0) < RECIPIENTS and not running.done():
        await asyncio.sleep(0.05)
        if time.perf_counter() - start_s > RECIPIENTS / 100 + 30:
            break
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
        "sink CPU us/message": float(stats["cpu_seconds"]) / RECIPIENTS * 1e6,
        "KB per message": float(stats["bytes"]) / RECIPIENTS / 1e3,
        "decided s": decided,
        "RSS peak MB": rss_self_peak_mb(),
    }


def _key(folder: Path, kind: str) -> dict[str, str]:
    """A new key, as the settings name it."""
    file = folder / f"{kind}.pem"
    make_key(file, kind="rsa" if kind == "rsa" else "ed25519")
    prefix = "ANLASS_EMAIL__DKIM_" + ("" if kind == "rsa" else "ED25519_")
    sender = {"ANLASS_EMAIL__FROM": "Shop <hello@shop.example>"}
    return {**sender, f"{prefix}SELECTOR": "s1", f"{prefix}KEY_FILE": str(file)}


def _person(number: int, now_ms: int) -> Identify:
    traits = {"email": f"c{number}@example.com", "first_name": f"Ana {number}", "city": "Köln"}
    consent = {"consent": {"marketing": ["email"]}}
    return Identify(customer=f"c{number}", at_ms=now_ms, id=f"i{number}", time_ms=now_ms, traits={**traits, **consent})


def _due(number: int, now_ms: int) -> Event:
    return Event(
        customer=f"c{number}", at_ms=now_ms, id=f"e{number}", name="Letter Due", time_ms=now_ms,
        properties={"issue": "2026-01"},
    )  # fmt: skip


def main() -> int:
    """Rounds of the same letter, each on an empty store."""
    quiet()
    report = Report(
        "b05",
        f"newsletter to {RECIPIENTS:,}: 5.3 KB HTML and text, consent asked twice, unsubscribe links, 20 connections, no TLS",
        targets={"messages per CPU s": ">= 3,000", "RSS peak MB": "<= 150"},
        notes=["signed mail: RSA of 2048 bits on threads beside the event loop, Ed25519 on it"],
    )

    def run(signing: str) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder, sink() as receiver:
            return run_on_uvloop(send_letter(Path(folder) / "project", receiver, report, signing=signing))

    variants = {"letter": "", "letter, DKIM Ed25519": "ed25519", "letter, DKIM RSA-2048": "rsa"}
    report.rounds({name: functools.partial(run, signing) for name, signing in variants.items()})
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
