"""The adapters of this repository before the suite that ships for authors, over real sockets and files.

A new adapter joins by one class; those whose stand-in is larger have it in a test file of their own.
"""

from __future__ import annotations

import email
import email.policy
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from channels.conformance import Conformance, Fault, Received, Stage
from channels.mail.email import EmailChannel, EmailSettings
from channels.recording import Mailbox, MailboxChannel
from tests.channels.conftest import Faults, SmtpDouble

IMPOSSIBLE = (
    "nobody@", "@example.com", "a b@example.com", "a@b@example.com", "a,b@example.com", "x@-.de",
)  # fmt: skip
FAULTS = {
    Fault.NONE: Faults(),
    Fault.BUSY: Faults(rcpt="421 4.7.0 too fast"),
    Fault.REFUSED: Faults(final="554 5.6.0 no such content here"),
    Fault.NO_SUCH_ADDRESS: Faults(rcpt="550 5.1.1 no such user"),
    Fault.DENIED: Faults(mail="530 5.7.0 log in first"),
    Fault.LOST: Faults(drop_after_dot=True),
    Fault.SILENT: Faults(silent_after_dot=True),
}


def _settings(port: int) -> EmailSettings:
    return EmailSettings(
        host="127.0.0.1", port=port, from_="Shop <shop@example.com>", connections=4, timeout_seconds=5,
        answer_timeout_seconds=1.0,
    )  # fmt: skip


def _read(content: bytes, address: str) -> Received:
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    body = parsed.get_body(("plain",))
    assert body is not None
    found = re.match(r"<([0-9a-f]{32})@example.com>", parsed["Message-ID"])
    assert found is not None
    text = body.get_content().replace("\r\n", "\n")
    html = parsed.get_body(("html",))
    raw = content + (html.get_content().encode() if html is not None else b"")
    return Received(id=found.group(1), to=address, text=text, raw=raw)


class _Email(Conformance):
    """By SMTP, to a strict server that fails on demand."""

    pipelining = True
    faults = frozenset({*FAULTS, Fault.DOWN})
    impossible = IMPOSSIBLE

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        double = SmtpDouble(pipelining=self.pipelining, eight_bit=self.pipelining)
        await double.start()

        async def play(fault: Fault) -> None:
            if fault is Fault.DOWN:
                await double.stop()
            elif double.faults is DOWN_FAULTS:
                await double.start()
            double.faults = DOWN_FAULTS if fault is Fault.DOWN else FAULTS[fault]

        yield Stage(
            channel=EmailChannel(_settings(double.port)),
            received=lambda: [_read(one.content, address) for one in double.accepted for address in one.recipients],
            play=play,
        )
        await double.stop()


DOWN_FAULTS = Faults()


class TestEmailWithPipelining(_Email):
    """A server that offers all it can."""


class TestEmailWithoutExtensions(_Email):
    """A server that offers nothing."""

    pipelining = False


class TestEmailToAiosmtpd(Conformance):
    """By SMTP, to somebody else's server."""

    impossible = IMPOSSIBLE

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        taken: list[Received] = []

        class Handler:
            async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
                assert isinstance(envelope.content, bytes)
                taken.extend(_read(envelope.content, address) for address in envelope.rcpt_tos)
                return "250 2.0.0 Ok"

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        controller = Controller(Handler(), hostname="127.0.0.1", port=port)
        controller.start()
        yield Stage(channel=EmailChannel(_settings(port)), received=lambda: list(taken))
        controller.stop()


class TestMailbox(Conformance):
    """The local mailbox, which fails only with the disk."""

    impossible = IMPOSSIBLE

    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        store = Mailbox(self.folder)

        def received() -> list[Received]:
            return [
                Received(
                    id=one.delivery.id, to=one.delivery.to, text=one.delivery.text, raw=repr(one.delivery).encode()
                )
                for one in reversed(store.messages(1_000))
                for _ in range(one.copies)
            ]

        yield Stage(channel=MailboxChannel(store, name="email"), received=received)
        store.close()
