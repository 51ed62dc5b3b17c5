"""Arithmetic with times, and waits for a moment that may have passed."""

from __future__ import annotations

from typing import Any

import pytest

from engine.clock import from_rfc3339
from engine.core.expression.scope import Scope
from engine.core.time.zone import zone_named
from engine.definition.expression.parse import check_expression, compile_expression
from engine.errors import ExpressionError
from tests.core.stage import Play, workflow

NOW = "2026-03-27T09:00:00Z"  # 10:00 in Berlin, two days before the clocks change
A = "trigger: {event: A}"


def scope(now: str = NOW, **properties: Any) -> Scope:
    """An event in Berlin."""
    made = Scope(customer_id="c1", now_ms=from_rfc3339(now), project_zone=zone_named("Europe/Berlin"))
    made.event_name, made.properties = "A", properties
    return made


def value(text: str, now: str = NOW, **properties: Any) -> Any:
    """What the expression gives then."""
    return compile_expression(text).value(scope(now, **properties))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("now + '3d'", "2026-03-30T08:00:00Z"),  # calendar days: 10:00 there
        ("now + '72h'", "2026-03-30T09:00:00Z"),
        ("'1d' + now", "2026-03-28T09:00:00Z"),
        ("now - '2h30m'", "2026-03-27T06:30:00Z"),
        ("event.at - '2h'", "2026-03-30T06:00:00Z"),
        ("event.at + '1w'", "2026-04-06T08:00:00Z"),
        ("event.day + '1d'", "2026-03-30T22:00:00Z"),
        ("event.at - now", 71),
        ("now - event.at", -71),
        ("event.at - event.day", 10),
        ("event.half - event.day", 10.5),
        ("days_until(event.at)", 3),
        ("days_until(event.day)", 3),
        ("days_until('2026-03-28')", 1),
        ("days_until('2026-03-28T09:59+01:00')", 0),
        ("days_until('2020-01-01')", 0),
        ("hours_until(event.at)", 71),
        ("hours_until('2020-01-01')", 0),
        ("date(event.at)", "2026-03-29T22:00:00Z"),
        ("date(now) + '1d' == '2026-03-28'", True),
        ("date(event.at) == date(event.day)", True),
        ("now + '3d' <= event.at", True),
        ("now + '72h' <= event.at", False),
        ("event.at - now > 71", False),
        ("event.at - now >= 71", True),
        ("days_until(event.gone)", None),
        ("event.gone - '2h'", None),
        ("now + event.gone", None),
        ("now + event.wait", "2026-03-29T08:00:00Z"),
        ("event.title + '2h'", "Mug2h"),  # text that is not a time is text
        ("'a' + 'b'", "ab"),
        ("(now + '1d').hour", 10),
        ("now + '30000d' + '30000d'", "2190-07-05T08:00:00Z"),
    ],
)
def test_times_and_durations(text: str, result: Any) -> None:
    """Calendar rules as for durations; texts that are times are times beside one."""
    found = value(text, at="2026-03-30T10:00", half="2026-03-30T10:30+02:00", day="2026-03-30", wait="2d", title="Mug")
    assert found == result, text


@pytest.mark.parametrize("text", ["now + event.n", "now + event.title", "now - event.title", "event.title - '2h'"])
def test_what_is_no_time_parks_with_the_kinds(text: str) -> None:
    """At run time, where it cannot be known before."""
    with pytest.raises(ExpressionError) as caught:
        value(text, n=3, title="Mug")
    assert "Mug" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    ["now + 3", "now + 'soon'", "now * 2", "now - '2026-13-01'", "date('%d.%m.%Y')", "days_until('soon')", "1 / 0",
     "hours_until(3)", "now < 'soon'", "now + '1d' > 5", "'x' | int", "days_since('soon')", "date(now) + date(now)"],
)  # fmt: skip
def test_what_can_never_work_is_known_before_it_runs(text: str) -> None:
    """It compiles, so that what an older Anlass took goes on; `check` refuses it."""
    (doubt,) = check_expression(text).doubts
    assert doubt.code == "never-works"


@pytest.mark.parametrize(
    "text",
    ["now + '1d'", "now + event.x", "event.x - now", "event.x + '2h'", "now - '2026-01-01'", "date('2026-01-01')",
     "event.x / 0.5", "'3' | int", "now < event.x", "event.x | default('a') == now", "now + '1d' if event.x else now"],
)  # fmt: skip
def test_what_may_work_is_not_doubted(text: str) -> None:
    """No false alarm."""
    assert check_expression(text).doubts == ()


@pytest.mark.parametrize(
    ("where", "enters"),
    [
        ("days_until(customer.ends) <= 3", "18d"),
        ("days_until(customer.ends) < 3", "19d"),
        ("hours_until(customer.meets) < 48", "19d0.001"),
        ("days_until(customer.ends) == 5", "16d"),
        ("customer.meets < now + '3d'", "18d0.001"),
        ("customer.meets <= now + '3d'", "18d"),
        ("now - '1d' >= customer.meets", "22d"),
        ("date(now) == date(customer.ends)", "21d"),
        ("customer.meets - now < 48", "19d0.001"),
        ("customer.meets - now <= 48", "19d"),
        ("now - customer.meets >= 24", "22d"),
        ("now - customer.meets > 24", "22d0.001"),
    ],
)
def test_a_segment_changes_at_the_moment_at_which_its_time_does(where: str, enters: str) -> None:
    """By a timer of its own, to the millisecond."""
    play = Play(f'segments:\n  s: {{where: "{where}"}}\n', workflow(A), start="2026-03-02T00:00:00Z")
    play.identify("0s", ends="2026-03-23", meets="2026-03-23T00:00:00Z")
    play.until("40d")
    found = play.decisions("segment_entered")[0].at_ms - play.start_ms
    days, _, rest = enters.partition("d")
    assert found == int(days) * 86_400_000 + (1 if rest else 0)
    assert play.memory.position < 60


WEBINAR = """
- wait: {until: enrollment.event.at, offset: -1d, past: skip}
- wait: {between: "08:00-20:00"}
- update: {tomorrow: true}
- branch: [{if: "true", steps: [{wait: 1h}]}]
- wait: {until: enrollment.event.at, offset: -1h, past: skip}
- update: {soon: true}
"""


@pytest.mark.parametrize(
    ("at", "told"), [("10d", ["tomorrow", "soon"]), ("2h", ["soon"]), ("30m", []), ("1d", ["tomorrow", "soon"])]
)
def test_what_has_passed_is_skipped_up_to_the_next_wait(at: str, told: list[str]) -> None:
    """With the window that refines it. A moment that is just now has not passed."""
    play = Play(workflow(A, WEBINAR))
    play.event("0s", "A", {"at": f"{at}"})
    play = Play(workflow(A, WEBINAR))
    ms = play.at_ms(at)
    play.event("0s", "A", {"at": f"2026-03-{2 + (ms - play.start_ms) // 86_400_000:02d}T{_clock(ms - play.start_ms)}Z"})
    play.until("20d")
    assert [name for name in ("tomorrow", "soon") if name in play.state().traits] == told
    assert len(play.lines("completed")) == 1


def _clock(span_ms: int) -> str:
    minutes = (span_ms // 60_000 + 9 * 60) % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


@pytest.mark.parametrize(
    ("steps", "after"),
    [
        ("[{wait: {until: customer.day, at: '10:30'}}]", "3d1h30m"),
        ("[{wait: {until: customer.day, at: '10:30', offset: -1d}}]", "2d1h30m"),
        ("[{wait: {until: customer.midnight, at: '10:30'}}]", "3d1h30m"),
        ("[{wait: {until: customer.meets, at: '10:30'}}]", "3d5h"),
        ("[{wait: {until: 'date(customer.meets)', at: '08:00'}}]", "2d23h"),
        ("[{wait: {until: \"customer.meets - '2h'\"}}]", "3d3h"),
        ("[{wait: {until: '2020-01-01T09:00', past: skip}}, {wait: {until: '12:00'}}, {update: {x: 1}}]", "0s"),
        ("[{wait: {until: '2020-01-01T09:00'}}, {wait: 1h}]", "1h"),
    ],
)
def test_a_date_without_a_time_gets_one(steps: str, after: str) -> None:
    """Midnight counts as none, as shops write dates."""
    play = Play(workflow(A, steps))
    play.identify("0s", day="2026-03-05", midnight="2026-03-05T00:00:00Z", meets="2026-03-05T14:00Z")
    play.event("0s", "A")
    play.until("20d")
    assert play.lines("completed") == [f"{after} completed w"]
