"""The SDKs that stand in shops' pages, in a real browser, with a browser key, against a collector behind a real nginx."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from engine.clock import ManualClock
from engine.collector import build_collector
from engine.core.record import Event
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import CollectorSection, KeySection
from tests.collector.conftest import T0, Served, catalog, make_parts, taken_in
from tests.collector.test_real_sdks import CACHE, installed
from tests.services.nginx import BehindNginx
from tests.services.ports import free_ports

pytestmark = pytest.mark.timeout(400)

RUDDER, SEGMENT = "@rudderstack/analytics-js@3.34.1", "@segment/analytics-next@1.84.3"
WEB = "web_Tq3uYb0ZsNw81RkVdLhGxE5c"
SETTLED_SECONDS = 30.0
RUDDER_PAGE = """<!doctype html><title>shop</title>
<script src="/rudder/index.js"></script>
<script>
  const source = { id: 's', name: 's', writeKey: '%(key)s', enabled: true, workspaceId: 'w', destinations: [],
    config: { statsCollection: { errors: { enabled: false }, metrics: { enabled: false } } } };
  const analytics = new (window.rudderanalytics.RudderAnalytics || window.rudderanalytics)();
  analytics.load('%(key)s', '%(url)s', { getSourceConfig: () => ({ source }), plugins: ['XhrQueue'] });
  analytics.page('Cart');
  analytics.track('Product Added', { cart_id: 'k1', name: 'M\\u00fctze' });
</script>"""
SEGMENT_PAGE = """<!doctype html><title>shop</title>
<script src="/segment/index.js"></script>
<script>
  const analytics = window.AnalyticsNext.AnalyticsBrowser.load({ writeKey: '%(key)s', cdnURL: '%(url)s' }, %(options)s);
  analytics.page('Cart');
  analytics.track('Product Added', { cart_id: 'k1', name: 'M\\u00fctze' });
</script>"""


@pytest.fixture(scope="session")
def sdks(npm: None) -> Path:
    """Both, from npm."""
    folder = installed(
        CACHE / "analytics-in-pages",
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", ".", RUDDER, SEGMENT],
        f"{RUDDER} and {SEGMENT} are missing; they are installed by npm, which needs its package index",
    )
    return folder / "node_modules"


class Shop:
    """The page's server, and the collector behind nginx under another origin."""

    def __init__(self, runtime: MemoryRuntime, page: str, url: str) -> None:
        self._runtime = runtime
        self.page = page
        self.url = url
        self.html = ""

    async def events(self, count: int) -> list[Event]:
        """Those that came, once there are so many."""
        deadline = time.monotonic() + SETTLED_SECONDS
        while len(found := [one for one in taken_in(self._runtime) if isinstance(one, Event)]) < count:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        return found


@contextlib.asynccontextmanager
async def _shop(sdks: Path, behind_nginx: BehindNginx, folder: Path) -> AsyncIterator[Shop]:
    [port] = free_ports(1)
    folder.chmod(0o755)
    clock = ManualClock(T0)
    runtime = MemoryRuntime(catalog(), clock=clock)
    shop = Shop(runtime, "", f"http://127.0.0.1:{port}")

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=shop.html, content_type="text/html")

    pages = web.Application()
    pages.router.add_static("/rudder", sdks / "@rudderstack/analytics-js/dist/npm/modern/bundled/umd")
    pages.router.add_static("/segment", sdks / "@segment/analytics-next/dist/umd")
    pages.router.add_get("/", page)
    async with Served(pages) as served:
        shop.page = served.url.replace("127.0.0.1", "localhost")
        key = KeySection(name="web", kind="browser", key=WEB, origins=(shop.page,))
        settings = CollectorSection(keys=(key,), host="127.0.0.1", public_url=shop.url, trusted_proxies=("127.0.0.1",))
        async with (
            Served(build_collector(settings, make_parts(runtime, clock))) as collector,
            behind_nginx(collector.url, folder, port=port),
        ):
            yield shop


@pytest.mark.parametrize("sdk", ["rudder", "segment", "segment-told-where"])
async def test_what_a_page_tracks_arrives_once(
    sdk: str, sdks: Path, behind_nginx: BehindNginx, browser: Any, tmp_path: Path
) -> None:
    """With CORS as browsers hold it: preflights, asked-for headers, another origin; analytics.js also with only `cdnURL`."""
    async with _shop(sdks, behind_nginx, tmp_path) as shop:
        host = shop.url.removeprefix("http://")
        options = f"{{integrations: {{'Segment.io': {{apiHost: '{host}/v1', protocol: 'http'}}}}}}"
        filling = {"key": WEB, "url": shop.url, "options": options if sdk == "segment-told-where" else "{}"}
        shop.html = (RUDDER_PAGE if sdk == "rudder" else SEGMENT_PAGE) % filling
        page = await browser.new_page()
        said: list[str] = []
        page.on("console", lambda line: said.append(line.text))
        page.on("requestfailed", lambda request: said.append(f"{request.method} {request.url} {request.failure}"))
        await page.goto(shop.page)
        events = await shop.events(2)
        assert sorted(one.name for one in events) == ["Page Viewed", "Product Added"], said
        [added] = [one for one in events if one.name == "Product Added"]
        assert (added.properties["cart_id"], added.properties["name"], added.key) == ("k1", "Mütze", "web")
        assert len({one.customer for one in events}) == 1


@pytest.mark.parametrize("sdk", ["rudder", "segment"])
async def test_another_page_with_our_key_brings_nothing(
    sdk: str, sdks: Path, behind_nginx: BehindNginx, browser: Any, tmp_path: Path
) -> None:
    """The same page under another name: the browser keeps the events, and a request that comes nevertheless is refused."""
    async with _shop(sdks, behind_nginx, tmp_path) as shop:
        shop.html = (RUDDER_PAGE if sdk == "rudder" else SEGMENT_PAGE) % {"key": WEB, "url": shop.url, "options": "{}"}
        page = await browser.new_page()
        said: list[str] = []
        page.on("requestfailed", lambda request: said.append(request.url))
        await page.goto(shop.page.replace("localhost", "127.0.0.1"))
        deadline = time.monotonic() + SETTLED_SECONDS
        while not said and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        assert said
        assert await shop.events(0) == []
