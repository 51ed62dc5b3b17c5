"""What the control records of one partition have said until now, while a batch of it is planned.

Invariant: a deploy and a pause are each partition's own, from their place on its log on; which subject of a test won has to be
the same on all of them, so the first partition decides it, once, and sends it to the others with its checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from engine.core.broadcast import in_force
from engine.core.catalog import Catalog
from engine.core.effect import Decision
from engine.core.holding import NOTHING
from engine.core.record import Control, Flush, Pause, Recheck, Record, Resume, Settled, Winner
from engine.runtimes.kafka.outgoing import Here
from engine.runtimes.kafka.topics import Checkpoint, Deployed, Outgoing, Shard, encode_input, encode_json

DECIDES = 0
"""The partition that decides what has to be the same on all of them."""


class Controls:
    """Starts with what the checkpoint knows. `walk` and `resume` say where the walks over the rows stand; None: there is none."""

    def __init__(self, here: Here, catalogs: Mapping[str, Catalog], checkpoint: Checkpoint) -> None:
        self._here = here
        self._catalogs = catalogs
        self._paused = frozenset(checkpoint.paused)
        self._paused_ms = dict(checkpoint.paused_ms)
        self._holding = checkpoint.holding
        self._winners = dict(checkpoint.winners)
        self.catalog_id = checkpoint.catalog
        self.versions = checkpoint.versions
        self.walk = checkpoint.walk
        self.resume = checkpoint.resume
        self.aside = set(checkpoint.aside)
        """Customers whose rows cannot be read."""
        self.catalog = self._in_force()
        """The definitions in force, with all that was said."""

    def _in_force(self) -> Catalog:
        catalog = self._catalogs[self.catalog_id]
        if not self._paused and not self._winners and self._holding == NOTHING:
            return catalog
        return replace(
            catalog, paused=catalog.paused | self._paused, paused_ms=self._paused_ms, holding=self._holding,
            winners=self._winners,
        )  # fmt: skip

    def deployed(self, record: Deployed) -> list[Outgoing]:
        """Puts a catalog in force; what starts the walk of its rechecks. Nothing where it is in force already."""
        if record.catalog == self.catalog_id and record.versions == "pin":
            return []
        self.catalog_id, self.walk, self.versions = record.catalog, b"", record.versions
        self.catalog = self._in_force()
        return [self.to_self(Shard(at_ms=record.at_ms, catalog=record.catalog))]

    def take(self, record: Control) -> tuple[list[Decision], list[Outgoing]]:
        """Puts a pause or a winner in force; what the journal says of it, and what is to be sent."""
        if isinstance(record, Winner) and not record.final and self._here.partition != DECIDES:
            return [], []
        before = self.catalog
        self.catalog, decisions, goes_on = in_force(before, record)
        sent: list[Outgoing] = []
        if isinstance(record, Pause):
            workflow = {record.workflow}
            self._paused = self._paused | workflow if record.paused else self._paused - workflow
            self._paused_ms = dict(self.catalog.paused_ms)
        elif isinstance(record, Flush | Settled):
            here = self._here
            sent = [Outgoing(here.topics.dispatches, here.partition, b"", encode_json(record))]
        elif isinstance(record, Winner) and self.catalog is not before:
            self._winners = dict(self.catalog.winners)
            sent = self._announced(record)
        self._holding = self.catalog.holding
        if goes_on:
            self.resume = b""
            sent.append(self.to_self(Shard(at_ms=record.at_ms, catalog="", resumes=True)))
        # One line in the journal, not one of each partition.
        told = not record.final if isinstance(record, Winner) else self._here.partition == DECIDES
        return decisions if told else [], sent

    def _announced(self, record: Winner) -> list[Outgoing]:
        if record.final:
            return []
        value = encode_input(replace(record, final=True))
        others = (number for number in range(self._here.partitions) if number != self._here.partition)
        return [Outgoing(self._here.topics.touchpoints, number, None, value) for number in others]

    def to_self(self, shard: Shard) -> Outgoing:
        """The next step of a walk, as a record on this partition's own log."""
        return Outgoing(self._here.topics.touchpoints, self._here.partition, None, encode_input(shard))

    def continues(self, shard: Shard) -> bool:
        """Whether the record is the next step of the walk of its kind; a repeated one is not."""
        if shard.resumes:
            return shard.after == self.resume
        return shard.after == self.walk and shard.catalog == self.catalog_id

    def asked(self, offset: int, shard: Shard, customer: str) -> Record:
        """What a step of a walk, the record at `offset`, asks one customer."""
        if shard.resumes:
            return Resume(customer=customer, at_ms=shard.at_ms, id=f"resume:{offset}")
        return Recheck(
            customer=customer, at_ms=shard.at_ms, id=f"{shard.catalog}:{offset}", catalog=shard.catalog,
            versions=self.versions,
        )  # fmt: skip

    def walked(self, shard: Shard, after: bytes | None) -> list[Outgoing]:
        """Notes how far a step came (None: to the end); the next one, if there is any."""
        if shard.resumes:
            self.resume = after
        else:
            self.walk = after
        return [] if after is None else [self.to_self(replace(shard, after=after))]

    def checkpoint(self, applied: int, outgoing: tuple[Outgoing, ...]) -> Checkpoint:
        """The checkpoint of the batch."""
        return Checkpoint(
            applied=applied,
            outgoing=outgoing,
            catalog=self.catalog_id,
            paused=tuple(sorted(self._paused)),
            walk=self.walk,
            versions=self.versions,
            winners=tuple(self._winners.items()),
            resume=self.resume,
            paused_ms=tuple(sorted(self._paused_ms.items())),
            holding=self._holding,
            aside=tuple(sorted(self.aside)),
        )
