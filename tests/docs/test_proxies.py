"""The sample configurations of nginx and Caddy, and every list of paths in the guides, against the real routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web

from engine.clock import ManualClock
from engine.collector import CollectorNeeds, build_collector
from engine.core.record import Consent
from engine.dispatch.templates.render import Rendered
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import CollectorSection
from tests.collector.conftest import KEY, T0, Served, catalog, make_parts, taken_in
from tests.services.nginx import BehindNginx

ROOT = Path(__file__).parents[2]
PROXY = ROOT / "docs" / "operators" / "proxy"
SETTINGS = CollectorSection(
    write_keys={"shop": KEY}, host="127.0.0.1", public_url="https://mail.shop.example", trusted_proxies=("127.0.0.1",)
)


def _nothing(channel: str, name: str, locale: str, *, context: Mapping[str, object]) -> Rendered:
    raise AssertionError((channel, name, locale, context))


def _application() -> tuple[MemoryRuntime, CollectorNeeds, web.Application]:
    clock = ManualClock(T0)
    runtime = MemoryRuntime(catalog(), clock=clock)
    parts = make_parts(runtime, clock)
    parts = msgspec.structs.replace(parts, render=_nothing)
    return runtime, parts, build_collector(SETTINGS, parts)


def _first_words(application: web.Application) -> set[str]:
    """The first part of the path of each route."""
    return {resource.canonical.split("/")[1] for resource in application.router.resources()}


def test_every_list_of_paths_is_that_of_the_routes() -> None:
    """nginx, Caddy, the guide: none lacks a path, and none has one that there is not."""
    real = _first_words(_application()[2])
    nginx = re.search(r"location ~ \^/\(([a-z0-9|]+)\)", (PROXY / "nginx.conf").read_text())
    assert nginx is not None
    assert set(nginx[1].split("|")) == real
    caddy = re.search(r"@anlass path (.+)", (PROXY / "Caddyfile").read_text())
    assert caddy is not None
    assert {path.split("/")[1] for path in caddy[1].split()} == real
    guide = re.search(r"It passes on (.+?), and nothing else", (ROOT / "docs/operators/running.md").read_text())
    assert guide is not None
    assert {path.split("/")[1] for path in re.findall(r"`(/[^`]+)`", guide[1])} == real


def test_no_list_names_what_is_for_operators() -> None:
    """In neither sample."""
    for file in PROXY.iterdir():
        settings = "\n".join(line for line in file.read_text().splitlines() if not line.strip().startswith("#"))
        assert not re.search(r"mailbox|metrics|readyz|8081", settings), file


async def test_behind_nginx_shops_and_customers_pass_and_operators_pages_do_not(
    behind_nginx: BehindNginx, tmp_path: Path
) -> None:
    """An event, every kind of link, and the customer's address in the proof of consent."""
    runtime, parts, application = _application()
    tmp_path.chmod(0o755)
    async with (
        Served(application) as served,
        behind_nginx(served.url, tmp_path) as url,
        aiohttp.ClientSession(
            headers={"Host": "mail.shop.example"}, connector=aiohttp.TCPConnector(local_addr=("127.0.0.7", 0))
        ) as http,
    ):
        body = {"userId": "c1", "traits": {"email": "c1@example.com", "consent": {"marketing": ["email"]}}}
        async with http.post(f"{url}/v1/identify", json=body, headers={"Authorization": f"Bearer {KEY}"}) as answer:
            assert answer.status == 200
        async with http.post(f"{url}/v1/identify", json=body) as answer:
            assert answer.status == 401
        token = parts.signer.unsubscribe("m" * 32, "c1", purpose="marketing", channel="email")
        asked = {"userId": "c1", "event": "News Asked For"}
        async with http.post(f"{url}/v1/track", json=asked, headers={"Authorization": f"Bearer {KEY}"}) as answer:
            assert answer.status == 200
        (sent,) = await runtime.messages(customer="c1")
        confirm = "/confirm/" + parts.signer.confirm(sent.message.id, "c1", purposes={"marketing": ["email"]})
        for path, status in ((f"/u/{token}", 200), (confirm, 200), ("/healthz", 200)):
            async with http.get(url + path) as answer:
                assert (path, answer.status) == (path, status)
        for path in ("/c/x", "/o/x", "/me/x", "/address/x", "/view/x"):  # ours: the token is wrong, and we say so
            async with http.get(url + path) as answer:
                assert (path, answer.status, b"<center>nginx" in await answer.read()) == (path, 404, False)
        for path in ("/mailbox", "/mailbox.json", "/metrics", "/readyz", "/", "/v1x", "/uu/x", "/me/../metrics"):
            async with http.get(url + path) as answer:
                assert (path, answer.status) == (path, 404)
        for told in ("203.0.113.9", "127.0.0.1"):
            async with http.post(url + confirm, headers={"X-Forwarded-For": told}) as answer:
                assert answer.status == 200
    proofs = [record.proof["ip"] for record in taken_in(runtime) if isinstance(record, Consent) and record.proof]
    assert proofs == ["127.0.0.7", "127.0.0.7"], "the address that nginx saw, not what the client wrote"
