"""Triggers: what enters a customer, and exactly when."""

from __future__ import annotations

import pytest

from tests.core.stage import ENDS, Play, workflow


def test_an_event_enters_where_its_condition_holds() -> None:
    """Another event, or one whose condition does not hold, enters nobody and says nothing."""
    play = Play(workflow("trigger: {event: Bought, where: event.total >= 30}"))
    play.event("0s", "Bought", {"total": 29})
    play.event("1s", "Viewed", {"total": 99})
    play.event("2s", "Bought")
    play.event("3s", "Bought", {"total": 30})
    assert play.lines(*ENDS) == ["3s entered w"]


def test_any_of_several_events_enters() -> None:
    """Each of `any` is a trigger of its own, with its own condition."""
    play = Play(workflow("trigger: {any: [{event: A}, {event: B, where: event.x == 1}]}\nreentry: always", "[]"))
    play.event("0s", "A")
    play.event("1s", "B")
    play.event("2s", "B", {"x": 1})
    assert play.lines("entered") == ["0s entered w", "2s entered w"]


SEGMENTS = "segments:\n  gold: {where: customer.tier == 'gold'}\n"


def test_entering_a_segment_enters_and_leaving_does_not() -> None:
    """`on: enter` is the default; staying in the segment is not a new entry."""
    play = Play(SEGMENTS, workflow("trigger: {segment: gold}", "[]"))
    play.identify("0s", tier="gold")
    play.identify("1s", tier="gold", name="Ana")
    play.identify("2s", tier="none")
    play.identify("3s", tier="gold")
    assert play.lines("segment_entered", "segment_left", "entered") == [
        "0s segment_entered gold",
        "0s entered w",
        "2s segment_left gold",
        "3s segment_entered gold",
        "3s entered w",
    ]


def test_leaving_a_segment_enters_with_on_leave() -> None:
    """`on: leave`."""
    play = Play(SEGMENTS, workflow("trigger: {segment: gold, on: leave}", "[]"))
    play.identify("0s", tier="gold")
    play.identify("1s", tier="none")
    assert play.lines("entered") == ["1s entered w"]


def test_workflows_are_asked_in_name_order_whatever_the_kind_of_trigger() -> None:
    """Events and segments that change in the same record are one round of triggers."""
    segments = "segments:\n  buyer: {where: count('Bought') >= 1}\n"
    play = Play(
        segments,
        workflow("trigger: {event: Bought}", "[]", name="b"),
        workflow("trigger: {segment: buyer}", "[]", name="a"),
        workflow("trigger: {any: [{segment: buyer}, {event: Bought}]}", "[{wait: 1h}]", name="c"),
    )
    play.event("0s", "Bought")
    assert play.lines("entered", "not_entered") == ["0s entered a", "0s entered b", "0s entered c"]


def test_manual_entry_is_always_possible() -> None:
    """Besides the trigger; its condition is not asked, the properties stand in for the event's."""
    play = Play(
        workflow("trigger: {event: Bought, where: event.total >= 30}", "[{update: {seen: enrollment.event.total}}]"),
        workflow("trigger: {manual: true}", "[]", name="m"),
    )
    play.enroll("0s", "w", total=1)
    play.enroll("1s", "m")
    assert play.lines("entered") == ["0s entered w", "1s entered m"]
    assert play.state().traits == {"seen": 1}


def test_manual_entry_into_what_does_not_exist_is_said() -> None:
    """The journal says so; nothing raises."""
    play = Play(workflow("trigger: {manual: true}", "[]"))
    play.enroll("0s", "nowhere")
    assert play.details("failed") == [{"reason": "there is no workflow 'nowhere'"}]


# -- the customer's own date -------------------------------------------------------------------------------------------


def test_a_yearly_date_comes_in_the_customers_zone_with_its_offset() -> None:
    """Three days before the birthday at nine in Berlin, each year."""
    play = Play(workflow("trigger: {date: {trait: birthday, at: '09:00', offset: -3d, yearly: true}}", "[]"))
    play.identify("0s", birthday="1990-04-13", timezone="Europe/Berlin")
    play.until("800d")
    entered = [decision.at_ms for decision in play.decisions("entered")]
    assert entered == [play.at_ms(f"{year}-04-10T09:00:00+02:00") for year in (2026, 2027, 2028)]


def test_a_birthday_on_29_february_is_kept_on_the_28th_in_other_years() -> None:
    """And on the 29th in leap years."""
    play = Play(workflow("trigger: {date: {trait: birthday, at: '09:00', yearly: true}}", "[]"))
    play.identify("0s", birthday="1992-02-29")
    play.until("800d")
    entered = [decision.at_ms for decision in play.decisions("entered")]
    assert entered == [play.at_ms("2027-02-28T09:00:00Z"), play.at_ms("2028-02-29T09:00:00Z")]


def test_a_date_that_is_not_yearly_comes_once_and_follows_the_trait() -> None:
    """A date that lies in the past enters nobody; a new date is a new occasion."""
    play = Play(workflow("trigger: {date: {trait: trial_ends, at: '09:00'}}", "[]"))
    play.identify("0s", trial_ends="2026-03-05")
    play.identify("1d", trial_ends="2026-03-06")
    play.until("30d")
    play.identify("30d", trial_ends="2026-03-07")
    play.until("60d")
    assert play.lines("entered") == ["4d entered w"]


@pytest.mark.parametrize("value", ["soon", 7.5e300, None, "", [], {}, True, "2026-13-40"])
def test_a_date_that_is_none_enters_nobody(value: object) -> None:
    """Whatever a shop sends as a birthday."""
    play = Play(workflow("trigger: {date: {trait: birthday, at: '09:00', yearly: true}}", "[]"))
    play.identify("0s", birthday=value)
    assert play.due() == ""


def test_a_date_comes_once_though_the_customer_moves_west_on_the_day() -> None:
    """Nine o'clock in Berlin has been; nine o'clock in New York is the same occasion."""
    play = Play(
        workflow("trigger: {date: {trait: birthday, at: '09:00', yearly: true}}", "[]"),
        workflow("trigger: {schedule: {every: 'day 09:00', zone: customer}}", "[]", name="daily"),
    )
    play.identify("0s", birthday="1990-03-04", timezone="Europe/Berlin")
    play.identify("2026-03-04T10:00:00Z", timezone="America/New_York")
    play.until("2026-03-05T15:00:00Z")
    assert len([line for line in play.lines("entered") if line.endswith(" w")]) == 1
    daily = [decision.at_ms for decision in play.decisions("entered") if decision.workflow == "daily"]
    assert daily[-2:] == [play.at_ms("2026-03-04T08:00:00Z"), play.at_ms("2026-03-05T14:00:00Z")]


# -- schedules ---------------------------------------------------------------------------------------------------------


def test_a_schedule_reaches_the_members_of_its_segment_once_in_the_projects_zone() -> None:
    """A broadcast at one instant, to those who are members then."""
    head = "trigger: {schedule: {at: '2026-03-03T10:00', segment: gold, zone: project}}"
    policy = "policy: p\nzone: Europe/Berlin\n"
    play = Play(SEGMENTS, workflow(head, "[]"), policy=policy)
    play.identify("0s", customer="in", tier="gold", timezone="America/New_York")
    play.identify("0s", customer="out", tier="none")
    play.identify("0s", customer="left", tier="gold")
    play.identify("1h", customer="left", tier="none")
    play.until("30d")
    assert play.lines("entered", customer="in") == ["1d entered w"]
    assert not play.lines(*ENDS, customer="out")
    assert not play.lines(*ENDS, customer="left")


def test_a_schedule_in_the_customers_zone_comes_at_their_own_hour() -> None:
    """Ten o'clock in New York is 15:00 UTC."""
    play = Play(workflow("trigger: {schedule: {at: '2026-03-03T10:00', zone: customer}}", "[]"))
    play.identify("0s", customer="ny", timezone="America/New_York")
    play.identify("0s", customer="tokyo", timezone="Asia/Tokyo")
    play.until("30d")
    assert play.lines("entered", customer="ny") == ["1d6h entered w"]
    assert play.lines("entered", customer="tokyo") == ["16h entered w"]


def test_a_recurring_schedule_comes_every_time() -> None:
    """Also across the spring change of clocks in Berlin (29 March 2026)."""
    play = Play(workflow("trigger: {schedule: {every: 'monday 09:00', zone: customer}}", "[]"))
    play.identify("0s", timezone="Europe/Berlin")
    play.until("36d")
    entered = [decision.at_ms for decision in play.decisions("entered")]
    monday_9 = ["2026-03-09T08:00:00Z", "2026-03-16T08:00:00Z", "2026-03-23T08:00:00Z", "2026-03-30T07:00:00Z"]
    assert entered[:4] == [play.at_ms(at) for at in monday_9]


def test_a_schedule_still_fires_when_the_machine_was_down() -> None:
    """Late, and what is then sent counts as due at the hour that was planned."""
    head = "trigger: {schedule: {at: '2026-03-03T09:00'}}\nmax_age: 2h"
    play = Play(workflow(head, "[{send: {channel: email, template: t}}]"))
    play.identify("0s", email="a@b.example")
    play.late_timer("1d3h")
    assert play.lines("entered", "send") == ["1d3h entered w", "1d3h send w steps.0 email suppressed too_late"]
