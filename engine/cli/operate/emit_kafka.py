"""`anlass emit --to kafka://…`: the lines straight to the topic `touchpoints`, as any shop's own producer would write them.

Invariant: as that of `emit`: a line counts as sent when all replicas that are in sync have it, and lines end in their order.
"""

from __future__ import annotations

from collections import deque
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import click
import msgspec

from engine.cli.operate.lines import Line, Tally, complain, good_lines, move, stream_size
from engine.cli.output import progress
from engine.errors import ServiceUnreachable, SettingsError, UsageError

if TYPE_CHECKING:
    from kafka import KafkaProducer

PREFIX = "anlass."
WINDOW_LINES = 2_000
"""Lines that may wait for their acknowledgement."""
SAY_SECONDS = 5.0
"""After this long without an acknowledgement the user hears that we wait."""
CONNECT_SECONDS = 5.0
DELIVER_SECONDS_MAX = 60.0
BATCH_BYTES = 256 * 1024
LINGER_MS = 5
_MEND = (
    "Write --to kafka://HOST:PORT, or kafka://HOST:PORT/PREFIX when the topics begin with another prefix than anlass."
)


class KafkaTarget(msgspec.Struct, frozen=True):
    """Where the lines go."""

    bootstrap: str
    topic: str


def kafka_target(target: str) -> KafkaTarget:
    """From `kafka://host:port[,host:port…][/prefix]`; the prefix gets its dot when it has none. Raises UsageError."""
    try:
        parts = urlsplit(target)
    except ValueError:
        raise UsageError(f"{target} is not an address of Kafka.", mend=_MEND) from None
    servers = parts.netloc.split(",")
    if parts.query or parts.fragment or "@" in parts.netloc or not all(_is_server(server) for server in servers):
        raise UsageError(f"{target} is not an address of Kafka.", mend=_MEND)
    prefix = unquote(parts.path.strip("/"))
    if "/" in prefix:
        raise UsageError(f"{target} names more than a prefix.", mend=_MEND)
    prefix = prefix if not prefix or prefix.endswith((".", "-", "_")) else f"{prefix}."
    return KafkaTarget(",".join(servers), f"{prefix or PREFIX}touchpoints")


def _is_server(server: str) -> bool:
    host, _, port = server.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16


def send_to_kafka(stream: IO[bytes], name: str, *, from_line: int, target: KafkaTarget, tally: Tally) -> None:
    """Sends all lines. Raises ServiceUnreachable, SettingsError; `tally` tells how far it came."""
    from kafka.errors import KafkaError

    _check_topic(target)
    try:
        producer = _producer(target)
    except KafkaError as error:
        raise _unreachable(target, error) from error
    window: deque[tuple[Line, Any]] = deque()
    try:
        with progress(unit="bytes") as bar:
            task = bar.add_task("Sending", total=stream_size(stream))
            for line in good_lines(stream, tally, name=name, from_line=from_line):
                window.append((line, producer.send(target.topic, key=line.customer.encode(), value=line.event)))
                while window and (len(window) >= WINDOW_LINES or window[0][1].is_done):
                    _settle(*window.popleft(), name=name, target=target, tally=tally)
                if not line.number % 100:
                    move(bar, task, stream)
            while window:
                _settle(*window.popleft(), name=name, target=target, tally=tally)
            move(bar, task, stream)
    except KafkaError as error:
        raise _unreachable(target, error) from error
    finally:
        producer.close(timeout=1)


def _check_topic(target: KafkaTarget) -> None:
    """Before anything is read: a cluster that makes topics by itself must not make a misspelt one."""
    from engine.runtimes.kafka.connect import connected

    try:
        with connected(target.bootstrap, connect_seconds=CONNECT_SECONDS) as client:
            missing = bool(client.describe_topics([target.topic])[0]["error_code"])
    except ServiceUnreachable as error:
        raise ServiceUnreachable(
            error.message, mend="Check that a broker is running there, or name another one with --to."
        ) from error
    if missing:
        raise _no_topic(target)


def _no_topic(target: KafkaTarget) -> SettingsError:
    return SettingsError(
        f"Kafka at {target.bootstrap} has no topic {target.topic} that we may write to.",
        mend="Start `anlass worker` once, which makes it, or name the topics' prefix: --to kafka://HOST:PORT/PREFIX.",
    )


def _producer(target: KafkaTarget) -> KafkaProducer:
    from kafka import KafkaProducer

    from engine.runtimes.kafka.connect import METADATA_AGE_MS

    return KafkaProducer(
        bootstrap_servers=target.bootstrap.split(","),
        client_id="anlass-emit",
        acks="all",
        enable_idempotence=True,
        batch_size=BATCH_BYTES,
        linger_ms=LINGER_MS,
        reconnect_backoff_max_ms=1_000,
        allow_auto_create_topics=False,
        metadata_max_age_ms=METADATA_AGE_MS,
        max_block_ms=int(DELIVER_SECONDS_MAX * 1_000),
        delivery_timeout_ms=int(DELIVER_SECONDS_MAX * 1_000),
        request_timeout_ms=20_000,
    )


def _settle(line: Line, sent: Any, *, name: str, target: KafkaTarget, tally: Tally) -> None:
    """Waits for one line's acknowledgement. Raises ServiceUnreachable, SettingsError."""
    from kafka.errors import (
        KafkaError,
        KafkaTimeoutError,
        MessageSizeTooLargeError,
        TopicAuthorizationFailedError,
        UnknownTopicOrPartitionError,
    )

    while True:
        try:
            sent.get(timeout=SAY_SECONDS)
        except KafkaTimeoutError as error:
            if sent.is_done:
                raise _unreachable(target, error) from error
            if not tally.retries:
                click.echo(f"anlass: Kafka at {target.bootstrap} does not answer yet; trying again.", err=True)
            tally.retries += 1
        except MessageSizeTooLargeError as error:
            complain(tally, name, line.number, code="event_too_large", message=f"Kafka accepts less: {error}.")
            break
        except (TopicAuthorizationFailedError, UnknownTopicOrPartitionError) as error:
            raise _no_topic(target) from error
        except KafkaError as error:
            raise _unreachable(target, error) from error
        else:
            tally.sent += 1
            break
    tally.done_line = line.number


def _unreachable(target: KafkaTarget, error: Exception) -> ServiceUnreachable:
    return ServiceUnreachable(
        f"Kafka at {target.bootstrap} did not accept the events: {str(error).rstrip('.') or type(error).__name__}.",
        mend="Check that a broker is running there.",
    )
