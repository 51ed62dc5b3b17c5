"""Two ids with one address: which of them a broadcast reaches.

Invariant: an issue reaches an address once. Of those who are to get it the one whose consent is the oldest does, also when its
own time is still to come; where it was sent to the address already, it is not sent again, whoever is older.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.channel import ADDRESS_TRAITS, CONSENT_CHANNELS
from engine.core.consent.may_send import given_for, normal_address, same_address
from engine.core.expression.comparison import point
from engine.core.journey import broadcast
from engine.core.time.schedule import zone_named, zone_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.core.catalog import Catalog
    from engine.core.customer import CustomerState
    from engine.core.message import Message

REACHED = frozenset({"claimed", "sent", "unknown"})
"""What says that the address has the issue, or may have it."""
NEVER_MS = 1 << 62
CLAIM = "issue"
GATHER_MS = 2_000
"""Claims this long after the first one of an address are compared with it; later ones are second, however old."""
WAIT_MS = 4_000
"""How long a message waits where claims come from several machines."""


def matters(message: Message) -> bool:
    """Whether the message is one of a broadcast to an address that others may have, too."""
    return bool(message.issue and message.address) and message.channel in ADDRESS_TRAITS


def same_issue(one: Message, other: Message) -> bool:
    """Whether two messages are the same issue to the same address, for two customers."""
    return (
        one.customer != other.customer
        and (one.workflow, one.issue, one.step) == (other.workflow, other.issue, other.step)
        and ADDRESS_TRAITS.get(one.channel) == ADDRESS_TRAITS.get(other.channel)
        and same_address(one.address, other.address, one.channel)
    )


def rank(state: CustomerState | None, message: Message) -> tuple[int, str]:
    """Since when the customer has consented to be written to there, for this purpose; the lowest goes first."""
    if state is None:
        return NEVER_MS, message.customer
    given = state.consent.get(message.purpose, {})
    since = [
        consent.since_ms or consent.at_ms
        for consent in map(given.get, CONSENT_CHANNELS.get(message.channel, (message.channel,)))
        if consent is not None and consent.status == "granted" and given_for(consent, message.address, message.channel)
    ]
    return min(since, default=NEVER_MS), state.id


def consented_ms(state: CustomerState, message: Message) -> int:
    """As `Message.consented_ms` keeps it: 0 where the purpose needs no consent, or there is none."""
    since_ms = rank(state, message)[0]
    return since_ms if since_ms < NEVER_MS else 0


def place(message: Message) -> tuple[str, str]:
    """(kind, address) of an issue at an address: what it is claimed by where no one owner sees all customers."""
    kind = ADDRESS_TRAITS[message.channel]
    text = f"{CLAIM}/{kind}/{message.workflow}/{message.issue}/{message.step}"
    return text, normal_address(message.address, message.channel)


def claim(message: Message) -> str:
    """What a customer's message says when it claims its address."""
    return f"{message.consented_ms or NEVER_MS}:{message.id}"


def holder(claimed: str) -> tuple[int, str]:
    """The claim as it is compared: the lowest one holds the address. What is not a claim of ours holds it for nobody we know."""
    since, _, message = claimed.partition(":")
    return (int(since) if since.isdecimal() else -1), message


def is_second(
    message: Message, states: dict[str, CustomerState], others: Iterable[tuple[Message, str]], *, catalog: Catalog
) -> bool:
    """Whether the address gets the issue by another id. `others`: messages of the same issue there, with their status; `states`:
    of this customer, and of all who are known to have consented at the address.
    """
    mine = rank(states.get(message.customer), message)
    for other, status in others:
        if status in REACHED:
            return True
        if status == "pending" and rank(states.get(other.customer), other) < mine:
            return True
    return any(
        rank(state, message) < mine and is_to_come(catalog, state, message)
        for state in states.values()
        if state.id != message.customer and rank(state, message)[0] < NEVER_MS
    )


def is_to_come(catalog: Catalog, state: CustomerState, message: Message) -> bool:
    """Whether the customer is still to get this step of the issue: armed, waiting for the end of a pause, on the way, or held."""
    workflow = catalog.workflows.get(message.workflow)
    if workflow is None or workflow.trigger.schedule is None:
        return False
    if any(held.message.workflow == message.workflow and held.message.issue == message.issue for held in state.held):
        return any(held.message.step == message.step for held in state.held if held.message.issue == message.issue)
    for run in state.enrollments:
        if run.workflow == message.workflow and broadcast.issue_in(run) == message.issue:
            return not run.failed and not run.counts.get(message.step)
    schedule = workflow.trigger.schedule
    project = zone_named(catalog.policy.zone)
    zone = zone_of(state.traits, project) if schedule.customer_zone else project
    later_ms = (
        point(f"spread:{message.workflow}:{message.issue}", state.id, schedule.spread_ms) if schedule.spread_ms else 0
    )
    due = (state.armed.get(message.workflow, 0), state.waiting.get(message.workflow, 0))
    return any(at_ms and broadcast.issue_of(schedule, at_ms - later_ms, zone) == message.issue for at_ms in due)
