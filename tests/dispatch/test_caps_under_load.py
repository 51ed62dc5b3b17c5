"""Caps, quiet hours and smoothing while everything happens at once: nobody gets more than the policy says, nothing at night."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from channels.contract import Capabilities, OutgoingMessage, Receipt
from engine.clock import ManualClock, from_rfc3339
from engine.core.record import Event, Identify
from engine.definition.load import load_files
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.sending.compose import Composer
from engine.dispatch.sending.dispatcher import Dispatcher, DispatchOptions
from engine.dispatch.templates.template_set import TemplateSet
from engine.runtimes.embedded import EmbeddedRuntime
from engine.telemetry import Metrics
from tests.dispatch.test_dispatcher import _Renderer

EVENING_MS = from_rfc3339("2026-03-02T19:59:50Z")
MORNING_MS = from_rfc3339("2026-03-03T08:00:00Z")
POLICY = b"""
policy: default
zone: UTC
purposes:
  transactional: {consent: none}
  marketing: {consent: opt_in}
frequency:
  - {purpose: marketing, at_most: 2, per: 7d}
  - {purpose: marketing, channel: sms, at_most: 1, per: 1d, hold_up_to: 2d}
quiet_hours:
  - {channels: [sms], purposes: [marketing], between: "20:00-08:00", then: hold, spread: 30m}
"""
FLOW = """
workflow: {name}
purpose: marketing
trigger: {{event: {event}}}
reentry: always
steps:
  - send: {{channel: {channel}, template: hello}}
"""


class Gateway:
    """Takes everything, after a moment that differs; notes when."""

    capabilities = Capabilities()

    def __init__(self, name: str, clock: ManualClock) -> None:
        self.name = name
        self.clock = clock
        self.took: list[tuple[str, int]] = []

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        """As the contract has it."""
        await asyncio.sleep(random.random() / 100)
        self.took.append((delivery.to, self.clock.now_ms()))
        return Receipt("1", "taken")


@pytest.fixture
def built(tmp_path: Path) -> tuple[EmbeddedRuntime, Composer, ManualClock]:
    """A runtime at ten seconds to eight in the evening, with a mail and a text for two events."""
    for channel, text in (
        ("email", "---\nsubject: Hello\n---\n<p>Hello {{ unsubscribe_url }}</p>\n"),
        ("sms", "Hello\n"),
    ):
        (tmp_path / "templates" / channel).mkdir(parents=True)
        name = "hello.html" if channel == "email" else "hello.txt"
        (tmp_path / "templates" / channel / name).write_text(text)
    flows = [("mail", "Mail", "email"), ("text", "Text", "sms")]
    files = [
        (f"workflows/{name}.yaml", FLOW.format(name=name, event=event, channel=channel).encode())
        for name, event, channel in flows
    ]
    loaded = load_files([("workflows/policy.yaml", POLICY), *files])
    assert loaded.catalog is not None, loaded.problems
    clock = ManualClock(EVENING_MS)
    links = SignedLinks("https://shop.example", TokenSigner(b"0123456789abcdef0123456789abcdef"))
    composer = Composer(_Renderer(TemplateSet.load(tmp_path / "templates")), links)
    return EmbeddedRuntime(tmp_path / "var", loaded.catalog, clock=clock), composer, clock


async def _people(runtime: EmbeddedRuntime, count: int, at_ms: int) -> None:
    consent = {"marketing": ["email", "sms"]}
    await runtime.append(
        [
            Identify(
                customer=f"c{n}", at_ms=at_ms, id=f"i{n}", time_ms=at_ms,
                traits={"email": f"c{n}@shop{n % 5}.example", "phone": f"+4915190000{n:03}", "consent": consent},
            )
            for n in range(count)
        ]
    )  # fmt: skip


async def test_a_cap_holds_while_events_and_sends_happen_at_once(
    built: tuple[EmbeddedRuntime, Composer, ManualClock],
) -> None:
    """Forty people, ten events each from eight sources at once, a dispatcher that sends meanwhile: two mails for everybody."""
    runtime, composer, clock = built
    gateway = Gateway("email", clock)
    await runtime.start()
    dispatcher = Dispatcher(
        runtime,
        {"email": gateway},
        composer=composer,
        clock=clock,
        metrics=Metrics(),
        options=DispatchOptions(under_way_max=8),
    )
    running = asyncio.create_task(dispatcher.run())
    await _people(runtime, 40, EVENING_MS)
    events = [
        Event(customer=f"c{n}", at_ms=EVENING_MS, id=f"e{n}-{turn}", name="Mail", time_ms=EVENING_MS)
        for turn in range(10)
        for n in range(40)
    ]
    random.Random(7).shuffle(events)

    async def source(start: int) -> None:
        for event in events[start::8]:
            await runtime.append([event])

    await asyncio.gather(*(source(start) for start in range(8)))
    await runtime.idle()
    async with asyncio.timeout(20):
        while len(gateway.took) < 80:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    await dispatcher.stop()
    await running
    counted = Counter(address for address, _ in gateway.took)
    assert len(counted) == 40
    assert set(counted.values()) == {2}
    await runtime.stop()


async def test_what_waits_at_the_door_when_the_night_begins_leaves_in_the_morning_spread(
    built: tuple[EmbeddedRuntime, Composer, ManualClock],
) -> None:
    """Decided before eight and after: nothing leaves in the night; in the morning no burst, and still one for everybody."""
    runtime, composer, clock = built
    gateway = Gateway("sms", clock)
    await runtime.start()
    await _people(runtime, 60, EVENING_MS)
    text = [Event(customer=f"c{n}", at_ms=EVENING_MS, id=f"t{n}", name="Text", time_ms=EVENING_MS) for n in range(30)]
    await runtime.append(text)
    await runtime.idle()
    clock.move_to(EVENING_MS + 60_000)  # eight o'clock passed while they waited in the outbox
    at_ms = clock.now_ms()
    late = [Event(customer=f"c{n}", at_ms=at_ms, id=f"l{n}", name="Text", time_ms=at_ms) for n in range(30, 60)]
    await runtime.append(late)
    await runtime.idle()
    dispatcher = Dispatcher(
        runtime,
        {"sms": gateway},
        composer=composer,
        clock=clock,
        metrics=Metrics(),
        options=DispatchOptions(under_way_max=50),
    )
    running = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0.5)
    assert gateway.took == [], "asked again at the send"
    for minute in range(40):
        clock.move_to(MORNING_MS + minute * 60_000)
        await runtime.idle()
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    await dispatcher.stop()
    await running
    counted = Counter(address for address, _ in gateway.took)
    assert set(counted.values()) == {1}
    assert len(counted) == 60
    assert all(at_ms >= MORNING_MS for _, at_ms in gateway.took)
    held = Counter((at_ms - MORNING_MS) // 300_000 for address, at_ms in gateway.took if int(address[-3:]) >= 30)
    assert max(held.values()) <= 15, "thirty held ones over half an hour, not at once"
    assert len(held) >= 4
    await runtime.stop()
