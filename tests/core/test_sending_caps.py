"""Frequency caps: calendar days in the customer's zone, suppressed or held, highest priority first."""

from __future__ import annotations

from tests.core.stage import POLICY, Play, compiled, workflow

A = "trigger: {event: A}"
MAIL = "[{send: {channel: email, template: t, priority: %s}, id: mail}]"


def capped(caps: str, *, start: str = "2026-03-02T09:00:00Z", zone: str = "UTC") -> Play:
    """Two workflows of different priority, and these caps."""
    play = Play(
        workflow("trigger: {event: A}", MAIL % 0),
        workflow("trigger: {event: B}", MAIL % 5, name="urgent"),
        policy=POLICY + f"frequency: {caps}\n",
        start=start,
    )
    play.identify("0s", email="a@b.example", timezone=zone)
    return play


def answers(play: Play) -> list[str]:
    """The answers to all sends so far."""
    return [line.replace(" send", "").replace(" mail email", "") for line in play.lines("send")]


def test_a_cap_counts_today_and_the_days_before() -> None:
    """`per: 7d` is today and the six days before; without `hold_up_to` the next is suppressed."""
    play = capped("[{purpose: transactional, at_most: 2, per: 7d}]")
    for at in ("0s", "14h", "1d", "6d14h", "7d"):
        play.event(at, "A")
    play.event("7d1h", "A")
    assert answers(play) == [
        "0s w queued",
        "14h w queued",
        "1d w suppressed frequency_cap",
        "6d14h w suppressed frequency_cap",
        "7d w queued",
        "7d1h w queued",
    ]


def test_the_days_are_those_of_the_customers_zone() -> None:
    """Midnight in Tokyo is 15:00 UTC."""
    play = capped("[{at_most: 1, per: 1d}]", zone="Asia/Tokyo")
    for at in ("0s", "5h59m", "6h"):
        play.event(at, "A")
    assert answers(play) == ["0s w queued", "5h59m w suppressed frequency_cap", "6h w queued"]


def test_a_cap_for_another_purpose_or_channel_does_not_count() -> None:
    """Neither for nor against."""
    play = capped("[{purpose: marketing, at_most: 1, per: 1d}, {channel: sms, at_most: 0, per: 1d}]")
    for at in ("0s", "1h", "2h"):
        play.event(at, "A")
    assert answers(play) == ["0s w queued", "1h w queued", "2h w queued"]


def test_only_what_was_queued_counts() -> None:
    """A suppressed message uses up nothing."""
    play = capped("[{at_most: 1, per: 1d}]")
    play.identify("0s", email=None)
    play.event("1s", "A")
    play.identify("2s", email="a@b.example")
    play.event("3s", "A")
    assert answers(play) == ["1s w suppressed no_address", "3s w queued"]


def test_with_hold_up_to_a_message_waits_for_room_highest_priority_first() -> None:
    """One a day: at midnight the urgent one leaves though it came later, the other a day after it."""
    play = capped("[{at_most: 1, per: 1d, hold_up_to: 2d}]")
    play.event("0s", "A")
    play.event("1h", "A")
    play.event("2h", "B")
    play.until("10d")
    assert answers(play) == [
        "0s w queued",
        "1h w held frequency_cap",
        "2h urgent held frequency_cap",
        "15h urgent queued",
        "15h w held frequency_cap",
        "1d15h w queued",
    ]


def test_what_would_wait_longer_than_hold_up_to_is_suppressed() -> None:
    """From the decision on, also when it was held in between."""
    play = capped("[{at_most: 1, per: 1d, hold_up_to: 1d}]")
    play.event("0s", "A")
    for at in ("1h", "2h"):
        play.event(at, "A")
    play.until("10d")
    assert answers(play)[1:] == [
        "1h w held frequency_cap",
        "2h w held frequency_cap",
        "15h w queued",
        "15h w suppressed frequency_cap",
    ]


def test_a_cap_that_ends_in_quiet_hours_waits_for_both() -> None:
    """Room at midnight, quiet until eight."""
    policy = POLICY + "frequency: [{at_most: 1, per: 1d, hold_up_to: 2d}]\nquiet_hours: [{between: '20:00-08:00'}]\n"
    play = Play(workflow(A, MAIL % 0), policy=policy)
    play.identify("0s", email="a@b.example")
    play.event("0s", "A")
    play.event("1h", "A")
    play.until("10d")
    assert answers(play) == ["0s w queued", "1h w held frequency_cap", "23h w queued"]


def test_two_caps_both_have_to_leave_room() -> None:
    """The stricter one decides."""
    play = capped("[{at_most: 5, per: 1d}, {at_most: 2, per: 30d}]")
    for at in ("0s", "1d", "2d", "30d"):
        play.event(at, "A")
    assert answers(play) == ["0s w queued", "1d w queued", "2d w suppressed frequency_cap", "30d w queued"]


def test_large_caps_and_long_ones_count_in_full() -> None:
    """As many as a policy can ask for, over years, and whatever else was sent in between."""
    play = capped("[{purpose: marketing, at_most: 1, per: 500d}, {purpose: transactional, at_most: 250, per: 30d}]")
    play.identify("0s", consent={"marketing": ["email"]})
    other = workflow("trigger: {event: M}", MAIL % 0, name="news").replace("transactional", "marketing", 1)
    play.memory.catalog = compiled(
        workflow("trigger: {event: A}", MAIL % 0),
        other,
        policy=POLICY
        + "frequency: [{purpose: marketing, at_most: 1, per: 500d}, {purpose: transactional, at_most: 250, per: 30d}]\n",
    )
    play.event("0s", "M")
    for _ in range(300):
        play.event("1h", "A")
    play.event("450d", "M")
    assert len(play.messages) == 251
    assert play.lines("send")[-1] == "450d send news mail email suppressed frequency_cap"
    assert len(play.state().queued) <= 251
