"""A catch-all SMTP server on this machine: takes every mail, except for addresses that are made to bounce or to wait.

Invariant: a mail is counted before its 250 is written, so that whoever compares the ledger with `received` compares it with
what a mail server really took. Loopback only; bounded in line length and message size.
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.header
import email.message
import email.utils
import re
from collections import Counter
from collections.abc import Callable
from typing import cast

import msgspec

from channels.contract import OutgoingMessage
from channels.recording import Mailbox

HARD_BOUNCE = "gone.example"
"""Addresses of this domain do not exist: 550 5.1.1."""
GREYLISTED = "greylist.example"
"""Servers of this domain say 450 to the first mail for an address, and take it when it comes again."""
_COMMAND_BYTES_MAX = 8_192
_MESSAGE_BYTES_MAX = 10_000_000
_ID = re.compile(rb"^Message-ID:\s*<([0-9a-f]{32})@", re.IGNORECASE | re.MULTILINE)
_HEAD_BYTES_MAX = 16_384


class ReceivedMail(msgspec.Struct, frozen=True):
    """A mail as the server took it; `at` is the monotonic second of its 250."""

    id: str
    to: str
    subject: str
    text: str
    unsubscribe_url: str
    at: float


class Postbox:
    """The server. `received` counts every message id it took; `on_letter` is called after each answer."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        """`now` gives monotonic seconds. Set `mailbox` and `on_letter` before the first mail comes."""
        self.mailbox: Mailbox | None = None
        self.on_letter: Callable[[ReceivedMail], None] | None = None
        self.received: Counter[str] = Counter()
        self.arrived_at: dict[str, float] = {}
        self.bounced = 0
        self.deferred = 0
        self.strangers = 0
        """Messages without an id of ours: there should be none."""
        self._now = now
        self._seen_greylisted: set[str] = set()
        self._server: asyncio.Server | None = None
        self._sessions: set[_Session] = set()

    async def start(self) -> int:
        """Listens on a free port of this machine, and returns it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), "127.0.0.1", 0, backlog=128)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Hangs up. Idempotent."""
        if self._server is not None:
            self._server.close()
            for session in list(self._sessions):
                session.hang_up()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), 1.0)
            self._server = None

    def opened(self, session: _Session) -> None:
        """A client came."""
        self._sessions.add(session)

    def closed(self, session: _Session) -> None:
        """A client left."""
        self._sessions.discard(session)

    def refusal(self, address: str) -> bytes | None:
        """What a recipient is answered, None: welcome."""
        domain = address.rpartition("@")[2].lower()
        if domain == HARD_BOUNCE:
            self.bounced += 1
            return b"550 5.1.1 No such person here\r\n"
        if domain == GREYLISTED and address not in self._seen_greylisted:
            self._seen_greylisted.add(address)
            self.deferred += 1
            return b"450 4.2.0 Greylisted, try again a little later\r\n"
        return None

    def take(self, content: bytes, recipient: str) -> None:
        """Counts the message now; reads and files it after its answer is written."""
        at = self._now()
        found = _ID.search(content, 0, _HEAD_BYTES_MAX)
        if found is None:
            self.strangers += 1
            return
        message_id = found.group(1).decode()
        self.received[message_id] += 1
        self.arrived_at.setdefault(message_id, at)
        asyncio.get_running_loop().call_soon(self._file, message_id, content, recipient, at)

    def _file(self, message_id: str, content: bytes, recipient: str, at: float) -> None:
        mail = email.message_from_bytes(content)
        text, html = _parts(mail)
        unsubscribe = str(mail.get("List-Unsubscribe", "")).strip().partition(">")[0].lstrip("<")  # the first is https
        letter = ReceivedMail(message_id, recipient, _decoded(mail.get("Subject")), text, unsubscribe, at)
        if self.mailbox is not None:
            to_name, _ = email.utils.parseaddr(_decoded(mail.get("To")))
            sent_at = email.utils.parsedate_to_datetime(mail["Date"])
            delivery = OutgoingMessage(
                id=message_id, channel="email", to=recipient, to_name=to_name, from_=_decoded(mail.get("From")),
                reply_to=_decoded(mail.get("Reply-To")), subject=letter.subject, text=text, html=html,
                date_ms=int(sent_at.timestamp() * 1_000), list_unsubscribe_url=unsubscribe or None,
            )  # fmt: skip
            self.mailbox.add(delivery)
        if self.on_letter is not None:
            self.on_letter(letter)


class _Session(asyncio.Protocol):
    """One client; takes as many commands as one read brought and answers them in one write (RFC 2920)."""

    def __init__(self, box: Postbox) -> None:
        self._box = box
        self._buffer = bytearray()
        self._in_data = False
        self._greeted = False
        self._mail = False
        self._recipient = ""
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self._box.opened(self)
        self._transport.write(b"220 localhost ESMTP the demo's postbox\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._box.closed(self)
        self._transport = None

    def hang_up(self) -> None:
        """Close from our side."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._take_data() if self._in_data else self._take_line():
            pass
        limit = _MESSAGE_BYTES_MAX if self._in_data else _COMMAND_BYTES_MAX
        if len(self._buffer) > limit:
            self._out.append(b"552 5.3.4 Too large\r\n" if self._in_data else b"500 5.5.2 Line too long\r\n")
            self._flush()
            self.hang_up()
            return
        self._flush()

    def _flush(self) -> None:
        if self._transport is not None and self._out:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _take_data(self) -> bool:
        end = 0 if self._buffer.startswith(b".\r\n") else self._buffer.find(b"\r\n.\r\n")
        if end < 0:
            return False
        content = bytes(self._buffer[: end + 2]) if end else b""
        del self._buffer[: end + 5 if end else 3]
        self._in_data = self._mail = False
        self._box.take((b"\r\n" + content).replace(b"\r\n..", b"\r\n.")[2:], self._recipient)
        self._recipient = ""
        self._out.append(b"250 2.0.0 Taken\r\n")
        return True

    def _take_line(self) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            return False
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        self._command(line)
        return True

    def _command(self, line: bytes) -> None:
        verb, out = line[:4].upper(), self._out
        if verb == b"EHLO":
            out.append(b"250-localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n")
            out.append(b"250-SIZE %d\r\n250 ENHANCEDSTATUSCODES\r\n" % _MESSAGE_BYTES_MAX)
        elif verb in {b"HELO", b"NOOP", b"RSET"}:
            if verb == b"RSET":
                self._mail, self._recipient = False, ""
            out.append(b"250 2.0.0 Fine\r\n")
        elif verb == b"MAIL":
            self._mail, self._recipient = True, ""
            out.append(b"250 2.1.0 Fine\r\n")
        elif verb == b"RCPT":
            out.append(self._rcpt(line))
        elif verb == b"DATA":
            self._in_data = bool(self._recipient)
            out.append(b"354 Go on\r\n" if self._in_data else b"503 5.5.1 No recipient\r\n")
        elif verb == b"QUIT":
            out.append(b"221 2.0.0 Bye\r\n")
            self._flush()
            self.hang_up()
        else:
            out.append(b"502 5.5.1 Not known here\r\n")

    def _rcpt(self, line: bytes) -> bytes:
        address = line.decode("utf-8", "replace").partition("<")[2].partition(">")[0]
        if not self._mail or "@" not in address:
            return b"503 5.5.1 MAIL and an address first\r\n"
        if self._recipient:
            return b"452 4.5.3 One recipient at a time\r\n"
        refusal = self._box.refusal(address)
        if refusal is not None:
            return refusal
        self._recipient = address
        return b"250 2.1.5 Fine\r\n"


def _decoded(value: object) -> str:
    """A header as people read it."""
    return str(email.header.make_header(email.header.decode_header(str(value)))) if value is not None else ""


def _parts(mail: email.message.Message) -> tuple[str, str | None]:
    """The text and the HTML of a mail."""
    found: dict[str, str] = {}
    for part in mail.walk():
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            found.setdefault(part.get_content_type(), content.decode("utf-8", "replace"))
    return found.get("text/plain", ""), found.get("text/html")
