"""Without write keys only this machine's own programs send events: no page, no proxy, no borrowed name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from engine.clock import ManualClock
from engine.collector import build_collector
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import CollectorSection
from tests.collector.conftest import KEY, T0, Served, catalog, make_parts, taken_in

BODY = b'{"userId": "1001", "traits": {"email": "stranger@example.com"}}'
INTAKE = [
    *(
        f"/v1/{kind}"
        for kind in ("track", "t", "identify", "i", "page", "p", "screen", "s", "group", "g", "alias", "a")
    ),
    *("/v1/batch", "/v1/b", "/beacon/v1/batch", "/events"),
]
FOREIGN: list[dict[str, str]] = [
    {"Host": "evil.example"},
    {"Host": "evil.example:8080"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "localhost.evil.example"},
    {"Host": "evil.localhost"},
    {"Host": "0.0.0.0:8080"},
    {"Host": "192.0.2.1"},
    {"Host": "127.0.0.1@evil.example"},
    {"Host": "evil.example@127.0.0.1"},
    {"Host": "127.0.0.1:80x"},
    {"Host": "[::1].evil.example"},
    {"Host": "[::ffff:192.0.2.1]"},
    {"Host": ""},
    {"X-Forwarded-For": "192.0.2.1"},
    {"X-Forwarded-For": ""},
    {"X-Forwarded-Host": "127.0.0.1"},
    {"X-Forwarded-Proto": "https"},
    {"Forwarded": "for=192.0.2.1"},
    {"X-Real-IP": "192.0.2.1"},
    {"Via": "1.1 proxy"},
    {"CF-Connecting-IP": "192.0.2.1"},
    {"CF-Visitor": '{"scheme":"https"}'},
    {"Fly-Client-IP": "192.0.2.1"},
    {"Forwarded-For": "192.0.2.1"},
    {"Ngrok-Trace-Id": "1"},
    {"Tailscale-User-Login": "mia"},
    {"X-Envoy-External-Address": "192.0.2.1"},
    {"X-Forward-For": "192.0.2.1"},
    {"X-NF-Client-Connection-IP": "192.0.2.1"},
    {"X-Original-URL": "/v1/identify"},
    {"X-Vercel-Forwarded-For": "192.0.2.1"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://localhost.evil.example"},
    {"Referer": "https://evil.example/page"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-origin, cross-site"},
]
WELCOME: list[dict[str, str]] = [
    {},
    {"Host": "localhost"},
    {"Host": "LOCALHOST:8080"},
    {"Host": "localhost.:8080"},
    {"Host": "127.0.0.2:9000"},
    {"Host": "[::1]:8080"},
    {"Host": "[::ffff:127.0.0.1]"},
    {"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Content-Type": "text/plain"},
]


class Keyless:
    """A collector without keys in front of the memory runtime."""

    def __init__(self, settings: CollectorSection) -> None:
        self.clock = ManualClock(T0)
        self.runtime = MemoryRuntime(catalog(), clock=self.clock)
        self.parts = make_parts(self.runtime, self.clock)
        self.served = Served(build_collector(settings, self.parts))

    async def ask(self, path: str, headers: dict[str, str], method: str = "POST") -> tuple[int, Any, bool]:
        """Status, JSON, and whether any CORS header was there."""
        body = BODY if method == "POST" else None
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self.served.url + path, data=body, headers=headers) as answer,
        ):
            told = await answer.json() if answer.content_type == "application/json" else {}
            return answer.status, told, any(name.lower().startswith("access-control") for name in answer.headers)


@pytest.fixture
async def keyless() -> AsyncIterator[Keyless]:
    """Listening."""
    found = Keyless(CollectorSection())
    async with found.served:
        yield found


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_strangers_are_refused(headers: dict[str, str], keyless: Keyless) -> None:
    """Each with a code, a sentence and its mend; nothing is stored, and no browser is told that it may read the answer."""
    status, told, cors = await keyless.ask("/v1/identify", headers)
    assert (status, told.get("code"), cors) == (403, "keyless", False)
    assert "ANLASS_COLLECTOR__WRITE_KEYS" in told["message"]
    assert taken_in(keyless.runtime) == []


@pytest.mark.parametrize("headers", WELCOME, ids=str)
async def test_programs_on_this_machine_are_let_in(headers: dict[str, str], keyless: Keyless) -> None:
    """As `anlass emit` and curl ask, by whatever loopback name."""
    status, _, cors = await keyless.ask("/v1/identify", headers)
    assert (status, cors) == (200, False)
    assert len(taken_in(keyless.runtime)) == 1


async def test_every_way_in_is_guarded(keyless: Keyless) -> None:
    """Long and short paths, beacon, CloudEvents, settings, preflights, and paths written another way."""
    evil = {"Host": "evil.example"}
    odd = ["/%761/identify", "/v1/%69dentify", "/beacon/v1/%62atch"]
    for path in [*INTAKE, *odd]:
        assert (await keyless.ask(path, evil))[0] in {403, 404}, path
        preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        status, _, cors = await keyless.ask(path, preflight, "OPTIONS")
        assert (status in {403, 404, 405}, cors) == (True, False), path
    assert (await keyless.ask("/v1/projects/any/settings", evil, "GET"))[0] == 403
    assert taken_in(keyless.runtime) == []


@pytest.mark.parametrize(
    "head",
    [
        "POST /v1/identify HTTP/1.0\r\n",
        "POST /v1/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n",
        "POST http://evil.example/v1/identify HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    ],
)
async def test_a_host_that_is_missing_double_or_contradicted_is_refused(head: str, keyless: Keyless) -> None:
    """What HTTP libraries do not send, and attackers do."""
    place = urlsplit(keyless.served.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(f"{head}Connection: close\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert said.split()[1] in {b"403", b"400"}
    assert taken_in(keyless.runtime) == []


async def test_with_keys_the_key_decides() -> None:
    """Shops' pages and proxies are what keys are for."""
    keyed = Keyless(CollectorSection(write_keys={"shop": KEY}, host="127.0.0.1"))
    headers = {"Host": "mail.shop.example", "Origin": "https://shop.example", "X-Forwarded-For": "192.0.2.1"}
    async with keyed.served:
        assert (await keyed.ask("/v1/identify", headers))[0] == 401
        status, _, cors = await keyed.ask("/v1/identify", {**headers, "Authorization": f"Bearer {KEY}"})
    assert (status, cors) == (200, True)


async def test_refusals_are_counted_by_reason_and_logged_once_a_minute(
    keyless: Keyless, capsys: pytest.CaptureFixture[str]
) -> None:
    """A metric for each, and a line that says how many more there were."""
    for _ in range(50):
        await keyless.ask("/v1/identify", {"Host": "evil.example"})
    await keyless.ask("/u/a-forged-token", {}, "GET")
    await keyless.ask("/c/a-forged-token", {}, "GET")
    await keyless.ask("/nothing", {}, "GET")
    page = keyless.parts.metrics.expose().decode()
    for reason, count in (("keyless", 50), ("token", 2), ("not_found", 1)):
        assert f'anlass_refused_total{{reason="{reason}"}} {count}.0' in page
    said = capsys.readouterr()
    assert (said.out + said.err).count("reason=keyless") == 1
    assert "a-forged-token" not in said.out + said.err
