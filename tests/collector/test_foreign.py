"""What other producers write straight to Kafka becomes the records that HTTP would have made of it, or a BadRecord."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from engine.collector.intake.foreign import parse_foreign
from engine.collector.intake.parse import parse_line
from engine.core.record import Event, Identify, Record, encode_record
from engine.errors import BadRecord, ServiceUnreachable
from engine.runtimes.kafka.topics import encode_input, headers_of, is_ours
from tests.collector.conftest import T0
from tests.collector.test_collector_faults import KEYS, VALUES
from tests.properties import examples
from tests.services.kafka import create_topics
from tests.services.kafka_tools import console_producer

TRACK = {"type": "track", "userId": "c1", "messageId": "m1", "event": "Order Completed", "properties": {"total": 80}}
CLOUD = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/shop",
    "type": "Order Completed",
    "subject": "c1",
    "time": "2026-03-27T08:00:00Z",
}
BINARY = {f"ce_{name}": value for name, value in CLOUD.items()}


def parse(value: object, *, key: bytes | None = None, headers: dict[str, str] | None = None) -> list[Record]:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse_foreign(key, raw, headers or {}, T0)


def refusal(value: object, **more: Any) -> BadRecord:
    with pytest.raises(BadRecord) as caught:
        parse(value, **more)
    return caught.value


@pytest.mark.parametrize(
    "item",
    [
        TRACK,
        {
            "type": "identify",
            "userId": "c1",
            "anonymousId": "a1",
            "messageId": "m",
            "traits": {"email": "a@example.com"},
        },
        {"type": "page", "anonymousId": "a1", "messageId": "m", "name": "Home", "context": {"locale": "de"}},
        {"type": "screen", "userId": "c1", "messageId": "m"},
        {"type": "group", "userId": "c1", "messageId": "m", "groupId": "g"},
        {"type": "alias", "userId": "c1", "previousId": "a1", "messageId": "m"},
        {"type": "outcome", "userId": "c1", "messageId": "m", "message": "x" * 32, "outcome": "delivered"},
        {**TRACK, "timestamp": "2026-03-27T08:00:00Z", "sentAt": "2026-03-27T08:00:05Z"},
    ],
)
def test_bare_segment_json_is_what_it_is_over_http(item: dict[str, Any]) -> None:
    """Every type, without headers, keyed by whatever."""
    raw = json.dumps(item).encode()
    assert parse(raw) == parse_line(raw, received_ms=T0)
    assert parse(raw, key=b"somebody else", headers={"content-type": "application/json"}) == parse(raw)


def test_a_record_that_names_nobody_is_its_keys(  # the commonest way to write to Kafka
) -> None:
    """Also one with an empty userId; a record that names somebody is theirs, whatever the key says."""
    nobody = {name: value for name, value in TRACK.items() if name != "userId"}
    for item in (nobody, {**nobody, "userId": None}, {**nobody, "userId": "", "anonymousId": ""}):
        assert [record.customer for record in parse(item, key=b"k1")] == ["k1"]
    assert [record.customer for record in parse({**nobody, "anonymousId": "a1"}, key=b"k1")] == ["a1"]
    assert [record.customer for record in parse(TRACK, key=b"k1")] == ["c1"]
    identify = parse({"type": "identify", "traits": {}, "messageId": "m"}, key="kundin-ä".encode())
    assert identify == [Identify(customer="kundin-ä", at_ms=T0, id="m", time_ms=T0, traits={})]


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"k\x00", b"k" * 201, b"  "])
def test_a_key_that_is_no_id_helps_nobody(key: bytes | None) -> None:
    """The record is refused for what it lacks; with a userId it is taken all the same."""
    nobody = {name: value for name, value in TRACK.items() if name != "userId"}
    assert refusal(nobody, key=key).code == "missing_user"
    assert len(parse(TRACK, key=key)) == 1


def test_an_alias_needs_both_ids() -> None:
    """The key says on which partition it came, not which of two people it is."""
    assert refusal({"type": "alias", "previousId": "a1"}, key=b"c1").code == "missing_user"


def test_an_id_is_made_that_a_redelivery_has_again() -> None:
    """The same record at the same time is the same; another time or another text is another."""
    item = {name: value for name, value in TRACK.items() if name != "messageId"}
    raw = json.dumps(item).encode()
    (first,) = parse(raw)
    assert isinstance(first, Event)
    assert parse(raw) == [first]
    assert 1 <= len(first.id) < 100
    (later,) = parse_foreign(None, raw, {}, T0 + 1)
    (other,) = parse({**item, "event": "Other"})
    assert isinstance(later, Event)
    assert isinstance(other, Event)
    assert len({first.id, later.id, other.id}) == 3


def test_a_known_place_makes_an_id_of_its_own() -> None:
    """Two copies of one line in the same millisecond are two events, and each is the same when it is delivered again, later."""
    raw = json.dumps({name: value for name, value in TRACK.items() if name != "messageId"}).encode()
    ids = []
    for offset, at_ms in ((7, T0), (8, T0), (7, T0 + 60_000)):
        (event,) = parse_foreign(None, raw, {"anlass-origin": f"anlass.touchpoints:0:{offset}"}, at_ms)
        assert isinstance(event, Event)
        ids.append(event.id)
    assert ids[0] == ids[2] != ids[1]


def test_a_batch_shares_its_context_and_clock() -> None:
    """As the SDKs write it: `sentAt` and `context` of the batch count for each; missing ids differ by place."""
    item = {"type": "track", "userId": "c1", "event": "E", "timestamp": "2026-03-27T08:00:00Z"}
    body = {"batch": [item, item, {**TRACK, "type": "identify", "traits": {}}], "sentAt": "2026-03-27T08:00:10Z"}
    records = parse({**body, "context": {"locale": "de"}}, key=b"k")
    first, second, third = records
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert first.id != second.id
    assert first.time_ms == T0 - 10_000
    assert first.properties == {"context": {"locale": "de"}}
    assert isinstance(third, Identify)
    assert parse({"batch": []}) == []


@pytest.mark.parametrize(
    ("body", "code", "where"),
    [
        ({"batch": [TRACK, {"type": "track", "userId": "c1"}]}, "missing_event", "batch[1].event"),
        ({"batch": [TRACK, 7]}, "invalid_record", "batch[1]"),
        ({"batch": [TRACK] * 2_501}, "too_many_events", None),
        ({"batch": {}}, "invalid_record", None),
        ({"batch": [TRACK], "context": 7}, "invalid_context", "context"),
        ({"batch": [TRACK], "sentAt": "yesterday"}, "invalid_time", "sentAt"),
    ],
)
def test_a_batch_with_a_bad_record_is_refused_as_a_whole(body: object, code: str, where: str | None) -> None:
    """One record of Kafka has one fate; the sentence says which one of the batch it was."""
    error = refusal(body)
    assert (error.code, error.where) == (code, where)


def test_cloudevents_in_both_modes_are_the_same_event() -> None:
    """The Kafka binding: attributes in `ce_` headers, or all in the value; names in any case, types with charset."""
    data = {"total": 80}
    structured = {"content-type": "application/cloudevents+json; charset=UTF-8"}
    expected = parse({**CLOUD, "data": data}, headers=structured)
    assert parse(data, headers={**BINARY, "content-type": "application/json"}) == expected
    assert parse(data, headers={name.upper(): value for name, value in BINARY.items()}) == expected
    assert parse({**CLOUD, "data": data}) == expected, "a producer without headers, such as the console's"
    (event,) = expected
    assert isinstance(event, Event)
    assert (event.customer, event.name, event.properties) == ("c1", "Order Completed", data)
    assert event.time_ms == T0 - 26 * 60_000 - 40_000
    without_data = parse(b"", headers={**BINARY, "content-type": "text/plain"})
    assert [record.id for record in without_data if isinstance(record, Event)] == [event.id]


def test_a_cloudevent_without_subject_is_its_keys() -> None:
    """`subject`, then `data.userId`, then the key."""
    bare = {name: value for name, value in CLOUD.items() if name != "subject"}
    binary = {f"ce_{name}": value for name, value in bare.items()}
    assert [record.customer for record in parse({}, key=b"k1", headers=binary)] == ["k1"]
    assert [record.customer for record in parse({"userId": "u1"}, key=b"k1", headers=binary)] == ["u1"]
    assert [record.customer for record in parse({**bare}, key=b"k1")] == ["k1"]
    assert refusal({}, headers=binary).code == "missing_user"


@pytest.mark.parametrize(
    ("headers", "value", "code"),
    [
        ({"ce_id": "1"}, b"{}", "invalid_specversion"),
        ({"ce_specversion": "1.0", "ce_id": "1"}, b"{}", "missing_attribute"),
        ({**BINARY, "content-type": "text/plain"}, b"hi", "unsupported_media_type"),
        (BINARY, b"<xml/>", "invalid_json"),
        (BINARY, b"[]", "invalid_data"),
        ({"content-type": "application/cloudevents+json"}, json.dumps(TRACK).encode(), "invalid_specversion"),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]", "unsupported_media_type"),
        ({}, b"", "invalid_json"),
        ({}, b"hello", "invalid_json"),
        ({}, b"\x00\x00\x00\x00\x07avro", "invalid_json"),
        ({}, b"null", "invalid_record"),
        ({}, b"[1]", "invalid_record"),
        ({}, b"{}", "invalid_type"),
        ({}, json.dumps({**TRACK, "properties": {"x": "y" * 40_000}}).encode(), "event_too_large"),
        ({}, json.dumps({**TRACK, "properties": {"x": 2**64}}).encode(), "number_too_large"),
        ({}, b'{"a":' * 5_000, "too_deep"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_a_code(headers: dict[str, str], value: bytes, code: str) -> None:
    """The code and its sentence become the reason of the dead letter."""
    error = refusal(value, headers=headers)
    assert error.code == code
    assert error.message


ATTRIBUTES = st.sampled_from(["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "x"])
FOREIGN_HEADERS = st.dictionaries(
    ATTRIBUTES.map("ce_{}".format) | st.text(max_size=5),
    st.text(max_size=12) | st.sampled_from(["1.0", "2026-03-27T08:00:00Z"]),
    max_size=7,
) | st.fixed_dictionaries(
    {"content-type": st.sampled_from(["application/cloudevents+json", "application/json", "x", "application/avro"])}
)
NEARLY = st.sampled_from([TRACK, dict[str, Any](CLOUD), {"batch": [TRACK]}]).flatmap(
    lambda whole: st.dictionaries(KEYS, VALUES, max_size=4).map(lambda more: {**whole, **more})
)


@example_settings(max_examples=examples(400))
@given(
    key=st.none() | st.binary(max_size=12) | st.text(max_size=6).map(str.encode),
    value=st.binary(max_size=120) | (NEARLY | VALUES).map(lambda value: json.dumps(value).encode()),
    headers=FOREIGN_HEADERS,
    at_ms=st.integers(-1, 253_402_300_799_999),
)
def test_whatever_is_written_gives_records_or_bad_record(
    key: bytes | None, value: bytes, headers: dict[str, str], at_ms: int
) -> None:
    """Any bytes, keys and headers: records that can be kept and sent on, the same each time, or one kind of error."""
    try:
        records = parse_foreign(key, value, headers, at_ms)
    except BadRecord:
        return
    assert parse_foreign(key, value, headers, at_ms) == records
    for record in records:
        assert record.customer
        assert encode_record(record)
        assert is_ours(encode_input(record))


# ------------------------------------------------------------------------------------------- other people's producers


async def _new_topic(bootstrap: str, prefix: str) -> str:
    topic = f"{prefix}touchpoints"
    await asyncio.to_thread(create_topics, bootstrap, {topic: 1}, message_timestamp_type="LogAppendTime")
    return topic


async def _written(bootstrap: str, topic: str, count: int) -> list[Any]:
    async with (
        asyncio.timeout(30),
        AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer,
    ):
        return [await consumer.getone() for _ in range(count)]


def _read(each: Any) -> list[Record]:
    """As the worker does."""
    assert not is_ours(each.value)
    return parse_foreign(each.key, each.value, headers_of(each.headers), each.timestamp)


LINES = [TRACK, {"type": "track", "event": "Product Viewed", "messageId": "m2"}]


async def _check_lines(bootstrap: str, topic: str) -> None:
    """Two lines that were written keyed by `kate`, and the first again without a key."""
    keyed, named, unkeyed = await _written(bootstrap, topic, 3)
    assert (keyed.key, named.key, unkeyed.key) == (b"kate", b"kate", None)
    assert [[record.customer for record in _read(each)] for each in (keyed, named, unkeyed)] == [
        ["c1"],
        ["kate"],
        ["c1"],
    ]
    (event,) = _read(named)
    assert isinstance(event, Event)
    assert (event.id, event.at_ms, event.name) == ("m2", named.timestamp, "Product Viewed")


def _run(command: list[str], said: str) -> None:
    done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


# kcat is not a requirement: Kafka's own console producer writes the same, and always runs.
KCAT = shutil.which("kcat") or shutil.which("kafkacat")
PROGRAMS = ["console producer", *(["kcat"] if KCAT else [])]


def _command(program: str, bootstrap: str, topic: str, *, keyed: bool) -> list[str]:
    if program == "kcat":
        assert KCAT is not None
        return [KCAT, "-P", "-b", bootstrap, "-t", topic, *(["-K", "\t"] if keyed else [])]
    try:
        return console_producer(bootstrap, topic, *(["parse.key=true"] if keyed else []))
    except ServiceUnreachable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_shell_writes_lines(program: str, kafka: str, topic_prefix: str) -> None:
    """One JSON object per line, with a key and without: what arrives is an event of the one it names, or of its key."""
    topic = await _new_topic(kafka, topic_prefix)
    keyed = "".join(f"kate\t{json.dumps(line)}\n" for line in LINES)
    await asyncio.to_thread(_run, _command(program, kafka, topic, keyed=True), keyed)
    await asyncio.to_thread(_run, _command(program, kafka, topic, keyed=False), json.dumps(TRACK) + "\n")
    await _check_lines(kafka, topic)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_shell_writes_cloudevents(program: str, kafka: str, topic_prefix: str) -> None:
    """Binary mode: attributes as headers, with letters that are not ASCII."""
    topic = await _new_topic(kafka, topic_prefix)
    headers = {f"ce_{name}": value for name, value in {**CLOUD, "subject": "kundin-ä"}.items()}
    headers["content-type"] = "application/json"
    said = '{"total": 80}\n'
    if program == "kcat":
        flags = [word for name, value in headers.items() for word in ("-H", f"{name}={value}")]
        command = [*_command(program, kafka, topic, keyed=False), *flags]
    else:
        # A colon stands in the time, so another character separates name and value.
        said = ",".join(f"{name}={value}" for name, value in headers.items()) + "\t" + said
        options = ["parse.headers=true", "headers.key.separator=="]
        command = [
            *_command(program, kafka, topic, keyed=False),
            *(w for o in options for w in ("--reader-property", o)),
        ]
    await asyncio.to_thread(_run, command, said)
    (each,) = await _written(kafka, topic, 1)
    (event,) = _read(each)
    assert isinstance(event, Event)
    assert (event.customer, event.name, event.properties) == ("kundin-ä", "Order Completed", {"total": 80})


async def test_kafka_python_writes_cloudevents(kafka: str, topic_prefix: str) -> None:
    """A Python shop: the binding's headers as bytes."""
    from kafka import KafkaProducer

    topic = await _new_topic(kafka, topic_prefix)
    headers = [(f"ce_{name}", value.encode()) for name, value in CLOUD.items()]

    def write() -> None:
        producer = KafkaProducer(bootstrap_servers=kafka)
        producer.send(
            topic, key=b"c1", value=b'{"total": 80}', headers=[*headers, ("content-type", b"application/json")]
        )
        producer.close()

    await asyncio.to_thread(write)
    (each,) = await _written(kafka, topic, 1)
    assert _read(each) == [
        Event(
            customer="c1", at_ms=each.timestamp, id=_read(each)[0].id, name="Order Completed",  # type: ignore[union-attr]
            time_ms=T0 - 26 * 60_000 - 40_000, properties={"total": 80},
        )
    ]  # fmt: skip
