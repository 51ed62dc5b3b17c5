"""The customer's pages in a real browser: on a phone, without JavaScript, in German and in English."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from channels.recording import Mailbox
from engine.clock import ManualClock
from engine.collector import build_collector
from engine.core.message import Message
from engine.core.record import Consent, Event, Identify
from engine.dispatch.links.tokens import SignedLinks, TokenSigner
from engine.project.opening import open_rehearsal
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import CollectorSection
from tests.collector.conftest import SECRET, T0, Served, make_parts, taken_in

ROOT = Path(__file__).resolve().parents[2]
PHONE = {"width": 390, "height": 844}
PICTURES = os.environ.get("ANLASS_PICTURES", "")
"""A folder: then each page is photographed into it, as the guides show it."""
CONTRAST = """() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const curve = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = text => { const [r, g, b] = rgb(text).map(v => curve(v / 255));
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = node => { while (node) { const c = getComputedStyle(node).backgroundColor;
    if (rgb(c)[3] !== 0 && c !== 'rgba(0, 0, 0, 0)') return c; node = node.parentElement; } return 'rgb(255, 255, 255)'; };
  const found = [];
  for (const node of document.querySelectorAll('h1,h2,p,a,label,legend,button,input,select,textarea,strong')) {
    if (!node.offsetParent) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) found.push(`${node.tagName} ${node.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""
LINKS_OF_A_CHANGE = {
    "confirm": ("confirm-address", "confirm_url"),
    "agree": ("address-change-notice", "agree_url"),
    "stop": ("address-change-notice", "stop_url"),
}
ACCESSIBLE = """() => {
  const found = [];
  for (const node of document.querySelectorAll('input:not([type=hidden]),select,textarea')) {
    if (!node.labels || !node.labels.length || !node.labels[0].textContent.trim()) found.push('no label: ' + node.name);
    if (node.type !== 'checkbox' && parseFloat(getComputedStyle(node).fontSize) < 16)
      found.push('zooms on a phone: ' + node.name);
  }
  for (const node of document.querySelectorAll('button,nav a,label')) {
    const box = node.getBoundingClientRect();
    if (box.height < 24) found.push('too small to touch: ' + node.textContent.trim());
  }
  for (const name of ['aria-describedby', 'aria-labelledby'])
    for (const node of document.querySelectorAll('[' + name + ']'))
      if (!document.getElementById(node.getAttribute(name))) found.push('leads nowhere: ' + node.getAttribute(name));
  if (document.querySelectorAll('h1').length !== 1) found.push('headlines');
  if (!document.querySelector('main')) found.push('no main');
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push('wider than the screen: ' + wide);
  const ids = [...document.querySelectorAll('[id]')].map(n => n.id);
  if (new Set(ids).size !== ids.length) found.push('an id twice');
  return found;
}"""


class Stage(msgspec.Struct):
    """A collector with the shipped workflows, one customer with an order on its way, and her link."""

    url: str
    runtime: Any
    link: str
    signer: TokenSigner

    async def mail(self, template: str) -> Message:
        """The newest mail of this template to her."""
        found = (status.message for status in await self.runtime.messages(customer="ana"))
        mail: Message = next(each for each in found if each.template == template)
        return mail

    async def path(self, template: str, name: str) -> str:
        """Where a link in it leads, such as `access_url`."""
        return SignedLinks(self.url, self.signer).of(await self.mail(template))[name]


@cache
def _shipped() -> Any:
    return open_rehearsal(ROOT, with_templates=False).catalog


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Everything in this process; the browser comes by a real socket."""
    clock = ManualClock(T0)
    runtime = MemoryRuntime(_shipped(), clock=clock)
    mailbox = Mailbox(tmp_path / "var")
    parts = make_parts(runtime, clock, mailbox)
    traits = {"email": "ana@example.com", "phone": "+4915112345678", "first_name": "Ana", "locale": "de"}
    order = {"order_id": "2026-1047", "total": 161.9, "currency": "EUR", "objection_notice": True}
    parcel = {
        "shipment_id": "s1", "order_id": "2026-1047", "carrier": "DHL", "expected_at": "2026-03-30T12:00:00Z",
        "tracking_url": "https://track.example/s1",
    }  # fmt: skip
    await runtime.append(
        [
            Identify(
                customer="ana", at_ms=T0, id="i", time_ms=T0, traits={**traits, "consent": {"marketing": ["email"]}}
            ),
            Event(customer="ana", at_ms=T0, id="o", name="Order Completed", time_ms=T0, properties=order),
            Event(customer="ana", at_ms=T0, id="s", name="Shipment Sent", time_ms=T0, properties=parcel),
        ]
    )
    newest = (await runtime.messages(customer="ana"))[0].message.id
    application: web.Application = build_collector(CollectorSection(), parts)
    async with Served(application) as served:
        link = f"{served.url}/me/{parts.signer.preferences(newest, 'ana')}"
        yield Stage(served.url, runtime, link, parts.signer)
    mailbox.close()
    assert len(SECRET) >= 16


async def _phone(browser: Any, locale: str, *, dark: bool = False) -> Any:
    context = await browser.new_context(
        viewport=PHONE,
        is_mobile=True,
        has_touch=True,
        locale=locale,
        java_script_enabled=False,
        color_scheme="dark" if dark else "light",
    )
    return await context.new_page()


async def _picture(page: Any, name: str) -> None:
    if PICTURES:
        await page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


async def _sound(page: Any) -> None:
    """Labels, sizes, contrast: measured on the page as it is shown."""
    assert await page.evaluate(ACCESSIBLE) == []
    assert await page.evaluate(CONTRAST) == []


async def _open(stage: Stage, page: Any) -> None:
    """By the button on her page, the mail, and the button behind its link."""
    await page.goto(stage.link)
    await page.get_by_role("button", name=re.compile("Send me a link|Link schicken")).click()
    assert "a•••@e•••.com" in await page.get_by_role("status").inner_text()
    await page.goto(await stage.path("access-link", "access_url"))
    await page.get_by_role("button").click()
    assert await page.locator("nav a[aria-current=page]").count() == 1


def _written(stage: Stage) -> list[Any]:
    """What the pages wrote, without what opened them."""
    ours = {"Access Link Requested", "Access Link Opened"}
    found = (each for each in taken_in(stage.runtime) if getattr(each, "id", "") not in {"i", "o", "s"})
    return [each for each in found if getattr(each, "name", "") not in ours]


@pytest.mark.parametrize("locale", ["de-DE", "en-GB"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_every_page_is_readable_on_a_phone(locale: str, dark: bool, stage: Stage, browser: Any) -> None:
    """In the browser's own language, light and dark: every field has its label, every text its contrast, nothing is too wide."""
    page = await _phone(browser, locale, dark=dark)
    lang, look = locale[:2], "-dark" if dark else ""
    await page.goto(stage.link)
    await _sound(page)
    await _picture(page, f"me-preferences-{lang}{look}")
    await page.goto(f"{stage.link}/details")
    await _sound(page)
    await _picture(page, f"me-locked-{lang}{look}")
    await _open(stage, page)
    for name, below in (
        ("choices", ""),
        ("details", "/details"),
        ("orders", "/orders"),
        ("complaint", "/complaint"),
    ):
        answer = await page.goto(f"{stage.link}{below}")
        assert answer.status == 200
        assert await page.evaluate("document.documentElement.lang") == lang
        assert await page.locator("nav a[aria-current=page]").count() == 1
        await _sound(page)
        await _picture(page, f"me-{name}-{lang}{look}")
    for below in ("/me/broken", "/u/broken"):
        await page.goto(f"{stage.url}{below}")
        await _sound(page)
    assert _written(stage) == []


async def test_somebody_chooses_changes_asks_and_complains(stage: Stage, browser: Any) -> None:
    """The whole visit in German, by tapping and typing; each form answers on the page and writes its record."""
    page = await _phone(browser, "de-DE")
    await _open(stage, page)
    await page.get_by_role("link", name="Was du bekommst").click()
    await page.get_by_label("Öffnungen", exact=False).or_(page.locator("[value='tracking:email']")).first.check()
    await page.locator("[value='marketing:email']").uncheck()
    await page.get_by_role("button", name="Speichern").click()
    assert await page.get_by_role("status").inner_text() == "Gespeichert."
    assert await page.locator("[value='marketing:email']").is_checked() is False

    await page.get_by_role("link", name="Deine Angaben").click()
    await page.get_by_label("Ort").fill("Görlitz")
    await page.get_by_label("Geburtstag").fill("1990-12-31")
    await page.get_by_label("Sprache unserer Nachrichten").select_option("en")
    await page.get_by_label("E-Mail-Adresse").fill("keine Adresse")
    await page.get_by_role("button", name="Speichern").click()
    assert "nichts gespeichert" in await page.get_by_role("alert").inner_text()
    assert await page.get_by_label("E-Mail-Adresse").get_attribute("aria-invalid") == "true"
    assert await page.get_by_label("Ort").input_value() == "Görlitz"
    await _sound(page)
    await _picture(page, "me-details-wrong-de")
    await page.get_by_label("E-Mail-Adresse").fill("neu@example.com")
    await page.get_by_role("button", name="Speichern").click()
    assert "neu@example.com" in await page.get_by_role("status").inner_text()

    await page.get_by_role("link", name="Deine Bestellungen").click()
    await page.get_by_role("button", name="Bestätigung noch einmal schicken").first.click()
    assert "Die Antwort kommt als Nachricht" in await page.get_by_role("status").inner_text()

    await page.get_by_role("link", name="Reklamieren").click()
    await page.get_by_label("Um welche Bestellung geht es?").select_option("2026-1047")
    await page.get_by_label("Was passiert ist").fill("Der Becher hat einen Sprung.")
    await page.get_by_role("button", name="Abschicken").click()
    assert "Sie hat die Nummer" in await page.get_by_role("status").inner_text()
    await _picture(page, "me-complained-de")

    events = {each.name: each.properties for each in _written(stage) if isinstance(each, Event)}
    assert {"Details Changed", "Email Change Requested", "Order Confirmation Requested", "Complaint Opened"} <= set(
        events
    )
    assert events["Complaint Opened"]["text"] == "Der Becher hat einen Sprung."
    state = await stage.runtime.state("ana")
    assert state.traits["address"] == {"city": "Görlitz"}
    assert state.traits["birthday"] == "1990-12-31"
    assert (state.consent["tracking"]["email"].status, state.consent["marketing"]["email"].status) == (
        "granted",
        "withdrawn",
    )
    assert all(each.proof["user_agent"] for each in _written(stage) if isinstance(each, Consent))


async def test_a_form_of_another_site_is_refused_by_the_headers_of_a_real_browser(stage: Stage, browser: Any) -> None:
    """A foreign page with a stolen link posts to it; and our own page still works, opened from a mail."""
    foreign = web.Application()
    html = f'<form method="post" action="{stage.link}"><button>Win!</button></form>'

    async def lure(_: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    foreign.add_routes([web.get("/", lure)])
    async with Served(foreign) as evil:
        page = await _phone(browser, "en-GB")
        await page.goto(evil.url.replace("127.0.0.1", "localhost"))
        async with page.expect_navigation() as moved:
            await page.get_by_role("button").click()
        assert (await moved.value).status == 403
        assert "did not come from our page" in await page.inner_text("main")
    assert _written(stage) == []


async def test_everything_can_be_done_with_the_keyboard(stage: Stage, browser: Any) -> None:
    """The focus is seen wherever it is, and comes by every control in the order of the page."""
    page = await _phone(browser, "en-GB")
    await _open(stage, page)
    seen = []
    for _ in range(20):
        await page.keyboard.press("Tab")
        found = await page.evaluate(
            "() => { const n = document.activeElement, s = getComputedStyle(n);"
            " return [n.name || n.textContent.trim(), s.outlineStyle, parseFloat(s.outlineWidth)]; }"
        )
        seen.append(found[0])
        if found[0] == "Save":
            break
        assert found[1] != "none", found
        assert found[2] >= 2, found
    assert seen[-1] == "Save"
    fields = [name for name in dict.fromkeys(seen) if name in {"first_name", "city", "birthday", "email"}]
    assert fields == ["first_name", "city", "birthday", "email"]


@pytest.mark.parametrize("locale", ["de-DE", "en-GB"])
async def test_somebody_changes_their_address_and_somebody_else_is_stopped(
    locale: str, stage: Stage, browser: Any
) -> None:
    """Both mails, both pages, on a phone: the new address says yes, the old one stops it, and the open page closes."""
    page = await _phone(browser, locale)
    await _open(stage, page)
    await page.locator("#email").fill("new@example.com")
    await page.locator("main form button[type=submit]").click()
    assert "new@example.com" in await page.get_by_role("status").inner_text()
    await _sound(page)
    mails = {name: await stage.path(*where) for name, where in LINKS_OF_A_CHANGE.items()}
    for name in ("confirm", "agree", "stop"):
        await page.goto(mails[name])
        await _sound(page)
        await _picture(page, f"me-address-{name}-{locale[:2]}")
    await page.goto(mails["confirm"])
    await page.get_by_role("button").click()
    await _sound(page)
    await _picture(page, f"me-address-waiting-{locale[:2]}")
    assert (await stage.runtime.state("ana")).traits["email"] == "ana@example.com"
    await page.goto(mails["stop"])
    await page.get_by_role("button").click()
    await _sound(page)
    await _picture(page, f"me-address-stopped-{locale[:2]}")
    assert (await page.goto(f"{stage.link}/details")).status == 403
    assert (await page.goto(mails["confirm"])).status == 404


async def test_an_access_link_opens_one_browser_only(stage: Stage, browser: Any) -> None:
    """The second one is offered another link, and so is a browser that has only the choices."""
    first, second = await _phone(browser, "en-GB"), await _phone(browser, "en-GB")
    await _open(stage, first)
    await second.goto(await stage.path("access-link", "access_url"))
    assert "This part is for you alone" in await second.inner_text("main")
    await second.goto(f"{stage.link}/orders")
    assert "2026-1047" not in await second.inner_text("main")
    await first.goto(f"{stage.link}/orders")
    assert "2026-1047" in await first.inner_text("main")
