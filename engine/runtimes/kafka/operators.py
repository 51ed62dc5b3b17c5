"""What the command line does to a cluster: puts dead letters back on `touchpoints`, and says what the topics keep.

Invariant: a letter leaves the database only when the broker has acknowledged what was put back. In between a crash leaves it
in both places; put back twice it is recognised by its ids, like any record that comes twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from kafka.admin import ConfigResource

from engine.errors import ServiceUnreachable, StorageError
from engine.runtimes.base import DeadLetter, Replayed
from engine.runtimes.journal import DatabaseReader
from engine.runtimes.kafka.connect import METADATA_AGE_MS, connected
from engine.runtimes.kafka.leaving import stopped
from engine.runtimes.kafka.outlet import Outlet
from engine.runtimes.kafka.topics import ORIGIN, Outgoing, Topics, decode_input, is_ours, partition_of

PAGE = 100
"""Letters that are put back at once; each may have some megabytes."""
FETCH_MS = 2_000
SEND_SECONDS_MAX = 30.0
FOR_EVER_MS = 36_500 * 86_400_000
"""What is kept for so long is kept for ever."""

Place = tuple[int, int]
"""Partition and offset on `touchpoints`."""


class _Stood(msgspec.Struct, frozen=True):
    """A record as it stands on the log."""

    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class Replay:
    """Puts letters back. `ends`: partition → the offset after the last one that was."""

    def __init__(self, bootstrap: str, topics: Topics, *, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._partitions = partitions
        self.ends: dict[int, int] = {}

    async def put_back(self, reader: DatabaseReader, ids: Sequence[int]) -> Replayed:
        """Those of these letters that were records. Raises StorageError; what was acknowledged until then is put back."""
        wanted = list(dict.fromkeys(ids))
        put_back: list[int] = []
        never: list[int] = []
        outlet = Outlet(self._bootstrap, client="anlass-replay")
        await outlet.start()
        try:
            for at in range(0, len(wanted), PAGE):
                letters = await reader.dead_letters_by_id(wanted[at : at + PAGE])
                outgoing = await self._outgoing(letters)
                never += [letter.id for letter in letters if letter.id not in outgoing]
                if not outgoing:
                    continue
                last = await self._sent(outlet, list(outgoing.values()))
                self.ends |= {number: offset + 1 for (_, number), offset in last.items()}
                await reader.remove_dead_letters(list(outgoing))
                put_back += outgoing
        finally:
            await outlet.stop()
        unknown = set(wanted) - {*put_back, *never}
        return Replayed(put_back=tuple(put_back), unknown=tuple(sorted(unknown)), never_records=tuple(never))

    async def _sent(self, outlet: Outlet, outgoing: list[Outgoing]) -> dict[tuple[str, int], int]:
        """The client would wait for the broker for ever."""
        try:
            async with asyncio.timeout(SEND_SECONDS_MAX):
                return await outlet.send(outgoing)
        except TimeoutError:
            raise ServiceUnreachable(
                f"Kafka at {self._bootstrap} does not acknowledge records now.",
                mend="Put them back again later: twice does no harm.",
            ) from None

    async def _outgoing(self, letters: Sequence[DeadLetter]) -> dict[int, Outgoing]:
        """Letter → what goes to `touchpoints`; without those that never were there."""
        places = {letter.id: place for letter in letters if (place := self._place(letter.origin)) is not None}
        foreign = {places[each.id] for each in letters if each.id in places and not is_ours(each.body)}
        stood = await self._stood(foreign)
        found: dict[int, Outgoing] = {}
        for letter in letters:
            place = places.get(letter.id)
            if place is None:
                continue
            outgoing = self._ours(letter, place) if is_ours(letter.body) else self._foreign(letter, place, stood)
            if outgoing is not None:
                found[letter.id] = outgoing
        return found

    def _place(self, origin: str) -> Place | None:
        """Where a letter stood on `touchpoints`; None when it never did: it was refused before, or read somewhere else."""
        topic, _, rest = origin.partition(":")
        partition, _, offset = rest.partition(":")
        if topic != self._topics.touchpoints or not (partition + offset).isdecimal() or not partition or not offset:
            return None
        return int(partition), int(offset)

    def _ours(self, letter: DeadLetter, place: Place) -> Outgoing | None:
        """A record of our own goes where its customer is; one for the owner of a partition to that partition."""
        try:
            customer = getattr(decode_input(letter.body), "customer", "")
        except (msgspec.ValidationError, msgspec.DecodeError):
            return None
        key = customer.encode("utf-8", "replace") or None
        number = place[0] % self._partitions if key is None else partition_of(key, self._partitions)
        return Outgoing(self._topics.touchpoints, number, key, letter.body)

    def _foreign(self, letter: DeadLetter, place: Place, stood: Mapping[Place, _Stood]) -> Outgoing:
        """What a shop wrote, where it stood; its worker sends it on. The database has neither key nor headers of it."""
        known = stood.get(place)
        if known is None or known.value[: len(letter.body)] != letter.body:  # gone, or the topic is another one
            known = _Stood(letter.customer.encode() or None, letter.body, ())
        headers = known.headers
        if ORIGIN not in dict(headers):
            # Records without an id got one from their place: so they get the same again, however often they are put back.
            headers = (*headers, (ORIGIN, letter.origin.encode()))
        return Outgoing(self._topics.touchpoints, place[0] % self._partitions, known.key, known.value, headers)

    async def _stood(self, places: set[Place]) -> dict[Place, _Stood]:
        """Those of these records that the log still has."""
        found: dict[Place, _Stood] = {}
        if not places:
            return found
        consumer = AIOKafkaConsumer(
            metadata_max_age_ms=METADATA_AGE_MS,
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="none",
            client_id="anlass-replay",
        )
        try:
            await consumer.start()
            for number in sorted({partition for partition, _ in places if partition < self._partitions}):
                tp = TopicPartition(self._topics.touchpoints, number)
                consumer.assign([tp])
                begin = (await consumer.beginning_offsets([tp]))[tp]
                end = (await consumer.end_offsets([tp]))[tp]
                for offset in sorted(offset for partition, offset in places if partition == number):
                    if begin <= offset < end:
                        consumer.seek(tp, offset)
                        records = (await consumer.getmany(tp, timeout_ms=FETCH_MS, max_records=1)).get(tp, [])
                        found |= {(number, each.offset): _as_it_stood(each) for each in records}
        except KafkaError as error:
            raise StorageError(f"Kafka does not give what stood on the log: {error}", mend="Try it again.") from error
        finally:
            await stopped(consumer)
        return found


def _as_it_stood(record: Any) -> _Stood:
    return _Stood(record.key, record.value or b"", tuple((name, body or b"") for name, body in record.headers))


def kept_ms(bootstrap: str, topics: Topics) -> dict[str, int]:
    """Topic → for how long at most it holds records about a customer who was forgotten now; 0: for ever.

    A segment goes as a whole, when its newest record is old enough; a compacted topic keeps the mark that says a row is gone.
    Raises ServiceUnreachable.
    """
    names = [topics.touchpoints, topics.dispatches, topics.journal, topics.dead_letters, topics.states, topics.ledger]
    settings = ["retention.ms", "segment.ms", "max.compaction.lag.ms", "delete.retention.ms"]
    with connected(bootstrap) as client:
        asked = [ConfigResource("TOPIC", name, settings) for name in names]
        found = client.describe_configs(asked, config_filter="all")["topic"]
    kept: dict[str, int] = {}
    for name in names:
        value = {setting: int(found[name][setting]["value"]) for setting in settings}
        if name in (topics.states, topics.ledger):
            parts = (value["max.compaction.lag.ms"], value["delete.retention.ms"])
        else:
            parts = (value["retention.ms"], value["segment.ms"])
        kept[name] = 0 if parts[0] < 0 or sum(parts) >= FOR_EVER_MS else sum(parts)
    return kept
