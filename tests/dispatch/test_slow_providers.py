"""A provider that keeps us waiting holds up no other: slow text messages, a tarpit, storms of refusals, priorities.

Invariant: nothing here measures time. The clock stands unless a test moves it, and who keeps us waiting does so until a test
lets them go; so what holds up nobody is what has not ended when all others are done, however slow the machine is.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from channels.contract import Capabilities, Channel, OutgoingMessage, Receipt, TransientError
from channels.mail.email import EmailChannel, EmailSettings
from engine.clock import ManualClock
from engine.core.record import Event, Identify
from engine.definition.load import load_files
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.sending.compose import Composer
from engine.dispatch.sending.dispatcher import Dispatcher, DispatchOptions
from engine.dispatch.sending.limits import Limits
from engine.dispatch.templates.template_set import TemplateSet
from engine.runtimes.embedded import EmbeddedRuntime
from engine.telemetry import Metrics
from tests.channels.conftest import Faults, SmtpDouble
from tests.conformance.shop import T0
from tests.dispatch.test_dispatcher import _Renderer

POLICY = "policy: default\npurposes:\n  transactional: {consent: none}\n"
FLOW = (
    "workflow: {name}\npurpose: transactional\ntrigger: {{event: {event}}}\nsteps:\n"
    "  - send: {{channel: {channel}, template: hello, priority: {priority}}}\n    id: it\n"
)
MAIL = Limits(channels=("email",), under_way_max=8)
SMS = Limits(channels=("sms",), under_way_max=4)


class Gateway:
    """A provider of text messages that answers when a test lets it."""

    capabilities = Capabilities()

    def __init__(self) -> None:
        self.name = "sms"
        self.answers = asyncio.Event()
        self.refuses = False
        self.under_way = 0
        self.most_under_way = 0
        self.took: list[str] = []
        self.asked = 0

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        """As the contract has it."""
        self.asked += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.answers.wait()
        finally:
            self.under_way -= 1
        if self.refuses:
            raise TransientError("not now", code="429", throttle="provider")
        self.took.append(delivery.to)
        return Receipt("1", "taken")


class Shop:
    """A runtime with an event for each channel, a real mail server and a gateway."""

    def __init__(self, folder: Path) -> None:
        (folder / "templates/email").mkdir(parents=True)
        (folder / "templates/sms").mkdir()
        (folder / "templates/email/hello.html").write_text(
            "---\nsubject: Hello\n---\n<p>Hello, {{ unsubscribe_url }}</p>\n"
        )
        (folder / "templates/sms/hello.txt").write_text("Hello\n")
        flows = [("mail", "Mail", "email", 0), ("text", "Text", "sms", 0), ("urgent", "Urgent", "email", 9)]
        files = [
            (f"workflows/{name}.yaml", FLOW.format(name=name, event=event, channel=channel, priority=priority).encode())
            for name, event, channel, priority in flows
        ]
        loaded = load_files([("workflows/policy.yaml", POLICY.encode()), *files])
        assert loaded.catalog is not None, loaded.problems
        self.clock = ManualClock(T0)
        self._numbers = itertools.count()
        self.runtime = EmbeddedRuntime(folder / "var", loaded.catalog, clock=self.clock)
        self.server, self.gateway = SmtpDouble(), Gateway()
        links = SignedLinks("https://shop.example", TokenSigner(b"0123456789abcdef0123456789abcdef"))
        self.composer = Composer(_Renderer(TemplateSet.load(folder / "templates")), links)

    async def want(self, event: str, *addresses: str) -> None:
        """Lets one message be decided for each address, in this order."""
        at_ms = self.clock.now_ms()
        trait = "phone" if event == "Text" else "email"
        records: list[Any] = []
        for address in addresses:
            name = f"{event}-{next(self._numbers)}"
            traits = {trait: address}
            records.append(Identify(customer=name, at_ms=at_ms, id=f"i-{name}", time_ms=at_ms, traits=traits))
            records.append(Event(customer=name, at_ms=at_ms, id=f"e-{name}", name=event, time_ms=at_ms))
        await self.runtime.append(records)
        await self.runtime.idle()

    @contextlib.asynccontextmanager
    async def dispatching(self, **options: Any) -> AsyncIterator[None]:
        """A dispatcher works inside the block."""
        settings = EmailSettings(
            host="127.0.0.1",
            port=self.server.port,
            from_="Shop <shop@example.com>",
            connections=8,
            timeout_seconds=100.0,
        )
        channels: dict[str, Channel] = {"email": EmailChannel(settings), "sms": self.gateway}
        dispatcher = Dispatcher(
            self.runtime, channels, composer=self.composer, clock=self.clock, metrics=Metrics(),
            options=DispatchOptions(providers=(MAIL, SMS), stop_seconds_max=0.2, **options),
        )  # fmt: skip
        task = asyncio.create_task(dispatcher.run())
        try:
            yield
        finally:
            async with asyncio.timeout(15):
                await dispatcher.stop()
                await task


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """Started, and stopped at the end."""
    built = Shop(tmp_path)
    await built.server.start()
    await built.runtime.start()
    yield built
    await built.runtime.stop()
    await built.server.stop()


async def _until(count: Callable[[], int], expected: int) -> None:
    """As long as it takes: whoever waits for ever is ended by pytest's own limit."""
    while count() < expected:
        await asyncio.sleep(0.01)


async def _claimed(shop: Shop) -> list[str]:
    """The domains of the messages under way."""
    found = await shop.runtime.messages(status="claimed", limit=100)
    return [each.message.address.partition("@")[2] for each in found]


async def test_a_gateway_that_does_not_answer_holds_up_no_mail(shop: Shop) -> None:
    """All forty mails are there before the gateway has answered once; four text messages are under way, and no fifth."""
    await shop.want("Text", *(f"+49151000000{number:02}" for number in range(30)))
    await shop.want("Mail", *(f"c{number}@shop{number}.example" for number in range(40)))
    async with shop.dispatching():
        await _until(lambda: len(shop.server.accepted), 40)
        await _until(lambda: shop.gateway.under_way, 4)
        assert shop.gateway.most_under_way == 4
        assert shop.gateway.took == []
        await shop.want("Mail", "late@shop.example")
        await _until(lambda: len(shop.server.accepted), 41)
    waiting = await shop.runtime.messages(status="pending", limit=100)
    assert len(waiting) == 26


async def test_a_domain_that_tarpits_holds_up_no_other_domain(shop: Shop) -> None:
    """Sixty mails to a tarpit stand in front: it gets six of eight connections, and the other domains go on with two."""
    shop.server.faults = Faults(tarpit_domain="tarpit.example")
    await shop.want("Mail", *(f"c{number}@tarpit.example" for number in range(60)))
    await shop.want("Mail", *(f"c{number}@shop{number % 7}.example" for number in range(50)))
    async with shop.dispatching():
        await _until(lambda: len(shop.server.accepted), 50)
        while len(claimed := await _claimed(shop)) > 6:  # the last answers are not recorded yet
            await asyncio.sleep(0.01)
        assert claimed == ["tarpit.example"] * 6
    assert all("tarpit" not in accepted.recipients[0] for accepted in shop.server.accepted)


async def test_two_tarpits_cannot_have_all_connections_for_long(shop: Shop) -> None:
    """Both fill the eight at first; once they are known to be slow two calls are theirs, and six are everybody's."""
    shop.server.faults = Faults(tarpit_domain="tarpit")
    await shop.want("Mail", *(f"c{number}@tarpit{number % 2}.example" for number in range(60)))
    async with shop.dispatching():
        await _until(lambda: shop.server.in_tarpit, 8)
        shop.clock.advance(6_000)
        for _ in range(8):
            shop.server.tarpit.release()
        await _until(lambda: len(shop.server.accepted), 8)
        await shop.want("Mail", *(f"c{number}@shop.example" for number in range(20)))
        await _until(lambda: len(shop.server.accepted), 8 + 20)
        assert ["@tarpit" in each.recipients[0] for each in shop.server.accepted] == [True] * 8 + [False] * 20
        assert sum("tarpit" in domain for domain in await _claimed(shop)) <= 2
        assert shop.server.in_tarpit <= 2


async def test_a_storm_of_refusals_of_one_provider_is_slowed_down_and_reaches_no_other(shop: Shop) -> None:
    """The gateway asks for a pause: it is asked no more often than calls were under way, and mail goes on."""
    shop.gateway.refuses = True
    shop.gateway.answers.set()
    await shop.want("Text", *(f"+49151000000{number:02}" for number in range(40)))
    await shop.want("Mail", *(f"c{number}@shop.example" for number in range(20)))
    async with shop.dispatching():
        await _until(lambda: len(shop.server.accepted), 20)
        await asyncio.sleep(0.3)
    assert 1 <= shop.gateway.asked <= 4
    assert len(await shop.runtime.messages(status="pending", limit=100)) == 40


async def test_a_storm_of_4xx_answers_of_a_mail_server_keeps_every_message(shop: Shop) -> None:
    """450 to all of fifty mails: all are pending with their code, each was tried once, nothing is lost or sent twice."""
    shop.server.faults = Faults(rcpt="450 4.2.0 greylisted")
    await shop.want("Mail", *(f"c{number}@shop{number}.example" for number in range(50)))
    async with shop.dispatching():
        while [each.attempts for each in await shop.runtime.messages(status="pending", limit=100)] != [1] * 50:
            await asyncio.sleep(0.02)
    assert {each.code for each in await shop.runtime.messages(limit=100)} == {"450 4.2.0"}
    assert shop.server.accepted == []


async def test_what_is_urgent_leaves_before_what_was_decided_earlier(shop: Shop) -> None:
    """Thirty mails wait; one of a higher priority that comes last is among the first, of those that have room at once."""
    await shop.want("Mail", *(f"c{number}@shop{number}.example" for number in range(30)))
    await shop.want("Urgent", "urgent@shop.example")
    async with shop.dispatching():
        await _until(lambda: len(shop.server.accepted), 31)
    order = [accepted.recipients[0] for accepted in shop.server.accepted]
    assert order.index("urgent@shop.example") < 8
