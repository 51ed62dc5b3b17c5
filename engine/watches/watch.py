"""What a companion is and what it works with; `engine.watches.running` lists them.

Invariant: a companion is built from its surroundings alone.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from engine.clock import Clock
from engine.runtimes.base import Front
from engine.settings import Settings
from engine.telemetry import Metrics


class WatchNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """What a companion works with. On Kafka `runtime` answers from the journal's database and writes to the cluster."""

    settings: Settings
    runtime: Front
    clock: Clock
    metrics: Metrics


class Companion(Protocol):
    """Works until it is cancelled. Its `name` stands in the log."""

    name: str

    async def run(self) -> None:
        """Raises what it cannot mend itself: then it is started again after a while."""
