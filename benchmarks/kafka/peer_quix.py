"""Quix Streams doing the work: `apply` with its RocksDB state, with and without a changelog, or without any state.

Invariant: Quix's defaults (idempotent producer, a checkpoint every 5 s). It ends by itself after `BENCH_DISPATCHES` messages:
it writes states and changelog only at checkpoints, and its end is one, so that the last is part of what is measured.

    BENCH_BOOTSTRAP=… BENCH_PREFIX=… BENCH_FOLDER=… BENCH_DISPATCHES=2008 python peer_quix.py changelog|bare|stateless
"""

import os
import sys
from typing import Any

import work  # type: ignore[import-not-found, unused-ignore]
from quixstreams import Application, State  # type: ignore[import-not-found, unused-ignore]

PREFIX = os.environ["BENCH_PREFIX"]
STATE = "state"


def stateful(event: dict[str, Any], state: State) -> Any:
    """Loads, changes and writes the state of this key."""
    after, message = work.apply(state.get(STATE), event)
    state.set(STATE, after)
    return message


def stateless(event: dict[str, Any]) -> Any:
    """Decides by the event alone."""
    return work.dispatch(event, 0)


def main() -> None:
    """Runs until all messages are out."""
    mode = sys.argv[1]
    app = Application(
        broker_address=os.environ["BENCH_BOOTSTRAP"],
        consumer_group=f"{PREFIX}quix",
        auto_offset_reset="earliest",
        state_dir=os.environ["BENCH_FOLDER"],
        use_changelog_topics=mode == "changelog",
        auto_create_topics=mode == "changelog",
        loglevel="WARNING",
    )
    touchpoints = app.topic(f"{PREFIX}touchpoints", value_deserializer="json", key_deserializer="str")
    dispatches = app.topic(f"{PREFIX}dispatches", value_serializer="json", key_serializer="str")
    frame = app.dataframe(touchpoints)
    frame = frame.apply(stateless) if mode == "stateless" else frame.apply(stateful, stateful=True)
    frame = frame.filter(lambda message: message is not None)
    frame.to_topic(dispatches)
    app.run(count=int(os.environ["BENCH_DISPATCHES"]), collect=False)


if __name__ == "__main__":
    main()
