"""Who is compared: how each is started, and how its messages and its states are read back.

Invariant: a variant differs from the others only in what stands here; input, watch and account are the same for all.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rocksdict import AccessType, Options, Rdict

from benchmarks.kafka.stream import Record, Stream

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

Read = Callable[[bytes | None, bytes], "tuple[str, int | None] | None"]
"""(key, value) → (message id or customer, events counted; None: not told), or None: not one of those."""


class Broken(RuntimeError):
    """A variant's process ended, or was not done in time."""


@dataclass(frozen=True)
class Place:
    """Where one process of a variant works."""

    bootstrap: str
    prefix: str
    folder: Path
    """Its own, empty."""
    project: Path
    """The run's, the same for all its processes; made by `prepare`."""
    stream: Stream
    dispatches: int
    """Messages that must come in all."""


def bench_environment(place: Place) -> dict[str, str]:
    """What the peers read."""
    return {
        "BENCH_BOOTSTRAP": place.bootstrap, "BENCH_PREFIX": place.prefix, "BENCH_FOLDER": str(place.folder),
        "BENCH_PARTITIONS": str(place.stream.partitions), "BENCH_DISPATCHES": str(place.dispatches),
    }  # fmt: skip


def read_message(_: bytes | None, value: bytes) -> tuple[str, int | None]:
    """A message of the peers."""
    body = json.loads(value)
    return body["id"], body["count"] or None


def read_state(_: bytes | None, value: bytes) -> tuple[str, int | None] | None:
    """A state of the peers in their changelog."""
    body = json.loads(value)
    return (body["id"], body["count"]) if isinstance(body, dict) and "id" in body else None


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of those that are compared. What takes a text takes the prefix of the run's topics."""

    name: str
    command: Callable[[Place], list[str]]
    environment: Callable[[Place], Mapping[str, str]] = bench_environment
    group: str
    """Its consumer group, without the prefix."""
    topics: Callable[[str], tuple[str, ...]] = lambda prefix: (f"{prefix}touchpoints", f"{prefix}dispatches")
    """Topics that are made for it; it makes its other ones itself."""
    prepare: Callable[[Place], None] = lambda _: None
    """Done once, before there are any records."""
    changelog: Callable[[str], str] = lambda _: ""
    """Name of its changelog; "" when it has none."""
    closes_itself: bool = False
    """Ends after the last message, with all that it writes at its end."""
    decides: bool = True
    """False: passes on the markers only."""
    rewrite: Callable[[Record], Record] = lambda record: record
    """How its input is written, when not as the shop writes it."""
    message_ids: Callable[[Stream], Mapping[str, str]] = lambda stream: {each: each for each in stream.dispatches}
    """Id of an event that decides a message → the message's id."""
    read_message: Read = read_message
    read_state: Read | None = read_state
    """None: the states do not tell how many events were applied."""
    states_of: Callable[[Path], Iterator[tuple[bytes, bytes]]] | None = None
    """States from its folder after its end, for one without changelog."""

    def expected(self, stream: Stream) -> dict[str, int]:
        """Message id → events of its customer until then, of all messages that must come."""
        ids = self.message_ids(stream)
        return {ids[event]: stream.dispatches[event] for event in (ids if self.decides else stream.markers)}


def rocksdb_rows(folder: Path) -> Iterator[tuple[bytes, bytes]]:
    """The rows of the default column family of every RocksDB below a folder."""
    for current in sorted(folder.rglob("CURRENT")):
        path = str(current.parent)
        families = {name: Options(raw_mode=True) for name in Rdict.list_cf(path) if name != "default"}
        opened = Rdict(path, Options(raw_mode=True), column_families=families, access_type=AccessType.read_only())
        try:
            yield from opened.items()
        finally:
            opened.close()


def faust(python: Path) -> Variant:
    """Stock Faust: an agent with one event per iteration, a stock table."""
    return Variant(
        name="stock Faust",
        command=lambda _: [str(python), str(HERE / "peer_faust.py"), "worker"],
        group="faust",
        changelog=lambda prefix: f"{prefix}faust-states-changelog",
    )


def quix(python: Path, mode: str, name: str) -> Variant:
    """Quix Streams in one of its modes: changelog, bare, stateless."""
    changelog = "changelog__{0}quix--{0}touchpoints--default" if mode == "changelog" else ""
    return Variant(
        name=name,
        command=lambda _: [str(python), str(HERE / "peer_quix.py"), mode],
        group="quix",
        closes_itself=True,
        changelog=changelog.format,
        states_of=rocksdb_rows if mode == "bare" else None,
    )


def floor() -> Variant:
    """The `getmany` of aiokafka alone."""
    return Variant(
        name="floor: getmany only",
        command=lambda _: [sys.executable, str(HERE / "peer_floor.py")],
        group="floor",
        decides=False,
        read_message=lambda _, value: (json.loads(value)["messageId"], None),
    )


def clean_environment() -> dict[str, str]:
    """Ours, without the settings of whoever runs this."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ANLASS_", "BENCH_", "FAUST_"))}
