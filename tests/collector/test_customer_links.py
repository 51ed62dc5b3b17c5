"""What a customer does with the links of a message, and what a mail scanner must not be able to do."""

from __future__ import annotations

import aiohttp
import msgspec
import pytest

from engine.collector.pages.texts import TEXTS, language
from engine.core.record import Consent, Erase, Event, Identify, Outcome
from engine.dispatch.links.tokens import Link
from tests.collector.conftest import T0, Collector

MESSAGE = "m" * 32


async def get(collector: Collector, path: str, **headers: str) -> tuple[int, str]:
    async with collector.http.get(collector.url + path, headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.text()


def consents(collector: Collector) -> list[Consent]:
    return [record for record in collector.records if isinstance(record, Consent)]


def unsubscribe_path(collector: Collector) -> str:
    return "/u/" + collector.signer.unsubscribe(MESSAGE, "c1", purpose="marketing", channel="email")


async def confirm_path(collector: Collector) -> str:
    message = await send_news(collector)
    return "/confirm/" + collector.signer.confirm(message, "c1", purposes={"marketing": ["email"]})


async def test_opening_a_link_changes_nothing(collector: Collector) -> None:
    """Mail scanners open every link before the customer does."""
    message = await send_news(collector)
    signer, before = collector.signer, len(collector.records)
    paths = {
        "unsubscribe": unsubscribe_path(collector),
        "confirm": "/confirm/" + signer.confirm(message, "c1", purposes={"marketing": ["email"]}),
        "preferences": "/me/" + signer.preferences(message, "c1"),
        "view": "/view/" + signer.view(message, "c1"),
    }
    for door, path in paths.items():
        status, text = await get(collector, path)
        assert status == 200
        assert door not in {"unsubscribe", "confirm"} or "<button" in text
    assert len(collector.records) == before


@pytest.mark.parametrize("form", ["urlencoded", "multipart", "empty", "odd"])
async def test_one_click_unsubscribes_whatever_the_body_looks_like(form: str, collector: Collector) -> None:
    """RFC 8058: form-urlencoded or multipart, no cookies, 200 and no redirect."""
    multipart = aiohttp.FormData({"List-Unsubscribe": "One-Click"}, default_to_multipart=True)
    bodies = {"urlencoded": {"List-Unsubscribe": "One-Click"}, "multipart": multipart, "empty": None, "odd": b"\xff{"}
    url = collector.url + unsubscribe_path(collector)
    async with collector.http.post(url, data=bodies[form], allow_redirects=False) as answer:
        assert answer.status == 200
        assert "You are unsubscribed" in await answer.text()
    consent, outcome = collector.records
    assert isinstance(consent, Consent)
    assert (consent.customer, consent.action, consent.purposes) == ("c1", "withdraw", {"marketing": ["email"]})
    assert consent.proof["message"] == MESSAGE
    assert isinstance(outcome, Outcome)
    assert (outcome.outcome, outcome.message) == ("unsubscribed", MESSAGE)


async def test_unsubscribing_works_again_after_a_change_of_mind(collector: Collector) -> None:
    """The same old link, used once more after consent was given anew, withdraws again."""
    path = unsubscribe_path(collector)
    traits = {"email": "ana@example.com", "consent": {"marketing": ["email"]}}
    await collector.post("/v1/identify", {"userId": "c1", "traits": {"email": "ana@example.com"}})
    await collector.http.post(collector.url + path)
    collector.runtime.advance_to(T0 + 1_000)
    await collector.post("/v1/identify", {"userId": "c1", "traits": traits})
    collector.runtime.advance_to(T0 + 2_000)
    await collector.http.post(collector.url + path)
    state = await collector.runtime.state("c1")
    assert state.consent["marketing"]["email"].status == "withdrawn"


async def test_a_confirmation_is_recorded_with_its_proof(collector: Collector) -> None:
    """When, from where, and the words that stood beside the button."""
    path = await confirm_path(collector)
    message = (await collector.runtime.messages(customer="c1"))[0].message.id
    collector.runtime.advance_to(T0 + 60_000)
    headers = {"User-Agent": "Browser/1", "Accept-Language": "de-DE,de;q=0.9,en;q=0.8"}
    async with collector.http.post(collector.url + path, headers=headers) as answer:
        assert answer.status == 200
        assert "Vielen Dank" in await answer.text()
    (consent,) = consents(collector)
    assert (consent.action, consent.purposes, consent.time_ms) == ("confirm", {"marketing": ["email"]}, T0 + 60_000)
    assert consent.proof == {
        "page": "confirm", "ip": "127.0.0.1", "user_agent": "Browser/1", "language": "de", "message": message, "zone": "UTC",
        "wording": "Ja, ich möchte „Werbung“ per E-Mail bekommen. Das kann ich jederzeit widerrufen.",
    }  # fmt: skip
    state = await collector.runtime.state("c1")
    assert state.consent["marketing"]["email"].status == "granted"


async def test_a_link_opens_only_its_own_door(collector: Collector) -> None:
    """A token for one kind of link, a changed or an invented one is a page that says so, with 404."""
    token = unsubscribe_path(collector).removeprefix("/u/")
    for path in (
        f"/confirm/{token}",
        f"/me/{token}",
        f"/view/{token}",
        f"/u/{token[:-2]}xx",
        "/u/x",
        "/u/" + "x" * 5_000,
    ):
        status, text = await get(collector, path)
        assert status == 404
        assert "This link does not work" in text
        async with collector.http.post(collector.url + path) as answer:
            assert answer.status in {404, 405}
    assert collector.records == []


async def send_news(collector: Collector) -> str:
    """A customer with a telephone who got the newsletter by mail; returns the id of that message."""
    traits = {"email": "ana@example.com", "phone": "+4915112345678", "consent": {"marketing": ["email"]}}
    await collector.post("/v1/identify", {"userId": "c1", "traits": traits})
    await collector.post("/v1/track", {"userId": "c1", "event": "News Asked For"})
    (sent,) = await collector.runtime.messages(customer="c1")
    message: str = sent.message.id
    return message


async def test_preferences_offer_what_is_sent_and_record_what_is_ticked(collector: Collector) -> None:
    """Unticking withdraws; a tick counts at once only on the address that the link came to."""
    message = await send_news(collector)
    path = "/me/" + collector.signer.preferences(message, "c1")
    _, text = await get(collector, path)
    assert 'value="marketing:email" checked' in text
    assert 'value="marketing:sms">' in text
    assert "transactional" not in text
    collector.runtime.advance_to(T0 + 1_000)
    form = {"on": "marketing:sms"}
    async with collector.http.post(collector.url + path, data=form) as answer:
        text = await answer.text()
        assert 'value="marketing:sms" checked' in text
        assert 'value="marketing:email">' in text
        assert "Saved." in text
    actions = {consent.action: consent.purposes for consent in consents(collector)}
    assert actions == {"withdraw": {"marketing": ["email"]}, "request": {"marketing": ["sms"]}}
    collector.runtime.advance_to(T0 + 2_000)
    both = [("on", "marketing:email"), ("on", "marketing:sms"), ("on", "transactional:email"), ("on", "made:up")]
    async with collector.http.post(collector.url + path, data=aiohttp.FormData(both)) as answer:
        assert answer.status == 200
    assert consents(collector)[-1].purposes == {"marketing": ["email"]}
    assert consents(collector)[-1].action == "grant"


async def test_a_link_of_somebody_unknown_opens_nothing(collector: Collector) -> None:
    """Nobody is known by it; one-click unsubscribing is answered all the same, and makes nobody known."""
    status, text = await get(collector, "/me/" + collector.signer.preferences(MESSAGE, "gone"))
    assert (status, "This link does not work" in text) == (404, True)
    path = "/u/" + collector.signer.unsubscribe(MESSAGE, "gone", purpose="marketing", channel="email")
    async with collector.http.post(collector.url + path) as answer:
        assert answer.status == 200
    assert await collector.runtime.state("gone") is None


async def test_a_confirmation_from_before_an_erasure_changes_nothing(collector: Collector) -> None:
    """Nor does one of somebody else's message: not the page, and not the record if it came there another way."""
    path, runtime = await confirm_path(collector), collector.runtime
    message = (await runtime.messages(customer="c1"))[0].message.id
    await runtime.append([Erase(customer="c1", at_ms=T0, id="forget")])
    await runtime.idle()
    for request in (collector.http.get, collector.http.post):
        async with request(collector.url + path) as answer:
            assert answer.status == 404
    said = Consent(
        customer="c1", at_ms=T0 + 1, id="late", time_ms=T0 + 1, action="confirm", purposes={"marketing": ["email"]},
        source="link", proof={"message": message},
    )  # fmt: skip
    await runtime.append([said])
    assert await runtime.state("c1") is None
    await collector.post("/v1/identify", {"userId": "c1", "traits": {"email": "stranger@example.com"}})
    await runtime.append([msgspec.structs.replace(said, id="later", at_ms=T0 + 2)])
    assert (await runtime.state("c1")).consent == {}
    for door in ("me", "view", "confirm"):
        link = Link(customer="c1", message=message, purposes={"marketing": ["email"]})
        token = collector.signer.token("preferences" if door == "me" else door, link)  # type: ignore[arg-type]
        async with collector.http.get(f"{collector.url}/{door}/{token}") as answer:
            assert answer.status == 404, door
    other = await confirm_path(collector)
    assert other != path


async def test_a_message_can_be_read_in_the_browser(collector: Collector) -> None:
    """Shut in, so that what stands in it can run nothing here."""
    message = await send_news(collector)
    async with collector.http.get(f"{collector.url}/view/{collector.signer.view(message, 'c1')}") as answer:
        assert (answer.status, await answer.text()) == (200, "<p>news</p>")
        assert answer.headers["Content-Security-Policy"].startswith("sandbox;")
    status, _ = await get(collector, f"/view/{collector.signer.view(message, 'another')}")
    assert status == 404


async def test_what_a_shop_writes_is_escaped(collector: Collector) -> None:
    """Purposes and channels are names from outside."""
    message = await send_news(collector)
    token = collector.signer.confirm(message, "c1", purposes={"<script>": ["<b>"]})
    _, text = await get(collector, f"/confirm/{token}")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


async def test_a_form_that_cannot_be_read_is_refused(collector: Collector) -> None:
    """Too many fields, no text, too large; nothing is withdrawn by mistake."""
    message = await send_news(collector)
    before = len(collector.records)
    path = "/me/" + collector.signer.preferences(message, "c1")
    for data, status in ((b"&".join([b"on=a:b"] * 1_000), 400), (b"on=\xff", 400), (b"x" * 70_000, 413)):
        async with collector.http.post(collector.url + path, data=data) as answer:
            assert answer.status == status
    assert len(collector.records) == before
    assert all(isinstance(record, Event | Identify) for record in collector.records)


def test_every_language_has_every_text() -> None:
    """And asks for the same names in it."""
    for key, text in TEXTS["en"].items():
        for names in ("{purpose}", "{channel}"):
            assert (names in text) == (names in TEXTS["de"][key]), key
    assert TEXTS["en"].keys() == TEXTS["de"].keys()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"), ("de", "de"), ("de-AT,en;q=0.5", "de"), ("fr, de;q=0.7, en;q=0.8", "en"), ("fr", "en"),
        ("de;q=x", "en"), ("en;q=0.1,de;q=0.2", "de"), ("*", "en"), (";;,,=", "en"), ("DE", "de"),
    ],
)  # fmt: skip
def test_the_language_is_the_one_the_reader_likes_best(header: str, expected: str) -> None:
    """Of those we have; else English."""
    assert language(header) == expected
