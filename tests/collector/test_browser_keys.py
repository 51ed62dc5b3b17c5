"""What a browser key may send, and what it is refused; whom browsers are told to be let in; named keys in what is kept."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from engine.clock import ManualClock
from engine.collector.intake.gate import OURS
from engine.collector.intake.key_use import WRITE_SECONDS, KeyUses, last_uses
from engine.core.record import Event, Identify
from engine.settings import CollectorSection, KeySection
from tests.collector.conftest import T0, Collector

WEB, WEB_SECRET, SERVER, APP = "web_0kSJyDqo3vTn9u", "proves-who-it-is", "of-the-server", "app_public"
PAGE = "https://shop.example"
KEYS = (
    KeySection(name="shop", secret=SecretStr(SERVER)),
    KeySection(name="erp", secret=SecretStr("of-the-erp"), events=("Order *",)),
    KeySection(
        name="web", kind="browser", key=WEB, secret=SecretStr(WEB_SECRET), origins=(PAGE, "http://127.0.0.1:3000")
    ),
    KeySection(name="app", kind="browser", key=APP, events=("Product *", "Cart Viewed")),
    KeySection(name="old", kind="browser", key="revoked-word", origins=(PAGE,), revoked=True),
    KeySection(name="old-erp", secret=SecretStr("revoked-secret"), revoked=True),
)
SETTINGS = CollectorSection(keys=KEYS, host="127.0.0.1", public_url="https://mail.shop.example/in/")
VISITOR = "3f1c9a54-7c3b-4c1e-9d55-0f4b8a1d2c3e"
pytestmark = [
    pytest.mark.parametrize("settings", [SETTINGS]),
    pytest.mark.parametrize("runtime", ["memory"], indirect=True),
]


def proof(user: str, secret: str = WEB_SECRET) -> str:
    """As the shop's server makes it."""
    return hmac.new(secret.encode(), user.encode(), hashlib.sha256).hexdigest()


async def send(collector: Collector, path: str, body: object, key: str = WEB, **headers: str) -> tuple[int, Any]:
    """With a key, from the shop's page unless `Origin` says something else; "" leaves it out."""
    told = {"Authorization": f"Bearer {key}", "Origin": PAGE, **headers}
    return await collector.post(path, body, headers={name: value for name, value in told.items() if value})


def count(collector: Collector, name: str, **labels: str) -> float:
    """A metric."""
    return collector.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_a_page_sends_what_a_visitor_does(collector: Collector) -> None:
    """track, page, screen, on long and short paths and in a batch; the record says by which key."""
    for path in ("/v1/track", "/v1/t"):
        assert (await send(collector, path, {"anonymousId": VISITOR, "event": "Cart Viewed"}))[0] == 200
    assert (await send(collector, "/v1/page", {"anonymousId": VISITOR, "name": "Home"}))[0] == 200
    assert (await send(collector, "/v1/s", {"anonymousId": VISITOR, "name": "Start"}))[0] == 200
    batch = {"batch": [{"type": "track", "anonymousId": VISITOR, "event": "Cart Viewed"}], "writeKey": WEB}
    assert (await send(collector, "/v1/batch", batch, key=""))[0] == 200
    assert [(type(one), one.key) for one in collector.records if isinstance(one, Event)] == [(Event, "web")] * 5
    assert count(collector, "anlass_records_total", key="web") == 5


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("identify", {"anonymousId": VISITOR, "traits": {"email": "m@example.com"}}),
        ("identify", {"anonymousId": VISITOR, "traits": {}}),
        ("alias", {"userId": "c1", "previousId": VISITOR}),
        ("group", {"anonymousId": VISITOR, "groupId": "g"}),
        ("outcome", {"anonymousId": VISITOR, "message": "m", "outcome": "delivered"}),
    ],
)
async def test_a_page_says_nothing_about_who_somebody_is(kind: str, body: dict[str, Any], collector: Collector) -> None:
    """Refused with 403 and the place, alone and in a batch; with a proof, too."""
    for more in ({}, {"userId": "c1", "context": {"userHash": proof("c1")}}):
        if kind != "outcome":  # there is no path of its own
            status, told = await send(collector, f"/v1/{kind}", {**body, **more})
            assert (status, told["code"], told["where"]) == (403, "browser_key", "type")
        status, told = await send(collector, "/v1/batch", {"batch": [{"type": kind, **body, **more}]})
        assert (status, told["code"], told["where"]) == (403, "browser_key", "batch[0].type")
    assert collector.records == []
    assert count(collector, "anlass_refused_total", reason="browser_key") >= 2


async def test_one_that_is_refused_in_a_batch_is_a_dead_letter(collector: Collector) -> None:
    """With the reason and the key; the rest is taken, and the metric counts it."""
    good = {"type": "track", "anonymousId": VISITOR, "event": "Cart Viewed"}
    bad = {"type": "identify", "anonymousId": VISITOR, "traits": {"phone": "+491701234567"}}
    assert (await send(collector, "/v1/batch", {"batch": [good, bad]}))[0] == 200
    assert [type(one) for one in collector.records] == [Event]
    [letter] = await collector.runtime.dead_letters()
    assert letter.reason.startswith("batch[1]: browser_key")
    assert "(key web)" in letter.reason
    assert count(collector, "anlass_refused_total", reason="browser_key") == 1


@pytest.mark.parametrize("name", sorted({*OURS, " push gone ", "ACCESS LINK REQUESTED"}))
async def test_events_that_mean_something_here_are_not_a_pages(name: str, collector: Collector) -> None:
    """Tasks, push, changes of address, links for access: whatever the case of the letters."""
    body = {
        "userId": "c1",
        "event": name,
        "context": {"userHash": proof("c1")},
        "properties": {"email": "m@example.com"},
    }
    status, told = await send(collector, "/v1/track", body)
    assert status in {400, 403}
    assert told["code"] in {"event_not_allowed", "reserved_event"}
    assert collector.records == []


async def test_a_customer_is_proved_by_the_shops_server(collector: Collector) -> None:
    """By the secret, which is not what the page sends; a number as id, too; nothing else opens it."""
    for user in ("c1", 17, "Ünal"):
        body: dict[str, Any] = {"userId": user, "event": "Cart Viewed", "context": {"userHash": proof(str(user))}}
        assert (await send(collector, "/v1/track", body))[0] == 200
    shared = {"batch": [{"type": "track", "userId": "c1", "event": "E"}], "context": {"userHash": proof("c1")}}
    assert (await send(collector, "/v1/batch", shared))[0] == 200
    taken = len(collector.records)
    for wrong in (None, "", proof("c2"), proof("c1", WEB), proof("c1")[:-1], 7, "ä", ["x"], proof("c1").encode().hex()):
        for more in ({}, {"anonymousId": VISITOR}):
            body = {"userId": "c1", "event": "Cart Viewed", "context": {"userHash": wrong}, **more}
            status, told = await send(collector, "/v1/track", body)
            assert (status, told["code"], told["where"]) == (403, "unproven_user", "context.userHash"), wrong
    status, told = await send(
        collector, "/v1/track", {"userId": "c1", "event": "Product Viewed", "context": {"userHash": proof("c1", "")}},
        key=APP, Origin="",
    )  # fmt: skip
    assert (status, told["where"]) == (403, "userId"), "a key without a secret proves nobody"
    assert len(collector.records) == taken


async def test_an_anonymous_id_does_not_name_a_customer(collector: Collector) -> None:
    """Customers and visitors share one space of names: `anonymousId` of a customer would speak for them."""
    known = {"userId": "c1", "traits": {"email": "c1@example.com"}}
    assert (await send(collector, "/v1/identify", known, key=SERVER, Origin=""))[0] == 200
    assert (await send(collector, "/v1/alias", {"userId": "c1", "previousId": "v9"}, key=SERVER, Origin=""))[0] == 200
    await collector.runtime.idle()
    taken = len(collector.records)
    for anonymous in ("c1", "v9"):
        body = {"anonymousId": anonymous, "event": "Cart Viewed"}
        status, told = await send(collector, "/v1/track", body)
        assert (status, told["code"], told["where"]) == (403, "unproven_user", "anonymousId")
        status, _ = await send(collector, "/v1/batch", {"batch": [{"type": "track", **body}]})
        assert status == 403
    assert len(collector.records) == taken
    assert (await send(collector, "/v1/track", {"anonymousId": "visitor-8", "event": "Cart Viewed"}))[0] == 200


async def test_cloudevents_need_a_server_key(collector: Collector) -> None:
    """In every format."""
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "E", "subject": "c1"}
    kinds = {"application/cloudevents+json": event, "application/cloudevents-batch+json": [event]}
    for content_type, body in kinds.items():
        status, told = await send(collector, "/events", body, **{"Content-Type": content_type})
        assert (status, told["code"]) == (403, "browser_key")
        assert (await send(collector, "/events", body, key=SERVER, Origin="", **{"Content-Type": content_type}))[
            0
        ] == 200
    assert [one.key for one in collector.records if isinstance(one, Event)] == ["shop", "shop"]


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "", "https://shop.example:8443", "HTTPS://SHOP.EXAMPLE", "http://shop.example"],
)
async def test_other_pages_are_refused(origin: str, collector: Collector) -> None:
    """And nobody tells their browser anything else; nor does a request without a page pass for one."""
    async with collector.http.post(
        f"{collector.url}/v1/track", json={"anonymousId": VISITOR, "event": "E"},
        headers={"Authorization": f"Bearer {WEB}"} | ({"Origin": origin} if origin else {}),
    ) as answer:  # fmt: skip
        assert (answer.status, (await answer.json())["code"]) == (403, "foreign_origin")
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert count(collector, "anlass_refused_total", reason="foreign_origin") == 1


async def test_a_key_of_apps_is_for_no_page(collector: Collector) -> None:
    """It names no origins; and only its events."""
    body = {"anonymousId": VISITOR, "event": "Product Viewed"}
    assert (await send(collector, "/v1/track", body, key=APP, Origin=""))[0] == 200
    assert (await send(collector, "/v1/track", body, key=APP))[1]["code"] == "foreign_origin"
    for path, more in (
        ("/v1/track", {"event": "Order Completed"}),
        ("/v1/page", {"name": "Home"}),
        ("/v1/track", {"event": "product viewed"}),
    ):
        status, told = await send(collector, path, {"anonymousId": VISITOR, **more}, key=APP, Origin="")
        assert (status, told["code"], told["where"]) == (403, "event_not_allowed", "event")
    assert (
        await send(collector, "/v1/track", {"userId": "c1", "event": "Order Completed"}, key="of-the-erp", Origin="")
    )[0] == 200
    assert (await send(collector, "/v1/track", {"userId": "c1", "event": "Other"}, key="of-the-erp", Origin=""))[
        0
    ] == 403


@pytest.mark.parametrize("word", ["revoked-word", "revoked-secret", WEB_SECRET, "", "x"])
async def test_a_key_that_is_not_in_force_opens_nothing(word: str, collector: Collector) -> None:
    """Revoked, or the secret of a browser key, which is not what is sent."""
    for body in ({"anonymousId": VISITOR, "event": "E"}, {"anonymousId": VISITOR, "event": "E", "writeKey": word}):
        assert (await send(collector, "/v1/track", body, key=word))[0] == 401
    assert collector.records == []
    async with collector.http.get(f"{collector.url}/v1/projects/{word or '-'}/settings") as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (
            "authorization,content-type,anonymousid",
            {"authorization", "content-type", "content-encoding", "anonymousid"},
        ),
        ("X-A, b c, <x>, \u00e9, y:z, ok_1", {"authorization", "content-type", "content-encoding", "x-a", "ok_1"}),
        (None, {"authorization", "content-type", "content-encoding"}),
    ],
)
async def test_a_browser_is_told_the_headers_that_it_asks_for(
    asked: str | None, answered: set[str], collector: Collector
) -> None:
    """RudderStack's SDK sends `AnonymousId`; what is not the name of a header is not repeated."""
    told = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    told |= {"Access-Control-Request-Headers": asked.encode().decode("latin-1")} if asked else {}
    async with collector.http.options(f"{collector.url}/v1/track", headers=told) as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, PAGE)
        names = answer.headers["Access-Control-Allow-Headers"].lower()
        assert {name.strip() for name in names.split(",")} == answered
    told["Origin"] = "https://evil.example"
    async with collector.http.options(f"{collector.url}/v1/track", headers=told) as answer:
        assert (answer.status, [name for name in answer.headers if name.startswith("Access-Control")]) == (204, [])
        assert "Origin" in answer.headers["Vary"]


async def test_settings_of_analytics_js_name_our_address_and_not_the_senders(collector: Collector) -> None:
    """`Host` may say anything; the protocol is said, too."""
    headers = {"Host": "evil.example", "Origin": PAGE}
    async with collector.http.get(f"{collector.url}/v1/projects/{WEB}/settings", headers=headers) as answer:
        told = (await answer.json())["integrations"]["Segment.io"]
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert told == {"apiKey": WEB, "apiHost": "mail.shop.example/in/v1", "protocol": "https"}


@pytest.mark.parametrize("name", ["shop", "web"])
async def test_the_last_use_of_a_key_is_kept(name: str, tmp_path: Any, collector: Collector) -> None:
    """At once when it is the first, then at most once a minute, and what another process wrote stays."""
    clock, file = ManualClock(T0), tmp_path / "key-use.json"
    uses, other = KeyUses(file, clock), KeyUses(file, clock)
    uses.note(name)
    assert last_uses(file) == {name: T0}
    clock.advance(int(WRITE_SECONDS * 500))
    uses.note(name)
    assert last_uses(file) == {name: T0}
    other.note("x")
    uses.flush()
    assert last_uses(file) == {name: T0 + WRITE_SECONDS * 500, "x": T0 + WRITE_SECONDS * 500}
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("{")
    assert last_uses(file) == {}
    KeyUses(tmp_path / "none" / "file", clock).note(name)
    assert collector.records == []


async def test_a_record_of_before_there_were_names_is_read(collector: Collector) -> None:
    """And one with a name is read by what knows nothing of names: it stands at the end."""
    decoder = msgspec.msgpack.Decoder(Event | Identify)
    new = Event(customer="c", at_ms=1, id="i", name="E", time_ms=1, key="web")
    bare = msgspec.structs.replace(new, key="")
    assert decoder.decode(msgspec.msgpack.encode(bare)) == bare
    assert decoder.decode(msgspec.msgpack.encode(new)) == new
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(new))[-1] == "web"
    assert collector.records == []
