"""Faust's consumer, which goes back to where its group is also when its group has committed nothing yet.

Invariant: after `seek_to_committed` every assigned partition of the source is read from its committed offset, or from its
beginning. Faust and aiokafka leave a partition without a committed offset where it is: after whatever was fetched and thrown away
in a rebalance.
"""

from __future__ import annotations

from collections.abc import Mapping

from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP


class CommittedConsumer(Consumer):
    """Used by every role's app."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Partition → committed offset, None or 0 where there is none."""
        offsets: Mapping[TP, int] = await super().seek_to_committed()
        new = [tp for tp, offset in offsets.items() if not offset and not self._is_changelog_tp(tp)]
        if new:
            begin = await self.earliest_offsets(*new)
            for tp in new:
                await self._seek(tp, begin[tp])
        return offsets
