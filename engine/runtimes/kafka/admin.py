"""The topics of an installation: makes what is missing, refuses what would lose or scatter customers' state.

Invariant: nothing here deletes, shrinks or grows a topic; what an operator has to decide is said with the command that does it.
The functions block on the network: async code calls them by `asyncio.to_thread`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import InvalidReplicationFactorError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from engine.errors import SettingsError
from engine.runtimes.kafka.connect import connected, wait_for_kafka
from engine.runtimes.kafka.progress import go_on, lag, loss, lost_changelogs
from engine.runtimes.kafka.topics import BATCH_BYTES_MAX, Topics

__all__ = ["Layout", "check_topics", "ensure_topics", "lag", "layouts", "wait_for_kafka"]

TOPIC_SECONDS_MAX = 30.0
COPIES_MAX = 3
DAY_MS = 86_400_000
HEADROOM_BYTES = 64 * 1024
"""What a batch has besides its records. Our producers put up to BATCH_BYTES_MAX into one batch of any topic."""
BATCH_LIMIT = str(BATCH_BYTES_MAX + HEADROOM_BYTES)
LETTER_LIMIT = str(BATCH_BYTES_MAX + (1 << 20))
"""Of dead letters: whatever came in goes there, with a reason added."""
JOURNAL_DAYS = 30
SEGMENT_BYTES = 256 << 20
"""Only closed segments are compacted."""


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
        topics.audit: Layout(partitions=1, fixed={**kept, "retention.ms": "-1", "retention.bytes": "-1"}),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- making


def ensure_topics(
    bootstrap: str, topics: Topics, *, partitions: int, replication: int, retention_days: int = 7
) -> list[str]:
    """Makes the topics that are missing, and returns their names; harmless when several roles do it at once.

    Topics that are there stay as they are: `check_topics` says whether they will do. A missing topic that is keyed gets as many
    partitions as those that are there. `replication` 0: as many copies as there are brokers, at most three. Raises
    ServiceUnreachable, and SettingsError for a wish that the cluster cannot fill.
    """
    assert partitions > 0, "a topic has at least one partition"
    assert replication >= 0, "copies are counted"
    with connected(bootstrap) as client:
        copies = replication or min(COPIES_MAX, len(client.describe_cluster()["brokers"]))
        there = _partitions(client, topics)
        keyed = [there[name] for name in (*_changelogs(topics), *_keyed(topics)) if name in there]
        wanted = layouts(topics, partitions=keyed[0] if keyed else partitions, retention_days=retention_days)
        new = {
            name: {
                "num_partitions": layout.partitions,
                "replication_factor": copies,
                "configs": {
                    **layout.fixed,
                    **layout.chosen,
                    "min.insync.replicas": str(max(1, copies - 1)),
                },
            }
            for name, layout in wanted.items()
            if name not in there
        }
        if not new:
            return []
        answer = client.create_topics(new, raise_errors=False)
        made = [each["name"] for each in answer["topics"] if _was_made(each, copies)]
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
        f"Kafka did not create the topic {answer['name']}: {said}.",
        mend=f"Create it by hand, or allow it: {_tool('topics')} --create --topic {answer['name']}.",
    )


# ----------------------------------------------------------------------------------------------------------- checking


def check_suppressions(bootstrap: str, topics: Topics) -> None:
    """Before topics are made. Raises SettingsError when a cluster that has worked has lost its topic of suppressed addresses."""
    with connected(bootstrap) as client:
        there = _partitions(client, topics)
    if topics.states in there and topics.suppressions not in there:
        raise SettingsError(
            f"The topic {topics.suppressions} is gone, but {topics.states} says that this cluster has worked: whoever is"
            " suppressed or objected would be written to again.",
            mend="Restore the topic from a backup or a mirror. If it is gone for good, start one role with --accept-loss.",
        )


def check_topics(
    bootstrap: str, topics: Topics, *, roles: Collection[str] = ("worker", "dispatcher"), accept_loss: bool = False
) -> int:
    """Returns how many partitions the keyed topics have, when everything is as the runtime needs it.

    Raises SettingsError when a topic is missing, when the numbers of partitions differ, when a setting would lose records, or
    when the changelog of one of `roles` is gone although that role has worked already; with `accept_loss` that role goes on
    where it was, with nothing known about any customer of the lost partitions. Raises ServiceUnreachable.
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
        lost = lost_changelogs(client, topics, partitions=partitions, roles=roles)
    if lost and not accept_loss:
        raise loss(lost)
    if lost:
        go_on(bootstrap, lost)
    return partitions


def _keyed(topics: Topics) -> tuple[str, ...]:
    return (topics.touchpoints, topics.dispatches, topics.journal, topics.dead_letters)


def _changelogs(topics: Topics) -> tuple[str, ...]:
    return (topics.states, topics.ledger)


def _partitions(client: KafkaAdminClient, topics: Topics) -> dict[str, int]:
    """Topic → its number of partitions, of those that are there."""
    names = list(layouts(topics, partitions=1))
    found: dict[str, int] = {}
    for each in client.describe_topics(names):
        kind = for_code(each["error_code"])
        if not each["error_code"]:
            found[each["name"]] = len(each["partitions"])
        elif kind is not UnknownTopicOrPartitionError:
            raise kind(each["name"])
    return found


def _same_partitions(topics: Topics, there: Mapping[str, int]) -> int:
    for name in (topics.definitions, topics.suppressions, topics.audit):
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


def set_retention(bootstrap: str, topics: Topics, *, log_days: int | None, letter_days: int | None) -> None:
    """Has the topics keep records as long as the policy says (days; 0: for ever; None: it says nothing, as they are).

    The journal and dead letters stay 30 days at least unless the policy names them. Raises ServiceUnreachable.
    """
    days: dict[str, int] = {}
    if log_days is not None:
        days = dict.fromkeys((topics.touchpoints, topics.dispatches), log_days)
        days |= dict.fromkeys((topics.journal, topics.dead_letters), log_days and max(JOURNAL_DAYS, log_days))
    if letter_days is not None:
        days[topics.dead_letters] = letter_days
    if not days:
        return
    wanted = [
        ConfigResource("TOPIC", name, {"retention.ms": str(kept * DAY_MS if kept else -1)})
        for name, kept in days.items()
    ]
    with connected(bootstrap) as client:
        answers = client.alter_configs(wanted)
    refused = [f"{name}: {said}" for of_kind in answers.values() for name, said in of_kind.items() if said != "OK"]
    if refused:
        raise SettingsError(
            f"Kafka did not change how long topics keep records ({'; '.join(refused)}).",
            mend="Allow it, or set retention.ms of these topics by hand.",
        )


def brokers(bootstrap: str) -> int:
    """How many brokers the cluster has. Raises ServiceUnreachable."""
    with connected(bootstrap) as client:
        return len(client.describe_cluster()["brokers"])
