"""What a mail leads to is the same on every runtime: in memory, and through a real broker."""

from __future__ import annotations

import pytest

from channels.bounces import Kind
from engine.collector.bounces.intake import LETTER_BYTES_MAX, UNKNOWN_MS_MAX, BounceDesk
from engine.collector.callbacks.reports import Reports
from engine.core.journey.sending import SENT_MAX
from engine.core.record import Event, Identify, Outcome, Pause
from engine.errors import Backlog
from engine.runtimes.memory_ports import MemoryRuntime
from engine.telemetry import Metrics
from tests.channels.returned_mails import MARKS, RETURN_PATH, complaint, plain, report_of
from tests.collector.conftest import T0, taken_in


@pytest.fixture
async def sent(runtime: MemoryRuntime) -> dict[str, str]:
    """Customer → the message that was sent to each of three."""
    for name in ("ana", "ben", "eva"):
        traits = {"email": f"{name}@example.com", "consent": {"marketing": ["email"]}}
        await runtime.append([Identify(customer=name, at_ms=T0, id=f"i-{name}", time_ms=T0, traits=traits)])
        await runtime.append([Event(customer=name, at_ms=T0, id=f"e-{name}", name="News Asked For", time_ms=T0)])
    await runtime.idle()
    return {
        each.message.customer: each.message.id for each in await runtime.messages() if each.message.channel == "email"
    }


@pytest.fixture
def desk(runtime: MemoryRuntime) -> BounceDesk:
    """With the defaults."""
    clock, metrics = runtime.memory.clock, Metrics()
    return BounceDesk(runtime, clock, metrics, marks=MARKS, reports=Reports(runtime, clock, metrics))


def _bounce(message: str, status: str) -> bytes:
    group = f"Final-Recipient: rfc822; x@example.com\nAction: failed\nStatus: {status}\n"
    return report_of(group, to=f"b+{MARKS.mark(message)}@bounces.shop.example")


async def test_a_mail_becomes_the_same_records(runtime: MemoryRuntime, desk: BounceDesk, sent: dict[str, str]) -> None:
    """A hard bounce, a complaint and a dead letter of the largest size, durable when the desk returns."""
    taken = await desk.take(_bounce(sent["ana"], "5.1.1"), envelope_to=(), origin="lmtp")
    assert (taken.kept, taken.understood.kind) == ("outcome", Kind.STATUS)
    place = f"b+{MARKS.mark(sent['ben'])}@bounces.shop.example"
    assert (await desk.take(complaint(), envelope_to=[place], origin="lmtp")).kept == "outcome"
    large = plain("Hello", "x" * 2 * LETTER_BYTES_MAX, sender="a@b.de")
    assert (await desk.take(large, envelope_to=(), origin="imap")).kept == "dead_letter"
    assert (await desk.take(plain("Out of office", "x"), envelope_to=(), origin="imap")).kept == "counted"
    outcomes = [(each.customer, each.outcome, each.message) for each in taken_in(runtime) if isinstance(each, Outcome)]
    assert outcomes == [("ana", "bounced", sent["ana"]), ("ben", "complained", sent["ben"])]
    (letter,) = await runtime.dead_letters()
    assert (letter.origin, letter.body) == ("mail:imap", large[:LETTER_BYTES_MAX])
    await runtime.idle()
    for name, why in (("ana", "bounced"), ("ben", "complained")):
        state = await runtime.state(name)
        assert state is not None
        assert state.suppressed == {f"email:{name}@example.com": why}


async def test_a_complaint_about_an_old_mail_is_an_objection(
    runtime: MemoryRuntime, desk: BounceDesk, sent: dict[str, str]
) -> None:
    """The customer's state remembers the newest messages only; the report says what this one was for."""
    more = [Event(customer="ben", at_ms=T0, id=f"e{n}", name="News Asked For", time_ms=T0) for n in range(SENT_MAX)]
    await runtime.append(more)
    await runtime.idle()
    place = f"b+{MARKS.mark(sent['ben'])}@bounces.shop.example"
    assert (await desk.take(complaint(), envelope_to=[place], origin="lmtp")).kept == "outcome"
    await runtime.idle()
    state = await runtime.state("ben")
    assert state is not None
    assert sent["ben"] not in {each.id for each in state.messages}
    assert state.consent["marketing"]["email"].status == "withdrawn"


async def test_the_third_refusal_for_our_own_fault_pauses(
    runtime: MemoryRuntime, desk: BounceDesk, sent: dict[str, str]
) -> None:
    """The pause says why, and stands behind the outcome on the log."""
    for name in ("ana", "ben", "eva"):
        await desk.take(_bounce(sent[name], "5.7.26"), envelope_to=(), origin="smtp")
    (pause,) = [each for each in taken_in(runtime) if isinstance(each, Pause)]
    assert (pause.workflow, pause.paused) == ("news", True)
    assert pause.reason.startswith("our_fault: ")
    again = Reports(runtime, runtime.memory.clock, Metrics())  # as after a restart: the journal remembers
    await runtime.idle()
    other = BounceDesk(runtime, runtime.memory.clock, Metrics(), marks=MARKS, reports=again)
    await other.take(_bounce(sent["eva"], "5.7.26"), envelope_to=(), origin="smtp")
    assert len([each for each in taken_in(runtime) if isinstance(each, Pause)]) == 1


async def test_a_message_of_nobody_is_asked_for_again(runtime: MemoryRuntime, desk: BounceDesk) -> None:
    """The mark is ours, so it may only be that the database is behind: whoever brought the mail keeps it."""
    with pytest.raises(Backlog):
        await desk.take(_bounce("ab" * 16, "5.1.1"), envelope_to=(), origin="lmtp")
    assert taken_in(runtime) == []
    assert await runtime.dead_letters() == []


APPLE = "Auto-Submitted: auto-replied\r\nX-Apple-Unsubscribe: true\r\n"
ASKED = "Apple Mail sent this email to unsubscribe from the message."


async def test_a_mail_to_unsubscribe_is_an_objection(
    runtime: MemoryRuntime, desk: BounceDesk, sent: dict[str, str]
) -> None:
    """To the message's own address, from whichever address the person writes; nobody else's consent is touched."""
    mail = plain("unsubscribe", ASKED, sender="c3@icloud.com", headers=APPLE)
    place = f"b+{MARKS.mark(sent['ben'])}@bounces.shop.example"
    mail = mail.replace(RETURN_PATH.encode(), place.encode())
    for _ in range(2):
        assert (await desk.take(mail, envelope_to=(), origin="imap")).kept == "outcome"
    await runtime.idle()
    found = {name: await runtime.state(name) for name in sent}
    assert {name: state.consent["marketing"]["email"].status for name, state in found.items() if state} == {
        "ana": "granted", "ben": "withdrawn", "eva": "granted",
    }  # fmt: skip


async def test_a_mail_to_unsubscribe_from_a_test_is_nobodys(
    runtime: MemoryRuntime, desk: BounceDesk, sent: dict[str, str]
) -> None:
    """What `send-test` sent is not a message of a customer's, even when a customer's address asks."""
    mail = plain("unsubscribe", ASKED, sender="ben@example.com", headers=APPLE)  # RETURN_PATH is marked, and unknown
    with pytest.raises(Backlog):
        await desk.take(mail, envelope_to=(), origin="imap")
    runtime.memory.clock.advance(UNKNOWN_MS_MAX)
    assert (await desk.take(mail, envelope_to=(), origin="imap")).kept == "dead_letter"
    await runtime.idle()
    state = await runtime.state("ben")
    assert state is not None
    assert state.consent["marketing"]["email"].status != "withdrawn"
    assert not [each for each in taken_in(runtime) if isinstance(each, Outcome)]
    assert len(sent) == 3
