"""What clicks and opens of a tracked message do, and what they must not: on the memory runtime and through a real broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from engine.collector.pages.machines import MACHINE_MS, is_machine
from engine.core.policy import Purpose
from engine.core.record import Outcome
from engine.dispatch.ports import Settlement
from tests.collector.conftest import T0, Collector

TARGET = "https://shop.example/cart?x=1&utm_source=anlass#top"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0"
LATER = T0 + MACHINE_MS + 60_000


async def send_tracked(collector: Collector, *, tracking: bool = True) -> str:
    """A customer who agreed to tracking got a mail a minute ago; returns the id of the message."""
    memory = collector.runtime.memory
    purposes = {**memory.catalog.policy.purposes, "tracking": Purpose("tracking", "opt_in")}
    memory.catalog = replace(memory.catalog, policy=replace(memory.catalog.policy, purposes=purposes))
    consent = {"marketing": ["email"], **({"tracking": ["email"]} if tracking else {})}
    await collector.post("/v1/identify", {"userId": "c1", "traits": {"email": "ana@example.com", "consent": consent}})
    await collector.post("/v1/track", {"userId": "c1", "event": "News Asked For"})
    (pending,) = await collector.runtime.ready(10)
    assert pending.message.tracked is tracking
    message: str = pending.message.id
    await collector.runtime.claim([message], links={message: {"k1": TARGET, "k2": "https://shop.example/2"}})
    await collector.runtime.settle([Settlement(message_id=message, status="sent", at_ms=T0)])
    collector.runtime.advance_to(LATER)
    return message


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


async def ask(collector: Collector, path: str, method: str = "GET", **headers: str) -> Answer:
    asked = {"User-Agent": BROWSER, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with collector.http.request(method, collector.url + path, headers=asked, allow_redirects=False) as answer:
        return Answer(answer.status, answer.headers, await answer.read())


def outcomes(collector: Collector) -> list[Outcome]:
    return [record for record in collector.records if isinstance(record, Outcome)]


def click(collector: Collector, message: str, link: str = "k1") -> str:
    return "/c/" + collector.signer.trail("click", message, link)


def pixel(collector: Collector, message: str) -> str:
    return "/o/" + collector.signer.trail("open", message, "open")


async def test_a_click_leads_to_the_stored_link_and_is_recorded_once(collector: Collector) -> None:
    """302 with the exact address, no referrer, not kept by caches; reloading records nothing more."""
    message = await send_tracked(collector)
    for _ in range(3):
        answer = await ask(collector, click(collector, message))
        assert answer.status == 302
        assert answer.headers["Location"] == TARGET
        assert (answer.headers["Referrer-Policy"], answer.headers["Cache-Control"]) == ("no-referrer", "no-store")
    await ask(collector, click(collector, message, "k2"))
    first, second = outcomes(collector)
    assert (first.outcome, first.message, first.customer) == ("clicked", message, "c1")
    assert first.detail == {"link": "k1", "url": TARGET}
    assert second.detail["link"] == "k2"
    state = await collector.runtime.state("c1")
    assert (state.messages[-1].outcome, state.messages[-1].seen) == ("clicked", ("k1", "k2"))


async def test_an_open_is_a_picture_and_recorded_once(collector: Collector) -> None:
    """The smallest GIF there is."""
    message = await send_tracked(collector)
    for _ in range(2):
        answer = await ask(collector, pixel(collector, message))
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/gif")
        assert answer.body.startswith(b"GIF89a")
    (opened,) = outcomes(collector)
    assert (opened.outcome, opened.detail) == ("opened", {"link": "open"})


MACHINES: list[tuple[str, str, dict[str, str]]] = [
    ("HEAD", "HEAD", {}),
    ("prefetch", "GET", {"Sec-Purpose": "prefetch;prerender"}),
    ("old prefetch", "GET", {"Purpose": "prefetch"}),
    ("preview", "GET", {"X-Purpose": "preview"}),
    ("Firefox prefetch", "GET", {"X-Moz": "prefetch"}),
    ("a gateway", "GET", {"User-Agent": "Mozilla/5.0 (compatible; BarracudaCentral)"}),
    ("a bot", "GET", {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"}),
    ("a script", "GET", {"User-Agent": "python-requests/2.32"}),
    ("Apple's mail proxy", "GET", {"User-Agent": "Mozilla/5.0"}),
    ("Office", "GET", {"User-Agent": "Microsoft Office/16.0 (Microsoft Outlook 16.0; Pro)"}),
    ("nameless", "GET", {"User-Agent": ""}),
]


@pytest.mark.parametrize(("what", "method", "headers"), MACHINES, ids=[what for what, _, _ in MACHINES])
async def test_a_machine_is_labelled_and_moves_nothing(
    collector: Collector, what: str, method: str, headers: dict[str, str]
) -> None:
    """It gets its redirect, its click is in the journal with the label, and the message is as it was."""
    message = await send_tracked(collector)
    asked = {name.replace("-", "_"): value for name, value in headers.items()}
    answer = await ask(collector, click(collector, message), method, **asked)
    assert answer.status == 302
    (outcome,) = outcomes(collector)
    assert outcome.detail["machine"] is True
    state = await collector.runtime.state("c1")
    assert state.messages[-1].outcome == ""
    await ask(collector, click(collector, message))
    assert (await collector.runtime.state("c1")).messages[-1].outcome == "clicked"


PEOPLE = [
    BROWSER,
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Edg/140.0.0.0",
    "Mozilla/5.0 (Linux; Android 15; CUBOT KINGKONG) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
]


@pytest.mark.parametrize("agent", PEOPLE)
def test_people_are_not_labelled(agent: str) -> None:
    """Nor Gmail's proxy, which loads a picture when somebody opens the mail; right after the send nobody is a person."""
    assert not is_machine("GET", {"User-Agent": agent}, sent_ago_ms=MACHINE_MS)
    assert is_machine("GET", {"User-Agent": agent}, sent_ago_ms=MACHINE_MS - 1)


async def test_a_click_within_seconds_of_the_send_is_a_machines(collector: Collector) -> None:
    """Gateways open every link while they take the mail in."""
    message = await send_tracked(collector)
    collector.runtime._ledger[message].updated_ms = LATER - 1_000
    await ask(collector, click(collector, message))
    (outcome,) = outcomes(collector)
    assert outcome.detail["machine"] is True


async def test_without_consent_the_redirect_works_and_nothing_is_recorded(collector: Collector) -> None:
    """After a withdrawal old mails are not tracked any more, at once."""
    message = await send_tracked(collector)
    traits = {"consent_withdraw": {"tracking": ["email"]}}
    await collector.post("/v1/identify", {"userId": "c1", "traits": traits})
    answer = await ask(collector, click(collector, message))
    assert (answer.status, answer.headers["Location"]) == (302, TARGET)
    assert (await ask(collector, pixel(collector, message))).status == 200
    assert outcomes(collector) == []


async def test_a_message_that_was_never_tracked_has_no_pixel_to_count(collector: Collector) -> None:
    """Even with a token that is good."""
    message = await send_tracked(collector, tracking=False)
    assert (await ask(collector, pixel(collector, message))).status == 200
    assert outcomes(collector) == []


async def test_foreign_and_forged_tokens_are_a_friendly_page(collector: Collector) -> None:
    """404 in words, no redirect to anywhere, nothing recorded; an unknown pixel is still a picture."""
    message = await send_tracked(collector)
    good = click(collector, message).removeprefix("/c/")
    wrong = [
        "x", good[:-1], good[1:], good + "x", "x" * 5_000, "https:%2F%2Fevil.example",
        collector.signer.trail("open", message, "open"), collector.signer.trail("click", message, "unknown"),
        collector.signer.trail("click", "f" * 32, "k1"), collector.signer.view(message, "c1"),
        collector.signer.unsubscribe(message, "c1", purpose="marketing", channel="email"),
    ]  # fmt: skip
    for token in wrong:
        answer = await ask(collector, f"/c/{token}?url=https://evil.example")
        assert (answer.status, "Location" in answer.headers) == (404, False), token
        assert b"This link does not work" in answer.body
    for token in (good, "x", collector.signer.view(message, "c1")):
        answer = await ask(collector, f"/o/{token}")
        assert (answer.status, answer.headers["Content-Type"]) == (404, "image/gif")
    for path in (f"/u/{good}", f"/me/{good}", f"/view/{good}", f"/confirm/{good}"):
        assert (await ask(collector, path)).status == 404
    assert (await ask(collector, click(collector, message), "POST")).status == 405
    assert outcomes(collector) == []


async def test_nothing_of_the_request_changes_where_it_leads(collector: Collector) -> None:
    """Queries, hosts and forwarded headers: the redirect is the stored one."""
    message = await send_tracked(collector)
    path = click(collector, message) + "?u=https://evil.example&to=//evil.example"
    answer = await ask(collector, path, X_Forwarded_Host="evil.example", Referer="https://evil.example")
    assert answer.headers["Location"] == TARGET


async def test_an_erased_customers_links_lead_nowhere(collector: Collector) -> None:
    """The ledger forgets the message, and with it where its links led."""
    from engine.core.record import Erase

    message = await send_tracked(collector)
    await collector.runtime.append([Erase(customer="c1", at_ms=LATER, id="x")])
    assert (await ask(collector, click(collector, message))).status == 404
    assert (await ask(collector, pixel(collector, message))).status == 200
    assert outcomes(collector) == []
