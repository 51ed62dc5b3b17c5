"""What a client of Segment's API meets: paths, keys, answers, limits, batches."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from engine.core.record import Event, Identify, Merge
from engine.settings import CollectorSection
from tests.collector.conftest import KEY, T0, Collector

TRACK = {"userId": "c1", "event": "Product Added", "properties": {"cart_id": "k1"}, "messageId": "m1"}
BASIC = {"Authorization": "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()}
with_keys = pytest.mark.parametrize("settings", [CollectorSection(write_keys={"shop": KEY}, host="127.0.0.1")])


async def test_success_is_exactly_what_segment_answers(collector: Collector) -> None:
    """Clients compare the status; some compare the body."""
    async with collector.http.post(f"{collector.url}/v1/track", data=json.dumps(TRACK)) as answer:
        assert (answer.status, await answer.read()) == (200, b'{"success": true}')
        assert answer.headers["Content-Type"].startswith("application/json")
    assert collector.records == [
        Event(customer="c1", at_ms=T0, id="m1", name="Product Added", time_ms=T0, properties={"cart_id": "k1"})
    ]


@pytest.mark.parametrize(
    ("paths", "body", "kind"),
    [
        (("/v1/track", "/v1/t"), {"userId": "c", "event": "E"}, Event),
        (("/v1/identify", "/v1/i"), {"userId": "c", "traits": {}}, Identify),
        (("/v1/page", "/v1/p"), {"userId": "c", "name": "Home"}, Event),
        (("/v1/screen", "/v1/s"), {"userId": "c", "name": "Start"}, Event),
        (("/v1/group", "/v1/g"), {"userId": "c", "groupId": "g"}, Event),
        (("/v1/alias", "/v1/a"), {"userId": "c", "previousId": "p"}, Merge),
    ],
)
async def test_long_and_short_paths_do_the_same(
    paths: tuple[str, str], body: dict[str, Any], kind: type, collector: Collector
) -> None:
    """analytics.js uses the short ones."""
    for path in paths:
        assert await collector.post(path, body) == (200, {"success": True})
    assert [type(record) for record in collector.records] == [kind, kind]


@with_keys
@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/beacon/v1/batch"])
async def test_the_key_is_taken_from_the_header_or_from_the_body(path: str, collector: Collector) -> None:
    """segment-analytics-python writes it into the body, RudderStack's client into the header."""
    batch = {"batch": [{"type": "track", **TRACK}]}
    assert (await collector.post(path, batch, headers=BASIC))[0] == 200
    assert (await collector.post(path, {**batch, "writeKey": KEY}))[0] == 200
    assert len(collector.records) == 2


@with_keys
@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": "Basic d3Jvbmc6"}, {"Authorization": "Basic %%%"}, {"Authorization": "Basic /w=="},
        {"Authorization": "Digest x"}, {"Authorization": "Bearer wrong"},
    ],
)  # fmt: skip
async def test_without_a_known_key_nothing_is_taken(headers: dict[str, str], collector: Collector) -> None:
    """Missing, wrong and unreadable keys are one thing, and the answer can be read by a client."""
    for path, body in (("/v1/track", TRACK), ("/v1/batch", {"batch": [], "writeKey": ["x"]})):
        status, answer = await collector.post(path, body, headers=headers)
        assert (status, answer["code"]) == (401, "unauthorized")
        assert answer["message"]
    assert collector.records == []


async def test_the_content_type_does_not_matter(collector: Collector) -> None:
    """Browsers send text/plain to save themselves a preflight."""
    for content_type in ("text/plain", "application/json", "application/x-www-form-urlencoded", "x/y; charset=no"):
        headers = {"Content-Type": content_type}
        assert (await collector.post("/v1/track", TRACK, headers=headers))[0] == 200


@with_keys
async def test_a_preflight_lets_a_browser_send(collector: Collector) -> None:
    """analytics.js sends from the shop's own origin, with Basic auth."""
    headers = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    for path in ("/v1/t", "/v1/batch", "/events"):
        async with collector.http.options(collector.url + path, headers=headers) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    async with collector.http.post(f"{collector.url}/v1/t", data="{") as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


@with_keys
async def test_analytics_js_gets_its_settings(collector: Collector) -> None:
    """It asks before it sends, with the key in the path."""
    async with collector.http.get(f"{collector.url}/v1/projects/{KEY}/settings") as answer:
        assert (await answer.json())["integrations"]["Segment.io"]["apiKey"] == KEY
    async with collector.http.get(f"{collector.url}/v1/projects/other/settings") as answer:
        assert (answer.status, (await answer.json())["code"]) == (401, "unauthorized")


async def test_compressed_batches_are_read(collector: Collector) -> None:
    """The Python clients compress when told so."""
    batch = {"batch": [{"type": "track", **TRACK, "messageId": f"m{number}"} for number in range(500)]}
    data = gzip.compress(json.dumps(batch).encode())
    assert (await collector.post("/v1/batch", data=data, headers={"Content-Encoding": "gzip"}))[0] == 200
    assert len(collector.records) == 500


async def test_of_a_mixed_batch_the_good_are_taken_and_the_bad_are_kept_with_the_reason(collector: Collector) -> None:
    """Clients would send the whole batch again and again if it were refused."""
    bad = [{"type": "track", "userId": "c1"}, {"type": "track", "event": "E"}, {"type": "what", "userId": "c9"}, 7]
    batch = {"batch": [{"type": "track", **TRACK}, *bad]}
    assert await collector.post("/v1/batch", batch) == (200, {"success": True})
    assert [record.customer for record in collector.records] == ["c1"]
    letters = await collector.runtime.dead_letters()
    assert [json.loads(letter.body) for letter in letters] == bad
    assert [letter.reason.split(": ")[:2] for letter in letters] == [
        ["batch[1]", "missing_event"], ["batch[2]", "missing_user"], ["batch[3]", "invalid_type"],
        ["batch[4]", "invalid_record"],
    ]  # fmt: skip
    assert [letter.customer for letter in letters] == ["c1", "", "c9", ""]
    assert {letter.origin for letter in letters} == {"http:/v1/batch"}


async def test_a_batch_of_bad_records_only_is_refused(collector: Collector) -> None:
    """Its sender learns what is wrong with each, and nothing is kept."""
    batch = {"batch": [{"type": "track", "userId": "c1"}, {"type": "track", "event": "E"}]}
    status, answer = await collector.post("/v1/batch", batch)
    assert (status, answer["code"], answer["where"]) == (400, "missing_event", "batch[0].event")
    assert [(error["index"], error["code"]) for error in answer["errors"]] == [
        (0, "missing_event"),
        (1, "missing_user"),
    ]
    assert await collector.runtime.dead_letters() == []


async def test_an_empty_batch_is_fine(collector: Collector) -> None:
    """Nothing to do is not an error."""
    assert await collector.post("/v1/batch", {"batch": []}) == (200, {"success": True})


async def test_what_holds_for_the_batch_holds_for_its_records(collector: Collector) -> None:
    """Its context lies under each record's own; its sentAt corrects their times."""
    batch = {
        "sentAt": "2026-03-27T09:26:40Z",  # an hour ahead of us
        "context": {"locale": "de-AT", "ip": "192.0.2.1", "campaign": {"source": "x"}},
        "batch": [
            {"type": "track", "userId": "a", "event": "E", "timestamp": "2026-03-27T09:26:30Z"},
            {"type": "track", "userId": "b", "event": "E", "context": {"locale": "fr"}},
        ],
    }
    assert (await collector.post("/v1/batch", batch))[0] == 200
    first, second = collector.records
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert first.time_ms == T0 - 10_000
    assert first.properties == {"context": {"locale": "de-AT", "campaign": {"source": "x"}}}
    assert second.properties == {"context": {"locale": "fr", "campaign": {"source": "x"}}}


async def test_a_record_without_an_id_gets_a_new_one_each_time(collector: Collector) -> None:
    """With curl nobody writes a messageId; two such events are two events."""
    for _ in range(2):
        await collector.post("/v1/track", {"userId": "c1", "event": "E"})
    first, second = collector.records
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert first.id != second.id


async def test_the_monitoring_is_answered(collector: Collector) -> None:
    """Alive, ready, and numbers."""
    await collector.post("/v1/track", TRACK)
    for path, text in (("/healthz", "ok"), ("/readyz", '"backlog":0'), ("/metrics", "anlass_intake_seconds_count 1.0")):
        async with collector.http.get(collector.operators_url + path) as answer:
            assert answer.status == 200
            assert text in await answer.text()
    async with collector.http.get(f"{collector.url}/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok")
