"""What one message, one channel or one careless adapter may not do: end the dispatcher, or tell the log about a customer."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog

from channels.contract import Capabilities, OutgoingMessage, Receipt
from engine.core.record import Identify
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.sending.compose import Composer, Renderer
from engine.dispatch.sending.dispatcher import Dispatcher
from engine.dispatch.templates.render import Rendered
from engine.dispatch.templates.template_set import TemplateSet
from engine.telemetry import Metrics, configure_logging
from tests.dispatch.test_dispatcher import House

CANARY = "kanarienvogel"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[House]:
    """Runtime, mail server and templates; the dispatcher is the test's."""
    built = House(tmp_path)
    await built.server.start()
    await built.runtime.start()
    yield built
    await built.runtime.stop()
    await built.server.stop()


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """What is logged."""
    stream = io.StringIO()
    configure_logging(stream=stream)
    yield stream
    structlog.reset_defaults()


class Adapter:
    """An adapter of somebody else: `opens` says whether it can use its settings."""

    capabilities = Capabilities()

    def __init__(self, name: str, *, opens: bool) -> None:
        self.name = name
        self.opens = opens
        self.is_open = False

    async def open(self) -> None:
        if not self.opens:
            raise ValueError("The setting `token` of [pager] is not a token; make one at https://pager.example.")
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        raise AssertionError("nothing is sent here")


async def test_a_channel_that_cannot_be_opened_does_not_hold_up_the_end(shop: House) -> None:
    """`run` raises what the adapter said, the channels opened before it are closed, and `stop` returns."""
    first, second = Adapter("first", opens=True), Adapter("second", opens=False)
    channels = {"first": first, "second": second}
    dispatcher = Dispatcher(shop.runtime, channels, composer=shop.composer, clock=shop.clock, metrics=Metrics())
    with pytest.raises(ValueError, match="token"):
        await dispatcher.run()
    async with asyncio.timeout(2):
        await dispatcher.stop()
    assert not first.is_open


class Failing:
    """A renderer with a mistake in it: a foreign error for the messages of one customer."""

    def __init__(self, inner: Renderer) -> None:
        self._inner = inner

    def render(self, channel: str, name: str, locale: str, *, context: Mapping[str, object]) -> Rendered:
        customer: Any = context["customer"]
        if customer["first_name"] == "Bernd":
            raise RuntimeError(CANARY)
        return self._inner.render(channel, name, locale, context=context)


class Plain:
    """The templates as they are."""

    def __init__(self, templates: TemplateSet) -> None:
        self._templates = templates

    def render(self, channel: str, name: str, locale: str, *, context: Mapping[str, object]) -> Rendered:
        return self._templates.find(channel, name, locale=locale).render(context)


async def test_a_mistake_of_ours_in_one_message_leaves_the_others_alone(
    shop: House, tmp_path: Path, said: io.StringIO
) -> None:
    """It is settled as failed, others leave, and the dispatcher lives: at the next start it would fail again, for ever."""
    links = SignedLinks("https://shop.example", TokenSigner(b"0123456789abcdef0123456789abcdef"))
    shop.composer = Composer(Failing(Plain(TemplateSet.load(tmp_path / "templates"))), links)
    for name in ("ana", "bernd", "carla"):
        await shop.customer(name)
        await shop.event(name)
    async with shop.dispatching():
        await shop.until(lambda statuses: statuses == ["failed", "sent", "sent"])
    (failed,) = await shop.runtime.messages(status="failed")
    assert (failed.message.customer, failed.code) == ("bernd", "internal")
    assert CANARY not in said.getvalue()
    assert CANARY not in failed.reason


async def test_a_value_that_cannot_be_formatted_stays_out_of_the_log(
    shop: House, tmp_path: Path, said: io.StringIO
) -> None:
    """The ledger, where it can be erased, says which value it was; the log says which template and line."""
    template = "---\nsubject: Hello\n---\n<p>On {{ event.what | date }}, {{ unsubscribe_url }}</p>\n"
    (tmp_path / "templates/email/hello.html").write_text(template)
    links = SignedLinks("https://shop.example", TokenSigner(b"0123456789abcdef0123456789abcdef"))
    shop.composer = Composer(Plain(TemplateSet.load(tmp_path / "templates")), links)
    await shop.customer("ana")
    await shop.event("ana", what=CANARY)
    async with shop.dispatching():
        await shop.until(lambda statuses: statuses == ["suppressed"])
    (message,) = await shop.runtime.messages()
    assert CANARY in message.reason
    assert CANARY not in said.getvalue()
    assert "email/hello.html:4" in said.getvalue()


@pytest.mark.parametrize("name", ["x\r\nBcc: evil", "=?utf-8?q?x=0D=0ABcc:_evil?=", "bell\x07", "n" * 3_000])
async def test_a_name_that_no_header_can_hold_does_not_keep_a_mail_from_its_customer(
    shop: House, tmp_path: Path, name: str
) -> None:
    """The template does not print it in a header: the mail leaves without the display name, to one recipient."""
    (tmp_path / "templates/email/hello.html").write_text(
        "---\nsubject: Hello\n---\n<p>Hi {{ customer.first_name }}, {{ unsubscribe_url }}</p>\n"
    )
    links = SignedLinks("https://shop.example", TokenSigner(b"0123456789abcdef0123456789abcdef"))
    shop.composer = Composer(Plain(TemplateSet.load(tmp_path / "templates")), links)
    await shop.customer("ana")
    at_ms = shop.clock.now_ms()
    rename = Identify(customer="ana", at_ms=at_ms, id="r", time_ms=at_ms, traits={"first_name": name})
    await shop.runtime.append([rename])
    await shop.event("ana")
    async with shop.dispatching():
        await shop.until(lambda statuses: statuses == ["sent"])
    (accepted,) = shop.server.accepted
    head = accepted.content.partition(b"\r\n\r\n")[0]
    assert accepted.recipients == ["ana@example.com"]
    assert b"\r\nTo: ana@example.com\r\n" in head
    assert b"\nBcc" not in head
