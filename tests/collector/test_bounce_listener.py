"""The listener for bounces against rude clients: bounded in size, lines, connections and recipients, with TLS and without."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from channels.bounces.parts import MAIL_BYTES_MAX
from engine.clock import ManualClock
from engine.collector.bounces.intake import BounceDesk
from engine.collector.bounces.listener import CONNECTIONS_MAX, LINE_BYTES_MAX, Taking, listen
from engine.collector.callbacks.reports import Reports
from engine.runtimes.memory_ports import MemoryRuntime
from engine.telemetry import Metrics
from tests.channels.conftest import certificate as _certificate
from tests.channels.returned_mails import MARKS, RETURN_PATH, plain
from tests.collector.conftest import T0, catalog

certificate = _certificate  # a fixture of the tests of channels, for these, too
MAIL = plain("Out of office", "x", sender="ana@example.com")


class Listening:
    """A listener and what stands behind it."""

    def __init__(self, tls_context: ssl.SSLContext | None = None) -> None:
        clock, self.metrics = ManualClock(T0), Metrics()
        self.runtime = MemoryRuntime(catalog(), clock=clock)
        reports = Reports(self.runtime, clock, self.metrics)
        self.desk = BounceDesk(self.runtime, clock, self.metrics, marks=MARKS, reports=reports)
        self.taking = Taking(protocol="smtp", marks=MARKS, tls_context=tls_context)
        self.port = 0

    async def does(self, work: Callable[[smtplib.SMTP], Any]) -> Any:
        """What a client in a thread comes to."""

        def client() -> Any:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as smtp:
                smtp.ehlo()
                return work(smtp)

        return await asyncio.to_thread(client)

    @property
    def taken(self) -> float:
        return float(self.metrics.mails_in.labels("automatic")._value.get())


@contextlib.asynccontextmanager
async def listening(tls_context: ssl.SSLContext | None = None) -> AsyncIterator[Listening]:
    stage = Listening(tls_context)
    sock = socket.create_server(("127.0.0.1", 0))
    stage.port = sock.getsockname()[1]
    server = await listen(sock, stage.desk, stage.taking)
    try:
        yield stage
    finally:
        server.close()


def _send(smtp: smtplib.SMTP, content: bytes) -> int:
    smtp.docmd("MAIL FROM:<>")
    smtp.docmd(f"RCPT TO:<{RETURN_PATH}>")
    return smtp.data(content)[0]


async def test_what_is_too_large_is_refused_and_the_next_is_taken() -> None:
    """A mail over the bound, a line without end: a refusal for good each, and the connection goes on."""
    async with listening() as stage:
        large = MAIL + b"y\r\n" * (MAIL_BYTES_MAX // 2)
        endless = MAIL + b"z" * (LINE_BYTES_MAX * 3) + b"\r\n"
        got = await stage.does(lambda smtp: [_send(smtp, large), _send(smtp, endless), _send(smtp, MAIL)])
        assert got == [552, 500, 250]
        assert stage.taken == 1
        assert await stage.runtime.dead_letters() == []


async def test_one_recipient_at_a_time() -> None:
    """The second is asked to come again, so that each answer is about one mail."""
    async with listening() as stage:

        def two(smtp: smtplib.SMTP) -> list[int]:
            smtp.docmd("MAIL FROM:<>")
            return [smtp.docmd(f"RCPT TO:<{RETURN_PATH}>")[0], smtp.docmd(f"RCPT TO:<{RETURN_PATH}>")[0]]

        assert await stage.does(two) == [250, 452]


async def test_connections_are_bounded_and_given_back() -> None:
    """One too many is told so; when the others left, there is room again."""
    async with listening() as stage:
        held = [await asyncio.open_connection("127.0.0.1", stage.port) for _ in range(CONNECTIONS_MAX)]
        for reader, _ in held:
            assert (await reader.readline()).startswith(b"220")
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        assert (await reader.readline()).startswith(b"421")
        assert await reader.read() == b""
        writer.close()
        for _, each in held:
            each.close()
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    assert await stage.does(lambda smtp: _send(smtp, MAIL)) == 250
                    break
                await asyncio.sleep(0.1)
        assert stage.taken == 1


async def test_noise_and_breaking_off_leave_nothing() -> None:
    """Bytes that are not SMTP, a connection that breaks in the middle of a mail: nothing is taken, the next one is."""
    async with listening() as stage:
        for noise in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\0" * 5_000 + b"\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
            await reader.readline()
            writer.write(noise)
            assert (await reader.readline())[:1] in {b"5", b""}
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(f"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<{RETURN_PATH}>\r\nDATA\r\n".encode() + MAIL)
        while not (await reader.readline()).startswith(b"354"):
            pass
        writer.transport.abort()
        assert await stage.does(lambda smtp: _send(smtp, MAIL)) == 250
        assert stage.taken == 1


async def test_starttls(certificate: Path) -> None:
    """Offered with a certificate, and a mail is taken over it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    ours = ssl.create_default_context(cafile=certificate)
    async with listening(context) as stage:

        def secured(smtp: smtplib.SMTP) -> int:
            smtp._host = "127.0.0.1"  # type: ignore[attr-defined]  # whom the certificate has to name
            smtp.starttls(context=ours)
            smtp.ehlo()
            return _send(smtp, MAIL)

        assert await stage.does(secured) == 250
        assert stage.taken == 1
