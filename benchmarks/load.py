"""An open-loop load of events over HTTP: every event has its due time, and is sent then whatever became of the earlier ones.

Invariant: latency counts from the due time, so that a slow answer cannot make the load gentler.

    python -m benchmarks.load --url http://127.0.0.1:8080 --rate 1000 --seconds 10 --customers 1000 --tag r1

Customer `c{n % customers}` emits `Order Paid` with `order: {tag}-{n}`; the JSON line at the end tells the start and the answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

from benchmarks.harness import cpu_self_seconds, run_on_uvloop

CONNECTIONS = 32
_LEAD_SECONDS = 0.3


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way; the next waits in `queue`."""

    def __init__(self, queue: asyncio.Queue[bytes], tally: dict[str, int]) -> None:
        self._queue = queue
        self._tally = tally
        self._answer: asyncio.Future[None] | None = None
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """An answer ends with the body that its Content-Length announces."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        self._tally["ok" if head.startswith(b"HTTP/1.1 200") else "refused"] += 1
        self._buffer = body[length:]
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it; the request under way is lost."""
        if self._answer is not None and not self._answer.done():
            self._tally["lost"] += 1
            self._answer.set_result(None)

    async def serve(self) -> None:
        """Send what is due, one after the other."""
        assert self._transport is not None
        while True:
            request = await self._queue.get()
            self._answer = asyncio.get_running_loop().create_future()
            self._transport.write(request)
            await self._answer
            self._queue.task_done()


def request_of(host: str, path: str, body: bytes) -> bytes:
    """A POST as it stands on the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def send_all(arguments: argparse.Namespace) -> dict[str, float]:
    """Send everything when it is due; returns when all is answered."""
    place = urlsplit(arguments.url)
    total = int(arguments.rate * arguments.seconds)
    requests = [_request(arguments, place.netloc, number) for number in range(total)]
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    tally = {"ok": 0, "refused": 0, "lost": 0}
    loop = asyncio.get_running_loop()
    serving = []
    for _ in range(CONNECTIONS):
        _, connection = await loop.create_connection(lambda: Connection(queue, tally), place.hostname, place.port)
        serving.append(asyncio.create_task(connection.serve()))
    start, start_at = time.perf_counter() + _LEAD_SECONDS, time.time() + _LEAD_SECONDS
    number = 0
    while number < total:
        due = min(total, int((time.perf_counter() - start) * arguments.rate) + 1)
        for number in range(number, max(number, due)):  # noqa: B020 - goes on where it stood
            queue.put_nowait(requests[number])
        number = max(number, due)
        await asyncio.sleep(max(0.0005, start + number / arguments.rate - time.perf_counter()))
    await queue.join()
    for task in serving:
        task.cancel()
    return {"start_at": start_at, "events": total, **tally, "cpu_seconds": cpu_self_seconds()}


def _request(arguments: argparse.Namespace, host: str, number: int) -> bytes:
    body = {
        "messageId": f"{arguments.tag}-{number}",
        "userId": f"c{number % arguments.customers}",
        "event": "Order Paid",
        "properties": {"order": f"{arguments.tag}-{number}", "total": 49.9, "currency": "EUR", "items": 3},
        "context": {"library": {"name": "benchmark", "version": "1"}},
    }
    return request_of(host, "/v1/track", json.dumps(body).encode())


def main() -> None:
    """Read the command line and send."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description="Open-loop load over HTTP.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--customers", type=int, default=1_000)
    parser.add_argument("--tag", default="r")
    print(json.dumps(run_on_uvloop(send_all(parser.parse_args(sys.argv[1:])))))


if __name__ == "__main__":
    main()
