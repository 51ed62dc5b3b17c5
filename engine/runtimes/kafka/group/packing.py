"""Faust's consumer, fed with whole fetches: what was fetched of a partition comes as one message.

Invariant: the message's offset is that of the pack's last record, so that the pack is done with it (`seeking`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import faust
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP

PACK_RECORDS_MAX = 500


class Pack:
    """Looks to Faust's consumer like one record; `value` is the list of records."""

    __slots__ = (
        "checksum", "headers", "key", "offset", "partition", "serialized_key_size", "serialized_value_size", "timestamp",
        "timestamp_type", "topic", "value",
    )  # fmt: skip

    def __init__(self, records: list[Any]) -> None:
        last = records[-1]
        self.topic = last.topic
        self.partition = last.partition
        self.offset = last.offset
        self.timestamp = last.timestamp
        self.timestamp_type = last.timestamp_type
        self.headers: list[Any] = []
        self.key = None
        self.value = records
        self.checksum = None
        self.serialized_key_size = 0
        self.serialized_value_size = 0


class PackingScheduler(DefaultSchedulingStrategy):
    """Faust's `ConsumerScheduler`: partitions take turns, a pack each."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Pack]]:
        """Packs of at most `PACK_RECORDS_MAX`, each partition's in order of offsets."""
        packs = {
            tp: [Pack(found[start : start + PACK_RECORDS_MAX]) for start in range(0, len(found), PACK_RECORDS_MAX)]
            for tp, found in records.items()
            if found
        }
        turn = 0
        while packs:
            for tp in list(packs):
                if turn < len(packs[tp]):
                    yield tp, packs[tp][turn]
                else:
                    del packs[tp]
            turn += 1


class PackSchema(faust.Schema):  # type: ignore[type-arg]
    """Hands packs on as they are: what stands in them is read by the owner of the partition."""

    def loads_key(self, app: Any, message: Any, **_more: Any) -> Any:
        return message.key

    def loads_value(self, app: Any, message: Any, **_more: Any) -> Any:
        return message.value
