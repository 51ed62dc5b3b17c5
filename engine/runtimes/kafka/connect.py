"""How a role reaches Kafka for administration, and how it waits for it.

Invariant: a broker that does not answer is ServiceUnreachable after a bounded time, never a traceback of the client.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

from kafka import KafkaAdminClient
from kafka.errors import BrokerResponseError, KafkaError

from engine.errors import ServiceUnreachable

CONNECT_SECONDS_MAX = 10.0
TRY_SECONDS = 2.0
"""One attempt of those that wait."""
SAY_SECONDS = 5.0
"""How often somebody who waits for Kafka hears of it."""
METADATA_AGE_MS = 3_000
"""How old what a client knows of the brokers may be: after one of them hung, nothing moves until it asks again (both clients ask
every five minutes by themselves)."""
Say = Callable[[str], None]
# The client logs each failed attempt, with tracebacks; what comes of them is said by our errors.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def connected(bootstrap: str, *, connect_seconds: float = CONNECT_SECONDS_MAX) -> Iterator[KafkaAdminClient]:
    """An administration client. Raises ServiceUnreachable, also for what Kafka answers inside the block."""
    try:
        client = KafkaAdminClient(
            bootstrap_servers=bootstrap.split(","),
            bootstrap_timeout_ms=int(connect_seconds * 1_000),
            reconnect_backoff_max_ms=1_000,
            client_id="anlass-admin",
            metadata_max_age_ms=METADATA_AGE_MS,
        )
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(bootstrap, error) from error
    try:
        yield client
    except KafkaError as error:
        raise unreachable(bootstrap, error) from error
    finally:
        client.close()


def unreachable(bootstrap: str, error: Exception) -> ServiceUnreachable:
    """What a failure of the client is to a person. Kafka's own refusals are told in its words."""
    refused = isinstance(error, BrokerResponseError)
    said = str(error).rstrip(".") or type(error).__name__
    return ServiceUnreachable(
        f"Kafka at {bootstrap} {'refuses' if refused else 'does not answer'}: {said}.",
        mend="Check that a broker is running there, or name another one in ANLASS_KAFKA.",
    )


def wait_for_kafka(bootstrap: str, *, wait_seconds: float = 0.0, say: Say | None = None) -> None:
    """Returns when a broker answers. Raises ServiceUnreachable when none does within `wait_seconds` (0: one attempt).

    `say` hears a sentence every few seconds.
    """
    start = time.monotonic()
    said = start - SAY_SECONDS
    while True:
        try:
            with connected(bootstrap, connect_seconds=TRY_SECONDS) as client:
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
