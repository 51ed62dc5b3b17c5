"""The topics of an installation: makes what is missing, refuses what would lose or scatter customers' state, measures lag.

Invariant: nothing here deletes, shrinks or grows a topic; what an operator has to decide is said with the command that does it.
The functions block on the network: async code calls them by `asyncio.to_thread`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, OffsetSpec
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    InvalidReplicationFactorError,
    KafkaError,
    NotCoordinatorError,
    TopicAlreadyExistsError,
    for_code,
)

from engine.errors import ServiceUnreachable, SettingsError
from engine.runtimes.kafka.topics import BATCH_BYTES_MAX, CHECKPOINT_KEY, Checkpoint, Topics, encode_checkpoint

CONNECT_SECONDS_MAX = 10.0
COORDINATOR_SECONDS_MAX = 20.0
"""A new cluster makes the topic of committed offsets when it is first asked for them."""
TOPIC_SECONDS_MAX = 30.0
SAY_SECONDS = 5.0
"""How often somebody who waits for Kafka hears of it."""
DAY_MS = 86_400_000
HEADROOM_BYTES = 64 * 1024
"""What a batch has besides its records. Our producers put up to BATCH_BYTES_MAX into one batch of any topic."""
BATCH_LIMIT = str(BATCH_BYTES_MAX + HEADROOM_BYTES)
LETTER_LIMIT = str(BATCH_BYTES_MAX + (1 << 20))
"""Of dead letters: whatever came in goes there, with a reason added."""
JOURNAL_DAYS = 30
SEGMENT_BYTES = 256 << 20
"""Only closed segments are compacted."""
Say = Callable[[str], None]


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How a topic is to be made. `fixed` are the settings without which the runtime loses something: they are checked too."""

    partitions: int
    fixed: Mapping[str, str]
    chosen: Mapping[str, str] = {}


def layouts(topics: Topics, *, partitions: int, retention_days: int = 7) -> dict[str, Layout]:
    """Topic → its layout. `retention_days` is that of `touchpoints`, `dispatches` and `dead-letters`."""
    kept = {"cleanup.policy": "delete"}
    days = {"retention.ms": str(retention_days * DAY_MS)}
    # A tombstone stays long enough for a copy on a disk that was away to see it; erased data is gone within about a day.
    compacted = {"cleanup.policy": "compact", "max.message.bytes": BATCH_LIMIT}
    pace = {
        "min.compaction.lag.ms": "3600000",
        "max.compaction.lag.ms": str(DAY_MS),
        "delete.retention.ms": str(7 * DAY_MS),
        "segment.bytes": str(SEGMENT_BYTES),
    }
    plain = {**kept, "max.message.bytes": BATCH_LIMIT}
    return {
        topics.touchpoints: Layout(
            partitions=partitions, fixed={**plain, "message.timestamp.type": "LogAppendTime"}, chosen=days
        ),
        topics.dispatches: Layout(partitions=partitions, fixed=plain, chosen=days),
        topics.journal: Layout(
            partitions=partitions, fixed=plain, chosen={"retention.ms": str(max(JOURNAL_DAYS, retention_days) * DAY_MS)}
        ),
        topics.dead_letters: Layout(
            partitions=partitions, fixed={**kept, "max.message.bytes": LETTER_LIMIT},
            chosen={"retention.ms": str(max(JOURNAL_DAYS, retention_days) * DAY_MS)},
        ),
        topics.states: Layout(partitions=partitions, fixed=compacted, chosen=pace),
        topics.ledger: Layout(partitions=partitions, fixed=compacted, chosen=pace),
        topics.definitions: Layout(partitions=1, fixed=compacted, chosen=pace),
        topics.suppressions: Layout(partitions=1, fixed=compacted, chosen=pace),
    }  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- reaching


@contextlib.contextmanager
def connected(bootstrap: str, *, connect_seconds: float = CONNECT_SECONDS_MAX) -> Iterator[KafkaAdminClient]:
    """An administration client. Raises ServiceUnreachable, also for what Kafka answers inside the block."""
    try:
        client = KafkaAdminClient(
            bootstrap_servers=bootstrap.split(","),
            bootstrap_timeout_ms=int(connect_seconds * 1_000),
            client_id="anlass-admin",
        )
    except (KafkaError, OSError, ValueError) as error:
        raise _unreachable(bootstrap, error) from error
    try:
        yield client
    except KafkaError as error:
        raise _unreachable(bootstrap, error) from error
    finally:
        client.close()


def _unreachable(bootstrap: str, error: Exception) -> ServiceUnreachable:
    return ServiceUnreachable(
        f"Kafka at {bootstrap} does not answer: {error}.",
        mend="Look whether a broker runs there, or name another one in ANLASS_KAFKA__BOOTSTRAP; --wait waits for it.",
    )


def wait_for_kafka(bootstrap: str, *, wait_seconds: float = 0.0, say: Say | None = None) -> None:
    """Returns when a broker answers. Raises ServiceUnreachable when none does within `wait_seconds` (0: one attempt).

    `say` hears a sentence every few seconds.
    """
    start = time.monotonic()
    said = start - SAY_SECONDS
    while True:
        left = start + wait_seconds - time.monotonic()
        try:
            with connected(bootstrap, connect_seconds=min(CONNECT_SECONDS_MAX, max(left, 2.0))) as client:
                client.describe_cluster()
                return
        except ServiceUnreachable:
            now = time.monotonic()
            if now - start >= wait_seconds:
                raise
            if say is not None and now - said >= SAY_SECONDS:
                said = now
                say(f"Waiting for Kafka at {bootstrap}: {now - start:.0f} of {wait_seconds:.0f} s.")
            time.sleep(min(1.0, max(0.0, start + wait_seconds - now)))


# ------------------------------------------------------------------------------------------------------------- making


def ensure_topics(
    bootstrap: str, topics: Topics, *, partitions: int, replication: int, retention_days: int = 7
) -> list[str]:
    """Makes the topics that are missing, and returns their names; harmless when several roles do it at once.

    Topics that are there stay as they are: `check_topics` says whether they will do. A missing topic that is keyed gets as many
    partitions as those that are there. Raises ServiceUnreachable, and SettingsError for a wish that the cluster cannot fill.
    """
    assert partitions > 0, "a topic has at least one partition"
    assert replication > 0, "a topic has at least one copy"
    with connected(bootstrap) as client:
        there = _partitions(client, topics)
        keyed = [there[name] for name in (*_changelogs(topics), *_keyed(topics)) if name in there]
        wanted = layouts(topics, partitions=keyed[0] if keyed else partitions, retention_days=retention_days)
        new = {
            name: {
                "num_partitions": layout.partitions,
                "replication_factor": replication,
                "configs": {
                    **layout.fixed,
                    **layout.chosen,
                    "min.insync.replicas": str(max(1, replication - 1)),
                },
            }
            for name, layout in wanted.items()
            if name not in there
        }
        if not new:
            return []
        answer = client.create_topics(new, raise_errors=False)
        made = [each["name"] for each in answer["topics"] if _was_made(each, replication)]
        client.wait_for_topics(list(new), timeout_ms=int(TOPIC_SECONDS_MAX * 1_000))
        return made


def _was_made(answer: Mapping[str, object], replication: int) -> bool:
    code = answer["error_code"]
    assert isinstance(code, int), "error codes of Kafka are numbers"
    kind = for_code(code)
    if not code or kind is TopicAlreadyExistsError:
        return not code
    said = str(answer["error_message"] or kind.__name__).rstrip(".")
    if kind is InvalidReplicationFactorError:
        raise SettingsError(
            f"Kafka cannot keep {replication} copies of {answer['name']}: {said}.",
            mend="Set [kafka] replication to at most the number of brokers.",
        )
    raise SettingsError(
        f"Kafka does not make the topic {answer['name']}: {said}.",
        mend=f"Make it by hand, or allow it: {_tool('topics')} --create --topic {answer['name']}.",
    )


# ----------------------------------------------------------------------------------------------------------- checking


def check_topics(bootstrap: str, topics: Topics, *, accept_loss: bool = False) -> int:
    """Returns how many partitions the keyed topics have, when everything is as the runtime needs it.

    Raises SettingsError when a topic is missing, when the numbers of partitions differ, when a setting would lose records, or
    when a changelog is gone although its role has worked already; with `accept_loss` that role goes on where it was, with nothing
    known about any customer of the lost partitions. Raises ServiceUnreachable.
    """
    with connected(bootstrap) as client:
        there = _partitions(client, topics)
        missing = [name for name in layouts(topics, partitions=1) if name not in there]
        if missing:
            raise SettingsError(
                f"Topics are missing: {', '.join(missing)}.",
                mend="Start `anlass worker` once: it makes them. If a changelog was deleted, restore it from a backup first.",
            )
        partitions = _same_partitions(topics, there)
        _check_settings(client, topics, partitions)
        lost = _lost(client, topics, partitions)
    if lost and not accept_loss:
        raise _loss(lost)
    if lost:
        _go_on(bootstrap, lost)
    return partitions


def _keyed(topics: Topics) -> tuple[str, ...]:
    return (topics.touchpoints, topics.dispatches, topics.journal, topics.dead_letters)


def _changelogs(topics: Topics) -> tuple[str, ...]:
    return (topics.states, topics.ledger)


def _partitions(client: KafkaAdminClient, topics: Topics) -> dict[str, int]:
    """Topic → its number of partitions, of those that are there."""
    names = list(layouts(topics, partitions=1))
    return {each["name"]: len(each["partitions"]) for each in client.describe_topics(names) if not each["error_code"]}


def _same_partitions(topics: Topics, there: Mapping[str, int]) -> int:
    for name in (topics.definitions, topics.suppressions):
        if there[name] != 1:
            raise SettingsError(
                f"The topic {name} has {there[name]} partitions and must have one, so that its records have one order.",
                mend=f"Delete it ({_tool('topics')} --delete --topic {name}), start again, and deploy again.",
            )
    keyed = {name: there[name] for name in (*_keyed(topics), *_changelogs(topics))}
    right = keyed[topics.states]
    wrong = {name: count for name, count in keyed.items() if count != right}
    if not wrong:
        return right
    counts = ", ".join(f"{name} has {count}" for name, count in keyed.items())
    why = (
        "A customer's records, state and messages lie on the partition that the hash of the id modulo that number says"
    )
    more = [name for name, count in wrong.items() if count > right]
    if not more:
        commands = "; ".join(f"{_tool('topics')} --alter --topic {name} --partitions {right}" for name in wrong)
        raise SettingsError(
            f"The topics must have the same number of partitions, but {counts}. {why}.",
            mend=f"The changelog {topics.states} says {right}, so run: {commands}.",
        )
    raise SettingsError(
        f"The topics must have the same number of partitions, but {counts}. {why}: with more partitions most customers would"
        " move away from their state.",
        mend=(
            f"Kafka cannot take partitions away from {', '.join(more)}. Set [kafka] prefix to a new one, with the number of"
            f" partitions that you want, and send the events there again; or, as long as nothing was processed, delete them"
            f" ({_tool('topics')} --delete --topic …) and start again."
        ),
    )


def _check_settings(client: KafkaAdminClient, topics: Topics, partitions: int) -> None:
    wanted = layouts(topics, partitions=partitions)
    asked = [ConfigResource("TOPIC", name, list(layout.fixed)) for name, layout in wanted.items()]
    found = client.describe_configs(asked, config_filter="all")["topic"]
    for name, layout in wanted.items():
        wrong = {
            key: value
            for key, value in layout.fixed.items()
            if not _will_do(key, str(found[name][key]["value"]), wanted=value)
        }
        if wrong:
            said = ", ".join(f"{key}={found[name][key]['value']}" for key in wrong)
            settings = ",".join(f"{key}={value}" for key, value in wrong.items())
            raise SettingsError(
                f"The topic {name} has settings that would lose records: {said}.",
                mend=f"Run: {_tool('configs')} --alter --entity-type topics --entity-name {name} --add-config {settings}.",
            )


def _will_do(key: str, found: str, *, wanted: str) -> bool:
    return int(found) >= int(wanted) if key.endswith(".bytes") else found == wanted


def _tool(name: str) -> str:
    return f"kafka-{name}.sh --bootstrap-server HOST:PORT"


# --------------------------------------------------------------------------------------------------- a lost changelog


class Lost(msgspec.Struct, frozen=True):
    """A changelog's partition that is empty although its role has read its input up to `committed`."""

    role: str
    topic: str
    partition: int
    committed: int


def _lost(client: KafkaAdminClient, topics: Topics, partitions: int) -> list[Lost]:
    found: list[Lost] = []
    sources = (("worker", topics.touchpoints, topics.states), ("dispatcher", topics.dispatches, topics.ledger))
    for role, source, changelog in sources:
        committed = _committed(client, topics.group(role), source)
        begin, end = _bounds(client, changelog, range(partitions))
        found += [
            Lost(role, changelog, number, committed[number])
            for number in range(partitions)
            if committed.get(number, 0) > 0 and begin[number] == end[number]
        ]
    return found


def _loss(lost: Sequence[Lost]) -> SettingsError:
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


def _go_on(bootstrap: str, lost: Sequence[Lost]) -> None:
    """Begins the lost changelogs with where their role stands, so that what was read is not evaluated again, and the loss is
    accepted once and not at every start.
    """
    try:
        producer = KafkaProducer(bootstrap_servers=bootstrap.split(","), acks="all", enable_idempotence=True)
    except KafkaError as error:
        raise _unreachable(bootstrap, error) from error
    try:
        for each in lost:
            body = encode_checkpoint(Checkpoint(applied=each.committed - 1))
            sent = producer.send(each.topic, key=CHECKPOINT_KEY, value=body, partition=each.partition)
            sent.get(timeout=TOPIC_SECONDS_MAX)
    except KafkaError as error:
        raise _unreachable(bootstrap, error) from error
    finally:
        producer.close(timeout=1)


# ---------------------------------------------------------------------------------------------------------------- lag


def lag(bootstrap: str, group: str, *, topic: str) -> dict[int, int]:
    """Partition → how many records of the topic the group has not committed yet; empty when the topic is not there.

    Control records and compacted holes count as records. Raises ServiceUnreachable.
    """
    with connected(bootstrap) as client:
        described = client.describe_topics([topic])
        numbers = [] if described[0]["error_code"] else sorted(p["partition_index"] for p in described[0]["partitions"])
        if not numbers:
            return {}
        committed = _committed(client, group, topic)
        begin, end = _bounds(client, topic, numbers)
        return {number: max(0, end[number] - max(committed.get(number, 0), begin[number])) for number in numbers}


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
