"""Segments: membership is kept live, on every record and at the moment a window lets it change."""

from __future__ import annotations

from tests.core.stage import Play, workflow

SHOP = """
segments:
  vip: {where: "sum('Order Completed', 'total', within='365d') >= 1000"}
  lapsed: {where: "count('Order Completed') >= 1 and days_since(last('Order Completed')) > 120"}
"""
ENTERED = ("segment_entered", "segment_left")


def test_vip_is_left_the_moment_an_order_leaves_the_window() -> None:
    """365 calendar days after the order, by a timer."""
    play = Play(SHOP)
    play.event("0s", "Order Completed", {"total": 600})
    play.event("1d", "Order Completed", {"total": 600})
    play.until("500d")
    lines = [line for line in play.lines(*ENTERED) if line.endswith("vip")]
    assert lines == ["1d segment_entered vip", "365d segment_left vip"]


def test_lapsed_is_entered_on_the_121st_day_and_left_by_an_order() -> None:
    """`days_since` counts whole calendar days in the customer's zone, over a change of clocks too."""
    play = Play(SHOP, workflow("trigger: {segment: lapsed}", "[]"))
    play.identify("0s", timezone="Europe/Berlin")
    play.event("0s", "Order Completed", {"total": 1})
    play.until("200d")
    play.event("200d", "Order Completed", {"total": 1})
    assert play.lines(*ENTERED, "entered") == [
        "120d23h segment_entered lapsed",
        "120d23h entered w",
        "200d segment_left lapsed",
    ]


def test_an_order_that_comes_before_the_day_moves_it() -> None:
    """The timer is for the newest order."""
    play = Play(SHOP)
    play.event("0s", "Order Completed", {"total": 1})
    play.event("100d", "Order Completed", {"total": 1})
    play.until("220d")
    assert play.lines(*ENTERED) == []
    play.until("221d")
    assert play.lines(*ENTERED) == ["221d segment_entered lapsed"]


def test_a_window_counts_late_events_by_their_own_time() -> None:
    """An order of 300 days ago keeps the status for 65 more days."""
    play = Play(SHOP)
    play.event("0s", "Order Completed", {"total": 2000}, time="-300d")
    play.until("100d")
    lines = [line for line in play.lines(*ENTERED) if line.endswith("vip")]
    assert lines == ["0s segment_entered vip", "65d segment_left vip"]


def test_segments_that_ask_about_segments_follow_them() -> None:
    """By trait, by event and by time, in one record."""
    segments = """
    segments:
      a_top: {where: in_segment('buyer') and in_segment('keen')}
      buyer: {where: count('B') >= 1}
      keen: {where: "count('V', within='2d') >= 1"}
    """
    play = Play(segments)
    play.event("0s", "V")
    play.event("1d", "B")
    play.until("10d")
    assert play.lines(*ENTERED) == [
        "0s segment_entered keen",
        "1d segment_entered buyer",
        "1d segment_entered a_top",
        "2d segment_left keen",
        "2d segment_left a_top",
    ]


def test_a_condition_that_cannot_be_asked_leaves_the_membership_as_it_is() -> None:
    """And says so; other segments are worked out."""
    segments = "segments:\n  a: {where: customer.x > 1}\n  b: {where: customer.x is defined}\n"
    play = Play(segments)
    play.identify("0s", x=2)
    play.identify("1s", x="two")
    assert play.lines(*ENTERED) == ["0s segment_entered a", "0s segment_entered b"]
    assert play.details("failed")[0]["segment"] == "a"
    assert set(play.state().segments) == {"a", "b"}


def test_a_move_to_another_zone_moves_the_days() -> None:
    """`days_since` of somebody in Tokyo changes earlier."""
    segments = "segments:\n  quiet: {where: days_since(customer.seen) >= 1}\n"
    play = Play(segments)
    play.identify("0s", seen="2026-03-02T09:00:00Z")
    assert play.due() == "1d"
    play.until("2d")
    assert play.lines(*ENTERED) == ["1d segment_entered quiet"]


def test_segments_of_time_alone_change_by_themselves() -> None:
    """A trial that ends is over when its moment has come."""
    play = Play("segments:\n  over: {where: customer.ends < now}\n")
    play.identify("0s", ends="2026-03-02T10:00:00Z")
    play.until("2h")
    assert len(play.lines("segment_entered")) == 1
    assert play.lines("segment_entered")[0].startswith("1h")
