"""What every channel adapter promises, asked of each of them over real sockets and files.

A new adapter joins by one builder in `ADAPTERS`.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from channels.contract import (
    Capabilities,
    Channel,
    ChannelError,
    OutgoingMessage,
    PermanentError,
    Receipt,
    TransientError,
    Verdict,
)
from channels.email import EmailChannel, EmailSettings
from channels.recording import Mailbox, MailboxChannel

Outgoing = Callable[..., OutgoingMessage]


@dataclass
class Adapter:
    """A channel, and what its provider really has: (message id, address, text) of each."""

    channel: Channel
    received: Callable[[], list[tuple[str, str, str]]]
    stop: Callable[[], Awaitable[None]]


def _settings(port: int) -> EmailSettings:
    return EmailSettings(host="127.0.0.1", port=port, from_="Shop <shop@example.com>", connections=4)


def _read(content: bytes, address: str) -> tuple[str, str, str]:
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    body = parsed.get_body(("plain",))
    assert body is not None
    found = re.match(r"<([0-9a-f]{32})@example.com>", parsed["Message-ID"])
    assert found is not None
    return found.group(1), address, body.get_content().replace("\r\n", "\n")


async def _email(double: Any) -> Adapter:
    await double.start()

    def received() -> list[tuple[str, str, str]]:
        return [_read(one.content, address) for one in double.accepted for address in one.recipients]

    return Adapter(EmailChannel(_settings(double.port)), received, double.stop)


async def email_pipelining(smtp_double: Callable[..., Any], folder: Path) -> Adapter:
    return await _email(smtp_double(pipelining=True))


async def email_plain(smtp_double: Callable[..., Any], folder: Path) -> Adapter:
    return await _email(smtp_double(pipelining=False, eight_bit=False))


async def email_aiosmtpd(smtp_double: Callable[..., Any], folder: Path) -> Adapter:
    taken: list[tuple[bytes, str]] = []

    class Handler:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
            assert isinstance(envelope.content, bytes)
            taken.extend((envelope.content, address) for address in envelope.rcpt_tos)
            return "250 2.0.0 Ok"

    controller = Controller(Handler(), hostname="127.0.0.1", port=0)
    controller.port = _free_port()
    controller.start()

    async def stop() -> None:
        controller.stop()

    return Adapter(EmailChannel(_settings(controller.port)), lambda: [_read(*one) for one in taken], stop)


async def mailbox(smtp_double: Callable[..., Any], folder: Path) -> Adapter:
    store = Mailbox(folder)

    async def stop() -> None:
        store.close()

    def received() -> list[tuple[str, str, str]]:
        kept = store.messages(1000)
        return [(one.delivery.id, one.delivery.to, one.delivery.text) for one in kept for _ in range(one.copies)]

    return Adapter(MailboxChannel(store, name="email"), received, stop)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


ADAPTERS = [email_pipelining, email_plain, email_aiosmtpd, mailbox]


@pytest.fixture(params=ADAPTERS, ids=lambda build: build.__name__)
async def adapter(
    request: pytest.FixtureRequest, smtp_double: Callable[..., Any], tmp_path: Path
) -> AsyncIterator[Adapter]:
    built: Adapter = await request.param(smtp_double, tmp_path)
    yield built
    await built.channel.close()
    await built.stop()


async def test_it_is_a_channel(adapter: Adapter) -> None:
    """It fills the protocol, has a name and says what it can do."""
    assert isinstance(adapter.channel, Channel)
    assert adapter.channel.name == "email"
    assert isinstance(adapter.channel.capabilities, Capabilities)


async def test_a_receipt_means_the_provider_has_it_once(adapter: Adapter, outgoing: Outgoing) -> None:
    """One send, one receipt, one message there with its id, address and text."""
    await adapter.channel.open()
    receipt = await adapter.channel.send(outgoing())
    assert isinstance(receipt, Receipt)
    assert receipt.response
    assert adapter.received() == [(outgoing().id, "ana@example.com", "Hello Ana\n")]


async def test_many_at_once_do_not_mix(adapter: Adapter, outgoing: Outgoing) -> None:
    """Forty concurrent sends give forty receipts and each message exactly once, to its own address."""
    await adapter.channel.open()
    messages = [outgoing(n, to=f"c{n}@example.com", text=f"Hello {n} ü\n") for n in range(40)]
    receipts = await asyncio.gather(*(adapter.channel.send(message) for message in messages))
    assert len(receipts) == 40
    assert sorted(adapter.received()) == sorted((one.id, one.to, one.text) for one in messages)


@pytest.mark.parametrize(
    "text",
    ["", "\n", ".\n", ".\r\n.\r\nQUIT\r\n", "..a\n.b\n", "ü" * 2000, "a" * 5000 + "\n", "über\n.\nuns\n", "\0x\n"],
)
async def test_every_text_arrives_as_it_was(adapter: Adapter, outgoing: Outgoing, text: str) -> None:
    """Dots, long lines, NUL, umlauts: nothing ends the message early, nothing is lost."""
    await adapter.channel.open()
    await adapter.channel.send(outgoing(1, text=text))
    await adapter.channel.send(outgoing(2))
    first, second = sorted(adapter.received(), key=lambda one: one[0] != outgoing(1).id)
    assert first[2].replace("\r\n", "\n").rstrip("\n") == text.replace("\r\n", "\n").rstrip("\n")
    assert second[0] == outgoing(2).id


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "Hi\r\nBcc: evil@example.com"},
        {"subject": "Hi\nBcc: evil@example.com"},
        {"subject": "=?utf-8?q?Hi=0D=0ABcc:_evil@example.com?="},
        {"subject": "a\u2028b"},
        {"subject": "a\x85b"},
        {"to_name": "Ana\r\nBcc: evil@example.com"},
        {"to": "ana@example.com\r\nBcc: evil@example.com"},
        {"to": "ana@example.com>\r\nRCPT TO:<evil@example.com"},
        {"from_": "Shop\r\nBcc: evil@example.com <shop@example.com>"},
        {"reply_to": "a@example.com\r\nBcc: evil@example.com"},
        {"list_unsubscribe_url": "https://example.com/u\r\nBcc: evil@example.com"},
        {"list_unsubscribe_url": "javascript:alert(1)"},
        {"headers": (("X-A", "b\r\nBcc: evil@example.com"),)},
        {"headers": (("X-A: b\r\nBcc", "evil@example.com"),)},
        {"headers": (("Bcc", "evil@example.com"),)},
        {"headers": (("Content-Type", "text/plain"),)},
        {"subject": "x" * 5000},
    ],
)
async def test_it_refuses_to_forge_headers(adapter: Adapter, outgoing: Outgoing, changes: dict[str, object]) -> None:
    """Customer data that would write headers is a permanent fault of the message, and nothing reaches the provider."""
    await adapter.channel.open()
    with pytest.raises(PermanentError) as caught:
        await adapter.channel.send(outgoing(**changes))
    assert caught.value.address_verdict is Verdict.MESSAGE
    assert "evil" not in caught.value.reason
    assert adapter.received() == []


@pytest.mark.parametrize(
    "to", ["nobody@", "@example.com", "a b@example.com", "a@b@example.com", "a,b@example.com", "x@-.de"]
)
async def test_an_impossible_address_is_suppressed(adapter: Adapter, outgoing: Outgoing, to: str) -> None:
    """An address no server can have is refused once and for all, before anything is sent."""
    await adapter.channel.open()
    with pytest.raises(PermanentError) as caught:
        await adapter.channel.send(outgoing(to=to))
    assert caught.value.address_verdict is Verdict.SUPPRESS
    assert adapter.received() == []


async def test_before_open_and_after_close_a_send_is_tried_later(adapter: Adapter, outgoing: Outgoing) -> None:
    """A closed channel loses nothing: it certainly did not send."""
    with pytest.raises(TransientError):
        await adapter.channel.send(outgoing())
    await adapter.channel.open()
    await adapter.channel.send(outgoing())
    await adapter.channel.close()
    await adapter.channel.close()
    with pytest.raises(TransientError):
        await adapter.channel.send(outgoing(2))
    assert len(adapter.received()) == 1


async def test_it_opens_again(adapter: Adapter, outgoing: Outgoing) -> None:
    """Open, close, open: works."""
    await adapter.channel.open()
    await adapter.channel.close()
    await adapter.channel.open()
    await adapter.channel.send(outgoing())
    assert len(adapter.received()) == 1


async def test_a_bad_message_does_not_hurt_the_next(adapter: Adapter, outgoing: Outgoing) -> None:
    """After more refusals than there are connections, good messages still leave."""
    await adapter.channel.open()
    for n in range(12):
        with pytest.raises(ChannelError):
            await adapter.channel.send(outgoing(n, subject="a\nb"))
    await asyncio.gather(*(adapter.channel.send(outgoing(n)) for n in range(8)))
    assert len(adapter.received()) == 8


async def test_the_same_message_again_follows_the_capability(adapter: Adapter, outgoing: Outgoing) -> None:
    """An idempotent channel accepts a second delivery of the same id; the receipt is the same."""
    await adapter.channel.open()
    first = await adapter.channel.send(outgoing())
    second = await adapter.channel.send(outgoing())
    assert len({one[0] for one in adapter.received()}) == 1
    if adapter.channel.capabilities.idempotent:
        assert first == second
