"""The suppressed addresses of a cluster: listed, written, taken out; and whose secret they were made with."""

from __future__ import annotations

import uuid

import pytest

from engine.errors import SettingsError
from engine.runtimes.kafka import admin
from engine.runtimes.kafka.operating import suppression
from engine.runtimes.kafka.topics import Topics
from engine.runtimes.suppression import SuppressionEntry, about, entries_of

pytestmark = pytest.mark.timeout(200)


def text_hash(text: str) -> bytes:
    return text.encode()[:32].ljust(32, b".")


@pytest.fixture
def topics(kafka: str) -> Topics:
    """Topics of a cluster of its own."""
    made = Topics(f"s{uuid.uuid4().hex[:8]}.")
    admin.ensure_topics(kafka, made, partitions=1, replication=1)
    return made


async def test_what_is_written_is_listed_and_what_is_lifted_is_gone(kafka: str, topics: Topics) -> None:
    """Under either form of the address; the fingerprint of the secret is not an address."""
    await suppression.check_secret(kafka, topics, "one", accept_loss=False)
    made = entries_of("email", "Ana@bücher.example", "operator", at_ms=5, text_hash=text_hash)
    await suppression.write(kafka, topics, made)
    listed = await suppression.listed(kafka, topics)
    assert sorted(listed, key=lambda each: each.kind) == made
    assert about(listed, "ana@xn--bcher-kva.example", text_hash) == [*listed]
    await suppression.write(kafka, topics, made[:1], gone=True)
    assert await suppression.listed(kafka, topics) == made[1:]


async def test_another_secret_is_refused_once_there_are_hashes(kafka: str, topics: Topics) -> None:
    """Nothing is lost as long as nobody is suppressed; accepted, the new one is the right one."""
    await suppression.check_secret(kafka, topics, "one", accept_loss=False)
    await suppression.check_secret(kafka, topics, "two", accept_loss=False)
    await suppression.write(
        kafka, topics, [SuppressionEntry(hash="ab" * 32, kind="email", reason="bounced", since_ms=1)]
    )
    await suppression.check_secret(kafka, topics, "two", accept_loss=False)
    with pytest.raises(SettingsError, match=r"another secret.*--accept-loss"):
        await suppression.check_secret(kafka, topics, "three", accept_loss=False)
    await suppression.check_secret(kafka, topics, "three", accept_loss=True)
    await suppression.check_secret(kafka, topics, "three", accept_loss=False)
