"""Ours in the Kafka benchmarks: `anlass worker` with definitions that ask for the same work as `benchmarks.kafka.work` does, or
with all shipped workflows, which is more than the peers have to do.

Invariant: what must come follows from the input and the documents, not from our evaluator: a message is named by
`workflow/customer/key:step`, and a customer's state remembers the id of each event that was applied.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.kafka import work
from benchmarks.kafka.stream import Record, Stream
from benchmarks.kafka.variants import ROOT, Broken, Place, Variant, clean_environment
from engine.collector.intake.foreign import parse_foreign
from engine.core.customer import decode_state
from engine.runtimes.kafka.topics import (
    CHECKPOINT_KEY,
    PREFIX_BYTES,
    MessageHandover,
    Topics,
    decode_dispatch,
    encode_input,
)

SEEN_BYTES = 12
"""That a state remembers of each id."""
COMMAND = [sys.executable, "-m", "engine.cli"]
WORKFLOWS = {
    "order-confirmation": """
workflow: order-confirmation
purpose: transactional
trigger: {event: Order Completed}
key: event.order_id
steps:
  - send: {channel: email, template: order-confirmation}
    id: mail
""",
    "segments": """
segments:
  busy: # asks about every event of the benchmark, so that each one is counted and its time noted
    where: count('Product Viewed', within='30d') + count('Product Added', within='30d') + count('Page Viewed', within='30d')
      + count('Checkout Started', within='30d') + count('Order Completed', within='30d') >= 1000
""",
    "policy": """
policy: default
zone: Europe/Berlin
purposes:
  transactional: {consent: none}
  marketing: {consent: opt_in}
""",
}
TEMPLATE = """---
subject: "Your order {{ enrollment.key }}"
---
<p>Hello {{ customer.first_name }}, thank you for your order {{ enrollment.key }}.</p>
"""


def write_project(folder: Path) -> None:
    """The project of the benchmark."""
    (folder / "workflows").mkdir(parents=True)
    (folder / "templates" / "email").mkdir(parents=True)
    for name, text in WORKFLOWS.items():
        (folder / "workflows" / f"{name}.yaml").write_text(text.lstrip(), "utf-8")
    (folder / "templates" / "email" / "order-confirmation.html").write_text(TEMPLATE, "utf-8")


def environment(place: Place) -> Mapping[str, str]:
    """The settings of the worker."""
    return {
        "ANLASS_KAFKA": place.bootstrap,
        "ANLASS_KAFKA__PREFIX": place.prefix,
        "ANLASS_KAFKA__PARTITIONS": str(place.stream.partitions),
        "ANLASS_KAFKA__FOLDER": str(place.folder / "rows"),
    }


def copy_shipped(folder: Path) -> None:
    """The project that is shipped."""
    for name in ("workflows", "templates"):
        shutil.copytree(ROOT / name, folder / name)


def deploy(place: Place, *, write: Callable[[Path], None]) -> None:
    """Makes the topics and publishes the project. Raises Broken with the last words of the command."""
    write(place.project)
    command = [*COMMAND, "deploy", str(place.project)]
    settings = {**clean_environment(), **environment(place)}
    run = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False, timeout=60)
    if run.returncode:
        raise Broken(f"anlass deploy ended with {run.returncode}: {(run.stdout + run.stderr)[-1_500:]}")


def ours(*, shipped: bool = False) -> Variant:
    """`anlass worker` with the definitions of the benchmark, or those that are shipped."""
    return Variant(
        name="ours, all shipped workflows" if shipped else "ours",
        command=lambda place: [*COMMAND, "worker", "--project", str(place.project)],
        environment=environment,
        prepare=functools.partial(deploy, write=copy_shipped if shipped else write_project),
        group="worker",
        topics=lambda _: (),
        changelog=lambda prefix: Topics(prefix).states,
        message_ids=functools.partial(message_ids, step="confirmation" if shipped else "mail"),
        read_message=read_message,
        # An event that no shipped workflow asks about leaves no trace in a state, so only messages can be compared there.
        read_state=None if shipped else read_state,
    )


def collected() -> Variant:
    """The same behind a collector, which has checked and parsed the events: what `anlass worker` reads from itself."""
    return dataclasses.replace(ours(), name="ours, events from the collector", rewrite=as_collected)


def as_collected(record: Record) -> Record:
    """A shop's record as the collector puts it on the log."""
    partition, key, value = record
    [parsed] = parse_foreign(key, value, {}, round(time.time() * 1_000))
    return partition, key, encode_input(parsed)


def message_ids(stream: Stream, *, step: str) -> dict[str, str]:
    """Event → the message that it decides."""
    found = {}
    for _, _, value in (*stream.known, *stream.events):
        if (event := json.loads(value)).get("event") == work.ORDER:
            key = f"order-confirmation/{event['userId']}/{event['properties']['order_id']}"
            found[event["messageId"]] = f"{key}:{step}"
    return found


def read_message(_: bytes | None, value: bytes) -> tuple[str, int | None] | None:
    """What a decided message is named by: enrollment and step. Its id is salted with when its customer was seen first."""
    handed = decode_dispatch(value)
    return (f"{handed.message.enrollment}:{handed.message.step}", None) if isinstance(handed, MessageHandover) else None


def read_state(key: bytes | None, value: bytes) -> tuple[str, int | None] | None:
    """A customer and the events applied, from a row of the changelog; an identify is in it as well, so that is taken off."""
    if key is None or key.startswith(CHECKPOINT_KEY):
        return None
    state = decode_state(value[PREFIX_BYTES:])
    identifies = 2 if state.id.startswith(work.MARKER) else 1
    return state.id, len(state.seen) // SEEN_BYTES - identifies
