"""The account of the Kafka benchmarks must be able to fail: what is expected of the input, and which action a pause belongs to.

Invariant: expectations are worked out here by hand, or by the work that the peers do, never by what is tested.
"""

import json
from collections import defaultdict
from typing import Any

from benchmarks.kafka import work
from benchmarks.kafka.ours import message_ids, ours
from benchmarks.kafka.rebalance import Pauses, pauses_in
from benchmarks.kafka.stream import make_stream
from benchmarks.kafka.variants import floor
from engine.runtimes.kafka.topics import partition_of

STREAM = make_stream(200, 30, partitions=3)


def test_what_is_expected_of_the_input_is_what_the_work_makes_of_it() -> None:
    """Each message with its customer's count, and each customer's count at the end, as the peers' own code finds them."""
    states: dict[bytes, dict[str, Any]] = {}
    messages: dict[str, int] = {}
    for _, key, value in (*STREAM.known, *STREAM.events):
        states[key], message = work.apply(states.get(key), json.loads(value))
        if message is not None:
            messages[message["id"]] = message["count"]
    assert messages == dict(STREAM.dispatches)
    assert {state["id"]: state["count"] for state in states.values()} == dict(STREAM.counts)
    assert len(messages) == 200 / work.EVENTS_PER_DISPATCH + 2 * 3, "one event in ten, and two markers per partition"


def test_the_last_record_of_each_partition_decides_a_message() -> None:
    """So that nothing is left to be done once all messages are there; and keys lie where a producer would put them."""
    last = {partition: (key, value) for partition, key, value in STREAM.events}
    assert set(last) == {0, 1, 2}
    for partition, (key, value) in last.items():
        assert json.loads(value)["messageId"] in STREAM.dispatches
        assert partition_of(key, 3) == partition


def test_ours_is_expected_to_send_the_messages_of_the_documents() -> None:
    """One name for each event that decides; the floor passes on the markers only."""
    ids = message_ids(STREAM, step="mail")
    assert ids.keys() == STREAM.dispatches.keys()
    event = next(json.loads(value) for _, _, value in STREAM.events if json.loads(value)["event"] == work.ORDER)
    order = event["properties"]["order_id"]
    assert ids[event["messageId"]] == f"order-confirmation/{event['userId']}/{order}:mail"
    assert len(ours().expected(STREAM)) == len(STREAM.dispatches)
    assert floor().expected(STREAM).keys() == STREAM.markers


def test_a_pause_belongs_to_the_action_in_which_most_of_it_lies() -> None:
    """One that began just before the kill, and lasted into the next action, is the kill's."""
    found = Pauses(seconds=defaultdict(list))
    times = [0.0, 1.0, 2.0, 9.9, 30.5, 31.0, 33.0, 40.0]
    pauses_in(times, [(0.0, "joins"), (10.0, "is killed"), (30.0, "joins"), (40.0, "")], found)
    assert [round(each, 3) for each in found.seconds["joins"]] == [7.9, 7.0]
    assert [round(each, 3) for each in found.seconds["is killed"]] == [20.6]
