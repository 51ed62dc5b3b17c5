"""`anlass emit`: every line is acknowledged, reported or named as the one to go on with."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Running, anlass, free_port, signed_up, wait_for


class Collector:
    """A collector that answers as it is told: one status per request, 200 when there is none left."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.events: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.requests += 1
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                raw = gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw
                status = outer.statuses.pop(0) if outer.statuses else 200
                batch = json.loads(raw)["batch"]
                if status == 200 and any(event.get("event") == "Poison" for event in batch):
                    status = 400
                if status == 200:
                    outer.events += batch
                    outer.keys.append(self.headers["Authorization"])
                body = b'{"success": true}' if status == 200 else b'{"code": "no", "message": "No."}'
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def write(path: Path, events: list[Any]) -> Path:
    lines = (event if isinstance(event, str) else json.dumps(event) for event in events)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def tracks(count: int) -> list[dict[str, Any]]:
    return [{"type": "track", "userId": f"c{number}", "event": "Viewed"} for number in range(1, count + 1)]


def test_events_reach_the_running_project(run: Callable[..., Running]) -> None:
    """Without --to they go to the project's own service, wherever it listens."""
    running = run()
    file = write(running.project / "events.jsonl", signed_up("ana"))
    sent = anlass("emit", file, "--project", running.project)
    assert (sent.status, sent.out) == (0, "2 events sent.\n")
    wait_for(running.mailbox, "the mail")


def test_batches_of_a_hundred_and_stable_ids(collector: Collector, tmp_path: Path) -> None:
    """Lines go out in hundreds; one without a messageId gets the same one every time, different lines different ones."""
    file = write(tmp_path / "events.jsonl", [*tracks(250), tracks(250)[-1]])
    for _ in range(2):
        assert anlass("emit", file, "--to", collector.url, "--write-key", "k").status == 0
    assert collector.requests == 6
    ids = [event["messageId"] for event in collector.events]
    assert len(ids) == 502
    assert ids[:251] == ids[251:]
    assert len(set(ids)) == 251
    assert [event["userId"] for event in collector.events[:251]] == [
        *(f"c{number}" for number in range(1, 251)),
        "c250",
    ]


def test_bad_lines_are_reported_and_the_good_ones_sent(collector: Collector, tmp_path: Path) -> None:
    """Each bad line with file, number, code and reason; the status is 1; nothing good is lost."""
    good = tracks(4)
    bad: list[Any] = ["{nonsense", "[]", {"type": "track", "event": "Viewed"}, {"type": "dance", "userId": "x"}]
    file = write(tmp_path / "events.jsonl", [good[0], bad[0], good[1], bad[1], "", bad[2], good[2], bad[3], good[3]])
    sent = anlass("emit", file, "--to", collector.url, "--write-key", "k")
    assert sent.status == 1
    assert [line.removeprefix(f"{file}:").split(":")[0] for line in sent.err.splitlines()] == ["2", "4", "6", "8"]
    assert "invalid_json" in sent.err
    assert "missing_user" in sent.err
    assert [event["userId"] for event in collector.events] == ["c1", "c2", "c3", "c4"]
    assert sent.out == "4 events sent, 4 refused.\n"


def test_a_line_that_only_the_collector_refuses(collector: Collector, tmp_path: Path) -> None:
    """A collector of another version refuses one line of a batch: that one is found, the others arrive once."""
    events = [*tracks(30), {"type": "track", "userId": "x", "event": "Poison"}, *tracks(30)]
    sent = anlass("emit", write(tmp_path / "events.jsonl", events), "--to", collector.url, "--write-key", "k")
    assert sent.status == 1
    assert "events.jsonl:31: no No." in sent.err
    assert len(collector.events) == 60


def test_a_collector_that_is_busy_is_asked_again(collector: Collector, tmp_path: Path) -> None:
    """429 and 5xx are tried again with a pause; everything arrives once."""
    collector.statuses = [429, 503, 200, 500]
    sent = anlass("emit", write(tmp_path / "events.jsonl", tracks(150)), "--to", collector.url, "--write-key", "k")
    assert sent.status == 0, sent.err
    assert len(collector.events) == 150
    assert "3 retries" in sent.out


def test_a_file_can_be_gone_on_with(collector: Collector, tmp_path: Path) -> None:
    """When the key stops working in the middle, the line to go on with is named, and from there nothing is missing."""
    file = write(tmp_path / "events.jsonl", tracks(250))
    collector.statuses = [200, 401]
    first = anlass("emit", file, "--to", collector.url, "--write-key", "k")
    assert first.status == 2
    assert "--from-line 101" in first.err
    second = anlass("emit", file, "--to", collector.url, "--write-key", "k", "--from-line", "101")
    assert second.status == 0
    assert [event["userId"] for event in collector.events] == [f"c{number}" for number in range(1, 251)]


def test_nobody_listens(project: Path, tmp_path: Path) -> None:
    """Status 3, one sentence with the address, and where to go on."""
    url = f"http://127.0.0.1:{free_port()}"
    sent = anlass("emit", write(tmp_path / "events.jsonl", tracks(1)), "--to", url, "--write-key", "k")
    assert sent.status == 3
    assert url in sent.err
    assert "Connection refused" in sent.err
    assert "--from-line 1" in sent.err
    assert "Traceback" not in sent.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "kafka://broker"], "is not an address of Kafka"),
        (["--to", "shop.example"], "is not a web address"),
        (["--from-line", "0"], "--from-line"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path: Path, arguments: list[str], said: str) -> None:
    """Status 2 and a sentence that says what."""
    refused = anlass("emit", write(tmp_path / "events.jsonl", tracks(1)), *arguments)
    assert refused.status == 2
    assert said in refused.err


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Status 2, naming the file."""
    refused = anlass("emit", tmp_path / "none.jsonl", "--to", "http://127.0.0.1:1", "--write-key", "k")
    assert refused.status == 2
    assert "none.jsonl" in refused.err


def test_standard_input(collector: Collector) -> None:
    """`-` reads what another program writes."""
    sent = anlass("emit", "-", "--to", collector.url, "--write-key", "k", stdin=json.dumps(tracks(1)[0]) + "\n")
    assert sent.status == 0, sent.err
    assert [event["userId"] for event in collector.events] == ["c1"]
