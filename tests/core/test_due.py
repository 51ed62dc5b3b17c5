"""When a wait ends: it follows the traits and the clock of the customer, and is asked once more when it fires."""

from __future__ import annotations

import msgspec
import pytest

from engine.core.customer import decode_state, encode_state
from engine.core.record import Timer
from tests.core.stage import POLICY, Play, workflow

A = "trigger: {event: A}"
TRIAL = "[{wait: {until: customer.ends, offset: -3d}}]"


def test_a_wait_until_a_trait_follows_the_trait() -> None:
    """Later, earlier, and by another workflow's `update`."""
    update = workflow("trigger: {event: B}", "[{update: {ends: event.to}}]", name="longer")
    play = Play(workflow(A, TRIAL), update)
    play.identify("0s", ends="2026-03-20T09:00Z")
    play.event("0s", "A")
    play.identify("1d", ends="2026-03-30T09:00Z")
    assert play.due() == "25d"
    play.event("2d", "B", {"to": "2026-03-12T09:00Z"})
    assert play.due() == "7d"
    play.until("60d")
    assert play.lines("completed") == ["2d completed longer", "7d completed w"]
    assert [one["until"][:10] for one in play.details("waiting")] == ["2026-03-17", "2026-03-27", "2026-03-09"]


def test_a_moment_that_is_moved_into_the_past_has_come() -> None:
    """It goes on at once; with `past: skip` without what hangs on it."""
    skip = "[{wait: {until: customer.ends, past: skip}}, {update: {told: true}}, {wait: 1h}, {update: {after: true}}]"
    play = Play(workflow(A, TRIAL, name="go"), workflow(A, skip, name="skip"))
    play.identify("0s", ends="2026-03-20T09:00Z")
    play.event("0s", "A")
    play.identify("2d", ends="2026-03-03T09:00Z")
    play.until("9d")
    assert play.lines("completed") == ["2d completed go", "2d1h completed skip"]
    assert "told" not in play.state().traits
    assert play.state().traits["after"] is True


def test_an_erased_trait_is_missed_when_its_old_time_comes() -> None:
    """Cleared and set again is a change like any other; a retry asks the step again."""
    play = Play(workflow(A, TRIAL))
    play.identify("0s", ends="2026-03-12T09:00Z")
    play.event("0s", "A")
    play.identify("1d", ends=None)
    play.identify("2d", ends="2026-03-20T09:00Z")
    assert play.due() == "15d"
    play.identify("3d", ends=None)
    play.until("20d")
    (failed,) = play.details("failed")
    assert failed["reason"] == "steps.0: customer.ends is missing"
    play.identify("21d", ends="2026-04-20T09:00Z")
    play.retry("22d")
    assert play.due() == "46d"


@pytest.mark.parametrize("trait", [{"timezone": "America/New_York"}, {"country": "jp"}])
@pytest.mark.parametrize(
    "wait",
    ["{until: '10:00'}", "{between: '10:00-12:00'}", "{until: customer.ends}", "{until: '2026-03-06T10:00'}",
     "{until: enrollment.event.at}", "{until: event.at, at: '10:00'}"],
)  # fmt: skip
def test_a_wait_for_a_local_time_follows_the_customers_clock(wait: str, trait: dict[str, str]) -> None:
    """As if the customer had lived there from the beginning of the wait."""
    due = []
    for first, then in (({}, trait), (trait, {"x": "1"})):
        play = Play(workflow(A, f"[{{wait: {wait}}}]"), start="2026-03-02T03:00:00Z")
        play.identify("0s", ends="2026-03-06", **first)
        play.event("0s", "A", {"at": "2026-03-06"})
        assert play.due()
        play.identify("10m", **then)
        due.append(play.due())
    assert due[0] == due[1] != ""


def test_who_moves_behind_a_local_time_is_not_woken_at_an_odd_hour() -> None:
    """Ten o'clock has passed in Tokyo: it is ten o'clock of the next day there."""
    play = Play(workflow(A, "[{wait: {until: '10:00'}}]"))
    play.event("0s", "A")  # 09:00 UTC
    play.identify("30m", timezone="Asia/Tokyo")
    assert play.due() == "16h"


def test_what_a_wait_says_of_now_is_of_its_beginning() -> None:
    """A day and a half from then, though the trait beside it changes a day later."""
    play = Play(workflow(A, "[{wait: {until: \"now + '36h' if customer.slow else now + '2d'\"}}]"))
    play.identify("0s", slow=True)
    play.event("0s", "A")
    play.identify("1d", slow=False)
    assert play.due() == "2d"


def test_a_wait_keeps_the_event_that_led_to_it() -> None:
    """It is asked anew while another event is being applied, or none."""
    steps = "[{wait_for: {event: B, timeout: 9d}}, {wait: {until: event.at, offset: 1h}}]"
    play = Play(workflow(A, steps))
    play.event("0s", "A", {"at": "2026-03-20T09:00"})
    play.event("1h", "B", {"at": "2026-03-10T09:00"})
    assert play.due() == "8d1h"
    play.identify("1d", timezone="Europe/Berlin")
    assert play.due() == "8d"


def test_a_wait_that_fires_is_asked_once_more() -> None:
    """A state of an older Anlass, whose trait had changed while nobody followed: the timer waits on."""
    play = Play(workflow(A, TRIAL))
    play.identify("0s", ends="2026-03-12T09:00Z")
    play.event("0s", "A")
    play.until("1d")
    old = play.state()
    (run,) = old.enrollments
    run = msgspec.structs.replace(run, since_ms=0, shown=None)
    moved = msgspec.structs.replace(old, traits={"ends": "2026-03-20T09:00Z"}, enrollments=(run,))
    play.memory.states["c1"] = decode_state(encode_state(moved))
    play.until("8d")
    assert play.due() == "15d"
    assert play.lines("completed") == []
    play.until("20d")
    assert play.lines("completed") == ["15d completed w"]


def test_a_window_is_asked_again_when_a_late_timer_fires() -> None:
    """The machine was down in the morning: nobody is written to at night."""
    play = Play(workflow(A, "[{wait: {between: '10:00-12:00'}}]"))
    play.event("0s", "A")
    play.late_timer("11h")
    assert play.lines("completed") == []
    assert play.due() == "1d1h"
    play.until("2d")
    assert play.lines("completed") == ["1d1h completed w"]


def test_a_date_that_was_moved_while_its_timer_was_late_does_not_enter() -> None:
    """It is asked once more when it fires: the customer's date is another by then."""
    play = Play(workflow("trigger: {date: {trait: ends, at: '09:00'}}"))
    play.identify("0s", ends="2026-03-05")
    due_ms = play.state().next_due_ms
    state = msgspec.structs.replace(play.state(), traits={"ends": "2026-03-20"})
    play.memory.states["c1"] = state
    play.memory.step(Timer(customer="c1", at_ms=due_ms + 5, due_ms=due_ms))
    assert play.lines("entered") == []
    play.until("30d")
    assert play.lines("entered") == ["18d entered w"]


def test_what_is_held_for_quiet_hours_follows_the_customers_clock() -> None:
    """Held till eight in Berlin; in Tokyo it is eight before, in New York still day."""
    policy = POLICY + "quiet_hours: [{channels: [sms], between: '20:00-08:00'}]\n"
    steps = "[{send: {channel: sms, template: t}}]"
    for zone, due in (("Europe/Berlin", "10h"), ("Asia/Tokyo", "2h"), ("America/New_York", "1h")):
        play = Play(workflow(A, steps), policy=policy, start="2026-03-02T21:00:00Z")
        play.identify("0s", phone="+4915112345678", timezone="Europe/Berlin")
        play.event("0s", "A")
        play.identify("1h", timezone=zone)
        play.until("2d")
        sent = [line.split()[0] for line in play.lines("send") if line.endswith("queued")]
        assert sent == [due], zone
        assert len(play.lines("send")) == (3 if zone == "Asia/Tokyo" else 2)  # held until another moment is said


def test_a_schedule_on_the_customers_clock_follows_it() -> None:
    """Nine o'clock where the customer is now."""
    play = Play(workflow("trigger: {schedule: {every: 'day 09:00', zone: customer}}"), start="2026-03-02T10:00:00Z")
    play.identify("0s", timezone="Europe/Berlin")
    play.identify("1h", timezone="America/New_York")
    play.until("5h")
    assert play.lines("entered") == ["4h entered w"]


def test_a_state_of_an_older_anlass_is_read() -> None:
    """Without the fields that came later."""
    play = Play(workflow(A, TRIAL))
    play.identify("0s", ends="2026-03-12T09:00Z")
    play.event("0s", "A")
    plain = msgspec.msgpack.decode(encode_state(play.state()))
    names = [field.name for field in msgspec.structs.fields(type(play.state()))]
    at = names.index("enrollments")
    plain[at] = [run[:-2] for run in plain[at]]
    old = decode_state(msgspec.msgpack.encode(plain[: names.index("heard")]))
    (run,) = old.enrollments
    assert (run.since_ms, run.shown, old.heard) == (0, None, ())
    assert old.next_due_ms == play.state().next_due_ms
