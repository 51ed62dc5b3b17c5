"""What goes wrong when: the disturbances of a round, all from its seed.

Invariant: the same seed, seconds and number of brokers give the same schedule. Whom a disturbance meets depends on who is there
at that moment; the log of the round says whom it met.
"""

from __future__ import annotations

import random

import msgspec

SESSION_SECONDS = 4.0
"""Session timeout of the workers in these tests: a frozen one is thought dead after that."""
WEIGHTS = {
    "kill": 6,
    "kill_and_lose_disk": 2,
    "freeze": 3,
    "terminate": 2,
    "join": 3,
    "leave": 2,
    "burst": 1,
    "kill_broker": 2,
    "stop_broker": 1,
    "freeze_broker": 2,
    "kill_dispatcher": 3,
    "freeze_dispatcher": 2,
    "restart_dispatcher": 1,
}
KINDS = tuple(WEIGHTS)
PLAIN = ("kill", "freeze", "terminate", "join", "leave", "kill_broker", "freeze_broker", "kill_dispatcher", "burst")
"""What a short round must have at least once; they come first, in an order of the seed's."""


class Disturbance(msgspec.Struct, frozen=True, kw_only=True):
    """At `at_seconds` of the round. `lasts_seconds` until what is gone comes back; `pick` in [0, 1) chooses whom it meets."""

    at_seconds: float
    kind: str
    lasts_seconds: float
    pick: float


def make_schedule(seed: int, *, seconds: float, every_seconds: float = 4.0) -> list[Disturbance]:
    """Disturbances until `seconds`, one about every `every_seconds`; each of `PLAIN` is among the first, and has room."""
    dice = random.Random(seed)
    first = list(PLAIN)
    dice.shuffle(first)
    at_seconds, found = 3.0, []
    while at_seconds < seconds:
        kind = first.pop() if first else dice.choices(KINDS, list(WEIGHTS.values()))[0]
        found.append(
            Disturbance(
                at_seconds=round(at_seconds, 2),
                kind=kind,
                lasts_seconds=round(_lasts(kind, dice), 2),
                pick=round(dice.random(), 4),
            )
        )
        pause_seconds = dice.uniform(0.5, 1.5) * every_seconds
        # Never so long that there is no room for one of `PLAIN` that is still to come.
        at_seconds += min(pause_seconds, (seconds - at_seconds) / (len(first) + 1)) if first else pause_seconds
    return found


def _lasts(kind: str, dice: random.Random) -> float:
    if kind in {"freeze", "freeze_dispatcher", "freeze_broker"}:
        return SESSION_SECONDS + dice.uniform(1.0, 5.0)
    if kind in {"kill_broker", "stop_broker"}:
        return dice.uniform(0.2, 3.0)
    return dice.uniform(0.0, 1.5)
