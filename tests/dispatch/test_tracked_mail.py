"""A tracked mail from its decision over a real SMTP server to the click: store, dispatcher and collector together."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.clock import SystemClock
from engine.collector import CollectorNeeds, build_collector
from engine.core.record import Consent
from engine.definition.load import load_files
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.dispatch.sending.compose import Composer
from engine.dispatch.templates.template_set import TemplateSet
from engine.settings import CollectorSection
from engine.telemetry import Metrics
from tests.collector.conftest import Served
from tests.dispatch.test_dispatcher import WORKFLOW, House, _Renderer

POLICY = b"""
policy: default
purposes:
  transactional: {consent: none}
  marketing: {consent: opt_in}
  tracking: {consent: opt_in}
tracking: {default: off, utm: {source: anlass, campaign: "{workflow}"}}
"""
TEMPLATE = """---
subject: Hello
---
<body><a href="https://shop.example/a?x=1&amp;y=2#z">A</a> <a href="{{ unsubscribe_url }}">no more</a></body>
"""
TARGET = "https://shop.example/a?x=1&y=2&utm_source=anlass&utm_campaign=hello#z"
SIGNER = TokenSigner(b"0123456789abcdef0123456789abcdef")
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0"}


class Later(SystemClock):
    """The machine's clock, a minute on: nobody who clicks right away in a test is a machine for that."""

    def now_ms(self) -> int:
        return super().now_ms() + 60_000


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    built = House(tmp_path)
    (tmp_path / "templates/email/hello.html").write_text(TEMPLATE)
    loaded = load_files([("workflows/policy.yaml", POLICY), ("workflows/hello.yaml", WORKFLOW)])
    assert loaded.catalog is not None, loaded.problems
    await built.server.start()
    await built.runtime.start()
    await built.runtime.deploy(loaded.catalog)
    yield built
    await built.runtime.stop()
    await built.server.stop()


async def serve(house: House) -> Served:
    """A collector; mails from now on lead to it."""
    parts = CollectorNeeds(runtime=house.runtime, clock=Later(), metrics=Metrics(), signer=SIGNER)
    served = await Served(build_collector(CollectorSection(), parts)).__aenter__()
    templates = TemplateSet.load(Path(house.runtime._store.path).parents[1] / "templates")
    house.composer = Composer(_Renderer(templates), SignedLinks(served.url, SIGNER))
    return served


async def agree(house: House, customer: str, action: str = "grant") -> None:
    """To tracking, or no longer."""
    at_ms = house.clock.now_ms()
    purposes = {"tracking": ["email"]}
    record = Consent(
        customer=customer, at_ms=at_ms, id=f"{action}-{customer}", time_ms=at_ms, action=action, purposes=purposes
    )
    await house.runtime.append([record])


def parts_of(house: House) -> tuple[str, str]:
    """HTML and text of the one mail that arrived."""
    (one,) = house.server.accepted
    mail: Any = email.message_from_bytes(one.content, policy=email.policy.default)
    return mail.get_body(("html",)).get_content(), mail.get_body(("plain",)).get_content()


async def test_a_click_in_a_real_mail_leads_to_the_shop_and_is_known(house: House) -> None:
    """Also when the template has changed since; the journal has the click, the state what it amounts to."""
    served = await serve(house)
    await house.customer("ana")
    await agree(house, "ana")
    await house.event("ana")
    async with house.dispatching():
        await house.until(lambda statuses: statuses == ["sent"])
    html, text = parts_of(house)
    (link,) = set(re.findall(rf"{served.url}/c/[\w.-]+", html + text))
    (pixel,) = re.findall(rf'src="({served.url}/o/[\w.-]+)"', html)
    assert "https://shop.example" not in html + text
    assert f"{served.url}/u/" in html
    (status,) = await house.runtime.messages()
    assert list(status.links.values()) == [TARGET]
    async with aiohttp.ClientSession(headers=BROWSER) as http:
        for address, code in ((pixel, 200), (link, 302), (link, 302)):
            async with http.get(address, allow_redirects=False) as answer:
                assert answer.status == code
    assert answer.headers["Location"] == TARGET
    await house.runtime.idle()
    state = await house.runtime.state("ana")
    assert state is not None
    assert [(sent.outcome, len(sent.seen)) for sent in state.messages] == [("clicked", 2)]
    await served.__aexit__()


@pytest.mark.parametrize("agreed", ["never", "withdrawn before it left"])
async def test_without_consent_the_mail_is_tagged_and_no_more(house: House, agreed: str) -> None:
    """Asked at the decision, and again when it leaves."""
    served = await serve(house)
    await house.customer("ana")
    if agreed != "never":
        await agree(house, "ana")
    await house.event("ana")
    if agreed != "never":
        await agree(house, "ana", "withdraw")
        (pending,) = await house.runtime.ready(10)
        assert pending.message.tracked
    async with house.dispatching():
        await house.until(lambda statuses: statuses == ["sent"])
    html, text = parts_of(house)
    assert TARGET.replace("&", "&amp;") in html
    assert TARGET in text
    assert "/c/" not in html + text
    assert "<img" not in html
    (status,) = await house.runtime.messages()
    assert status.links == {}
    await served.__aexit__()
