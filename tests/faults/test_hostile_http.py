"""Strangers on the collector's port, against the real process: every answer is meant, the log stays quiet, a 200 is kept."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.collector import body
from tests.cli.conftest import Running, anlass, signed_up, wait_for
from tests.faults.conftest import MailServer, messages, rows

TRACK = {"type": "track", "userId": "u", "event": "E"}
WRITE_KEY = "tXfW8nq3LZ0cVb6RjUo2sKeYd4AhMp7G"
KEY = "Authorization: Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode()


class Client:
    """Raw bytes to the port."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self.address = (host, int(port))

    def send(self, data: bytes, *, end: bool = False) -> tuple[int, bytes]:
        """(status, body) of the answer to these bytes; status 0: none. `end` says that no more will come."""
        with socket.create_connection(self.address, timeout=10) as sock:
            sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
            answer = b""
            try:
                while piece := sock.recv(65_536):
                    answer += piece
            except ConnectionError:
                pass
        return (int(answer.split(b" ", 2)[1]) if answer else 0), answer.partition(b"\r\n\r\n")[2]

    def post(self, data: bytes, *headers: str, path: str = "/v1/track", length: int | None = None) -> tuple[int, bytes]:
        """A POST with the write key."""
        lines = [
            "Host: x",
            "Connection: close",
            KEY,
            *headers,
            f"Content-Length: {len(data) if length is None else length}",
        ]
        head = f"POST {path} HTTP/1.1\r\n" + "\r\n".join(lines) + "\r\n\r\n"
        return self.send(head.encode() + data, end=length is not None)


def event(**changes: Any) -> bytes:
    """A good event with something changed."""
    return json.dumps({**TRACK, **changes}).encode()


BODIES = {
    b"": 400, b"null": 400, b"[]": 400, b'{"a":': 400, b"\0": 400, b'{"userId":"u","event":"\xff"}': 400,
    b'{"userId":"\\ud800","event":"E"}': 400, event(properties={"a": "\0"}): 400, event(properties={"\0": 1}): 400,
    b'{"userId":"u","event":"E","properties":{"a":NaN}}': 400, b'{"userId":"u","event":"E","properties":{"a":1e999}}': 400,
    b'{"userId":"u","event":"E","properties":{"a":' + b"9" * 5_000 + b"}}": 400,
    b'{"userId":"u","event":"E","properties":{"a":' + b"[" * 9_000 + b"]" * 9_000 + b"}}": 400,
    event(userId=None): 400, event(userId=True): 400, event(userId="u" * 600): 400, event(event=None): 400,
    event(properties=[]): 400, event(timestamp="yesterday"): 400, event(messageId="m" * 200): 400,
    event(timestamp="1970-01-01T00:00:00Z"): 400, event(timestamp="2100-01-01T00:00:00Z"): 400,
    event(timestamp="0001-01-01T00:00:00"): 400, event(timestamp="9999-12-31T23:59:59+14:00"): 400,
    event(event="🛒"): 200, event(userId="0"): 200,
    event(properties={"x": "y" * 40_000}): 413, b"x" * 10_000_000: 413,
}  # fmt: skip


def test_hostile_requests_get_answers_and_leave_no_trace_in_the_log(run: Callable[..., Running], project: Path) -> None:
    """Refused in JSON with a code, taken when they are only strange; every 200 is on the log; nothing is a 500."""
    running = run({"ANLASS_COLLECTOR__WRITE_KEYS": json.dumps([WRITE_KEY])})
    client = Client(running.url)
    for data, expected in BODIES.items():
        status, answer = client.post(data)
        assert status == expected, data[:80]
        if status != 200:
            refused = json.loads(answer)
            assert refused["code"], data[:80]
            assert refused["message"], data[:80]
    taken = sum(status == 200 for status in BODIES.values())
    wait_for(lambda: rows(project, "SELECT count(*) AS n FROM log")[0]["n"] == taken, "each 200 on the log")

    whole = gzip.compress(event())
    assert client.post(whole[:-9], "Content-Encoding: gzip")[0] == 400
    assert client.post(gzip.compress(b" " * 100_000_000), "Content-Encoding: gzip", path="/v1/batch")[0] == 413
    batch = json.dumps({"batch": [TRACK] * 2_501}).encode()
    assert client.post(batch, path="/v1/batch")[0] == 413
    for length in (5_000, -5, 10**30):
        assert client.post(event(), length=length)[0] in (0, 400), length
    assert client.send(b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0] == 404
    assert client.send(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")[0] == 400
    slow = [socket.create_connection(client.address) for _ in range(200)]
    for sock in slow:
        sock.sendall(
            b"POST /v1/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n" + KEY.encode() + b"\r\n\r\n{"
        )
    assert client.post(event())[0] == 200
    for sock in slow:
        sock.close()
    assert client.post(event())[0] == 200
    assert running.stop() == 0
    assert "Traceback" not in running.log
    assert '"level": "error"' not in running.log, running.log


async def test_a_body_that_does_not_come_is_not_waited_for(collector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """408, and the connection is to be closed (the library reads on for ten seconds, so that the answer is not lost)."""
    monkeypatch.setattr(body, "BODY_SECONDS_MAX", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(collector.url.rpartition(":")[2]))
    writer.write(b"POST /v1/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"}")
    assert b"\r\nConnection: close\r\n" in answer
    assert b" 408 " in answer.partition(b"\r\n")[0]
    assert b"body_too_slow" in answer
    writer.close()


CANARY = "kanarienvogel"


def test_canaries_are_in_no_log_line_metric_or_error_page(
    run: Callable[..., Running], project: Path, mail_server: Callable[[], MailServer]
) -> None:
    """Names, addresses and content of customers, sent, refused, failed and looked for, stay out of what operators share."""
    (project / "templates/email/tips.html").write_text(
        '---\nsubject: Hi\n---\n<p>{{ event.when | date }}</p>\n<a href="{{ unsubscribe_url }}">No more</a>\n'
    )
    (project / "templates/email/tips.de.html").unlink()
    (project / "workflows/canary.yaml").write_text(
        "workflow: canary\npurpose: marketing\ntrigger: {event: Canary}\nsteps:\n  - send: {channel: email, template: tips}\n"
    )
    server = mail_server().up(rcpt=f"550 5.1.1 <ana@{CANARY}.example> unknown")
    running = run(server.env)
    events = signed_up("ana")
    events[0]["traits"] |= {"email": f"ana@{CANARY}.example", "first_name": CANARY, "note": {"deep": [CANARY]}}
    running.post(*events, {"type": "track", "userId": "ana", "event": "Canary", "properties": {"when": CANARY}})
    wait_for(lambda: messages(project).get("ana", ("",))[0] in ("failed", "suppressed"), "an answer")
    client = Client(running.url)
    pages = [
        client.post(json.dumps({"userId": CANARY}).encode())[1],
        client.post(f'{{"userId": "{CANARY}", "event": "E", "timestamp": "{CANARY}"}}'.encode())[1],
        client.post(f'{{"batch": [{{"type": "track", "userId": "{CANARY}"}}, "{CANARY}"]}}'.encode(), path="/v1/batch")[
            1
        ],
    ]
    paths = (f"/{CANARY}", f"/u/{CANARY}", f"/me/{CANARY}", "/metrics")
    heads = (f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" for path in paths)
    pages += [client.send(head.encode())[1] for head in heads]
    assert anlass("erase", "ana", "--yes", "--project", project).status == 0
    running.stop()
    for text in (running.log, *(page.decode() for page in pages)):
        assert CANARY not in text
