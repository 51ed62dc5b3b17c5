"""One SMTP connection: who talks, in which phase, and what is certain when it breaks.

Invariants:

- Until the final dot is handed to the transport the server cannot have accepted the message: any loss is a
  `TransientError`. From then until a complete reply, any loss is an `UnknownOutcome`.
- Replies are matched to commands strictly in order; bytes nobody asked for make the connection unusable for the next
  message (RFC 2920).

It owns the transport alone (`channels.mail.session` hands it over), because an envelope written at once costs about a tenth of
three awaited commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import re

import msgspec

from channels.contract import ChannelError, PermanentError, Receipt, TransientError, UnknownOutcome, Verdict
from channels.delivery import Phase, classify_reply, without_addresses
from channels.mail.mime import WireMail

_REPLY_BYTES_MAX = 32_768
_CONTENT_AT_ONCE_BYTES_MAX = 65_536  # asyncio's high-water mark: below it a write rarely waits
_ACCEPTED = range(200, 300)
_START_INPUT = 354
_SERVICE_CLOSING = 421
_REFUSED_FROM = 400
_ENVELOPE_REPLIES = 3
_LINE_START = re.compile(rb"[2-5][0-9][0-9](?:[ -]|\Z)")
_QUEUE_ID = re.compile(r"(?:queued as |\bid=)<?([\w.@-]{1,128})", re.IGNORECASE)


class Reply(msgspec.Struct, frozen=True):
    """One SMTP reply: its code, and its text with the lines joined by a space."""

    code: int
    text: str


class ConnectionBroken(Exception):
    """The connection broke, timed out or spoke nonsense; `replies` are those that still came before it."""

    def __init__(self, why: str, replies: list[Reply]) -> None:
        super().__init__(why)
        self.why = why
        self.replies = replies


class SmtpConnection(asyncio.Protocol):
    """A connection that is logged in; one transaction at a time. Built by `connect`."""

    def __init__(self, transport: asyncio.Transport, extensions: dict[str, str], *, timeout_seconds: float) -> None:
        self.pipelining = "pipelining" in extensions
        self.eight_bit = "8bitmime" in extensions
        self.size_bytes_max = _size_limit(extensions)
        self.sizes = "size" in extensions
        self.messages = 0
        self.idle_since_seconds = 0.0
        self._transport = transport
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._lines: list[str] = []
        self._replies: list[Reply] = []
        self._expected = 0
        self._waiter: asyncio.Future[list[Reply]] | None = None
        self._resumed: asyncio.Future[None] | None = None
        self._broken: str | None = None
        self._deadline_seconds = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether another transaction may start on it."""
        return self._broken is None and not self._transport.is_closing()

    async def transmit(self, mail: WireMail, *, return_path: str, answer_timeout_seconds: float) -> Receipt:
        """Send one mail to its one recipient. `answer_timeout_seconds`: how long the server may think after the dot."""
        assert self._waiter is None, "one transaction at a time"
        self.messages += 1
        finished = False
        try:
            await self._envelope(mail, return_path)
            receipt = await self._content(mail.wire, answer_timeout_seconds)
            finished = True
            return receipt
        except (PermanentError, TransientError):
            finished = await self._reset()
            raise
        finally:
            if not finished:
                self.abort()

    async def alive(self) -> bool:
        """Ask with NOOP; False, and aborted, if the server does not answer 250."""
        with contextlib.suppress(ConnectionBroken):
            (reply,) = await self._exchange(b"NOOP\r\n", 1)
            if reply.code in _ACCEPTED:
                return True
        self.abort()
        return False

    async def quit(self) -> None:
        """Leave politely; never raises and waits at most two seconds."""
        if self.usable:
            self._timeout_seconds = min(self._timeout_seconds, 2.0)
            with contextlib.suppress(ConnectionBroken):
                await self._exchange(b"QUIT\r\n", 1)
        self.abort()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._break("closed by us")
        if self._alarm is not None:
            self._alarm.cancel()
        self._transport.abort()

    # --------------------------------------------------------------------------------------------- the transaction

    async def _envelope(self, mail: WireMail, return_path: str) -> None:
        """MAIL, RCPT and DATA; returns when the server waits for the content, else raises what the refusal means."""
        size = len(mail.wire)
        if self.size_bytes_max and size > self.size_bytes_max:
            reason = f"the mail has {size} bytes; the server takes at most {self.size_bytes_max}"
            raise PermanentError(reason, code="size", address_verdict=Verdict.MESSAGE)
        assert self.eight_bit or not mail.eight_bit
        options = " BODY=8BITMIME" if mail.eight_bit else ""
        options += f" SIZE={size}" if self.sizes else ""
        commands = (
            f"MAIL FROM:<{return_path}>{options}\r\n".encode("ascii"),
            f"RCPT TO:<{mail.recipient.address}>\r\n".encode("ascii"),
            b"DATA\r\n",
        )
        replies: list[Reply] = []
        try:
            if self.pipelining:
                replies = await self._exchange(b"".join(commands), _ENVELOPE_REPLIES)
            else:
                for command in commands:
                    replies += await self._exchange(command, 1)
                    if replies[-1].code >= _REFUSED_FROM:
                        break
        except ConnectionBroken as lost:
            _raise_refusal(replies + lost.replies)
            raise TransientError(f"the connection was lost before the content: {lost.why}", code="lost") from None
        if len(replies) == _ENVELOPE_REPLIES and replies[2].code == _START_INPUT and _refusal(replies) is not None:
            # The server wants content although it refused the envelope. RFC 2920 lets a lone dot end that; leaving
            # does not depend on what the server makes of an empty mail.
            self.abort()
        _raise_refusal(replies)
        if [reply.code in _ACCEPTED for reply in replies[:2]] != [True, True] or replies[2].code != _START_INPUT:
            self.abort()
            raise TransientError("the server's answers to the envelope make no sense", code="protocol")
        if not self.usable:
            raise TransientError(f"the connection was lost before the content: {self._broken}", code="lost")

    async def _content(self, wire: bytes, answer_timeout_seconds: float) -> Receipt:
        """Send the content and the dot; from there on only the server's answer makes anything certain."""
        if len(wire) > _CONTENT_AT_ONCE_BYTES_MAX:
            await self._before_the_dot(wire[:-3])
            wire = wire[-3:]
        try:
            (reply,) = await self._exchange(wire, 1, timeout_seconds=answer_timeout_seconds)
        except ConnectionBroken as lost:
            raise UnknownOutcome(f"the content was sent and no answer came: {lost.why}") from None
        if reply.code >= _REFUSED_FROM:
            raise classify_reply(reply.code, reply.text, phase="data")
        if reply.code not in _ACCEPTED:
            raise UnknownOutcome(f"the content was sent and the answer was {reply.code}, which means nothing here")
        response = f"{reply.code} {without_addresses(reply.text)}"
        return Receipt(_queue_id(reply.text), response)

    async def _before_the_dot(self, content: bytes) -> None:
        """Write all but the dot and wait until the transport took it, so that a loss meanwhile is certainly a loss."""
        self._expect(1, self._timeout_seconds)
        self._transport.write(content)
        waiter = self._waiter
        assert waiter is not None
        try:
            while self._resumed is not None and not waiter.done():
                await asyncio.wait((self._resumed, waiter), return_when=asyncio.FIRST_COMPLETED)
            if waiter.done():
                (reply,) = waiter.result()
                self._break("the server answered before the end of the content")
                _raise_refusal([reply])
                raise TransientError("the server answered before the end of the content", code="protocol")
        except ConnectionBroken as lost:
            raise TransientError(f"the connection was lost within the content: {lost.why}", code="lost") from None
        finally:
            self._waiter = None
        if not self.usable:
            raise TransientError(f"the connection was lost within the content: {self._broken}", code="lost")

    async def _reset(self) -> bool:
        """Make the connection fit for the next transaction after a refusal; False if it is not."""
        if not self.usable:
            return False
        try:
            (reply,) = await self._exchange(b"RSET\r\n", 1)
        except ConnectionBroken:
            return False
        return reply.code in _ACCEPTED

    # --------------------------------------------------------------------------------------------- writing and reading

    async def _exchange(self, data: bytes, expected: int, *, timeout_seconds: float = 0.0) -> list[Reply]:
        """Write, then wait for exactly that many replies; `ConnectionBroken` with those that came if there are fewer."""
        if not self.usable:
            raise ConnectionBroken(self._broken or "it was closing", [])
        self._expect(expected, timeout_seconds or self._timeout_seconds)
        waiter = self._waiter
        assert waiter is not None
        self._transport.write(data)
        try:
            return await waiter
        finally:
            self._waiter = None

    def _expect(self, replies: int, timeout_seconds: float) -> None:
        self._replies = []
        self._expected = replies
        self._waiter = self._loop.create_future()
        self._deadline_seconds = self._loop.time() + timeout_seconds
        # One timer for many exchanges: it looks at the deadline when it fires, and is set anew only to fire earlier.
        alarm = self._alarm
        if alarm is None or alarm.cancelled() or alarm.when() > self._deadline_seconds:
            if alarm is not None:
                alarm.cancel()
            self._alarm = self._loop.call_at(self._deadline_seconds, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        if self._waiter is None:
            return
        if self._loop.time() < self._deadline_seconds:
            self._alarm = self._loop.call_at(self._deadline_seconds, self._on_alarm)
            return
        self._break("no answer in time")
        self._transport.abort()

    def _break(self, why: str) -> None:
        if self._broken is None:
            self._broken = why
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionBroken(self._broken, self._replies))

    def data_received(self, data: bytes) -> None:
        """Split into replies; `asyncio` calls this."""
        if self._broken is not None:
            return
        self._buffer = data = self._buffer + data if self._buffer else data
        if len(data) > _REPLY_BYTES_MAX:
            self._break("an answer longer than any SMTP answer")
            return
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            line = data[start:end].rstrip(b"\r")
            start = end + 1
            if not self._take_line(line):
                return
        self._buffer = data[start:]

    def _take_line(self, line: bytes) -> bool:
        if not _LINE_START.match(line):
            self._break("an answer that is not SMTP")
            return False
        self._lines.append(line[4:].decode("utf-8", "replace").strip())
        if line[3:4] == b"-":
            return True
        reply = Reply(int(line[:3]), " ".join(self._lines))
        self._lines = []
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._break(f"an answer nobody asked for ({reply.code})")
            return False
        self._replies.append(reply)
        if len(self._replies) == self._expected:
            waiter.set_result(self._replies)
        if reply.code == _SERVICE_CLOSING:
            # It closes now; the commands behind the one it answered will get no answer.
            self._break("the server is closing")
            return False
        return True

    def eof_received(self) -> None:
        """The server closed its side."""
        self._break("the server closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._break("the connection broke" if exc else "the server closed the connection")
        if self._alarm is not None:
            self._alarm.cancel()
        self.resume_writing()

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        if self._resumed is None:
            self._resumed = self._loop.create_future()

    def resume_writing(self) -> None:
        """The transport's buffer has room."""
        if self._resumed is not None:
            if not self._resumed.done():
                self._resumed.set_result(None)
            self._resumed = None


def _refusal(replies: list[Reply]) -> ChannelError | None:
    """Return what the first refusing reply of an envelope means; the ones behind it only follow from it."""
    phases: tuple[Phase, ...] = ("mail", "rcpt", "data")
    for phase, reply in zip(phases, replies, strict=False):
        if reply.code >= _REFUSED_FROM:
            return classify_reply(reply.code, reply.text, phase=phase)
    return None


def _raise_refusal(replies: list[Reply]) -> None:
    error = _refusal(replies)
    if error is not None:
        raise error


def _size_limit(extensions: dict[str, str]) -> int:
    value = extensions.get("size", "").strip()
    return int(value) if value.isdigit() else 0


def _queue_id(text: str) -> str:
    """Find the id the server queued the mail under, as Postfix ("queued as X") and Exim ("id=X") write it."""
    found = _QUEUE_ID.search(text)
    return found.group(1) if found else ""
