"""How far the roles have read, and whether what they made of it is still there.

Invariant: an empty changelog is believed to be new only when its role has read nothing.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

import msgspec
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    KafkaError,
    NotCoordinatorError,
)

from engine.errors import SettingsError
from engine.runtimes.kafka.connect import METADATA_AGE_MS, connected, unreachable
from engine.runtimes.kafka.topics import CHECKPOINT_KEY, Checkpoint, Topics, encode_checkpoint

COORDINATOR_SECONDS_MAX = 20.0
"""A new cluster makes the topic of committed offsets when it is first asked for them."""
WRITE_SECONDS_MAX = 30.0


class GroupStanding(msgspec.Struct, frozen=True):
    """Where a group stands on one partition: what it has committed (or where the partition begins), and its end."""

    committed: int
    end: int

    @property
    def behind(self) -> int:
        """Records it has not finished."""
        return max(0, self.end - self.committed)


def lag(bootstrap: str, group: str, *, topic: str) -> dict[int, int]:
    """Partition → how many records of the topic the group has not finished. Raises ServiceUnreachable."""
    return {number: where.behind for number, where in positions(bootstrap, group, topic=topic).items()}


def positions(bootstrap: str, group: str, *, topic: str) -> dict[int, GroupStanding]:
    """Partition → where the group stands on the topic; empty when the topic is not there.

    Control records and compacted holes count as records. Raises ServiceUnreachable.
    """
    with connected(bootstrap) as client:
        described = client.describe_topics([topic])
        numbers = [] if described[0]["error_code"] else sorted(p["partition_index"] for p in described[0]["partitions"])
        if not numbers:
            return {}
        committed = _committed(client, group, topic)
        begin, end = _bounds(client, topic, numbers)
        return {number: GroupStanding(max(committed.get(number, 0), begin[number]), end[number]) for number in numbers}


def _committed(client: KafkaAdminClient, group: str, topic: str) -> dict[int, int]:
    """Partition → committed offset, of those that have one."""
    deadline = time.monotonic() + COORDINATOR_SECONDS_MAX
    while True:
        try:
            offsets = client.list_group_offsets({group: None}).get(group, {})
        except GroupIdNotFoundError:
            return {}
        except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return {tp.partition: at.offset for tp, at in offsets.items() if tp.topic == topic and at.offset >= 0}


def _bounds(client: KafkaAdminClient, topic: str, partitions: Sequence[int]) -> tuple[dict[int, int], dict[int, int]]:
    """Partition → first offset, and → the offset after the last."""
    ends = []
    for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST):
        found = client.list_partition_offsets({TopicPartition(topic, number): spec for number in partitions})
        ends.append({tp.partition: at.offset for tp, at in found.items()})
    return ends[0], ends[1]


class EmptyChangelog(msgspec.Struct, frozen=True):
    """A changelog's partition that is empty although its role has read its input up to `committed`."""

    role: str
    topic: str
    partition: int
    committed: int


def lost_changelogs(
    client: KafkaAdminClient, topics: Topics, *, partitions: int, roles: Collection[str]
) -> list[EmptyChangelog]:
    """The partitions of `states` (of `worker`) and `ledger` (of `dispatcher`) that are empty and should not be."""
    found: list[EmptyChangelog] = []
    sources = (("worker", topics.touchpoints, topics.states), ("dispatcher", topics.dispatches, topics.ledger))
    for role, source, changelog in sources:
        if role not in roles:
            continue
        committed = _committed(client, topics.group(role), source)
        begin, end = _bounds(client, changelog, range(partitions))
        found += [
            EmptyChangelog(role, changelog, number, committed[number])
            for number in range(partitions)
            if committed.get(number, 0) > 0 and begin[number] == end[number]
        ]
    return found


def loss(lost: Sequence[EmptyChangelog]) -> SettingsError:
    """What to say of the first changelog among them."""
    topic, role = lost[0].topic, lost[0].role
    mine = [each for each in lost if each.topic == topic]
    numbers = ", ".join(str(each.partition) for each in mine)
    records = sum(each.committed for each in mine)
    holds = "every customer's state" if role == "worker" else "which messages were sent"
    return SettingsError(
        f"The changelog {topic} is empty on partition{'s' if len(mine) > 1 else ''} {numbers}, although its {role}s have worked"
        f" through {records} records: it was lost, and with it {holds}.",
        mend=(
            f"Restore the topic {topic} from a backup or a mirror. If it is gone for good, start one {role} with --accept-loss:"
            " it goes on with nothing known about those customers."
        ),
    )


def go_on(bootstrap: str, lost: Sequence[EmptyChangelog]) -> None:
    """Begins the lost changelogs with where their role stands, so that what was read is not evaluated again, and the loss is
    accepted once and not at every start.
    """
    try:
        producer = KafkaProducer(
            metadata_max_age_ms=METADATA_AGE_MS,
            bootstrap_servers=bootstrap.split(","),
            acks="all",
            enable_idempotence=True,
        )
    except KafkaError as error:
        raise unreachable(bootstrap, error) from error
    try:
        for each in lost:
            body = encode_checkpoint(Checkpoint(applied=each.committed - 1))
            sent = producer.send(each.topic, key=CHECKPOINT_KEY, value=body, partition=each.partition)
            sent.get(timeout=WRITE_SECONDS_MAX)
    except KafkaError as error:
        raise unreachable(bootstrap, error) from error
    finally:
        producer.close(timeout=1)


def committed(bootstrap: str, group: str, *, topic: str) -> dict[int, int]:
    """Partition → offset that the group has committed, of those that have one. Raises ServiceUnreachable."""
    with connected(bootstrap) as client:
        return _committed(client, group, topic)


def standing(client: KafkaAdminClient, group: str, *, topic: str) -> tuple[int, dict[int, int]]:
    """How many processes belong to the group, and partition → offset that it has committed."""
    members = client.describe_groups([group])[group]["members"] or []
    return len(members), _committed(client, group, topic)


def ends(bootstrap: str, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """Partition → the offset after its last record. Raises ServiceUnreachable."""
    with connected(bootstrap) as client:
        return _bounds(client, topic, partitions)[1]
