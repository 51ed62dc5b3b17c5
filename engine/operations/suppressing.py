"""What an operator does about addresses that nothing may be sent to: adds some, lifts some, asks about one.

Invariant: it is in the audit log before it is done, and the log names no address. What is lifted is lifted in the store and in
the state of every customer who has the address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from engine.clock import SystemClock
from engine.core.consent.may_send import keys_of
from engine.core.consent.suppression import ERASED, OBJECTED, Place, answer, doubts, mailbox, places, refusal
from engine.core.customer import CustomerState
from engine.core.message import Message
from engine.core.policy import Policy
from engine.core.record import Lift
from engine.operations.port import Operations
from engine.runtimes.audit import Act
from engine.runtimes.suppression import OPERATOR, SuppressionEntry, about, entries_of

PAGE = 1_000
STANDS = (OBJECTED, ERASED)
"""What a person wanted: lifted only when that is asked for by name."""


class Pages(Protocol):
    """`Reader.customers`."""

    async def __call__(self, *, after: str, limit: int) -> list[CustomerState]:
        """One page."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is to be suppressed. `since_ms` 0: now."""

    channel: str
    address: str
    since_ms: int = 0


class Lifted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: entries taken out, entries that stay, customers whose state knew of it."""

    gone: tuple[SuppressionEntry, ...]
    stays: tuple[SuppressionEntry, ...]
    customers: tuple[str, ...]


async def add(operations: Operations, wanted: Sequence[Wanted], *, why: str, reason: str = OPERATOR) -> int:
    """Suppresses addresses; how many were not suppressed before. Raises NotFound when the project never ran."""
    now_ms = SystemClock().now_ms()
    known = {each.hash for each in await operations.suppressions() if not each.is_shadow}
    found: dict[str, SuppressionEntry] = {}
    fresh: set[str] = set()
    for each in wanted:
        kind, address = mailbox(each.channel, each.address)
        made = entries_of(kind, address, reason, at_ms=each.since_ms or now_ms, text_hash=operations.text_hash)
        fresh |= {made[0].hash} - known
        found |= {one.hash: one for one in made}
    what = "add" if reason == OPERATOR else "import"
    await operations.note(Act(act="suppression", what=what, count=len(wanted), why=why))
    await operations.suppress(list(found.values()))
    return len(fresh)


async def restore(operations: Operations, entries: Sequence[SuppressionEntry], *, why: str) -> None:
    """Adds entries of an export, which are hashes already."""
    await operations.note(Act(act="suppression", what="import of hashes", count=len(entries), why=why))
    await operations.suppress(entries)


async def find(operations: Operations, channel: str, address: str) -> list[SuppressionEntry]:
    """What is kept about an address on a channel, objections and erasures too."""
    kind, _ = mailbox(channel, address)
    entries = [each for each in await operations.suppressions() if mailbox(each.channel, "")[0] == kind]
    return about(entries, address, operations.text_hash)


async def refusals(operations: Operations, policy: Policy, state: CustomerState) -> Callable[[Message], str]:
    """Why messages to this customer's addresses may not leave, as dispatch asks before each: "", or the reason and its cause."""
    entries = await operations.suppressions()

    def known(asked: Sequence[Place]) -> dict[Place, str]:
        return {
            (kind, address): answer(each.reason, each.since_ms)
            for kind, address in asked
            for each in about([one for one in entries if one.kind == kind], address, operations.text_hash)
        }

    def refused(message: Message) -> str:
        answers = known(places(policy, message))
        answers |= known(doubts(answers.items()))
        no = refusal(policy, state, message, answers=answers)
        causes = ", ".join(sorted({reason.partition(":")[0] for reason in answers.values()}))
        return f"{no}: {causes}" if no else ""

    return refused


async def lift(operations: Operations, channel: str, address: str, *, why: str, also: Sequence[str] = ()) -> Lifted:
    """Lets an address be written to again. `also` names what else is lifted than bounces, complaints and words of operators."""
    entries = await find(operations, channel, address)
    gone = [each for each in entries if each.cause not in STANDS or each.cause in also]
    stays = [each for each in entries if each not in gone]
    customers = await operations.ask(lambda reader: _who_knows(reader.customers, channel, address))
    if gone or customers:
        await operations.note(Act(act="suppression", what=f"lift {channel}", count=len(gone), why=why))
        await operations.lift(gone)
        now_ms = SystemClock().now_ms()
        await operations.submit(
            [
                Lift(
                    customer=customer, at_ms=now_ms, id=f"operator:lift:{now_ms}", channel=channel, address=address,
                    reason=why,
                )
                for customer in customers
            ]
        )  # fmt: skip
        if customers:
            await operations.settle()
    return Lifted(gone=tuple(gone), stays=tuple(stays), customers=tuple(customers))


async def _who_knows(customers: Pages, channel: str, address: str) -> list[str]:
    """Customers whose own state has bounces of the address, or that it is suppressed: every page of them is looked at."""
    found: list[str] = []
    after = ""
    while page := await customers(after=after, limit=PAGE):
        after = page[-1].id
        found += [state.id for state in page if keys_of(state, channel, address)]
    return found
