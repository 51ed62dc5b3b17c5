"""Messages whose outcome is unknown, where the provider can be asked: found, not found, and never sent twice.

On the embedded runtime, with Twilio's stand-in; the Kafka ledger's part is in `tests/runtimes/test_kafka_ledger_rules.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from channels.phone.sms import SmsChannel
from channels.phone.twilio_account import read_settings
from engine.clock import SystemClock
from engine.core.record import Event, Identify
from engine.definition.load import load_files
from engine.demo.telephone import Mood, Telephone
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.sending.compose import Composer
from engine.dispatch.sending.dispatcher import Dispatcher, DispatchOptions
from engine.dispatch.templates.template_set import TemplateSet
from engine.runtimes.base import MessageStatus
from engine.runtimes.embedded import EmbeddedRuntime
from engine.telemetry import Metrics
from tests.channels.twilio_stage import NUMBER, section
from tests.dispatch.test_dispatcher import POLICY, _Renderer

WORKFLOW = b"""
workflow: %b
purpose: %b
trigger: {event: %b}
steps:
  - send: {channel: sms, template: hello}
    id: text
"""


class House:
    """Runtime, stand-in and dispatchers, for one test."""

    def __init__(self, folder: Path) -> None:
        (folder / "templates/sms").mkdir(parents=True)
        (folder / "templates/sms/hello.txt").write_text("Hello {{ customer.first_name }}")
        flows = [(b"hello", b"marketing", b"Hello"), (b"receipt", b"transactional", b"Paid")]
        files = [("workflows/policy.yaml", POLICY)]
        files += [
            (f"workflows/{name.decode()}.yaml", WORKFLOW % (name, purpose, event)) for name, purpose, event in flows
        ]
        loaded = load_files(files)
        assert loaded.catalog is not None, loaded.problems
        self.clock = SystemClock()
        self._folder, self._catalog = folder, loaded.catalog
        self.runtime = self.new_runtime()
        self.telephone = Telephone(now_ms=self.clock.now_ms)
        links = SignedLinks("https://shop.example", TokenSigner(b"0123456789abcdef0123456789abcdef"))
        self._composer = Composer(_Renderer(TemplateSet.load(folder / "templates")), links)

    def new_runtime(self) -> EmbeddedRuntime:
        """A process's own, on the same folder."""
        return EmbeddedRuntime(self._folder / "var", self._catalog, clock=self.clock)

    @contextlib.asynccontextmanager
    async def dispatching(self, **changes: Any) -> AsyncIterator[Dispatcher]:
        """A dispatcher that runs within the block."""
        channel = SmsChannel(read_settings(section(self.telephone, timeout_seconds=0.4, **changes)))
        options = DispatchOptions(resolve_pauses_seconds=(0.05, 0.1), stop_seconds_max=2.0)
        dispatcher = Dispatcher(
            self.runtime,
            {"sms": channel},
            composer=self._composer,
            clock=self.clock,
            metrics=Metrics(),
            options=options,
        )
        task = asyncio.create_task(dispatcher.run())
        try:
            yield dispatcher
        finally:
            await dispatcher.stop()
            await task

    async def happens(self, event: str, customer: str = "ana", number: str = NUMBER) -> None:
        """The event, of somebody who agreed."""
        now_ms = self.clock.now_ms()
        traits = {"phone": number, "first_name": customer, "consent": {"marketing": ["sms"]}}
        await self.runtime.append(
            [
                Identify(customer=customer, at_ms=now_ms, id=f"i-{customer}", time_ms=now_ms, traits=traits),
                Event(customer=customer, at_ms=now_ms, id=f"e-{customer}-{event}", name=event, time_ms=now_ms),
            ]
        )
        await self.runtime.idle()

    async def settled(self, status: str, seconds: float = 5.0) -> MessageStatus:
        """The one message, once it has this status."""
        async with asyncio.timeout(seconds):
            while True:
                (known,) = await self.runtime.messages()
                if known.status == status:
                    return known
                await asyncio.sleep(0.02)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Started, without a dispatcher."""
    house = House(tmp_path)
    await house.telephone.start()
    await house.runtime.start()
    yield house
    await house.runtime.stop()
    await house.telephone.stop()


@pytest.mark.parametrize("mood", [Mood(status=500), Mood(silent=True), Mood(garbled=True), Mood(delay_seconds=1.0)])
@pytest.mark.parametrize("event", ["Hello", "Paid"])
async def test_what_arrived_is_found_and_sent_once(house: House, mood: Mood, event: str) -> None:
    """Whatever went wrong after Twilio had it: settled as sent, with Twilio's id; also where the policy lets it be resent."""
    house.telephone.moods.append(mood)
    async with house.dispatching():
        await house.happens(event)
        known = await house.settled("sent")
    (taken,) = house.telephone.taken
    assert known.provider_id == taken.sid


async def test_what_did_not_arrive_stays_unknown(house: House) -> None:
    """Marketing is not sent again."""
    house.telephone.moods.append(Mood(status=500, taken=False))
    async with house.dispatching():
        await house.happens("Hello")
        await house.settled("unknown")
    assert house.telephone.taken == []


async def test_what_may_be_resent_is_asked_for_first(house: House) -> None:
    """It was not there, so it is sent again, and arrives once."""
    house.telephone.moods.append(Mood(status=503, taken=False))
    async with house.dispatching():
        await house.happens("Paid")
        known = await house.settled("sent")
    assert known.attempts == 2
    assert len(house.telephone.taken) == 1


async def test_a_storm_of_too_many_requests_loses_nothing(house: House) -> None:
    """429 for everything: all wait for their next attempt, none is failed or unknown, and the channel slows down."""
    house.telephone.mood_of = lambda _form: Mood(status=429, code=20429, taken=False, retry_after="30")
    for number in range(30):
        await house.happens("Hello", f"c{number}", f"+4915112345{number:03d}")
    async with house.dispatching():
        async with asyncio.timeout(10):
            while not any(known.code for known in await house.runtime.messages()):
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
    assert {known.status for known in await house.runtime.messages()} == {"pending"}
    assert house.telephone.taken == []
    assert house.telephone.requests <= 20, "the calls that were under way when the first answer came"


async def test_what_a_dead_process_left_is_asked_for(house: House) -> None:
    """Claimed, taken by Twilio, and the process ends: the next one finds it unknown, asks, and tells the customer's state."""
    await house.happens("Hello")
    (pending,) = await house.runtime.ready(10)
    await house.runtime.claim([pending.message.id])
    form = {"To": NUMBER, "From": "+4915735985555", "Body": "Hello ana"}
    taken = house.telephone._take("messages", form)
    await house.runtime.stop()  # nothing was settled
    house.runtime = house.new_runtime()
    await house.runtime.start()
    assert (await house.runtime.messages())[0].status == "unknown"
    async with house.dispatching():
        known = await house.settled("sent")
    assert known.provider_id == taken.sid
    state = await house.runtime.state("ana")
    assert state is not None
    assert [sent.outcome for sent in state.messages] == ["sent"]


async def test_what_a_dead_process_left_and_nobody_has_stays_unknown(house: House) -> None:
    """Asked as often as agreed, then left."""
    await house.happens("Hello")
    (pending,) = await house.runtime.ready(10)
    await house.runtime.claim([pending.message.id])
    await house.runtime.stop()
    house.runtime = house.new_runtime()
    await house.runtime.start()
    async with house.dispatching():
        await asyncio.sleep(0.6)
    assert (await house.runtime.messages())[0].status == "unknown"
    assert house.telephone.requests >= 2
