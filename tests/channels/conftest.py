"""An SMTP server that misbehaves on demand, and the channels under test.

Invariant: what the server accepted is what it answered 250 to after the dot, so a test can compare it with the receipts.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from channels.contract import OutgoingMessage
from channels.mail.email import EmailChannel, EmailSettings


@dataclass
class Faults:
    """What goes wrong; every field off by default."""

    greeting: str | None = None  # said instead of 220
    mail: str | None = None
    rcpt: str | None = None
    data: str | None = None  # instead of 354
    final: str | None = None  # instead of 250 after the dot
    drop_before_data: bool = False  # close when DATA is read, without a word
    drop_after_354: bool = False
    drop_within_content: bool = False  # close when the first content arrives
    answer_within_content: str | None = None  # say this and close when the first content arrives
    drop_after_dot: bool = False  # take the message, then close without a word
    silent_after_dot: bool = False
    silent_before_data: bool = False
    garbage_after_dot: bool = False
    extra_reply_after_dot: bool = False
    close_after_messages: int | None = None  # greet the next transaction with 421
    accept_data_without_recipient: bool = False
    tarpit_domain: str = ""  # keep whoever writes there waiting before RCPT is answered, until the test lets one go


@dataclass
class Accepted:
    """One message the server answered 250 to."""

    sender: str
    recipients: list[str]
    content: bytes
    options: str
    tls: bool
    user: str | None


@dataclass
class SmtpDouble:
    """A small strict SMTP server on a free loopback port."""

    pipelining: bool = True
    eight_bit: bool = True
    size_bytes_max: int | None = None
    tls_context: ssl.SSLContext | None = None  # offers STARTTLS, or speaks TLS from the start
    implicit_tls: bool = False
    credentials: tuple[str, str] | None = None
    faults: Faults = field(default_factory=Faults)
    accepted: list[Accepted] = field(default_factory=list)
    taken_unanswered: list[Accepted] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    tarpit: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    in_tarpit: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self) -> None:
        context = self.tls_context if self.implicit_tls else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self.drop_all()
            await self._server.wait_closed()

    def drop_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        self._writers.add(writer)
        try:
            await _Dialogue(self, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self.open_connections -= 1
            self._writers.discard(writer)
            writer.close()


class _Dialogue:
    def __init__(self, server: SmtpDouble, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.sender: str | None = None
        self.options = ""
        self.recipients: list[str] = []
        self.tls = server.implicit_tls
        self.user: str | None = None
        self.messages = 0

    async def say(self, *lines: str) -> None:
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self.writer.drain()

    async def run(self) -> None:
        greeting = self.server.faults.greeting
        await self.say(greeting or "220 double ESMTP")
        if greeting is not None:
            return
        while line := await self.reader.readline():
            assert line.endswith(b"\r\n"), "a client must end lines with CRLF"
            command = line[:-2].decode()
            self.server.commands.append(command)
            verb = command.split(" ", 1)[0].split(":", 1)[0].upper()
            if not await getattr(self, f"on_{verb.lower()}", self.on_unknown)(command):
                return

    async def on_unknown(self, command: str) -> bool:
        await self.say("502 5.5.1 unknown command")
        return True

    async def on_ehlo(self, command: str) -> bool:
        server = self.server
        lines = ["double"]
        lines += ["PIPELINING"] * server.pipelining + ["8BITMIME"] * server.eight_bit + ["ENHANCEDSTATUSCODES"]
        lines += [f"SIZE {server.size_bytes_max}"] if server.size_bytes_max is not None else []
        lines += ["STARTTLS"] if server.tls_context is not None and not self.tls else []
        lines += ["AUTH PLAIN"] if server.credentials is not None else []
        await self.say(*(f"250{'-' if n < len(lines) - 1 else ' '}{line}" for n, line in enumerate(lines)))
        return True

    async def on_starttls(self, command: str) -> bool:
        assert self.server.tls_context is not None
        await self.say("220 go ahead")
        await self.writer.start_tls(self.server.tls_context)
        self.tls = True
        return True

    async def on_auth(self, command: str) -> bool:
        _, mechanism, initial = command.split(" ")
        assert mechanism.upper() == "PLAIN"
        _, user, password = base64.b64decode(initial).decode().split("\0")
        if (user, password) != self.server.credentials:
            await self.say("535 5.7.8 wrong")
            return True
        self.user = user
        await self.say("235 2.7.0 welcome")
        return True

    async def on_mail(self, command: str) -> bool:
        limit = self.server.faults.close_after_messages
        if limit is not None and self.messages >= limit:
            await self.say("421 4.7.0 enough for one connection")
            return False
        if self.server.credentials is not None and self.user is None:
            await self.say("530 5.7.0 log in first")
            return True
        if self.sender is not None:
            await self.say("503 5.5.1 nested MAIL")
            return True
        if self.server.faults.mail is not None:
            await self.say(self.server.faults.mail)
            return not self.server.faults.mail.startswith("421")
        self.sender, _, self.options = command[len("MAIL FROM:<") :].partition(">")
        await self.say("250 2.1.0 fine")
        return True

    async def on_rcpt(self, command: str) -> bool:
        if self.sender is None:
            await self.say("503 5.5.1 MAIL first")
            return True
        if self.server.faults.tarpit_domain and self.server.faults.tarpit_domain in command:
            self.server.in_tarpit += 1
            await self.server.tarpit.acquire()
            self.server.in_tarpit -= 1
        if self.server.faults.rcpt is not None:
            await self.say(self.server.faults.rcpt)
            return not self.server.faults.rcpt.startswith("421")
        self.recipients.append(command[len("RCPT TO:<") : -1])
        await self.say("250 2.1.5 fine")
        return True

    async def on_data(self, command: str) -> bool:
        faults = self.server.faults
        if faults.drop_before_data:
            return False
        if faults.silent_before_data:
            await asyncio.sleep(60)
        if not self.recipients and not faults.accept_data_without_recipient:
            await self.say("554 5.5.1 no valid recipients")
            return True
        if faults.data is not None:
            await self.say(faults.data)
            return not faults.data.startswith("421")
        await self.say("354 go on")
        if faults.drop_after_354:
            return False
        if faults.drop_within_content or faults.answer_within_content is not None:
            await self.reader.read(1000)
            if faults.answer_within_content is not None:
                await self.say(faults.answer_within_content)
                await asyncio.sleep(0.1)
            self.writer.transport.abort()
            return False
        return await self._content()

    async def _content(self) -> bool:
        faults = self.server.faults
        lines = []
        while (line := await self.reader.readline()) != b".\r\n":
            assert line.endswith(b"\r\n"), "content must end lines with CRLF"
            assert len(line) <= 1000, "a line is at most 998 bytes"
            lines.append(line[1:] if line.startswith(b".") else line)
        assert self.sender is not None
        content = b"".join(lines)
        assert content.isascii() or "BODY=8BITMIME" in self.options, "8bit content must be declared"
        message = Accepted(self.sender, self.recipients, content, self.options, self.tls, self.user)
        self.sender, self.recipients = None, []
        self.messages += 1
        if faults.drop_after_dot or faults.silent_after_dot or faults.garbage_after_dot:
            self.server.taken_unanswered.append(message)
            if faults.garbage_after_dot:
                await self.say("what?")
            if faults.silent_after_dot:
                await asyncio.sleep(60)
            return False
        if faults.final is not None:
            await self.say(faults.final)
            return not faults.final.startswith("421")
        self.server.accepted.append(message)
        await self.say("250 2.0.0 Ok: queued as 4Xyz", *["250 again"] * faults.extra_reply_after_dot)
        return True

    async def on_rset(self, command: str) -> bool:
        self.sender, self.recipients = None, []
        await self.say("250 2.0.0 fine")
        return True

    async def on_noop(self, command: str) -> bool:
        await self.say("250 2.0.0 fine")
        return True

    async def on_quit(self, command: str) -> bool:
        await self.say("221 2.0.0 bye")
        return False


@pytest.fixture
async def smtp_double() -> AsyncIterator[Callable[..., SmtpDouble]]:
    """A builder of servers, to be started by the test; all are stopped at its end."""
    built: list[SmtpDouble] = []

    def build(**options: object) -> SmtpDouble:
        built.append(SmtpDouble(**options))  # type: ignore[arg-type]  # a test names the fields it means
        return built[-1]

    yield build
    for server in built:
        await server.stop()


@asynccontextmanager
async def _opened(server: SmtpDouble, **settings: Any) -> AsyncIterator[EmailChannel]:
    if not server.port:
        await server.start()
    fields: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "from_": "Shop <shop@example.com>"}
    fields |= {"timeout_seconds": 2.0, "answer_timeout_seconds": 2.0, "connections": 2}
    channel = EmailChannel(EmailSettings(**(fields | settings)))
    await channel.open()
    try:
        yield channel
    finally:
        await channel.close()


@pytest.fixture
def opened() -> Callable[..., AbstractAsyncContextManager[EmailChannel]]:
    """An impatient email channel to a server, with two connections, as an async context manager."""
    return _opened


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-made certificate for 127.0.0.1 with its key, one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "double")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "double.pem"
    path.write_bytes(encoded + built.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def tls_context(certificate: Path) -> ssl.SSLContext:
    """The server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def outgoing() -> Callable[..., OutgoingMessage]:
    """A builder of messages: a complete one, with the fields a test names changed."""

    def build(n: int = 1, **changes: object) -> OutgoingMessage:
        fields: dict[str, object] = {
            "id": hashlib.sha256(str(n).encode()).hexdigest()[:32],
            "channel": "email",
            "to": "ana@example.com",
            "to_name": "Ana",
            "subject": "Hello",
            "text": "Hello Ana\n",
            "html": "<p>Hello Ana</p>\n",
            "date_ms": 1_790_000_000_123,
        }
        return OutgoingMessage(**(fields | changes))  # type: ignore[arg-type]  # as above

    return build
