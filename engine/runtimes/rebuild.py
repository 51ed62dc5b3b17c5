"""Works a customer's state out again from the log.

Invariant: nothing is guessed. What comes of the replay counts only when it decides what the journal says was decided; whoever
asks is told otherwise why not. What the log does not say, since when ids of messages are salted, the journal does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from engine.core.catalog import Catalog
from engine.core.customer import CustomerState
from engine.core.effect import Decision
from engine.core.evaluate import concerns, creates
from engine.core.message import Message
from engine.core.record import Pause, Record
from engine.runtimes.memory import Memory

DIFFERS = "replaying the log decides otherwise than the journal says"
Line = tuple[str, str, str, str]
"""Kind, enrollment, step and message (or task) of a decision."""


class CatalogInForce(msgspec.Struct, frozen=True):
    """A catalog, and from when on it decided."""

    from_ms: int
    catalog: Catalog


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says: the state, the messages by id, and the decisions."""

    state: CustomerState | None
    messages: dict[str, Message]
    lines: tuple[Line, ...]


def line_of(decision: Decision) -> Line:
    """What of a decision is compared."""
    made = decision.detail.get("message") or decision.detail.get("task") or ""
    return decision.kind, decision.enrollment, decision.step, str(made)


class Replay(Memory):
    """A memory that tells of one customer what a journal would. Its first `unsalted` customers are as of before salts."""

    def __init__(self, catalog: Catalog, customer: str, *, unsalted: int) -> None:
        super().__init__(catalog)
        self.told: list[Line] = []
        self.known = 0
        """How often somebody became known."""
        self._customer = customer
        self._unsalted = unsalted
        self.on_failure = lambda *_: None  # a dead letter already
        self.on_decision = self._decided
        self.on_forget = self._forgotten
        self.on_pause = self._paused
        self._stopped: frozenset[str] = frozenset()

    def rebuilt(self) -> Rebuilt:
        """What came of it."""
        messages = {message.id: message for message in self.messages}
        return Rebuilt(state=self.states.get(self._customer), messages=messages, lines=tuple(self.told))

    def deploy(self, base: Catalog) -> None:
        """Puts definitions in force, with what control records said until now."""
        said = self.catalog
        self.catalog = replace(
            base,
            paused=base.paused | self._stopped,
            paused_ms=said.paused_ms,
            holding=said.holding,
            winners=said.winners,
        )

    def _apply(self, record: Record) -> list[Record]:
        customer = record.customer
        if customer in self.states or not creates(record) or not concerns(self.catalog, record):
            return super()._apply(record)
        self.known += 1
        if self.known > self._unsalted:
            return super()._apply(record)
        fresh = self.states[customer] = CustomerState(id=customer, first_seen_ms=record.at_ms)
        appended = super()._apply(record)
        if self.states.get(customer) is fresh:  # nothing came of it
            del self.states[customer]
        return appended

    def _decided(self, _position: int, decision: Decision) -> None:
        if decision.customer == self._customer:
            self.told.append(line_of(decision))

    def _paused(self, record: Pause) -> None:
        workflow = {record.workflow}
        self._stopped = self._stopped | workflow if record.paused else self._stopped - workflow

    def _forgotten(self, customer: str, _position: int) -> None:
        """The journal forgets as well: who comes back begins anew."""
        self.messages = [message for message in self.messages if message.customer != customer]
        if customer == self._customer:
            self.told.clear()


def agreeing(play: Callable[[int], Replay], told: Sequence[Line]) -> Rebuilt | str:
    """What comes of `play(unsalted)` where it decides what was told, or why that is not to be trusted."""
    replay = play(0)
    for unsalted in range(replay.known, 0, -1):
        if replay.told == list(told):
            break
        replay = play(unsalted)
    return replay.rebuilt() if replay.told == list(told) else DIFFERS


def rebuild(
    catalogs: Sequence[CatalogInForce], customer: str, records: Iterable[tuple[int, Record]], *, told: Sequence[Line]
) -> Rebuilt | str:
    """Replays (position, record) of one customer, control records among them, where what was appended is on the log as well.

    `catalogs` are in the order of their times, `told` is what the journal says.
    """
    found = list(records)
    return agreeing(lambda unsalted: _played(catalogs, customer, found, unsalted=unsalted), told)


def _played(
    catalogs: Sequence[CatalogInForce], customer: str, records: Sequence[tuple[int, Record]], *, unsalted: int
) -> Replay:
    replay, at = Replay(catalogs[0].catalog, customer, unsalted=unsalted), 0
    for position, record in records:
        while at + 1 < len(catalogs) and catalogs[at + 1].from_ms <= record.at_ms:
            at += 1
        if replay.catalog.id != catalogs[at].catalog.id:
            replay.deploy(catalogs[at].catalog)
        replay.apply_logged(position, record)
    return replay
