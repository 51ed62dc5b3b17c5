"""Takes bounces from a mail server, by LMTP or SMTP.

Invariant: 250 after the content means that what follows from the mail is durable; when it cannot be kept now the answer is 451,
and the server keeps it. Only addresses of ours are taken, so that it is not an open door.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

import msgspec
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from channels.bounces import Marks
from channels.bounces.parts import MAIL_BYTES_MAX
from engine.collector.bounces.intake import BounceDesk
from engine.errors import AnlassError, Backlog, StorageError
from engine.telemetry import Action, get_log

IDLE_SECONDS = 60.0
CONNECTIONS_MAX = 50
COMMANDS_MAX = 1_000
"""Of one kind within a connection."""
LINE_BYTES_MAX = 100_000
"""Bounces quote lines that are longer than the standard allows."""
_log = get_log("bounces")
logging.getLogger("mail.log").setLevel(
    logging.WARNING
)  # aiosmtpd tells addresses there, also to who only wants to debug


class Taking(msgspec.Struct, frozen=True, kw_only=True):
    """What is listened for. `addresses` are taken beside those with a mark of ours."""

    protocol: str
    marks: Marks
    addresses: frozenset[str] = frozenset()
    tls_context: ssl.SSLContext | None = None


class SmtpHooks:
    """aiosmtpd's hooks."""

    def __init__(self, desk: BounceDesk, taking: Taking) -> None:
        self._desk = desk
        self._taking = taking

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """One recipient at a time: LMTP wants an answer for each, and a bounce has one."""
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient at a time"
        if not self._taking.marks.read(address) and address.strip().lower() not in self._taking.addresses:
            _log.info(Action.MAIL_REFUSED, origin=self._taking.protocol, reason="no address of ours")
            return "550 5.1.1 No such address here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        """The answer is the promise."""
        content = envelope.original_content
        try:
            await self._desk.take(content or b"", envelope_to=envelope.rcpt_tos, origin=self._taking.protocol)
        except Backlog:
            return "451 4.3.2 Not now, try again"
        except (StorageError, AnlassError) as error:
            _log.error(Action.MAIL_REFUSED, origin=self._taking.protocol, cause=error)
            return "451 4.3.0 It cannot be kept now, try again"
        return "250 2.0.0 Recorded"

    async def handle_exception(self, error: Exception) -> str:
        """A mistake of ours: the server keeps the mail, and no address gets into a log."""
        _log.error(Action.MAIL_REFUSED, origin=self._taking.protocol, cause=error)
        return "451 4.3.0 Something is wrong here, try again"


class _Counted:
    """How many connections there are."""

    def __init__(self) -> None:
        self.open = 0


def _protocol(base: type[SMTP], counted: _Counted) -> type[SMTP]:
    """The server's protocol with our bounds."""

    class Bounded(base):  # type: ignore[misc,valid-type]  # a parameter
        line_length_limit = LINE_BYTES_MAX

        def connection_made(self, transport: Any) -> None:
            # STARTTLS makes the connection a second time.
            if not getattr(self, "counted", False):
                self.counted = True
                counted.open += 1
                if counted.open > CONNECTIONS_MAX:
                    transport.write(b"421 4.3.2 Too many connections\r\n")
                    transport.close()
                    return
            super().connection_made(transport)

        def connection_lost(self, error: Exception | None) -> None:
            if getattr(self, "counted", False):
                self.counted = False
                counted.open -= 1
            super().connection_lost(error)

    return Bounded


async def listen(sock: socket.socket, desk: BounceDesk, taking: Taking) -> asyncio.Server:
    """Serves on the socket until the server is closed."""
    loop = asyncio.get_running_loop()
    counted = _Counted()
    kind = _protocol(LMTP if taking.protocol == "lmtp" else SMTP, counted)
    handler = SmtpHooks(desk, taking)

    build: Callable[[], SMTP] = lambda: kind(  # noqa: E731 - a factory of one expression
        handler,
        data_size_limit=MAIL_BYTES_MAX,
        hostname="anlass",
        ident="Anlass",
        tls_context=taking.tls_context,
        timeout=IDLE_SECONDS,
        command_call_limit=COMMANDS_MAX,
        auth_exclude_mechanism=("LOGIN", "PLAIN"),
        loop=loop,
    )
    return await loop.create_server(build, sock=sock)
