"""Says where the audit log and the consent ledger end: in the ordinary log and among the metrics, which others keep.

Invariant: it only reads. What was said once stands where somebody who rewrites a chain on this machine does not get at it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from engine.errors import NotFound
from engine.operations.embedded import operations
from engine.runtimes.audit import Head
from engine.telemetry import Action, get_log

if TYPE_CHECKING:
    from engine.watches.watch import WatchNeeds

POLL_SECONDS = 30.0
DIGITS = 16
"""Of the hash, in the metric; the log has all."""
_log = get_log("chains")


class ChainHeads:
    """One look every thirty seconds."""

    name = "chains"

    def __init__(self, around: WatchNeeds) -> None:
        self._project = around.settings.project
        self._metrics = around.metrics
        self._said: dict[str, Head] = {}

    async def run(self) -> None:
        ours = operations(self._project)
        while True:
            with contextlib.suppress(NotFound):  # the journal's database is empty yet
                self.say(await ours.heads())
            await asyncio.sleep(POLL_SECONDS)

    def say(self, heads: dict[str, Head]) -> None:
        """Writes a line for each that moved, and sets the gauge."""
        for chain, head in heads.items():
            before = self._said.get(chain)
            if head == before:
                continue
            if before is not None:
                self._metrics.chain_length.remove(chain, before.hash[:DIGITS])
            self._metrics.chain_length.labels(chain, head.hash[:DIGITS]).set(head.number)
            self._said[chain] = head
            if before is not None and head.number <= before.number:
                _log.error(Action.CHAIN_SHRANK, chain=chain, head=str(head), before=str(before))
            else:
                _log.info(Action.CHAIN_EXTENDED, chain=chain, head=str(head))
