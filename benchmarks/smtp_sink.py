"""A fast SMTP sink that counts: every message id it accepted, how often, and which expected ones never came.

Invariant: a message is counted before its 250 is written, so "accepted" here is never less than a client may believe.

    python -m benchmarks.smtp_sink --port 2525 [--journal ids.jsonl] [--expect ids.txt] [--delay-ms 5]
                                   [--reject '^full@=552 5.2.2 mailbox full']… [--no-pipelining]

One JSON line tells the port when it listens, one the statistics when it ends (SIGTERM, SIGINT). Meanwhile the SMTP
command XSTATS answers `250 {json}`, and `stats(host, port)` asks for it. It has no security of any kind: loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import signal
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import IO, cast

_MESSAGE_ID = re.compile(rb"^Message-ID:\s*<([^@>]{1,200})", re.IGNORECASE | re.MULTILINE)
_HEAD_BYTES_MAX = 16_384
_COMMAND_BYTES_MAX = 8_192
_LISTED_MAX = 20
_FLUSH_SECONDS = 0.2


class Sink:
    """What was received, and the rules by which it is answered."""

    def __init__(
        self, *, journal: IO[str] | None = None, rejects: list[tuple[re.Pattern[str], bytes]] | None = None
    ) -> None:
        self.ids: Counter[str] = Counter()
        self.without_id = 0
        self.bytes = 0
        self.connections = 0
        self.rejected = 0
        self.first_at_s = 0.0
        self.last_at_s = 0.0
        self.delay_seconds = 0.0
        self.pipelining = True
        self.rejects = rejects or []
        self.expected: set[str] | None = None
        self._journal = journal

    def take(self, message: bytes) -> None:
        """Count one message (content without the final dot)."""
        now = time.time()
        self.first_at_s = self.first_at_s or now
        self.last_at_s = now
        self.bytes += len(message)
        found = _MESSAGE_ID.search(message, 0, _HEAD_BYTES_MAX)
        if found is None:
            self.without_id += 1
            return
        message_id = found.group(1).decode("ascii", "replace")
        self.ids[message_id] += 1
        if self._journal is not None:
            self._journal.write(f'{{"id": {json.dumps(message_id)}, "at": {now:.6f}}}\n')

    def flush(self) -> None:
        """Write the journal out."""
        if self._journal is not None:
            self._journal.flush()

    def stats(self) -> dict[str, object]:
        """Counts; at most 20 ids are listed of each kind."""
        twice = [message_id for message_id, count in self.ids.items() if count > 1]
        usage = resource.getrusage(resource.RUSAGE_SELF)
        seconds = self.last_at_s - self.first_at_s
        messages = self.ids.total() + self.without_id
        result: dict[str, object] = {
            "messages": messages,
            "distinct": len(self.ids),
            "duplicates": self.ids.total() - len(self.ids),
            "duplicate_ids": twice[:_LISTED_MAX],
            "without_id": self.without_id,
            "rejected": self.rejected,
            "connections": self.connections,
            "bytes": self.bytes,
            "first_at": self.first_at_s,
            "last_at": self.last_at_s,
            "per_second": round(messages / seconds, 1) if seconds > 0 else None,
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        }
        if self.expected is not None:
            missing = self.expected - self.ids.keys()
            unexpected = self.ids.keys() - self.expected
            result |= {"missing": len(missing), "missing_ids": sorted(missing)[:_LISTED_MAX]}
            result |= {"unexpected": len(unexpected), "unexpected_ids": sorted(unexpected)[:_LISTED_MAX]}
        return result


class Session(asyncio.Protocol):
    """One client; parses as many commands as one read brought and answers them in one write."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = bytearray()
        self._in_data = False
        self._mail = False
        self._recipients = 0
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self._sink.connections += 1
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Take commands and content."""
        buffer = self._buffer
        seen = max(0, len(buffer) - 4)
        buffer += data
        while True:
            if self._in_data:
                end = buffer.find(b"\r\n.\r\n", seen)
                if end < 0:
                    break
                self._sink.take(bytes(buffer[: end + 2]))
                del buffer[: end + 5]
                self._in_data = self._mail = False
                self._out.append(b"250 2.0.0 Ok: queued as SINK\r\n")
            else:
                end = buffer.find(b"\n")
                if end < 0:
                    break
                line = bytes(buffer[:end]).rstrip(b"\r")
                del buffer[: end + 1]
                self._command(line)
            seen = 0
        if not self._in_data and len(buffer) > _COMMAND_BYTES_MAX:
            self._out.append(b"500 5.5.2 Line too long\r\n")
            buffer.clear()
        self._answer()

    def _command(self, line: bytes) -> None:
        verb = line[:4].upper()
        out = self._out
        if verb == b"MAIL":
            self._mail, self._recipients = True, 0
            out.append(b"250 2.1.0 Ok\r\n")
        elif verb == b"RCPT":
            refusal = self._refusal(line)
            self._recipients += refusal is None
            out.append(refusal or b"250 2.1.5 Ok\r\n")
        elif verb == b"DATA":
            self._in_data = self._mail and self._recipients > 0
            out.append(b"354 Go on\r\n" if self._in_data else b"554 5.5.1 No valid recipients\r\n")
        elif verb == b"EHLO":
            pipelining = b"250-PIPELINING\r\n" if self._sink.pipelining else b""
            out.append(b"250-sink\r\n" + pipelining + b"250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n")
        elif verb in {b"HELO", b"RSET", b"NOOP"}:
            self._mail = False
            out.append(b"250 2.0.0 Ok\r\n")
        elif verb == b"XSTA":
            self._sink.flush()
            out.append(b"250 " + json.dumps(self._sink.stats()).encode() + b"\r\n")
        elif verb == b"QUIT":
            out.append(b"221 2.0.0 Bye\r\n")
            self._answer()
            if self._transport is not None:
                self._transport.close()
        else:
            out.append(b"502 5.5.1 Not here\r\n")

    def _refusal(self, line: bytes) -> bytes | None:
        if not self._sink.rejects:
            return None
        address = line.decode("utf-8", "replace").partition("<")[2].partition(">")[0]
        for pattern, answer in self._sink.rejects:
            if pattern.search(address):
                self._sink.rejected += 1
                return answer
        return None

    def _answer(self) -> None:
        if not self._out or self._transport is None:
            return
        answer = b"".join(self._out)
        self._out.clear()
        if self._sink.delay_seconds:
            asyncio.get_running_loop().call_later(self._sink.delay_seconds, self._transport.write, answer)
        else:
            self._transport.write(answer)


def stats(host: str, port: int) -> dict[str, object]:
    """Ask a running sink for its statistics, over SMTP."""
    with socket.create_connection((host, port), timeout=10) as connection, connection.makefile("rwb") as stream:
        stream.readline()
        stream.write(b"XSTATS\r\n")
        stream.flush()
        answer: dict[str, object] = json.loads(stream.readline()[4:])
        return answer


async def serve(sink: Sink, *, host: str, port: int) -> None:
    """Listen until SIGTERM or SIGINT; prints the port at the start and the statistics at the end."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_server(lambda: Session(sink), host, port, backlog=1024)
    print(json.dumps({"listening": server.sockets[0].getsockname()[1]}), flush=True)
    while not ended.is_set():
        try:
            await asyncio.wait_for(ended.wait(), _FLUSH_SECONDS)
        except TimeoutError:
            sink.flush()
    server.close()
    sink.flush()
    print(json.dumps(sink.stats()), flush=True)


def main(arguments: list[str]) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.smtp_sink", description="A counting SMTP sink.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2525, help="0: any free one, told on standard output")
    parser.add_argument("--journal", type=Path, help="append one JSON line per accepted message")
    parser.add_argument(
        "--expect", type=Path, help="a file with one message id per line; the end tells what is missing"
    )
    parser.add_argument("--reject", action="append", default=[], metavar="REGEX=REPLY", help="refuse these recipients")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="answer that much later")
    parser.add_argument("--no-pipelining", action="store_true")
    chosen = parser.parse_args(arguments)
    rejects = []
    for rule in chosen.reject:
        pattern, _, reply = rule.rpartition("=")
        if not pattern or not re.match(r"[45]\d\d ", reply):
            parser.error(f"--reject {rule!r} is not of the form REGEX=REPLY, e.g. '^full@=552 5.2.2 mailbox full'")
        rejects.append((re.compile(pattern), reply.encode() + b"\r\n"))
    journal = chosen.journal.open("a", encoding="utf-8") if chosen.journal else None
    sink = Sink(journal=journal, rejects=rejects)
    sink.delay_seconds = chosen.delay_ms / 1000
    sink.pipelining = not chosen.no_pipelining
    if chosen.expect:
        sink.expected = set(chosen.expect.read_text(encoding="utf-8").split())
    try:
        import uvloop  # noqa: PLC0415 - optional: the sink runs without it, slower
    except ImportError:
        asyncio.run(serve(sink, host=chosen.host, port=chosen.port))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(sink, host=chosen.host, port=chosen.port))


if __name__ == "__main__":
    main(sys.argv[1:])
