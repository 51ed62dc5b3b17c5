"""Broadcasts: spread over time, paused and resumed without skipping or repeating anybody, and with a test of subjects.

Start of every play: Monday 2 March 2026, 09:00 UTC; the project's zone is UTC.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.record import Absorb, Pause, Winner
from tests.core.stage import Play, workflow
from tests.properties import examples

MEMBERS = "segments:\n  gold: {where: customer.gold == true}"
SEND = "[{send: {channel: newsletter, template: issue}, id: mail}]"
AB = "[{send: {channel: newsletter, template: issue, ab: {subjects: [a, b], test: 40%, after: 4h, by: clicked}}, id: mail}]"


def broadcast(steps: str = SEND, *, more: str = "spread: 2h", when: str = "at: '2026-03-02T10:00'") -> str:
    return workflow(f"trigger: {{schedule: {{{when}, segment: gold, {more}}}}}", steps, name="news")


def play_of(
    steps: str = SEND, *, more: str = "spread: 2h", when: str = "at: '2026-03-02T10:00'", people: int = 0
) -> Play:
    """A project with one broadcast at 1h after the start, and members who are there from the start."""
    play = Play(broadcast(steps, more=more, when=when), MEMBERS)
    for number in range(people):
        play.identify("0s", customer=f"c{number}", email=f"c{number}@example.com", gold=True)
    return play


def pause(play: Play, at: str, *, paused: bool = True) -> None:
    play.record(Pause(customer="", at_ms=play.at_ms(at), id=play.next_id(), workflow="news", paused=paused))


def reached(play: Play) -> Counter[str]:
    return Counter(message.customer for message in play.messages)


# -- spread ------------------------------------------------------------------------------------------------------------


def test_a_spread_gives_everybody_an_own_time_within_it() -> None:
    """Even over the two hours, never outside them, and the same whenever it is played."""
    play, again = play_of(people=200), play_of(people=200)
    for one in (play, again):
        one.until("5h")
    times = {message.customer: message.decided_ms - play.start_ms for message in play.messages}
    assert len(times) == 200
    assert all(3_600_000 <= at_ms < 3 * 3_600_000 for at_ms in times.values())
    halves = Counter(at_ms < 2 * 3_600_000 for at_ms in times.values())
    assert 60 < halves[True] < 140, halves
    assert times == {message.customer: message.decided_ms - play.start_ms for message in again.messages}


def test_a_recurring_spread_gives_another_time_for_every_issue() -> None:
    """Nobody is always the last."""
    play = play_of(when="every: 'monday 10:00'", people=20)
    play.until("15d")
    assert reached(play) == dict.fromkeys((f"c{number}" for number in range(20)), 3)
    offsets = {(message.customer, message.decided_ms % 604_800_000) for message in play.messages}
    assert len(offsets) == 60
    assert {message.issue for message in play.messages} == {"2026-03-02-1000", "2026-03-09-1000", "2026-03-16-1000"}


def test_who_joined_since_it_began_is_not_included() -> None:
    """Also when their own time would still come; the next issue includes them."""
    play = play_of(when="every: 'monday 10:00'", people=1)
    for number in range(30):
        play.identify("61m", customer=f"late{number}", email=f"late{number}@example.com", gold=True)
    play.until("4h")
    assert reached(play) == {"c0": 1}
    play.until("8d")
    assert set(reached(play).values()) == {1, 2}
    assert len(reached(play)) == 31


def test_without_a_segment_it_is_who_was_known_when_it_began() -> None:
    """A customer who first appears while it runs is not included."""
    play = Play(workflow("trigger: {schedule: {at: '2026-03-02T10:00', spread: 6h}}", SEND, name="news"))
    play.identify("0s", email="a@example.com")
    play.identify("61m", customer="late", email="l@example.com")
    play.until("1d")
    assert reached(play) == {"c1": 1}


def test_an_issue_has_one_name_in_all_zones() -> None:
    """09:00 is 09:00, wherever; who moves west meanwhile gets it once."""
    play = Play(
        workflow("trigger: {schedule: {at: '2026-03-03T09:00', zone: customer, spread: 1h}}", SEND, name="news")
    )
    for zone in ("Asia/Tokyo", "Europe/Berlin", "America/New_York"):
        play.identify("0s", customer=zone, email="a@example.com", timezone=zone)
    play.until("17h30m")
    play.identify("17h30m", customer="Asia/Tokyo", timezone="America/New_York")
    play.until("3d")
    assert {message.issue for message in play.messages} == {"2026-03-03-0900"}
    assert reached(play) == {"Asia/Tokyo": 1, "Europe/Berlin": 1, "America/New_York": 1}


# -- pause and resume --------------------------------------------------------------------------------------------------


def test_who_comes_due_while_it_is_paused_enters_when_it_goes_on() -> None:
    """Nothing pends meanwhile; the journal says why they did not enter, and later that they did."""
    play = play_of(more="zone: project", people=1)
    pause(play, "30m")
    play.until("2d")
    assert play.lines("entered", "not_entered", customer="c0") == ["1h not_entered news paused"]
    assert play.state("c0").next_due_ms == 0
    pause(play, "2d", paused=False)
    assert play.lines("entered", "send", customer="c0") == ["2d entered news", "2d send news mail newsletter queued"]
    assert play.state("c0").waiting == {}
    pause(play, "2d", paused=False)
    assert reached(play) == {"c0": 1}


def test_a_send_of_a_paused_broadcast_is_held_and_released() -> None:
    """Who is in the middle of it is not left out either; `max_age` is not asked while it is held."""
    play = play_of(
        "[{wait: 1h}, {send: {channel: newsletter, template: issue}, id: mail}]", more="zone: project", people=1
    )
    play.until("1h30m")
    pause(play, "1h30m")
    play.until("1d")
    assert play.lines("send", customer="c0") == ["2h send news mail newsletter held workflow_paused"]
    assert play.state("c0").next_due_ms == 0
    pause(play, "1d", paused=False)
    assert play.lines("send", customer="c0")[1:] == ["1d send news mail newsletter queued"]


def test_max_age_still_counts_from_the_due_time() -> None:
    """It says that the message is worth nothing later: so a pause of two days does not make it worth something."""
    play = play_of(
        "[{send: {channel: newsletter, template: issue, max_age: 3h}, id: mail}]", more="zone: project", people=1
    )
    pause(play, "30m")
    pause(play, "2d", paused=False)
    assert play.lines("send", customer="c0") == ["2d send news mail newsletter suppressed too_late"]


def test_who_left_the_segment_while_it_was_paused_does_not_get_it() -> None:
    """Membership is asked again when it goes on."""
    play = play_of(more="zone: project", people=2)
    pause(play, "30m")
    play.identify("2h", customer="c0", gold=False)
    pause(play, "3h", paused=False)
    assert reached(play) == {"c1": 1}


def test_of_a_recurring_broadcast_the_newest_issue_is_made_up_for() -> None:
    """Three weeks of a pause do not bring three newsletters at once."""
    play = play_of(when="every: 'monday 10:00'", more="zone: project", people=1)
    pause(play, "30m")
    pause(play, "15d", paused=False)
    assert [message.issue for message in play.messages] == ["2026-03-16-1000"]
    play.until("22d")
    assert [message.issue for message in play.messages][1:] == ["2026-03-23-1000"]


def test_a_workflow_that_is_no_broadcast_is_suppressed_as_before() -> None:
    """What an event asked for is not sent days later."""
    play = Play(
        workflow("trigger: {event: Go}", "[{wait: 1h}, {send: {channel: email, template: x}, id: mail}]", name="news")
    )
    play.identify("0s", email="a@example.com")
    play.event("0s", "Go")
    pause(play, "30m")
    play.until("2h")
    pause(play, "2h", paused=False)
    assert play.lines("send") == ["1h send news mail email suppressed workflow_paused"]


def test_what_waits_follows_a_merge() -> None:
    """The person gets it once, under the id that stays."""
    play = play_of(more="zone: project", people=2)
    pause(play, "30m")
    play.until("2h")
    play.merge("2h", "c0", into="c1")
    pause(play, "3h", paused=False)
    assert reached(play) == {"c1": 1}


def test_who_moves_to_another_id_while_it_goes_on_is_not_skipped() -> None:
    """The walk over those who waited may have passed the id that stays before what the other has waiting arrives there."""
    wait = "[{wait: 20m}, {send: {channel: newsletter, template: issue}, id: mail}]"
    for steps, pause_at in ((SEND, "30m"), (wait, "65m")):  # waits to enter; has a message that is held
        before, after = play_of(steps, more="zone: project"), play_of(steps, more="spread: 12h")
        before.identify("0s", customer="c0", email="c0@example.com", gold=True)
        after.identify("0s", customer="c1", gold=True)
        assert after.state("c1").armed["news"] > after.at_ms("4h")
        for play in (before, after):
            pause(play, pause_at)
            play.until("2h")
        pause(after, "3h", paused=False)
        moved = Absorb(customer="c1", at_ms=after.at_ms("3h"), id="moved", previous="c0", state=before.state("c0"))
        after.record(moved)
        after.until("3h30m")
        assert reached(after) == {"c1": 1}
        assert after.state("c1").waiting == {}
        assert after.state("c1").held == ()
        after.until("2d")
        assert reached(after) == {"c1": 1}


def test_of_two_ids_that_had_it_held_one_message_leaves() -> None:
    """Each had been decided for somebody by himself; the journal says what became of the other."""
    play = play_of(
        "[{wait: 20m}, {send: {channel: newsletter, template: issue}, id: mail}]", more="zone: project", people=2
    )
    pause(play, "65m")
    play.until("2h")
    assert [len(play.state(name).held) for name in ("c0", "c1")] == [1, 1]
    play.merge("2h", "c0", into="c1")
    pause(play, "3h", paused=False)
    assert reached(play) == {"c1": 1}
    assert play.lines("send", customer="c1")[-2:] == [
        "2h send news mail newsletter suppressed too_late", "3h send news mail newsletter queued",
    ]  # fmt: skip


def test_who_waited_under_another_id_gets_one_issue_not_two() -> None:
    """One id's own time came while it was paused, the other's comes later: they are one person by then."""
    for number in range(1, 12):
        play = play_of(more="spread: 2h", people=number + 1)
        early, late = sorted(("c0", f"c{number}"), key=lambda name: play.state(name).armed["news"])
        if play.state(late).armed["news"] - play.state(early).armed["news"] > 1_800_000:
            break
    early_ms, late_ms = (play.state(name).armed["news"] - play.start_ms for name in (early, late))
    pause(play, "30m")
    play.merge(f"{early_ms // 60_000 + 1}m", early, into=late)
    pause(play, f"{early_ms // 60_000 + 2}m", paused=False)
    assert late_ms > early_ms + 120_000
    play.until("1d")
    assert reached(play)[late] == 1
    assert reached(play)[early] == 0


@settings(max_examples=examples(60), deadline=None)
@given(
    pauses=st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=8),
    late=st.lists(st.integers(0, 300), max_size=5),
    steps=st.sampled_from([SEND, "[{wait: 20m}, {send: {channel: newsletter, template: issue}, id: mail}]", AB]),
    spread=st.sampled_from(["zone: project", "spread: 30m", "spread: 3h"]),
)
def test_nobody_twice_and_nobody_skipped(
    pauses: list[tuple[int, bool]], late: list[int], steps: str, spread: str
) -> None:
    """Whenever it is paused and resumed, every member of its beginning gets it exactly once, and nobody else does."""
    play = play_of(steps, more=spread, people=12)
    happens = [(minute, f"p{index}", paused) for index, (minute, paused) in enumerate(pauses)]
    happens += [(minute, f"late{index}", True) for index, minute in enumerate(late)]
    for minute, name, paused in sorted(happens):
        if name.startswith("p"):
            pause(play, f"{minute}m", paused=paused)
        else:
            play.identify(f"{minute}m", customer=name, email=f"{name}@example.com", gold=True)
    pause(play, "301m", paused=False)
    play.until("3d")
    members = {f"c{number}" for number in range(12)} | {f"late{i}" for i, minute in enumerate(late) if minute < 60}
    assert reached(play) == dict.fromkeys(members, 1)


# -- tests of subjects -------------------------------------------------------------------------------------------------


def winner(play: Play, at: str, variant: str, *, issue: str = "2026-03-02-1000") -> None:
    play.record(
        Winner(
            customer="",
            at_ms=play.at_ms(at),
            id=play.next_id(),
            workflow="news",
            step="mail",
            variant=variant,
            issue=issue,
        )
    )


def test_a_share_gets_the_variants_and_the_rest_the_winner() -> None:
    """40% get a or b at once, about as many of each; the rest is held, and released with the subject that won."""
    play = play_of(AB, more="zone: project", people=300)
    play.until("2h")
    tested = Counter(message.variant for message in play.messages)
    assert set(tested) == {"a", "b"}
    assert 35 < tested["a"] < 85
    assert 35 < tested["b"] < 85
    held = [line for line in play.memory.decisions if line.kind == "send" and line.detail["answer"] == "held"]
    assert len(held) + tested.total() == 300
    assert {line.detail["reason"] for line in held} == {"ab_test"}
    winner(play, "5h", "b")
    assert Counter(message.variant for message in play.messages) == {"a": tested["a"], "b": 300 - tested["a"]}
    assert set(reached(play).values()) == {1}
    assert [line.detail for line in play.memory.decisions if line.kind == "winner"] == [
        {"variant": "b", "issue": "2026-03-02-1000"}
    ]


def test_the_first_decision_wins() -> None:
    """A second one, whatever it says, changes nothing."""
    play = play_of(AB, people=100)
    play.until("1h30m")
    winner(play, "1h30m", "b")
    winner(play, "1h31m", "a")
    play.until("1d")
    after = {message.variant for message in play.messages if message.decided_ms > play.at_ms("1h31m")}
    assert after == {"b"}
    assert len([line for line in play.memory.decisions if line.kind == "winner"]) == 1


def test_without_a_decision_the_first_subject_goes_out_after_a_bounded_wait() -> None:
    """The test lasts four hours; an hour later nobody waits any more."""
    play = play_of(AB, more="zone: project", people=100)
    play.until("5h59m")
    tested = len(play.messages)
    play.until("6h")
    assert {message.variant for message in play.messages[tested:]} == {"a"}
    assert len(play.messages) == 100


def test_a_winner_that_comes_while_it_is_paused_holds_until_it_goes_on() -> None:
    """A pause is stronger than a winner."""
    play = play_of(AB, more="zone: project", people=50)
    play.until("2h")
    tested = len(play.messages)
    pause(play, "2h")
    winner(play, "5h", "b")
    play.until("1d")
    assert len(play.messages) == tested
    pause(play, "1d", paused=False)
    assert {message.variant for message in play.messages[tested:]} == {"b"}
    assert len(play.messages) == 50


def test_the_winner_of_one_issue_is_not_that_of_the_next() -> None:
    """Every issue is tested anew."""
    play = play_of(AB, when="every: 'monday 10:00'", more="zone: project", people=60)
    play.until("2h")
    winner(play, "5h", "b")
    play.until("7d2h")
    assert Counter(message.issue for message in play.messages)["2026-03-09-1000"] < 60


@pytest.mark.parametrize(
    ("test", "fault"),
    [
        ("{subjects: [a], after: 4h}", "at least 2"),
        ("{subjects: [a, a], after: 4h}", "appears twice"),
        ("{subjects: [a, b], after: 4h, test: 0%}", "not a share"),
        ("{subjects: [a, b], after: 4h, test: 101%}", "not a share"),
        ("{subjects: [a, b], after: 90m}", "still spread over 2h"),
        ("{subjects: [a, b]}", "after"),
        ("{subjects: [a, b], after: 4h, by: bought}", "opened"),
        ("{subjects: [a, b], after: 4x}", "not a duration"),
    ],
)
def test_a_bad_test_is_refused_with_its_mend(test: str, fault: str) -> None:
    """Each mistake has one clear sentence."""
    steps = f"[{{send: {{channel: newsletter, template: issue, ab: {test}}}, id: mail}}]"
    with pytest.raises(AssertionError, match=fault):
        Play(broadcast(steps), MEMBERS)


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        ("trigger: {event: Go}", "belongs to a broadcast"),
        ("trigger: {schedule: {at: '2026-03-02T10:00', zone: customer}}", "one clock"),
        ("trigger: {schedule: {at: '2026-03-02T10:00'}}\nmax_age: 4h", "max_age"),
        ("trigger: {schedule: {at: '2026-03-02T10:00', spread: 25h}}", "longer than a day"),
        ("trigger: {schedule: {at: '2026-03-02T10:00', spread: soon}}", "not a duration"),
    ],
)
def test_a_test_that_cannot_work_here_is_refused(head: str, fault: str) -> None:
    """Where it stands matters as well."""
    with pytest.raises(AssertionError, match=fault):
        Play(workflow(head, AB, name="news"))
