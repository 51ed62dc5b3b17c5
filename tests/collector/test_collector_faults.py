"""Bad input and a failing store: refused with a clear error, never lost after a 200, never a traceback."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import structlog
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from engine.clock import ManualClock, SystemClock
from engine.collector import build_collector, build_operators, operators_views
from engine.core.record import Event
from engine.runtimes.embedded import EmbeddedOptions, EmbeddedRuntime
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import CollectorSection
from engine.telemetry import configure_logging
from tests.collector.conftest import T0, Collector, Served, catalog, make_parts
from tests.properties import examples

TRACK = {"type": "track", "userId": "c1", "event": "E"}
MEGABYTE = 1_000_000


async def refused(collector: Collector, path: str, data: bytes, **headers: str) -> tuple[int, str]:
    status, answer = await collector.post(path, data=data, headers=headers)
    assert answer["message"]
    assert collector.records == []
    return status, answer["code"]


async def test_large_bodies_are_refused(collector: Collector) -> None:
    """10 MB, with the length said beforehand and without."""
    body = b'{"batch":["' + b"x" * (10 * MEGABYTE) + b'"]}'
    assert await refused(collector, "/v1/batch", body) == (413, "body_too_large")

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    try:
        async with collector.http.post(f"{collector.url}/v1/batch", data=pieces()) as answer:
            assert (answer.status, (await answer.json())["code"]) == (413, "body_too_large")
    except aiohttp.ClientConnectionError:
        pass  # the collector may hang up on who does not stop
    assert (await collector.post("/v1/track", TRACK))[0] == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_ends_at_the_bound(encoding: str, collector: Collector) -> None:
    """A gigabyte of blanks in a megabyte: the answer comes at once, and memory does not grow with it."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    blank = b" " * MEGABYTE
    bomb = b"".join(squeeze.compress(blank) for _ in range(300)) + squeeze.flush()
    assert len(bomb) < 500_000
    async with asyncio.timeout(5):
        assert await refused(collector, "/v1/batch", bomb, **{"Content-Encoding": encoding}) == (413, "body_too_large")


async def test_broken_compression_is_refused(collector: Collector) -> None:
    """Garbage, half a stream, and encodings that we do not speak."""
    whole = gzip.compress(json.dumps(TRACK).encode())
    for data in (b"garbage", whole[:-20], whole + b"more", whole + whole):
        answer = await refused(collector, "/v1/track", data, **{"Content-Encoding": "gzip"})
        assert answer == (400, "invalid_encoding")
    for encoding in ("br", "zstd", "x-y"):
        answer = await refused(collector, "/v1/track", b"x", **{"Content-Encoding": encoding})
        assert answer == (415, "unsupported_media_type")


async def test_what_is_no_http_is_answered_and_does_not_fill_the_log(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger's garbage on the port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(collector.url.rpartition(":")[2]))
    writer.write(b"\x16\x03\x01 what is this\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()
    assert "Traceback" not in caplog.text


async def test_the_limits_of_segment_hold(collector: Collector) -> None:
    """32 KB for an event, 2,500 events in a batch."""
    large = {**TRACK, "properties": {"x": "y" * 33_000}}
    assert await refused(collector, "/v1/track", msgspec.json.encode(large)) == (413, "event_too_large")
    many = {"batch": [TRACK] * 2_501}
    assert await refused(collector, "/v1/batch", msgspec.json.encode(many)) == (413, "too_many_events")
    assert (await collector.post("/v1/batch", {"batch": [TRACK] * 2_500}))[0] == 200


async def test_unknown_paths_and_methods_are_answered_in_json(collector: Collector) -> None:
    """Also those that the library refuses by itself."""
    assert await refused(collector, "/v1/nothing", b"{}") == (404, "not_found")
    async with collector.http.get(f"{collector.url}/v1/track") as answer:
        assert (answer.status, (await answer.json())["code"]) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "POST"


class Broken(MemoryRuntime):
    """A runtime with a mistake of ours in it."""

    async def append(self, records: Any) -> None:
        raise RuntimeError("a secret value: ana@example.com")


async def test_our_own_mistake_is_an_id_in_the_answer_and_in_the_log() -> None:
    """No traceback, and not the exception's text, which may hold data."""
    clock = ManualClock(T0)
    said = io.StringIO()
    configure_logging(stream=said)
    app = build_collector(CollectorSection(), make_parts(Broken(catalog(), clock=clock), clock))
    try:
        async with (
            Served(app) as served,
            aiohttp.ClientSession() as http,
            http.post(f"{served.url}/v1/track", json=TRACK) as answer,
        ):
            body = await answer.json()
            assert (answer.status, body["code"]) == (500, "internal_error")
    finally:
        structlog.reset_defaults()
    assert body["id"] in said.getvalue()
    for text in (json.dumps(body), said.getvalue()):
        assert "Traceback" not in text
        assert "ana@example.com" not in text


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[EmbeddedRuntime]:
    """The real store, on a disk that a test can fill."""
    runtime = EmbeddedRuntime(tmp_path / "var", catalog(), options=EmbeddedOptions(append_records_max=5_000))
    await runtime.start()
    yield runtime
    await runtime.stop()


async def test_a_200_means_that_the_record_is_in_the_store(embedded: EmbeddedRuntime) -> None:
    """Another connection to the file sees it as soon as the answer is there, and twice the same id is one."""
    clock = SystemClock()
    parts = make_parts(embedded, clock)  # type: ignore[arg-type]
    async with Served(build_collector(CollectorSection(), parts)) as served, aiohttp.ClientSession() as http:
        identify = {"userId": "c1", "messageId": "m1", "traits": {"email": "ana@example.com"}}
        for _ in range(2):
            async with http.post(f"{served.url}/v1/identify", json=identify) as answer:
                assert answer.status == 200
        await embedded.idle()
        state = await embedded.state("c1")
    assert state is not None
    assert state.traits == {"email": "ana@example.com"}


async def test_a_full_disk_is_a_503_and_nothing_is_corrupted(embedded: EmbeddedRuntime) -> None:
    """Events are refused while there is no room, customers get a page that says so, and all goes on afterwards."""
    connection = embedded._store.connection
    parts = make_parts(embedded, SystemClock())  # type: ignore[arg-type]
    async with Served(build_collector(CollectorSection(), parts)) as served, aiohttp.ClientSession() as http:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        taken, refused_at = 0, 0
        for number in range(200):
            batch = {
                "batch": [{**TRACK, "messageId": f"{number}-{at}", "properties": {"x": "y" * 900}} for at in range(50)]
            }
            async with http.post(f"{served.url}/v1/batch", json=batch) as answer:
                if answer.status != 200:
                    refused_at = answer.status
                    body = await answer.json()
                    break
                taken += 1
        assert (refused_at, body["code"], answer.headers["Retry-After"]) == (503, "storage_full", "5")
        for number in range(500):  # something as small may still find room in a page
            token = parts.signer.unsubscribe(f"{number:032}", f"c{number}", purpose="marketing", channel="email")
            async with http.post(f"{served.url}/u/{token}") as answer:
                text = await answer.text()
                if answer.status != 200:
                    break
        assert (answer.status, "Nothing was changed" in text) == (503, True)
        connection.execute("PRAGMA max_page_count = 1073741823")
        async with http.post(f"{served.url}/v1/track", json=TRACK) as answer:
            assert answer.status == 200
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


async def test_too_much_waiting_is_a_429_that_says_when_to_come_again(tmp_path: Path) -> None:
    """The bound is the runtime's; nothing of the batch is taken."""
    runtime = EmbeddedRuntime(tmp_path / "var", catalog(), options=EmbeddedOptions(backlog_max=3))
    await runtime.start()
    parts = make_parts(runtime, SystemClock())  # type: ignore[arg-type]
    async with Served(build_collector(CollectorSection(), parts)) as served, aiohttp.ClientSession() as http:
        async with http.post(f"{served.url}/v1/batch", json={"batch": [TRACK] * 4}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (429, "backlog")
            assert int(answer.headers["Retry-After"]) > 0
        async with http.post(f"{served.url}/v1/batch", json={"batch": [TRACK] * 3}) as answer:
            assert answer.status == 200
    await runtime.stop()


class Crowded(MemoryRuntime):
    """A runtime that does not keep up."""

    backlog = 1_000_000


async def test_while_too_much_waits_nothing_is_read_and_we_are_not_ready() -> None:
    """The early answer, and what a load balancer sees; customers' links still work."""
    clock = ManualClock(T0)
    runtime = Crowded(catalog(), clock=clock)
    parts = make_parts(runtime, clock)
    async with Served(build_collector(CollectorSection(), parts)) as served, aiohttp.ClientSession() as http:
        for path in ("/v1/track", "/v1/batch", "/events"):
            async with http.post(served.url + path, data=b"x") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (429, "5")
        views = operators_views(CollectorSection(), parts)
        async with Served(build_operators(views)) as operators, http.get(f"{operators.url}/readyz") as answer:
            assert answer.status == 503
        token = parts.signer.unsubscribe("m" * 32, "c1", purpose="marketing", channel="email")
        async with http.post(f"{served.url}/u/{token}") as answer:
            assert answer.status == 200


PATHS = (
    "/v1/track", "/v1/identify", "/v1/page", "/v1/screen", "/v1/group", "/v1/alias", "/v1/batch", "/v1/t", "/beacon/v1/batch",
    "/events", "/v1/projects/x/settings", "/nothing", "/mailbox.json",
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "type",
        "userId",
        "anonymousId",
        "event",
        "batch",
        "context",
        "properties",
        "traits",
        "messageId",
        "timestamp",
        "sentAt",
        "writeKey",
        "groupId",
        "previousId",
        "specversion",
        "id",
        "source",
        "subject",
        "data",
        "name",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from(["track", "c1", "1.0", "2026-03-27T09:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "identity", "br", "zstd", "?"]),
        "Content-Type": st.sampled_from(
            [
                "application/json",
                "application/cloudevents+json",
                "application/cloudevents-batch+json",
                "x",
                "multipart/form-data",
            ]
        ),
        "Authorization": st.sampled_from(["Basic", "Basic e30=", "Bearer x", "Basic ÿ"]),
        "ce-specversion": st.sampled_from(["1.0", "2"]),
        "ce-id": st.text("ab%", max_size=4),
    },
)
STATUSES = {200, 400, 401, 404, 405, 413, 415, 429}


@example_settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_whatever_comes_the_answer_is_json_and_no_crash(collector: Collector, data: st.DataObject) -> None:
    """Bytes and near-records to every path with odd headers: a known status, and JSON that says what is wrong."""
    path = data.draw(st.sampled_from(PATHS))
    body = data.draw(st.binary(max_size=200) | st.dictionaries(KEYS, VALUES).map(msgspec.json.encode))
    headers = data.draw(HEADERS)
    method = data.draw(st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "DELETE"]))
    async with collector.http.request(method, collector.url + path, data=body, headers=headers) as answer:
        said = json.loads(await answer.read())
    assert answer.status in STATUSES
    if answer.status != 200:
        assert said["code"]
        assert said["message"]
    assert all(isinstance(record.at_ms, int) for record in collector.records if isinstance(record, Event))
