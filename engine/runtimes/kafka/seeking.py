"""Faust's consumer, which goes back to where its group is, and commits what is done: no more and no less.

Invariants: after `seek_to_committed` every assigned partition of the source is read from its committed offset, or from its
beginning. What is committed was done by an owner in the present generation, and everything before it was. What was done is
committed at the latest once the group has this member again: only what the brokers have taken counts as committed.

Faust and aiokafka leave a partition without a committed offset where it is: after whatever was fetched and thrown away in a
rebalance. And Faust works out what may be committed from acknowledged offsets and the gaps between them; a pack of the generation
before, acknowledged late, then counts for all of a pack of this generation that begins before it and ends after it. A process
that died right then had committed what nobody did. And Faust takes an offset for committed that the brokers refused, because
they had put us out of the group while they (or we) hung; it is not offered again before more records come, and until then the
partition seems to stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP


class CommittedConsumer(Consumer):
    """Used by every role's app."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """As Faust makes it."""
        super().__init__(*args, **options)
        self._done: dict[TP, int] = {}
        """Offset after the last record that an owner has done in this generation."""
        self._taken: dict[TP, int] = {}
        """Offset that the brokers have, as far as they told us in this generation."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Partition → committed offset, None or 0 where there is none."""
        offsets: Mapping[TP, int] = await super().seek_to_committed()
        self._taken = {tp: offset or 0 for tp, offset in offsets.items()}
        new = [tp for tp, offset in offsets.items() if not offset and not self._is_changelog_tp(tp)]
        if new:
            begin = await self.earliest_offsets(*new)
            for tp in new:
                await self._seek(tp, begin[tp])
        return offsets

    def done(self, message: Any) -> None:
        """All of this pack, and of those before it, is durable. Of an earlier generation it counts when it is read again."""
        self._unacked_messages.discard(message)
        if message.generation_id == self.app.consumer_generation_id:
            self._done[message.tp] = max(self._done.get(message.tp, 0), message.offset + 1)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Says nothing: Faust takes a partition whose records it does not hand out (a changelog's) for one that hangs, and says
        so every few seconds, five minutes after a start. Whether ours move is for our own readiness to say.
        """

    def ack(self, message: Any) -> bool:
        """Faust's own acknowledgement, also of what it skips: says nothing here."""
        self._unacked_messages.discard(message)
        return False

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """What was done until now is committed by Faust before this."""
        self._done.clear()
        await super().on_partitions_revoked(revoked)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        generation = self.app.consumer_generation_id
        taken: bool = await super()._commit(offsets)
        if taken and generation == self.app.consumer_generation_id:
            self._taken.update(offsets)
        return taken

    def _should_commit(self, tp: TP, offset: int) -> bool:
        return offset > self._taken.get(tp, 0)

    def _filter_tps_with_pending_acks(self, topics: Iterable[Any] | None = None) -> Iterator[TP]:
        wanted = None if topics is None else set(topics)
        return (tp for tp in list(self._done) if wanted is None or tp in wanted or tp.topic in wanted)

    def _new_offset(self, tp: TP) -> int | None:
        return self._done.get(tp)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """The offsets within a pack are no gap."""
