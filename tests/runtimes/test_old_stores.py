"""Stores of earlier versions open, and go on as those versions would have: nothing is lost, nothing is decided twice.

`stores/7656c6f` was written by that commit (`stores/make.py`): a data file, and the records of every topic.
"""

from __future__ import annotations

import base64
import gzip
import json
import uuid
from pathlib import Path
from typing import Any

from engine.runtimes.kafka.intake.outlet import Outlet
from engine.runtimes.kafka.topics import Outgoing
from tests.conformance.harness import EmbeddedHarness, Harness, messages, states
from tests.conformance.kafka_harness import KafkaHarness
from tests.conformance.shop import T0, catalog
from tests.conformance.test_contract import HOUR
from tests.runtimes.stores.make import goes_on

STORE = Path(__file__).parent / "stores" / "7656c6f"


async def _holds(harness: Harness) -> None:
    """What stood there, besides what is decided next."""
    assert harness.degraded() == []
    known = await states(harness, ["ann", "bob", "cem", "dora"])
    assert known.keys() == {"ann", "bob", "cem", "dora"}
    assert known["ann"].consent["newsletter"].keys() == {"email"}
    statuses = {f"{each.message.customer}/{each.message.template}": each.status for each in await messages(harness)}
    assert statuses == {"ann/cart": "unknown", "bob/cart": "pending", "cem/order": "sent"}
    proofs = [(each.purpose, each.action) for each in await harness.runtime.consents(customer="ann")]
    assert ("newsletter", "grant") in proofs
    assert [each.reason for each in await harness.runtime.dead_letters()] == ["bad"]
    assert [each.workflow for each in await harness.runtime.pauses() if each.paused] == ["thanks"]


async def test_a_data_file_of_7656c6f_opens_and_goes_on(tmp_path: Path) -> None:
    """As that version would have gone on, decision for decision."""
    var = tmp_path / "var"
    var.mkdir()
    (var / "anlass.db").write_bytes(gzip.decompress((STORE / "embedded.db.gz").read_bytes()))
    harness = EmbeddedHarness(catalog(), T0 + HOUR, var=var)
    await harness.reopen()
    await _holds(harness)
    assert await goes_on(harness) == json.loads((STORE / "embedded.json").read_text())
    await harness.close()


async def test_topics_of_7656c6f_are_read_and_gone_on_with(kafka: str, tmp_path: Path) -> None:
    """The changelogs, the journal and what waits on the topics, as a rolling upgrade finds them."""
    harness = KafkaHarness(
        catalog(),
        T0 + HOUR,
        var=tmp_path / "var",
        bootstrap=kafka,
        prefix=f"{uuid.uuid4().hex[:3]}.",  # as long as theirs
    )
    await harness.make_topics()
    kept: dict[str, list[Any]] = json.loads(gzip.decompress((STORE / "kafka.json.gz").read_bytes()))
    outlet = Outlet(kafka, client="test")
    await outlet.start()
    for name, stood in kept.items():
        topic = getattr(harness.topics, name)
        assert [offset for offset, *_ in stood] == list(range(len(stood))), "no hole: places stay what they were"
        for _, _, key, value, headers in stood:
            told = tuple((header, _bytes(body) or b"") for header, body in headers)
            if value is None:
                await outlet.append(topic, 0, [(_bytes(key), None, told)])
            else:
                named = _renamed((("value", _bytes(value) or b""), *told), harness)
                await outlet.send([Outgoing(topic, 0, _bytes(key), named[0][1], named[1:])])
    await outlet.stop()
    await harness.reopen()
    await _holds(harness)
    assert await goes_on(harness) == json.loads((STORE / "kafka.json").read_text())
    await harness.close()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _renamed(headers: tuple[tuple[str, bytes], ...], harness: KafkaHarness) -> tuple[tuple[str, bytes], ...]:
    """Names of topics stand in headers, and in what a checkpoint sends again when it is taken over."""
    return tuple((name, body.replace(b"old.", harness.topics.prefix.encode())) for name, body in headers)
