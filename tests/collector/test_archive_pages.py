"""`/archive`: public pages of newsletters, without anything of anybody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from engine.clock import ManualClock, from_rfc3339
from engine.collector import CollectorNeeds, build_collector
from engine.core.record import Identify, Pause, Winner
from engine.definition.load import load_files
from engine.dispatch.links.tokens import TokenSigner
from engine.dispatch.templates.render import Rendered
from engine.dispatch.templates.template_set import TemplateSet
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import CollectorSection
from engine.telemetry import Metrics

START_MS = from_rfc3339("2026-03-01T12:00:00Z")
DAY = 86_400_000
POLICY = b"policy: default\nzone: Europe/Berlin\npurposes: {marketing: {consent: none}}\n"
NEWS = b"""workflow: news
trigger: {schedule: {every: "monday 09:00", spread: 1h, archive: true}}
steps:
  - send: {channel: newsletter, template: issue, ab: {subjects: [a, b], test: 50%, after: 2h}}
    id: mail
"""
SECRET = b"""workflow: internal
trigger: {schedule: {every: "monday 09:00"}}
steps:
  - send: {channel: newsletter, template: issue}
"""
TEMPLATE = """---
subject: First <of> all
subject_b: Second
preheader: In short
---
<h1>{{ subject }}</h1><p>Hi {{ customer.first_name | default('there') }}</p>
<a href="{{ unsubscribe_url }}">off</a><script>alert(1)</script>
"""


class _Templates:
    def __init__(self, folder: Path) -> None:
        (folder / "newsletter").mkdir(parents=True)
        (folder / "newsletter/issue.html").write_text(TEMPLATE)
        (folder / "newsletter/issue.de.html").write_text(TEMPLATE.replace("First <of> all", "Als Erstes"))
        self.templates = TemplateSet.load(folder)
        assert not self.templates.check()

    def render(self, channel: str, name: str, locale: str, *, context: Any) -> Rendered:
        return self.templates.find(channel, name, locale=locale).render(context)


class Site:
    """The collector, its runtime and a browser."""

    def __init__(self, runtime: MemoryRuntime, client: TestClient[Any, Any]) -> None:
        self.runtime = runtime
        self._client = client

    async def get(self, path: str, language: str = "en") -> tuple[int, str]:
        answer = await self._client.get(path, headers={"Accept-Language": language})
        self.policy = answer.headers.get("Content-Security-Policy", "")
        return answer.status, await answer.text()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Two broadcasts, one of them with an archive; somebody who gets both."""
    loaded = load_files(
        [("workflows/policy.yaml", POLICY), ("workflows/news.yaml", NEWS), ("workflows/internal.yaml", SECRET)]
    )
    assert loaded.catalog is not None, loaded.problems
    clock = ManualClock(START_MS)
    runtime = MemoryRuntime(loaded.catalog, clock=clock)
    traits = {"email": "ana@example.com", "first_name": "Canary"}
    await runtime.append([Identify(customer="ana", at_ms=START_MS, id="i", time_ms=START_MS, traits=traits)])
    parts = CollectorNeeds(
        runtime=runtime, clock=clock, metrics=Metrics(), signer=TokenSigner(b"x" * 32),
        render=_Templates(tmp_path / "templates").render,
    )  # fmt: skip
    async with TestClient(TestServer(build_collector(CollectorSection(), parts))) as client:
        yield Site(runtime, client)


async def test_nothing_is_there_before_somebody_got_it(site: Site) -> None:
    """Not even the page of an issue whose name can be guessed."""
    status, text = await site.get("/archive")
    assert (status, "There are none to read yet." in text) == (200, True)
    assert (await site.get("/archive/news/2026-03-02-0900"))[0] == 404


async def test_the_list_has_every_issue_that_went_out_newest_first(site: Site) -> None:
    """With its subject, escaped; nothing of the broadcast without an archive."""
    site.runtime.advance_to(START_MS + 9 * DAY)
    status, text = await site.get("/archive")
    assert status == 200
    assert text.index("/archive/news/2026-03-09-0900") < text.index("/archive/news/2026-03-02-0900")
    assert "2026-03-16" not in text
    assert "internal" not in text
    assert "First &lt;of&gt; all" in text
    assert "default-src 'none'" in site.policy


async def test_an_issue_that_is_held_back_is_not_there(site: Site) -> None:
    """Paused before its time: nobody has got it, and nobody reads it here before it goes out."""
    site.runtime.advance_to(START_MS + 2 * DAY)
    await site.runtime.append(
        [Pause(customer="", at_ms=START_MS + 2 * DAY, id="p", workflow="news", reason="wrong price")]
    )
    site.runtime.advance_to(START_MS + 9 * DAY)
    text = (await site.get("/archive"))[1]
    assert "/archive/news/2026-03-02-0900" in text
    assert "2026-03-09" not in text
    assert (await site.get("/archive/news/2026-03-09-0900"))[0] == 404


async def test_a_page_is_for_nobody_in_particular_and_runs_nothing(site: Site) -> None:
    """No name, no link of a customer's own; the browser is told to run and load nothing."""
    site.runtime.advance_to(START_MS + 2 * DAY)
    status, text = await site.get("/archive/news/2026-03-02-0900")
    assert status == 200
    assert "Hi there" in text
    assert "Canary" not in text
    assert 'href="#"' in text
    assert site.policy.startswith("sandbox;")


async def test_the_winner_is_the_subject_of_its_own_issue_only(site: Site) -> None:
    """Before a winner the first; German readers get the German template."""
    site.runtime.advance_to(START_MS + 9 * DAY)
    assert "<h1>Als Erstes</h1>" in (await site.get("/archive/news/2026-03-02-0900", "de-AT,de;q=0.9"))[1]
    won = Winner(
        customer="",
        at_ms=START_MS + 9 * DAY,
        id="w",
        workflow="news",
        step="mail",
        variant="b",
        issue="2026-03-09-0900",
    )
    await site.runtime.append([won])
    assert "<h1>Second</h1>" in (await site.get("/archive/news/2026-03-09-0900"))[1]
    assert "<h1>Second</h1>" not in (await site.get("/archive/news/2026-03-02-0900"))[1]


@pytest.mark.parametrize(
    "path",
    [
        "/archive/news/2026-03-03-0900", "/archive/news/2026-03-09-0900", "/archive/internal/2026-03-02-0900",
        "/archive/nobody/2026-03-02-0900", "/archive/news/..%2f..%2fetc", "/archive/news/%3Cscript%3E",
        "/archive/news/" + "9" * 5_000,
    ],
)  # fmt: skip
async def test_what_is_not_there_is_said_so(site: Site, path: str) -> None:
    """Another day, the next issue, another workflow, and whatever somebody tries."""
    site.runtime.advance_to(START_MS + 2 * DAY)
    status, text = await site.get(path)
    assert status == 404
    assert "script>" not in text
