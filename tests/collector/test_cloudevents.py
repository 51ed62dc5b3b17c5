"""CloudEvents 1.0 over HTTP, in its three modes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.collector.intake.cloudevents import identity
from engine.core.record import Event
from tests.collector.conftest import T0, Collector

EVENT = {
    "specversion": "1.0", "id": "1", "source": "https://shop.example/orders", "type": "Order Completed", "subject": "c1",
    "time": "2026-03-27T08:00:00Z", "datacontenttype": "application/json", "data": {"total": 80.5},
}  # fmt: skip
STRUCTURED = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
BATCHED = {"Content-Type": "application/cloudevents-batch+json"}
EXPECTED = Event(
    customer="c1", at_ms=T0, id=identity("https://shop.example/orders", "1"), name="Order Completed",
    time_ms=1_774_598_400_000, properties={"total": 80.5},
)  # fmt: skip


def binary(**changes: str) -> dict[str, str]:
    headers = {f"ce-{name}": str(EVENT[name]) for name in ("specversion", "id", "source", "type", "subject", "time")}
    return {**headers, "Content-Type": "application/json", **{f"ce-{key}": value for key, value in changes.items()}}


async def test_the_three_modes_say_the_same(collector: Collector) -> None:
    """Structured, binary, and a batch of one."""
    assert await collector.post("/events", EVENT, headers=STRUCTURED) == (200, {"success": True})
    assert (await collector.post("/events", EVENT["data"], headers=binary()))[0] == 200
    assert (await collector.post("/events", [EVENT], headers=BATCHED))[0] == 200
    assert collector.records == [EXPECTED] * 3


async def test_the_customer_may_stand_in_the_data(collector: Collector) -> None:
    """Not every producer sets a subject; the id is then no property."""
    event = {**EVENT, "subject": None, "data": {"userId": 7, "total": 1}}
    assert (await collector.post("/events", event, headers=STRUCTURED))[0] == 200
    (record,) = collector.records
    assert isinstance(record, Event)
    assert (record.customer, record.properties) == ("7", {"total": 1})


async def test_headers_are_percent_encoded(collector: Collector) -> None:
    """As the HTTP binding of CloudEvents says."""
    assert (await collector.post("/events", {}, headers=binary(subject="M%C3%BCller")))[0] == 200
    assert collector.records[0].customer == "Müller"
    status, answer = await collector.post("/events", {}, headers=binary(subject="M%FC"))
    assert (status, answer["code"]) == (400, "invalid_header")


def test_source_and_id_are_the_identity_together() -> None:
    """Neither alone, and no two pairs are the same."""
    assert (
        len({identity("a", "b"), identity("ab", ""), identity("a", "c"), identity("b", "a"), identity("a\x00b", "")})
        == 5
    )
    assert len(identity("x" * 10_000, "y")) < 100


async def test_an_empty_batch_is_fine(collector: Collector) -> None:
    """The specification allows it."""
    assert await collector.post("/events", [], headers=BATCHED) == (200, {"success": True})


async def test_of_a_mixed_batch_the_bad_are_dead_lettered(collector: Collector) -> None:
    """As with Segment's."""
    assert (await collector.post("/events", [EVENT, {**EVENT, "id": ""}], headers=BATCHED))[0] == 200
    assert collector.records == [EXPECTED]
    (letter,) = await collector.runtime.dead_letters()
    assert letter.reason.startswith("batch[1]: missing_attribute")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"specversion": "0.3"}, "invalid_specversion"), ({"id": ""}, "missing_attribute"),
        ({"source": 7}, "missing_attribute"), ({"type": ""}, "missing_event"), ({"subject": ""}, "missing_user"),
        ({"time": 5}, "invalid_time"), ({"data": [1]}, "invalid_data"), ({"data_base64": "e30="}, "unsupported_media_type"),
        ({"datacontenttype": "text/xml"}, "unsupported_media_type"), ({"data": {"x": 2**70}}, "number_too_large"),
    ],
)  # fmt: skip
async def test_what_is_no_cloudevent_of_ours_is_refused(
    change: dict[str, Any], code: str, collector: Collector
) -> None:
    """With what is wrong."""
    status, answer = await collector.post("/events", {**EVENT, **change}, headers=STRUCTURED)
    assert (status, answer["code"]) == (415 if code == "unsupported_media_type" else 400, code)
    assert collector.records == []


async def test_plain_json_is_no_cloudevent(collector: Collector) -> None:
    """Somebody mistook the path: the answer says what is missing."""
    status, answer = await collector.post("/events", EVENT, headers={"Content-Type": "application/json"})
    assert (status, answer["code"]) == (415, "unsupported_media_type")
    assert "ce- headers" in answer["message"]
    status, answer = await collector.post(
        "/events", data=json.dumps({}), headers={**binary(), "Content-Type": "text/xml"}
    )
    assert status == 415
