"""How long partitions stood still, worked out from the times of what the workers wrote.

Invariant: progress of a partition is a checkpoint with a higher applied offset on its changelog; its time is the record's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec

from engine.runtimes.kafka.topics import CHECKPOINT_KEY, decode_checkpoint
from tests.chaos.reading import Topic

PAUSE_SECONDS_MIN = 0.5
"""A shorter gap between two batches is not a pause."""
GRACE_MS = 500
"""A gap that was open for less than that when a disturbance came was not there before it."""


class Happened(msgspec.Struct, frozen=True):
    """A disturbance as it was carried out."""

    at_ms: int
    kind: str
    whom: str


class Stalls(msgspec.Struct):
    """Seconds. `recovery` by kind: from a disturbance until every partition moved again; only of those that were over before
    the next disturbance and began when no partition stood still.
    """

    recovery: dict[str, list[float]] = {}
    pauses: list[float] = []
    """Gaps in the progress of single partitions, under load, of half a second or more."""


def measure(states: Topic, happened: Sequence[Happened], *, until_ms: int) -> Stalls:
    """`until_ms`: when the load ended; after that standing still means nothing."""
    moves = {number: _moves(found) for number, found in states.items()}
    gaps = [
        (before, after)
        for times in moves.values()
        for before, after in itertools.pairwise(times)
        if after <= until_ms and after - before >= PAUSE_SECONDS_MIN * 1_000
    ]
    stalls = Stalls(pauses=[(after - before) / 1_000 for before, after in gaps])
    ends = [*(each.at_ms for each in happened[1:]), until_ms]
    for each, next_ms in zip(happened, ends, strict=True):
        met = [(before, after) for before, after in gaps if after > each.at_ms and before < next_ms - GRACE_MS]
        alone = all(after <= next_ms and each.at_ms - before < GRACE_MS for before, after in met)
        if each.at_ms < until_ms and alone:
            lasted = max((after - each.at_ms for _, after in met), default=0)
            stalls.recovery.setdefault(each.kind, []).append(lasted / 1_000)
    return stalls


def _moves(found: Sequence[object]) -> list[int]:
    times, applied = [], -1
    for each in found:
        if each.key != CHECKPOINT_KEY:  # type: ignore[attr-defined]
            continue
        now = decode_checkpoint(each.value).applied  # type: ignore[attr-defined]
        if now > applied:
            applied = now
            times.append(each.at_ms)  # type: ignore[attr-defined]
    return times


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed; 0 when there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
