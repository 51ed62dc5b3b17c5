"""What becomes of one Segment record, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.collector.intake.parse import Envelope, parse_item, parse_line
from engine.core.record import Event, Identify, Merge, Outcome, Record, decode_record, encode_record
from engine.errors import BadRecord
from tests.collector.conftest import T0

TRACK = {"type": "track", "messageId": "m", "userId": "c", "event": "E"}


def parse(record: dict[str, Any], *, received_ms: int | None = T0) -> list[Record]:
    return parse_line(json.dumps(record).encode(), received_ms=received_ms)


def refused(raw: bytes | dict[str, Any]) -> str:
    """The code of the refusal."""
    with pytest.raises(BadRecord) as caught:
        parse_line(raw if isinstance(raw, bytes) else json.dumps(raw).encode(), received_ms=T0)
    assert str(caught.value)
    return caught.value.code


def time_of(record: dict[str, Any]) -> int:
    (event,) = parse({**TRACK, **record})
    assert isinstance(event, Event)
    return event.time_ms


def test_pages_screens_and_groups_are_events() -> None:
    """Their names are fixed, so that workflows can wait for them."""
    shared = {"messageId": "m", "userId": "c"}
    (page,) = parse({**shared, "type": "page", "name": "Cart", "category": "Shop", "properties": {"url": "u"}})
    (screen,) = parse({**shared, "type": "screen", "name": "Start"})
    (group,) = parse({**shared, "type": "group", "groupId": 7, "traits": {"plan": "pro"}})
    assert page == Event(
        customer="c", at_ms=T0, time_ms=T0, id="m", name="Page Viewed",
        properties={"url": "u", "name": "Cart", "category": "Shop"},
    )  # fmt: skip
    assert isinstance(screen, Event)
    assert (screen.name, screen.properties) == ("Screen Viewed", {"name": "Start"})
    assert isinstance(group, Event)
    assert (group.name, group.properties) == ("Group Joined", {"group_id": "7", "traits": {"plan": "pro"}})


def test_an_identify_with_both_ids_joins_them_first() -> None:
    """What the anonymous visitor did belongs to the customer before the traits are judged."""
    both = {"type": "identify", "messageId": "m", "userId": "c", "anonymousId": "a", "traits": {"x": 1}}
    assert parse(both) == [
        Merge(customer="a", at_ms=T0, id="m", into="c"),
        Identify(customer="c", at_ms=T0, id="m", time_ms=T0, traits={"x": 1}),
    ]
    assert len(parse({**both, "anonymousId": "c"})) == 1


def test_traits_may_stand_in_the_context() -> None:
    """Some clients put them there for an identify; those of other records are about something else."""
    (identify,) = parse({"type": "identify", "userId": "c", "context": {"traits": {"x": 1}}})
    assert isinstance(identify, Identify)
    assert identify.traits == {"x": 1}
    (event,) = parse({**TRACK, "context": {"traits": {"x": 1}}})
    assert isinstance(event, Event)
    assert event.properties == {}


def test_an_anonymous_event_belongs_to_the_anonymous_id() -> None:
    """Until a userId is known."""
    (event,) = parse({**TRACK, "userId": None, "anonymousId": "a"})
    assert event.customer == "a"
    (event,) = parse({**TRACK, "anonymousId": "a"})
    assert event.customer == "c"


def test_an_alias_moves_the_previous_id() -> None:
    """`previousId` is found to be `userId`."""
    alias = {"type": "alias", "messageId": "m", "previousId": "old", "userId": "c"}
    assert parse(alias) == [Merge(customer="old", at_ms=T0, id="m", into="c")]
    assert refused({**alias, "previousId": "c"}) == "same_user"
    assert refused({**alias, "previousId": ""}) == "missing_user"


def test_an_outcome_names_its_message_or_its_step() -> None:
    """As `simulate` and `emit` read it from a file."""
    shared = {"type": "outcome", "messageId": "m", "userId": "c", "outcome": "clicked"}
    (by_step,) = parse({**shared, "of": "reminder", "workflow": "cart"})
    assert by_step == Outcome(
        customer="c", at_ms=T0, id="m", time_ms=T0, outcome="clicked", workflow="cart", step="reminder"
    )
    (by_id,) = parse({**shared, "message": "x1", "properties": {"url": "https://shop.example"}})
    assert isinstance(by_id, Outcome)
    assert (by_id.message, by_id.detail) == ("x1", {"url": "https://shop.example"})
    assert refused({**shared, "of": "reminder"}) == "missing_message"
    assert refused({**shared, "message": "x", "outcome": "liked"}) == "invalid_outcome"
    assert refused({**shared, "message": "x", "outcome": ["clicked"]}) == "invalid_outcome"


def test_in_a_file_the_timestamp_is_the_records_own_time() -> None:
    """There is no receipt in virtual time, so it cannot be missing."""
    (event,) = parse({**TRACK, "timestamp": "2030-01-01T00:00:00Z"}, received_ms=None)
    assert isinstance(event, Event)
    assert event.at_ms == event.time_ms == 1_893_456_000_000
    with pytest.raises(BadRecord, match="timestamp is missing"):
        parse(TRACK, received_ms=None)


def test_a_line_without_an_id_gets_the_hash_of_its_bytes() -> None:
    """The same file gives the same decisions."""
    raw = b'{"type":"track","userId":"c","event":"E"}'
    assert parse_line(raw, received_ms=T0) == parse_line(raw, received_ms=T0)


def test_a_wrong_clock_is_corrected_by_what_it_says_itself() -> None:
    """It is received - (sent - original); never in the future; without sentAt the time counts as it is."""
    ahead = {"originalTimestamp": "2030-01-01T00:00:00Z", "sentAt": "2030-01-01T00:00:05Z"}
    assert time_of(ahead) == T0 - 5_000
    assert time_of({**ahead, "sentAt": "2029-12-31T23:00:00Z"}) == T0
    assert time_of({"timestamp": T0 + 86_400_000}) == T0
    assert time_of({"timestamp": "2000-01-01T00:00:00Z"}) == 946_684_800_000
    assert time_of({"timestamp": 1_700_000_000_000}) == 1_700_000_000_000
    assert time_of({"timestamp": "2026-03-27T09:26:40.5+01:00"}) == T0
    assert time_of({"timestamp": "2026-03-27T08:26:39.250+00:00"}) == T0 - 750


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"userId": None}, "missing_user"), ({"userId": ""}, "missing_user"), ({"userId": " "}, "invalid_id"),
        ({"userId": "x" * 201}, "invalid_id"), ({"userId": "a\nb"}, "invalid_id"), ({"userId": "a\x00"}, "invalid_id"),
        ({"userId": True}, "invalid_id"), ({"userId": 1.5}, "invalid_id"), ({"userId": {}}, "invalid_id"),
        ({"event": None}, "missing_event"), ({"event": "  "}, "missing_event"), ({"event": 7}, "missing_event"),
        ({"event": "x" * 201}, "invalid_event"), ({"event": "a\tb"}, "invalid_event"),
        ({"messageId": "x" * 100}, "invalid_message_id"), ({"messageId": 7}, "invalid_message_id"),
        ({"properties": []}, "invalid_properties"), ({"properties": "x"}, "invalid_properties"),
        ({"context": 1}, "invalid_context"), ({"type": None}, "invalid_type"), ({"type": ["track"]}, "invalid_type"),
        ({"timestamp": "yesterday"}, "invalid_time"), ({"timestamp": "03/04/2026"}, "invalid_time"),
        ({"timestamp": "2026-03-27T25:00Z"}, "invalid_time"), ({"timestamp": True}, "invalid_time"),
        ({"timestamp": 10**30}, "invalid_time"), ({"timestamp": {}}, "invalid_time"),
        ({"timestamp": "9999-12-31T23:59:59-01:00"}, "invalid_time"), ({"sentAt": "x"}, "invalid_time"),
        ({"properties": {"n": 2**64}}, "number_too_large"), ({"properties": {"n": -(2**63) - 1}}, "number_too_large"),
        ({"properties": {"s": "a\x00b"}}, "nul_character"), ({"properties": {"a\x00": [1]}}, "nul_character"),
        ({"properties": {"x": "y" * 40_000}}, "event_too_large"),
        ({"type": "group"}, "missing_group"), ({"type": "page", "name": 3}, "invalid_name"),
        ({"type": "identify", "traits": []}, "invalid_traits"),
        ({"type": "identify", "traits": {"consent": ["email"]}}, "invalid_consent"),
        ({"type": "identify", "traits": {"consent": {"marketing": "email"}}}, "invalid_consent"),
        ({"type": "identify", "traits": {"consent_withdraw": {"marketing": [1]}}}, "invalid_consent"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_its_code(change: dict[str, Any], code: str) -> None:
    """One code for each kind of mistake, with a sentence."""
    assert refused({**TRACK, **change}) == code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "invalid_json"), (b"{", "invalid_json"), (b"[]", "invalid_record"), (b"null", "invalid_record"),
        (b'{"userId":"\xff"}', "invalid_json"), (b'{"properties":{"x":NaN}}', "invalid_json"),
        (b'{"properties":{"x":1e999}}', "invalid_record"), (b'{"userId":"\\ud800"}', "invalid_json"),
        (b"\xef\xbb\xbf{}", "invalid_json"), (b'{"properties":' * 3_000, "event_too_large"),
        (b'{"properties":' + b"[" * 3_000, "too_deep"),
        (b'{"type":"track","userId":"c","event":"E","properties":{"a":' + b"[" * 70 + b"]" * 70 + b"}}", "too_deep"),
        (b'{"type":"track","userId":"c","event":"E","properties":{"a":' + b"9" * 5_000 + b"}}", "invalid_record"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_record_are_refused(raw: bytes, code: str) -> None:
    """Whatever comes, it is a refusal and no crash."""
    assert refused(raw) == code


def test_escaped_backslashes_are_no_nul() -> None:
    r"""The text \u0000, written out, is harmless."""
    (event,) = parse_line(rb'{"type":"track","userId":"c","event":"E","properties":{"s":"\\u0000"}}', received_ms=T0)
    assert isinstance(event, Event)
    assert event.properties == {"s": r"\u0000"}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "type", "userId", "anonymousId", "previousId", "groupId", "event", "name", "category", "properties", "traits", "context",
    "timestamp", "originalTimestamp", "sentAt", "messageId", "message", "of", "workflow", "outcome",
)  # fmt: skip
KINDS = st.sampled_from(["track", "identify", "page", "screen", "group", "alias", "outcome"])


@given(record=st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES | KINDS), kind=st.just("") | KINDS)
def test_any_json_gives_records_that_the_log_can_hold_or_a_refusal(record: dict[str, Any], kind: str) -> None:
    """Total: nothing but BadRecord is raised, and what comes out survives the log."""
    try:
        records = parse_item(msgspec.json.encode(record), Envelope(received_ms=T0, kind=kind))
    except BadRecord:
        return
    assert records
    for parsed in records:
        assert decode_record(encode_record(parsed)) == parsed


@given(raw=st.binary(max_size=300))
def test_any_bytes_give_records_or_a_refusal(raw: bytes) -> None:
    """Total over bytes too."""
    with pytest.raises(BadRecord):
        parse_line(raw, received_ms=T0)
