"""Lanes, pauses that end, and copies that are held: the same on every runtime."""

from __future__ import annotations

from engine.core.journey.workflow import Send
from engine.core.message import message_id
from engine.core.record import Consent, Flush, Hold, Pause, Settled
from engine.dispatch.ports import Closed, Settlement
from tests.conformance.harness import Harness, messages
from tests.conformance.shop import T0, catalog, workflow
from tests.conformance.test_contract import DAY, HOUR, event, identify

PROMO = workflow(
    "promo", "Promo", [Send(id="ad", channels=("email",), template="promo", purpose="marketing", priority=9)]
)


def _agrees(customer: str) -> Consent:
    return Consent(
        customer=customer,
        at_ms=T0,
        id=f"agrees-{customer}",
        time_ms=T0,
        action="grant",
        purposes={"marketing": ["email"]},
    )


async def _templates(harness: Harness, limit: int = 50, closed: Closed | None = None) -> list[str]:
    ready = await harness.runtime.ready(limit, closed=closed or Closed())
    return [each.message.template for each in ready]


async def test_transactional_mail_overtakes_whatever_waits_on_its_channel(harness: Harness) -> None:
    """Also what has a higher priority; and what is not transactional keeps one place in ten."""
    await harness.runtime.deploy(catalog(id="shop-2", extra=(PROMO,)))
    people = [f"p{number}" for number in range(12)]
    for name in people:
        await harness.append(identify(name), _agrees(name), event(name, "Promo"))
    await harness.append(*(event(name, "Order Completed") for name in people[:11]))
    assert await _templates(harness, 5) == ["order"] * 4 + ["promo"]
    assert await _templates(harness, 20) == ["order"] * 11 + ["promo"] * 9
    assert await _templates(harness, 1) == ["order"]
    only = Closed(bulk=frozenset({("email", "")}))
    assert await _templates(harness, 50, only) == ["order"] * 11


async def test_a_flush_ends_backoffs_of_what_it_names(harness: Harness) -> None:
    """Of the channel or the domain; nothing else moves, and the dispatcher is told once."""
    await harness.append(identify("a"), event("a", "Order Completed"))
    (pending,) = await harness.runtime.ready(10)
    await harness.runtime.claim([pending.message.id])
    await harness.settle(
        Settlement(message_id=pending.message.id, status="pending", at_ms=T0, not_before_ms=T0 + HOUR, reason="421")
    )
    await harness.append(Flush(customer="", at_ms=T0, id="f1", channel="sms"))
    await harness.append(Flush(customer="", at_ms=T0, id="f2", domain="other.example"))
    assert await harness.runtime.ready(10) == []
    await harness.append(Flush(customer="", at_ms=T0, id="f3", channel="email", domain="example.com"))
    assert [each.message.id for each in await harness.runtime.ready(10)] == [pending.message.id]
    told = await harness.runtime.flushed()
    assert [(each.channel, each.domain) for each in told] == [
        ("sms", ""),
        ("", "other.example"),
        ("email", "example.com"),
    ]
    assert await harness.runtime.flushed() == []


async def test_a_flush_leaves_what_waits_for_quiet_hours_or_a_pause(harness: Harness) -> None:
    """They have reasons of their own."""
    await harness.append(identify("a"), event("a", "Order Completed"))
    (pending,) = await harness.runtime.ready(10)
    await harness.runtime.claim([pending.message.id])
    for reason in ("quiet_hours", "workflow_paused"):
        await harness.settle(
            Settlement(
                message_id=pending.message.id, status="pending", at_ms=T0, not_before_ms=T0 + HOUR, reason=reason
            )
        )
        await harness.append(Flush(customer="", at_ms=T0, id=f"f-{reason}"))
        assert await harness.runtime.ready(10) == []


async def test_what_was_due_before_a_pause_is_held_and_goes_on_with_its_workflow(harness: Harness) -> None:
    """A service that was away, paused before it starts: its timers are late, and nothing of them is suppressed."""
    await harness.append(identify("a"), event("a", "Product Added"), identify("b"), event("b", "Product Added"))
    at_ms = T0 + 3 * HOUR
    await harness.append(Pause(customer="", at_ms=at_ms, id="p1", workflow="cart", reason="operator"))
    await harness.advance(at_ms)  # the timers were due two hours before
    assert await messages(harness) == []
    state = await harness.runtime.state("a")
    assert state is not None
    assert [held.reason for held in state.held] == ["workflow_paused"]
    await harness.crash()
    await harness.reopen()
    await harness.append(Pause(customer="", at_ms=at_ms + 1, id="p2", workflow="cart", paused=False, reason="operator"))
    await harness.advance(at_ms + 1)
    assert sorted(each.message.customer for each in await messages(harness)) == ["a", "b"]


async def test_a_pause_that_is_told_to_drops_what_was_due(harness: Harness) -> None:
    """`anlass pause --drop`, and `anlass resume --drop` for what a pause held."""
    await harness.append(identify("a"), event("a", "Product Added"))
    at_ms = T0 + 3 * HOUR
    await harness.append(Pause(customer="", at_ms=at_ms, id="p1", workflow="cart", drop=True))
    await harness.advance(at_ms)
    state = await harness.runtime.state("a")
    assert state is not None
    assert (state.held, await messages(harness)) == ((), [])
    await harness.append(Pause(customer="", at_ms=at_ms, id="p2", workflow="cart", paused=False))
    await harness.append(identify("b"), event("b", "Product Added", at_ms=at_ms))
    later_ms = at_ms + 2 * HOUR
    await harness.append(Pause(customer="", at_ms=later_ms, id="p3", workflow="cart"))
    await harness.advance(later_ms)
    await harness.append(Pause(customer="", at_ms=later_ms, id="p4", workflow="cart", paused=False, drop=True))
    await harness.advance(later_ms)
    assert await messages(harness) == []


async def test_a_copy_that_is_held_does_nothing_by_the_clock(harness: Harness) -> None:
    """No timer has an effect and nothing is handed out, also after a crash; what is let go by name happens, the rest waits."""
    await harness.append(identify("a"), event("a", "Product Added"), event("a", "Order Completed", id="o"))
    await harness.append(identify("b"), event("b", "Product Added"))
    await harness.append(Hold(customer="", at_ms=T0 + 1, id="h1"))
    assert await harness.runtime.ready(10) == []
    await harness.advance(T0 + 2 * HOUR)
    await harness.crash()
    await harness.reopen()
    await harness.advance(T0 + 2 * HOUR)
    assert [each.message.template for each in await messages(harness)] == ["order"]
    state = await harness.runtime.state("b")
    assert state is not None
    assert [run.step for run in state.enrollments] == ["pause"]
    await harness.append(Hold(customer="", at_ms=T0 + 2 * HOUR, id="h2", on=False, workflow="cart"))
    await harness.advance(T0 + 2 * HOUR)
    assert await _templates(harness) == ["cart"]
    await harness.append(Hold(customer="", at_ms=T0 + 2 * HOUR, id="h3", on=False))
    await harness.advance(T0 + 2 * HOUR)
    assert sorted(await _templates(harness)) == ["cart", "order"]


async def test_what_is_dropped_ends_and_what_comes_later_goes_on(harness: Harness) -> None:
    """Runs whose time had come exit as `dropped`; a run that is not due yet, and one of afterwards, go on."""
    await harness.append(identify("a"), event("a", "Product Added"), identify("b"))
    await harness.append(Hold(customer="", at_ms=T0 + 1, id="h1"))
    await harness.append(event("b", "Product Added", at_ms=T0 + HOUR))
    now_ms = T0 + HOUR + HOUR // 2
    await harness.advance(now_ms)
    await harness.append(Hold(customer="", at_ms=now_ms, id="h2", on=False, workflow="cart", drop=True))
    await harness.advance(now_ms)
    await harness.append(Hold(customer="", at_ms=now_ms, id="h3", on=False))
    await harness.advance(T0 + 3 * HOUR)
    assert [each.message.customer for each in await messages(harness)] == ["b"]
    state = await harness.runtime.state("a")
    assert state is not None
    assert state.enrollments == ()


async def test_what_the_providers_log_says_is_not_sent_again(harness: Harness) -> None:
    """What is in the outbox is settled; what is not decided yet never gets there."""
    await harness.append(identify("a"), event("a", "Order Completed"), identify("b"), event("b", "Product Added"))
    await harness.append(Hold(customer="", at_ms=T0 + 1, id="h1"))
    (waiting,) = await messages(harness)
    probe = await _id_of_the_reminder(harness)
    await harness.append(Settled(customer="", at_ms=T0 + 2, id="s1", messages=(waiting.message.id, probe)))
    await harness.append(Hold(customer="", at_ms=T0 + 3, id="h2", on=False))
    await harness.advance(T0 + HOUR)
    assert await harness.runtime.ready(10) == []
    status = await harness.runtime.message(waiting.message.id)
    assert status is not None
    assert (status.status, status.reason) == ("sent", "the provider's log says that it was sent")
    await harness.advance(T0 + 3 * DAY)
    assert "cart" not in await _templates(harness)


async def _id_of_the_reminder(harness: Harness) -> str:
    state = await harness.runtime.state("b")
    assert state is not None
    return message_id(state.enrollments[0].id, "reminder", 0, salt=state.salt)
