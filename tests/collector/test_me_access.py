"""The access link: mailed on request to the address that is known, usable for half an hour, once, in one browser."""

from __future__ import annotations

import asyncio
import re

import pytest

from engine.collector.pages.visitors import COOKIE
from engine.core.facts import moving
from engine.core.record import Erase, Event, Merge
from tests.collector.conftest import T0
from tests.collector.test_me_pages import Ana, ana, runtime

__all__ = ["ana", "runtime"]  # fixtures
MINUTE_MS = 60_000


async def _link(ana: Ana, *, at_ms: int = T0) -> str:
    """Asks on the page; the path of the link in the mail."""
    ana.cookies = {}
    ana.collector.runtime.advance_to(at_ms)
    status, text = await ana.post("/link?lang=en", None)
    assert (status, "a•••@e•••.com" in text) == (200, True)
    newest = (await ana.collector.runtime.messages(customer="ana"))[0].message
    assert (newest.template, newest.address) == ("access-link", "ana@example.com")
    return "/me/access/" + ana.collector.signer.access(newest.id, "ana")


async def _use(ana: Ana, path: str) -> tuple[int, str, str]:
    """The status, where it leads, and the cookie."""
    async with ana.collector.http.post(ana.collector.url + path, allow_redirects=False) as answer:
        cookie = answer.headers.get("Set-Cookie", "")
        return answer.status, answer.headers.get("Location", ""), cookie


async def test_a_link_opens_what_is_hers_once_in_one_browser(ana: Ana) -> None:
    """Scanners that open it use nothing up; a second use, and another browser, see nothing."""
    path = await _link(ana, at_ms=T0 + 15 * MINUTE_MS)
    for _ in range(3):
        async with ana.collector.http.get(f"{ana.collector.url}{path}?lang=en") as answer:
            assert (answer.status, "Open my page" in await answer.text()) == (200, True)
    status, where, cookie = await _use(ana, path)
    assert status == 303
    assert where.startswith("/me/")
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/me", "Max-Age=1800"))
    assert (await _use(ana, path))[0] == 403
    async with ana.collector.http.get(ana.collector.url + where) as answer:
        assert answer.status == 403
    ana.cookies = {COOKIE: re.findall(f"{COOKIE}=([^;]+)", cookie)[0]}
    ana.path = where.removesuffix("/details")
    for below in ("/details", "/orders", "/complaint", "/data.json"):
        assert (await ana.get(below))[0] == 200
    ana.collector.runtime.advance_to(T0 + 46 * MINUTE_MS)
    assert (await ana.get("/details"))[0] == 403


async def test_two_browsers_at_once_are_one_visit(ana: Ana) -> None:
    """However many processes answer: which was first lies in the customer's state."""
    path = await _link(ana, at_ms=T0 + 15 * MINUTE_MS)
    answers = await asyncio.gather(*(_use(ana, path) for _ in range(5)))
    assert sorted(status for status, _, _ in answers) == [303, 403, 403, 403, 403]


async def test_a_link_lives_half_an_hour(ana: Ana) -> None:
    """After that the page offers another one."""
    path = await _link(ana, at_ms=T0 + 15 * MINUTE_MS)
    ana.collector.runtime.advance_to(T0 + 46 * MINUTE_MS)
    async with ana.collector.http.get(f"{ana.collector.url}{path}?lang=en") as answer:
        text = await answer.text()
        assert (answer.status, "Send me a link" in text, "ana@example.com" in text) == (403, True, False)
    assert (await _use(ana, path))[0] == 403


async def test_a_link_to_a_former_address_opens_nothing(ana: Ana) -> None:
    """Nor one of a mail that nobody asked for, nor one of somebody who is forgotten."""
    path = await _link(ana, at_ms=T0 + 15 * MINUTE_MS)
    await ana.collector.post("/v1/identify", {"userId": "ana", "traits": {"email": "new@example.com"}})
    assert (await _use(ana, path))[0] == 403
    order = "/me/access/" + ana.collector.signer.access(ana.message, "ana")
    assert (await _use(ana, order))[0] == 403
    await ana.collector.runtime.append([Erase(customer="ana", at_ms=T0 + 16 * MINUTE_MS, id="forget")])
    assert (await _use(ana, path))[0] == 404


async def test_an_open_page_closes_with_an_erasure_and_belongs_to_her_alone(ana: Ana) -> None:
    """A cookie is good for its own customer, as long as the state knows of it."""
    assert (await ana.get("/details"))[0] == 200
    await ana.collector.post("/v1/identify", {"userId": "eve", "traits": {"email": "eve@example.com"}})
    await ana.collector.post("/v1/track", {"userId": "eve", "event": moving.LINK_ASKED})
    theirs = (await ana.collector.runtime.messages(customer="eve"))[0].message
    mine, ana.path = ana.path, "/me/" + ana.collector.signer.preferences(theirs.id, "eve")
    assert (await ana.get("/details"))[0] == 403
    ana.path = mine
    await ana.collector.runtime.append([Erase(customer="ana", at_ms=T0, id="forget")])
    assert (await ana.get("/details"))[0] == 404


async def test_who_was_merged_is_found_by_the_links_of_before(ana: Ana) -> None:
    """The mails of both ids lead to the one person."""
    await ana.collector.post("/v1/identify", {"userId": "both", "traits": {"first_name": "Anna"}})
    await ana.collector.runtime.append([Merge(customer="ana", at_ms=T0 + 1, id="m", into="both")])
    await ana.collector.runtime.idle()
    status, text = await ana.get("/details")
    assert (status, "ana@example.com" in text) == (200, True)
    assert (await ana.post("", {"on": "tracking:email"}))[0] == 200


@pytest.mark.parametrize("value", ["", "x", "a.b", "x" * 5_000, "e30"])
async def test_an_invented_cookie_opens_nothing(value: str, ana: Ana) -> None:
    """Nor does one that was made for another door."""
    for cookie in (value, ana.collector.signer.preferences(ana.message, "ana"), ana.path.rpartition("/")[2]):
        ana.cookies = {COOKIE: cookie}
        assert (await ana.get("/details"))[0] == 403


async def test_a_forged_use_of_a_link_gives_nobody_a_page(ana: Ana) -> None:
    """Whoever writes the event has no cookie of ours; the link is used up, and another can be asked for."""
    path = await _link(ana, at_ms=T0 + 15 * MINUTE_MS)
    newest = (await ana.collector.runtime.messages(customer="ana"))[0].message
    used = Event(
        customer="ana", at_ms=T0, id="x", name=moving.LINK_OPENED, time_ms=T0,
        properties={"message": newest.id, "visit": "forged"},
    )  # fmt: skip
    await ana.collector.runtime.append([used])
    assert (await _use(ana, path))[0] == 403
