"""A small catalog, built by hand, that uses everything a runtime has to carry: sends, waits, timers, emits, merges.

Invariant: its parts are plain values of the core; it does not depend on the YAML compiler.
"""

from __future__ import annotations

from engine.core.catalog import Catalog, Interest
from engine.core.expression.condition import Expression
from engine.core.journey.workflow import (
    Arm,
    Emit,
    EventMatch,
    Exit,
    ExitRule,
    Op,
    OutcomeMatch,
    Reentry,
    Repeat,
    Send,
    Trigger,
    Wait,
    WaitFor,
    Workflow,
)
from engine.core.policy import Policy, Purpose
from engine.core.time.schedule import ZERO, parse_duration

T0 = 1_774_600_000_000
"""2026-03-27, some hours before a change of clocks in Europe."""


def workflow(name: str, trigger: str, ops: list[Op], **more: object) -> Workflow:
    """A workflow that starts with its first op."""
    return Workflow(
        name=name,
        version="0123456789ab",
        purpose="transactional",
        trigger=Trigger(matches=(EventMatch(trigger),)),
        first=ops[0].id,
        ops={op.id: op for op in ops},
        **more,  # type: ignore[arg-type]
    )


def workflows() -> list[Workflow]:
    """`cart` waits and reminds, `order` confirms at once, `thanks` is entered by an event that `order` emits."""
    cart = workflow(
        "cart",
        "Product Added",
        [
            Wait(id="pause", next="reminder", duration=parse_duration("1h")),
            Send(id="reminder", next="look", channels=("email",), template="cart", purpose="transactional"),
            WaitFor(
                id="look",
                arms=(Arm(OutcomeMatch("clicked", of="reminder"), "engaged"),),
                timeout=parse_duration("1d"),
                otherwise="nudge",
            ),
            Exit(id="engaged", reason="engaged"),
            Send(id="nudge", channels=("email",), template="nudge", purpose="transactional", priority=1),
        ],
        exits=(ExitRule(EventMatch("Order Completed"), "bought"),),
    )
    order = workflow(
        "order",
        "Order Completed",
        [
            Send(id="confirm", next="tell", channels=("email",), template="order", purpose="transactional", priority=5),
            Emit(id="tell", event="Order Confirmed", properties=()),
        ],
    )
    thanks = workflow(
        "thanks",
        "Order Confirmed",
        [
            Wait(id="later", next="mail", duration=parse_duration("2d")),
            Send(id="mail", channels=("email",), template="thanks", purpose="transactional"),
        ],
        reentry=Reentry("after", parse_duration("7d")),
    )
    return [cart, order, thanks, *loops()]


def loops() -> list[Workflow]:
    """`loop` pauses for no time at all, `circle` does so for ever, `moves` waits until a date that the customer has."""
    loop = workflow(
        "loop",
        "Loop Begun",
        [
            Repeat(id="rounds", next="look", times=3, body="tip", every=ZERO),
            Send(id="tip", next="rounds", channels=("email",), template="tip", purpose="transactional"),
            WaitFor(id="look", arms=(Arm(EventMatch("Nothing"), "tail"),), timeout=ZERO, otherwise="tail"),
            Wait(id="tail", duration=ZERO),
        ],
    )
    circle = workflow(
        "circle",
        "Circle Begun",
        [Repeat(id="rounds", times=1_000, body="pause", every=ZERO), Wait(id="pause", next="rounds", duration=ZERO)],
    )
    ends = Expression("customer.ends", lambda scope: scope.traits.get("ends"), traits=("ends",))
    moves = workflow(
        "moves",
        "Trial Begun",
        [
            Wait(id="until", next="last", until=ends, offset=parse_duration("-1d")),
            Send(id="last", channels=("email",), template="last", purpose="transactional"),
        ],
    )
    return [loop, circle, moves]


def catalog(*, id: str = "shop-1", extra: tuple[Workflow, ...] = ()) -> Catalog:
    """The catalog in force in these tests; `extra` workflows are triggered by their event."""
    flows = [*workflows(), *extra]
    interests: dict[str, Interest] = {}
    for flow in flows:
        for match in flow.trigger.matches:
            assert isinstance(match, EventMatch)
            known = interests.get(match.name, Interest())
            interests[match.name] = Interest(
                triggers=tuple(sorted((*known.triggers, flow.name))), remembered=known.remembered
            )
        for rule in flow.exits:
            assert isinstance(rule.match, EventMatch)
            known = interests.get(rule.match.name, Interest())
            interests[rule.match.name] = Interest(triggers=known.triggers, remembered=())
    return Catalog(
        id=id,
        workflows={flow.name: flow for flow in flows},
        versions={(flow.name, flow.version): flow for flow in flows},
        segments={},
        policy=Policy(
            purposes={
                "transactional": Purpose("transactional", "none"),
                "marketing": Purpose("marketing", "opt_in"),
            },
            zone="Europe/Berlin",
            unknown={"marketing": "keep"},
        ),
        interests=interests,
    )
