"""The customer's own page: what each form writes, and what nobody may do there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.clock import ManualClock
from engine.collector.pages.visitors import COOKIE
from engine.core.catalog import Catalog
from engine.core.facts import moving
from engine.core.record import Consent, Event, Identify, Record
from engine.dispatch.links.tokens import Session
from engine.project.opening import open_rehearsal
from engine.runtimes.memory_ports import MemoryRuntime
from engine.settings import CollectorSection
from tests.collector.conftest import T0, Collector

ROOT = Path(__file__).resolve().parents[2]
DAY_MS = 86_400_000
ORDER = {
    "order_id": "o-17", "total": 49.9, "currency": "EUR", "objection_notice": True,
    "products": [{"name": "Beans <b>", "quantity": 2, "price": 24.95}],
}  # fmt: skip
PARCEL = {"shipment_id": "s1", "order_id": "o-17", "carrier": "DHL", "tracking_url": "https://track.example/s1"}


@cache
def shipped() -> Catalog:
    """The workflows that come with Anlass: they answer what the pages write."""
    return open_rehearsal(ROOT, with_templates=False).catalog


@pytest.fixture(params=["memory", "kafka"])
async def runtime(request: pytest.FixtureRequest) -> AsyncIterator[MemoryRuntime]:
    """As in conftest, with the shipped workflows."""
    clock = ManualClock(T0)
    if request.param == "memory":
        yield MemoryRuntime(shipped(), clock=clock)
        return
    from tests.collector.through_kafka import ThroughKafka

    bootstrap, topics = request.getfixturevalue("kafka"), request.getfixturevalue("intake_topics")
    async with ThroughKafka(shipped(), clock, bootstrap=bootstrap, topics=topics) as through:
        yield through


class Ana:
    """A customer with an order on its way, and the link of the mail about it."""

    def __init__(self, collector: Collector, message: str) -> None:
        self.collector = collector
        self.message = message
        self.path = "/me/" + collector.signer.preferences(message, "ana")
        self.cookies: dict[str, str] = {}
        self._known = len(collector.records)

    async def open(self, now_ms: int = T0) -> Ana:
        """Opens what is hers, as an access link in her browser does."""
        runtime, signer = self.collector.runtime, self.collector.signer
        asked = Event(customer="ana", at_ms=now_ms, id=f"ask{now_ms}", name=moving.LINK_ASKED, time_ms=now_ms)
        await runtime.append([asked])
        found = (status.message for status in await runtime.messages(customer="ana"))
        message = next(each.id for each in found if each.template == "access-link")
        used = Event(
            customer="ana", at_ms=now_ms, id=f"use{now_ms}", name=moving.LINK_OPENED, time_ms=now_ms,
            properties={"message": message, "visit": "v1"},
        )  # fmt: skip
        await runtime.append([used])
        self.cookies = {COOKIE: signer.session(Session("ana", message, "v1", now_ms + 1_800_000))}
        self._known = len(self.collector.records)
        return self

    async def get(self, below: str = "", **more: Any) -> tuple[int, str]:
        url = f"{self.collector.url}{self.path}{below}"
        async with self.collector.http.get(url, allow_redirects=False, headers=self._headers(), **more) as answer:
            return answer.status, await answer.text()

    async def post(self, below: str, form: Any, **headers: str) -> tuple[int, str]:
        url = f"{self.collector.url}{self.path}{below}"
        sent = {**headers, **self._headers()}
        async with self.collector.http.post(url, data=form, headers=sent, allow_redirects=False) as answer:
            return answer.status, await answer.text()

    def _headers(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}

    @property
    def written(self) -> list[Record]:
        """What the pages put on the log, without what the engine raised by itself."""
        fresh = self.collector.records[self._known :]
        return [each for each in fresh if not (isinstance(each, Event) and each.name.startswith("Consent "))]

    @property
    def events(self) -> list[Event]:
        return [each for each in self.written if isinstance(each, Event)]

    async def templates(self) -> list[str]:
        """What was sent to her, oldest first."""
        return [status.message.template for status in reversed(await self.collector.runtime.messages(customer="ana"))]


@pytest.fixture
async def ana(collector: Collector) -> Ana:
    """The order, the parcel, and the mail about it; her page is open in her browser."""
    traits = {
        "email": "ana@example.com", "phone": "+4915112345678", "first_name": "Ana", "birthday": "1990-05-04",
        "consent": {"marketing": ["email"]},
    }  # fmt: skip
    await collector.post("/v1/identify", {"userId": "ana", "traits": traits})
    await collector.post("/v1/track", {"userId": "ana", "event": "Order Completed", "properties": ORDER})
    await collector.post("/v1/track", {"userId": "ana", "event": "Shipment Sent", "properties": PARCEL})
    newest = (await collector.runtime.messages(customer="ana"))[0].message
    assert newest.template == "shipment-sent"
    return await Ana(collector, newest.id).open()


async def test_opening_every_page_changes_nothing(ana: Ana) -> None:
    """In both languages; each page says which it is in."""
    for below in ("", "/details", "/orders", "/complaint", "/data.json"):
        for lang in ("de", "en"):
            status, text = await ana.get(f"{below}?lang={lang}")
            assert status == 200, below
            assert below == "/data.json" or f'<html lang="{lang}">' in text
    assert ana.written == []


async def test_preferences_are_by_purpose_and_channel_with_tracking_and_profiling(ana: Ana) -> None:
    """Each change is a record of its own with the words beside its boxes; what rests on the order can be objected to."""
    _, text = await ana.get("?lang=en")
    on = set(re.findall(r'value="([^"]+)" checked', text))
    assert {"marketing:email", "service:email"} <= on
    assert on.isdisjoint({"tracking:email", "profiling:profile"})
    assert {"tracking:email", "profiling:profile"} <= set(re.findall(r'name="on" value="([^"]+)"', text))
    form = [("on", "marketing:email"), ("on", "tracking:email"), ("on", "profiling:profile")]
    status, text = await ana.post("?lang=de", aiohttp.FormData(form))
    assert status == 200
    assert "Gespeichert." in text
    changed = {
        (each.action, *each.purposes): each.proof["wording"] for each in ana.written if isinstance(each, Consent)
    }
    assert {"Öffnungen und Klicks" in text for (_, purpose), text in changed.items() if purpose == "tracking"} == {True}
    state = await ana.collector.runtime.state("ana")
    stands = {purpose: {name: one.status for name, one in by.items()} for purpose, by in state.consent.items()}
    assert stands["tracking"] == {"email": "granted"}
    assert stands["profiling"] == {"profile": "granted"}
    assert stands["service"]["email"] == "withdrawn"
    assert stands["marketing"]["email"] == "granted"


async def test_details_are_changed_by_the_form_and_told_as_an_event(ana: Ana) -> None:
    """Only what is different is written; an empty field is removed."""
    form = {
        "first_name": "Anna", "last_name": "Sørensen", "street": "Weg 1", "postal_code": "10115", "city": "Berlin",
        "country": "", "birthday": "", "locale": "de", "email": "ANA@example.com",
    }  # fmt: skip
    status, text = await ana.post("/details?lang=en", form)
    assert status == 200
    assert "Saved." in text
    identify, event = ana.written
    assert isinstance(identify, Identify)
    assert identify.traits == {
        "first_name": "Anna", "last_name": "Sørensen", "locale": "de", "birthday": None,
        "address": {"street": "Weg 1", "postalCode": "10115", "city": "Berlin"},
    }  # fmt: skip
    assert isinstance(event, Event)
    assert (event.name, event.properties) == (
        "Details Changed", {"fields": ["address", "birthday", "first_name", "last_name", "locale"]},
    )  # fmt: skip
    assert (await ana.get("/details"))[1].count('value="Anna"') == 1


WRONG = {
    "birthday": ["tomorrow", "2090-01-01", "1890-01-01", "1990-02-30", "19900504", "04.05.1990"],
    "locale": ["fr", "klingon", "de-DE"],
    "email": [
        "",
        "ana",
        "a@b",
        "a@@b.de",
        "a b@c.de",
        "<a@b.de>",
        "a@b.de,c@d.de",
        "a@.de",
        "a@b..de",
        f"{'x' * 250}@b.de",
    ],
    "first_name": [
        "x" * 101,
        "A\x00na",
        "A\nna",
        "A\u202ena",
        "You won: https://evil.example",
        "www.evil.example",
        "evil.example",
    ],
}


@pytest.mark.parametrize(("field", "text"), [(field, text) for field, texts in WRONG.items() for text in texts])
async def test_a_wrong_field_is_marked_and_nothing_is_saved(field: str, text: str, ana: Ana) -> None:
    """The page says which and what it should be, and keeps what was written."""
    status, page = await ana.post("/details?lang=en", {"last_name": "New", field: text})
    assert status == 400
    assert 'role="alert"' in page
    assert f'aria-describedby="{field}-error"' in page
    assert 'value="New"' in page
    assert ana.written == []


async def test_orders_are_shown_from_what_is_known_and_asked_about(ana: Ana) -> None:
    """The newest state with its parcel; both questions are events, answered by the shipped workflows."""
    _, text = await ana.get("/orders?lang=en")
    assert "Order o-17" in text
    assert "on its way" in text
    assert "https://track.example/s1" in text
    assert "€49.90" in text
    assert "March 27, 2026" in text
    assert "27. März 2026" in (await ana.get("/orders?lang=de"))[1]
    for what in ("again", "again", "state"):
        status, text = await ana.post("/orders?lang=en", {"what": what, "order": "o-17"})
        assert status == 200
        assert "We will answer with a message" in text
    again, _, state = ana.events
    assert (again.name, again.properties["total"], again.properties["ordered_at"][:10]) == (
        "Order Confirmation Requested", 49.9, "2026-03-27",
    )  # fmt: skip
    assert (state.name, state.properties["state"], state.properties["carrier"]) == (
        "Order State Requested",
        "sent",
        "DHL",
    )
    assert (await ana.templates())[-2:] == ["order-copy", "order-state"]
    await ana.post("/orders", {"what": "state", "order": "typed by hand"})
    assert "state" not in ana.events[-1].properties
    for wrong in ({"what": "state"}, {"what": "cancel", "order": "o-17"}, {"what": "state", "order": "x" * 101}, {}):
        assert (await ana.post("/orders?lang=en", wrong))[0] == 400
    assert len(ana.events) == 4


async def test_a_complaint_is_opened_once_and_answered(ana: Ana) -> None:
    """The form may be sent twice; the number on the page is the complaint's."""
    _, text = await ana.get("/complaint?lang=de")
    number = re.findall(r'name="number" value="(\w+)"', text)[0]
    assert "<option>o-17</option>" in text
    form = {"number": number, "order": "o-17", "text": "Zerbrochen <script>"}
    for _ in range(2):
        status, text = await ana.post("/complaint?lang=de", form)
        assert status == 200
        assert number in text
    assert {event.id for event in ana.events} == {f"me:{ana.message}:complaint:{number}"}
    assert ana.events[0].properties == {
        "complaint_id": number, "order_id": "o-17", "text": "Zerbrochen <script>", "source": "self_service",
    }  # fmt: skip
    assert (await ana.templates()).count("complaint-received") == 1
    for wrong in ({**form, "text": " "}, {**form, "text": "x" * 4_001}, {**form, "number": "<b>"}, {"text": "x"}):
        assert (await ana.post("/complaint", wrong))[0] == 400
    assert len(ana.events) == 2


async def test_own_data_are_downloaded_as_json(ana: Ana) -> None:
    """Details, consents with their proofs, messages; as a file, kept by nobody on the way."""
    url = f"{ana.collector.url}{ana.path}/data.json"
    async with ana.collector.http.get(url, headers=ana._headers()) as answer:
        assert answer.headers["Content-Disposition"] == 'attachment; filename="data.json"'
        assert answer.headers["Cache-Control"] == "no-store"
        found = await answer.json()
    assert found["details"]["email"] == "ana@example.com"
    assert [(each["purpose"], each["legal_basis"]) for each in found["consents"]] == [
        ("marketing", "consent"), ("service", "existing_customer"),
    ]  # fmt: skip
    assert {each["what"] for each in found["messages"]} == {"order-confirmation", "shipment-sent", "access-link"}


async def test_a_link_of_any_mail_shows_nothing_of_hers(ana: Ana) -> None:
    """Who gets a forwarded mail can choose and unsubscribe, and has a link sent to the address that is known."""
    ana.cookies = {}
    for below in ("", "/details", "/orders", "/complaint", "/data.json"):
        status, text = await ana.get(f"{below}?lang=en")
        assert status == (403 if below else 200)
        assert not [word for word in ("ana@example.com", "Ana", "1990", "o-17", "+49") if word in text], below
        assert "a•••@e•••.com" in text
    assert (await ana.post("/details", {"first_name": "Eve"}))[0] == 403
    assert (await ana.post("/orders", {"what": "again", "order": "o-17"}))[0] == 403
    assert (await ana.post("/complaint", {"text": "x", "number": "1"}))[0] == 403
    assert ana.written == []
    ana.collector.runtime.advance_to(T0 + 31 * DAY_MS)
    status, text = await ana.post("/link?lang=en", None)
    assert "A link is on its way" in text
    assert [event.name for event in ana.events[-1:]] == ["Access Link Requested"]
    assert (await ana.templates())[-1] == "access-link"
    assert (await ana.post("", {}))[0] == 200


@pytest.mark.parametrize("below", ["", "/details", "/orders", "/complaint", "/link"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"},
        {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
    ],
)  # fmt: skip
async def test_a_form_of_another_site_is_refused(below: str, headers: dict[str, str], ana: Ana) -> None:
    """Even with a good token: nothing is written."""
    status, text = await ana.post(f"{below}?lang=en", {"on": "marketing:sms", "text": "x"}, **headers)
    assert status == 403
    assert "did not come from our page" in text
    assert ana.written == []


async def test_our_own_forms_are_taken_however_the_browser_tells(ana: Ana) -> None:
    """By its newer header, by the older one, or not at all."""
    own = {"Origin": ana.collector.url}
    for headers in ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, {"Sec-Fetch-Site": "none"}, own, {}):
        assert (await ana.post("", {"on": "marketing:email"}, **headers))[0] == 200


@pytest.mark.parametrize("settings", [CollectorSection(trusted_proxies=("127.0.0.1/32",))], ids=["trusted"])
@pytest.mark.parametrize(
    ("told", "kept"),
    [("203.0.113.7", "203.0.113.7"), ("evil, 203.0.113.7", "203.0.113.7"), ("", "127.0.0.1"), ("<b>", "127.0.0.1")],
)
async def test_a_proof_names_the_machine_behind_the_proxy(told: str, kept: str, ana: Ana) -> None:
    """What the proxy in our own network says last; nothing that is not an address."""
    await ana.post("", {}, **{"X-Forwarded-For": told})
    assert {each.proof["ip"] for each in ana.written if isinstance(each, Consent)} == {kept}


async def test_a_tick_in_a_mail_to_an_old_address_has_to_be_confirmed_at_the_new_one(ana: Ana) -> None:
    """Who has the old mail need not be who reads the new address."""
    await ana.collector.post("/v1/identify", {"userId": "ana", "traits": {"email": "new@example.com"}})
    await ana.post("", {"on": "marketing:email"})
    actions = {(each.action, *each.purposes) for each in ana.written if isinstance(each, Consent)}
    assert ("request", "marketing") in actions
    given = (await ana.collector.runtime.state("ana")).consent["marketing"]["email"]
    assert (given.status, given.address) == ("requested", "new@example.com")


async def test_too_many_forms_in_a_minute_wait(ana: Ana) -> None:
    """The next minute they are taken again; reading is never refused."""
    answers = [(await ana.post("?lang=en", {"on": "marketing:email"}))[0] for _ in range(25)]
    assert answers == [200] * 20 + [429] * 5
    assert (await ana.get())[0] == 200
    ana.collector.runtime.advance_to(T0 + 61_000)
    assert (await ana.post("", {"on": "marketing:email"}))[0] == 200


async def test_tokens_of_other_links_and_made_up_ones_open_nothing(ana: Ana) -> None:
    """Each kind of link for its own door; changed and cut ones are a friendly page."""
    signer = ana.collector.signer
    others = [
        signer.view(ana.message, "ana"), signer.address(ana.message, "ana"),
        signer.confirm(ana.message, "ana", purposes={"marketing": ["email"]}),
        signer.unsubscribe(ana.message, "ana", purpose="marketing", channel="email"),
        signer.preferences(ana.message, "ana")[:-1], "x", "x" * 5_000, "%00", "e30.e30",
    ]  # fmt: skip
    for token in others:
        for below in ("", "/details", "/orders", "/complaint", "/data.json"):
            async with ana.collector.http.get(f"{ana.collector.url}/me/{token}{below}?lang=en") as answer:
                assert answer.status == 404
                assert "This link does not work" in await answer.text()
        async with ana.collector.http.post(f"{ana.collector.url}/me/{token}", data={"on": "a:b"}) as answer:
            assert answer.status == 404
    for door in ("address", "confirm", "u"):
        async with ana.collector.http.post(
            f"{ana.collector.url}/{door}/{signer.preferences(ana.message, 'ana')}"
        ) as answer:
            assert answer.status == 404
    assert ana.written == []


async def test_a_link_of_somebody_else_shows_nothing_of_her(ana: Ana) -> None:
    """A token names the customer and the message; both have to belong together. Nor does another's open page help."""
    signer = ana.collector.signer
    await ana.collector.post("/v1/identify", {"userId": "eve", "traits": {"email": "eve@example.com"}})
    for below in ("", "/details", "/orders", "/data.json"):
        ana.path = "/me/" + signer.preferences(ana.message, "eve")
        status, text = await ana.get(below)
        assert status == 404
        assert "ana" not in text.lower()
    url = f"{ana.collector.url}/address/{signer.address(ana.message, 'eve')}"
    async with ana.collector.http.post(url) as answer:
        assert answer.status == 404
