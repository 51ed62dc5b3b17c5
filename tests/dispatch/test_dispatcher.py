"""The dispatcher on the embedded runtime, against a real SMTP server that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from channels.mail.email import EmailChannel, EmailSettings
from engine.clock import SystemClock
from engine.core.record import Consent, Enroll, Event, Identify, Pause
from engine.definition.load import load_files
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.ports import Settlement
from engine.dispatch.sending.compose import Composer
from engine.dispatch.sending.dispatcher import Dispatcher, DispatchOptions
from engine.dispatch.sending.limits import Limits
from engine.dispatch.templates.render import Rendered
from engine.dispatch.templates.template_set import TemplateSet
from engine.errors import StorageError
from engine.runtimes.embedded import EmbeddedRuntime
from engine.telemetry import Metrics
from tests.channels.conftest import Faults, SmtpDouble

POLICY = b"""
policy: default
purposes:
  transactional: {consent: none}
  marketing: {consent: opt_in}
unknown: {marketing: keep, transactional: resend}
"""
WORKFLOW = b"""
workflow: hello
purpose: marketing
trigger: {event: Hello}
steps:
  - send: {channel: email, template: hello}
    id: mail
"""
RECEIPT = b"""
workflow: receipt
purpose: transactional
trigger: {event: Paid}
steps:
  - send: {channel: email, template: hello}
    id: mail
"""
NEWS = b"""
workflow: news
trigger: {schedule: {at: 2030-01-01T09:00}}
steps:
  - send: {channel: email, template: hello}
    id: mail
"""
TEMPLATE = "---\nsubject: Hello {{ customer.first_name }}\n---\n<p>Hello {{ event.what }}, {{ unsubscribe_url }}</p>\n"


class _Renderer:
    def __init__(self, templates: TemplateSet) -> None:
        self._templates = templates

    def render(self, channel: str, name: str, locale: str, *, context: Any) -> Rendered:
        return self._templates.find(channel, name, locale=locale).render(context)


class House:
    """Runtime, SMTP server and dispatcher, built for one test."""

    def __init__(self, folder: Path) -> None:
        (folder / "templates/email").mkdir(parents=True)
        (folder / "templates/email/hello.html").write_text(TEMPLATE)
        files = [
            ("workflows/policy.yaml", POLICY),
            ("workflows/hello.yaml", WORKFLOW),
            ("workflows/receipt.yaml", RECEIPT),
            ("workflows/news.yaml", NEWS),
        ]
        loaded = load_files(files)
        assert loaded.catalog is not None, loaded.problems
        self.clock = SystemClock()
        self.runtime = EmbeddedRuntime(folder / "var", loaded.catalog, clock=self.clock)
        self.server = SmtpDouble()
        signer = TokenSigner(b"0123456789abcdef0123456789abcdef")
        self.composer = Composer(
            _Renderer(TemplateSet.load(folder / "templates")), SignedLinks("https://shop.example", signer)
        )
        self._ids = 0

    def dispatcher(self, **options: Any) -> Dispatcher:
        """One on a pool of two connections."""
        settings = EmailSettings(
            host="127.0.0.1", port=self.server.port, from_="Shop <shop@example.com>", connections=2, timeout_seconds=2.0,
            answer_timeout_seconds=1.0,
        )  # fmt: skip
        return Dispatcher(
            self.runtime,
            {"email": EmailChannel(settings)},
            composer=self.composer,
            clock=self.clock,
            metrics=Metrics(),
            options=DispatchOptions(**options),
        )

    @contextlib.asynccontextmanager
    async def dispatching(self, **options: Any) -> AsyncIterator[Dispatcher]:
        """A dispatcher that runs within the block."""
        dispatcher = self.dispatcher(**options)
        task = asyncio.create_task(dispatcher.run())
        try:
            yield dispatcher
        finally:
            async with asyncio.timeout(15):
                await dispatcher.stop()
                await task

    async def customer(self, name: str) -> None:
        """Somebody with an address and consent to everything."""
        traits = {"email": f"{name}@example.com", "first_name": name.title(), "consent": {"marketing": ["email"]}}
        at_ms = self.clock.now_ms()
        await self.runtime.append([Identify(customer=name, at_ms=at_ms, id=f"i-{name}", time_ms=at_ms, traits=traits)])

    async def event(self, customer: str, name: str = "Hello", **properties: Any) -> None:
        """An event that leads to a mail."""
        self._ids += 1
        at_ms = self.clock.now_ms()
        what = {"what": "world", **properties}
        await self.runtime.append(
            [Event(customer=customer, at_ms=at_ms, id=f"e{self._ids}", name=name, time_ms=at_ms, properties=what)]
        )

    async def statuses(self) -> list[str]:
        """What the ledger says of all messages."""
        return sorted(message.status for message in await self.runtime.messages())

    async def until(self, done: Callable[[list[str]], bool]) -> list[str]:
        """Waits for the ledger."""
        async with asyncio.timeout(10):
            while not done(statuses := await self.statuses()):
                await asyncio.sleep(0.01)
        return statuses


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house with its server and runtime started."""
    built = House(tmp_path)
    await built.server.start()
    await built.runtime.start()
    yield built
    await built.runtime.stop()
    await built.server.stop()


async def test_every_message_arrives_once_and_is_settled(house: House) -> None:
    """Thirty customers, two connections: thirty mails, thirty times `sent`."""
    for number in range(30):
        await house.customer(f"c{number}")
        await house.event(f"c{number}")
    async with house.dispatching():
        await house.until(lambda statuses: statuses == ["sent"] * 30)
    recipients = sorted(accepted.recipients[0] for accepted in house.server.accepted)
    assert recipients == sorted(f"c{number}@example.com" for number in range(30))


async def test_marketing_carries_the_way_out_and_a_receipt_does_not(house: House) -> None:
    """List-Unsubscribe stands in what needs consent, with the one-click header beside it."""
    await house.customer("ana")
    await house.event("ana")
    await house.event("ana", "Paid")
    async with house.dispatching():
        await house.until(lambda statuses: statuses == ["sent", "sent"])
    headers = sorted(accepted.content.count(b"\r\nList-Unsubscribe-Post: ") for accepted in house.server.accepted)
    assert headers == [0, 1]


async def test_consent_that_was_withdrawn_after_the_decision_stops_the_message(house: House) -> None:
    """The policy is asked again just before the message leaves."""
    await house.customer("ana")
    await house.event("ana")
    at_ms = house.clock.now_ms()
    withdrawal = Consent(
        customer="ana", at_ms=at_ms, id="w", time_ms=at_ms, action="withdraw", purposes={"marketing": ["email"]}
    )
    await house.runtime.append([withdrawal])
    async with house.dispatching():
        await house.until(lambda statuses: statuses == ["suppressed"])
    (message,) = await house.runtime.messages()
    assert message.code == "unsubscribed"
    assert house.server.accepted == []


async def test_a_template_that_fails_is_never_sent_half_rendered(house: House) -> None:
    """An undefined name settles the message as `template_error`, with the name."""
    await house.customer("ana")
    at_ms = house.clock.now_ms()
    await house.runtime.append([Event(customer="ana", at_ms=at_ms, id="x", name="Hello", time_ms=at_ms)])
    async with house.dispatching():
        await house.until(lambda statuses: statuses == ["suppressed"])
    (message,) = await house.runtime.messages()
    assert message.code == "template_error"
    assert "what" in message.reason
    assert house.server.accepted == []


async def test_a_refusal_for_the_moment_keeps_the_message(house: House) -> None:
    """450: pending again, with the code, and not before its time."""
    house.server.faults = Faults(rcpt="450 4.2.0 greylisted")
    await house.customer("ana")
    await house.event("ana")
    async with house.dispatching():
        async with asyncio.timeout(10):
            while not (message := (await house.runtime.messages())[0]).attempts or message.status != "pending":
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
    (message,) = await house.runtime.messages()
    assert (message.status, message.attempts, message.code) == ("pending", 1, "450 4.2.0")


async def test_an_address_that_does_not_exist_is_suppressed(house: House) -> None:
    """550 5.1.1: failed, bounced in the customer's history, and the next mail is not even tried."""
    house.server.faults = Faults(rcpt="550 5.1.1 no such user")
    await house.customer("ana")
    await house.event("ana")
    async with house.dispatching():
        await house.until(lambda statuses: statuses == ["failed"])
        await house.runtime.idle()
        await house.event("ana", "Paid")
        await house.runtime.idle()
    state = await house.runtime.state("ana")
    assert state is not None
    assert state.suppressed == {"email:ana@example.com": "bounced"}
    assert await house.statuses() == ["failed"], "the second was answered `suppressed_address` at the decision"


async def test_our_own_fault_pauses_the_workflow(house: House) -> None:
    """550 5.7.1: nobody's address is blamed, the campaign stops."""
    house.server.faults = Faults(rcpt="550 5.7.1 not wanted here")
    await house.customer("ana")
    await house.event("ana")
    async with house.dispatching():
        await house.until(lambda statuses: statuses == ["failed"])
        await house.runtime.idle()
    assert house.runtime.catalog.paused == {"hello"}
    state = await house.runtime.state("ana")
    assert state is not None
    assert state.suppressed == {}


async def test_what_a_paused_broadcast_had_queued_waits_and_leaves_when_it_goes_on(house: House) -> None:
    """It is neither suppressed nor sent while the pause lasts; on the embedded runtime it leaves at once after it."""
    await house.customer("ana")
    at_ms = house.clock.now_ms()
    properties = {"what": "news"}
    await house.runtime.append(
        [
            Enroll(customer="ana", at_ms=at_ms, id="n", workflow="news", properties=properties),
            Pause(customer="", at_ms=at_ms, id="p1", workflow="news"),
        ]
    )
    async with house.dispatching():
        async with asyncio.timeout(10):
            while (await house.runtime.messages())[0].reason != "workflow_paused":
                await asyncio.sleep(0.01)
        assert await house.statuses() == ["pending"]
        await house.runtime.append([Pause(customer="", at_ms=at_ms, id="p2", workflow="news", paused=False)])
        await house.until(lambda statuses: statuses == ["sent"])
    assert len(house.server.accepted) == 1


async def test_a_disk_that_was_full_costs_no_berth(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be recorded is asked about again; what was to leave beside it has its place at the provider still."""
    for name in ("ana", "bo"):
        await house.customer(name)
        await house.event(name)
    at_ms = house.clock.now_ms()
    withdrawal = {"action": "withdraw", "purposes": {"marketing": ["email"]}}
    await house.runtime.append([Consent(customer="ana", at_ms=at_ms, id="w", time_ms=at_ms, **withdrawal)])  # type: ignore[arg-type]
    settle, failures = house.runtime.settle, ["full"] * 3

    async def full(settlements: Sequence[Settlement]) -> None:
        if failures:
            raise StorageError(f"The disk is {failures.pop()}.")
        await settle(settlements)

    monkeypatch.setattr(house.runtime, "settle", full)
    monkeypatch.setattr("engine.dispatch.sending.dispatcher.STORAGE_RETRY_SECONDS", 0.01)
    async with house.dispatching(under_way_max=2) as dispatcher:
        await house.until(lambda statuses: statuses == ["sent", "suppressed"])
    assert dispatcher._lanes._berths.free("email") == 2


async def test_a_connection_lost_after_the_dot_is_unknown_for_marketing(house: House) -> None:
    """The server may have it: it is not sent again, and it is counted."""
    house.server.faults = Faults(drop_after_dot=True)
    await house.customer("ana")
    await house.event("ana")
    async with house.dispatching():
        await house.until(lambda statuses: statuses == ["unknown"])
        await asyncio.sleep(0.2)
    assert len(house.server.taken_unanswered) == 1


async def test_a_connection_lost_after_the_dot_is_tried_again_for_a_receipt(house: House) -> None:
    """Transactional mail may arrive twice rather than never: at most three attempts."""
    house.server.faults = Faults(drop_after_dot=True)
    await house.customer("ana")
    await house.event("ana", "Paid")
    async with house.dispatching():
        await house.until(lambda statuses: statuses == ["unknown"])
    assert len(house.server.taken_unanswered) == 3


async def test_a_server_that_is_away_loses_nothing(house: House) -> None:
    """Refused connections keep the messages pending."""
    await house.server.stop()
    await house.customer("ana")
    await house.event("ana")
    async with house.dispatching():
        async with asyncio.timeout(10):
            while not (await house.runtime.messages())[0].attempts:
                await asyncio.sleep(0.01)
    assert await house.statuses() == ["pending"]


async def test_a_stop_while_sending_finishes_what_is_under_way(house: House) -> None:
    """What the server took is recorded as sent; nothing is left claimed."""
    for number in range(10):
        await house.customer(f"c{number}")
        await house.event(f"c{number}")
    async with house.dispatching(under_way_max=4):
        await house.until(lambda statuses: "sent" in statuses)
    statuses = await house.statuses()
    assert statuses.count("sent") == len(house.server.accepted)
    assert set(statuses) <= {"sent", "pending"}


async def test_a_rate_holds_for_a_channel(house: House) -> None:
    """At twenty a second, ten mails take at least 450 ms."""
    for number in range(10):
        await house.customer(f"c{number}")
        await house.event(f"c{number}")
    started = house.clock.monotonic()
    async with house.dispatching(providers=(Limits(channels=("email",), rate=20.0),)):
        await house.until(lambda statuses: statuses == ["sent"] * 10)
    assert house.clock.monotonic() - started >= 0.44


async def test_a_channel_that_is_not_configured_fails_the_message_with_its_name(house: House) -> None:
    """Said in the ledger, not dropped."""
    await house.customer("ana")
    await house.event("ana")
    dispatcher = Dispatcher(
        house.runtime, {}, composer=house.composer, clock=house.clock, metrics=Metrics(), options=DispatchOptions()
    )
    task = asyncio.create_task(dispatcher.run())
    await house.until(lambda statuses: statuses == ["failed"])
    await dispatcher.stop()
    await task
    (message,) = await house.runtime.messages()
    assert "email" in message.reason


async def test_a_dispatcher_that_is_cancelled_ends(house: House) -> None:
    """Its caller may be cancelled as well: what is under way is waited for as long as a stop would, and no longer."""
    dispatcher = house.dispatcher(stop_seconds_max=0.2)
    task = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0.05)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    assert done
    assert task.cancelled()
