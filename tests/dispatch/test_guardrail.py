"""The judge over blasts: what trips it, what does not, and how its settings are written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.effect import Decision
from engine.core.policy import Policy
from engine.core.policy_values import BlastRadius, Retention, parse_kept, parse_share, parse_times
from engine.definition.load import load_files
from engine.dispatch.sending.guardrail import BUCKET_MS, Numbers, Pace, count, judge, usual_of, wants_day, wants_usual

RULE = BlastRadius()


def _pace(workflow: str = "cart", from_ms: int = 0, **counts: int) -> Pace:
    return Pace(workflow=workflow, from_ms=from_ms, **counts)


@pytest.mark.parametrize(
    ("queued", "usual", "trips"),
    [
        (500, 0, False),  # never fewer than `min`
        (501, 0, True),
        (501, 3, True),  # it was tried on three people before
        (501, None, False),  # the first sends of a project: nobody knows what is usual
        (10_000, 1_000, False),
        (10_001, 1_000, True),
    ],
)
def test_far_more_than_usual_is_too_much(queued: int, usual: int | None, trips: bool) -> None:
    """More than ten times the busiest hour before, and more than the minimum."""
    found = judge(RULE, Numbers(recent=_pace(queued=queued), usual=usual))
    assert (found is not None) == trips
    if found is not None:
        assert (found.workflow, found.cause) == ("cart", "sends")
        assert found.reason.startswith(f"sends: {queued} messages within 1h")


def test_a_broadcast_may_send_to_its_audience_but_may_not_bounce() -> None:
    """A hundred thousand at once are what it is for; bounces stop it like any other."""
    numbers = Numbers(recent=_pace(queued=100_000, sent=9_000), usual=100)
    assert judge(RULE, numbers) is not None
    assert judge(RULE, numbers, is_broadcast=True) is None
    found = judge(RULE, Numbers(recent=_pace(queued=100_000, sent=9_000, bounced=600)), is_broadcast=True)
    assert found is not None
    assert found.cause == "bounces"


@pytest.mark.parametrize(
    ("counts", "day_sent", "cause"),
    [
        ({"sent": 100, "bounced": 25}, 0, None),  # 5% of the minimum of 500
        ({"sent": 100, "bounced": 26}, 0, "bounces"),
        ({"sent": 9_500, "bounced": 500}, 0, None),
        ({"sent": 9_500, "bounced": 501}, 0, "bounces"),
        ({"sent": 0, "bounced": 60}, 100_000, None),  # yesterday's newsletter comes back at night
        ({"sent": 0, "bounced": 501}, 100_000, "bounces"),
        ({"sent": 500, "complained": 2}, 0, None),
        ({"sent": 500, "complained": 3}, 0, "complaints"),
        ({"sent": 2_000, "complained": 5}, 0, None),
        ({"sent": 2_000, "complained": 6}, 0, "complaints"),
    ],
)
def test_bounces_and_complaints_are_shares_of_what_was_sent(
    counts: dict[str, int], day_sent: int, cause: str | None
) -> None:
    """Of the stretch's messages, of a tenth of the day's, or of the minimum, whichever is most."""
    numbers = Numbers(recent=Pace(workflow="cart", from_ms=0, **counts), day_sent=day_sent)
    found = judge(RULE, numbers)
    assert (found.cause if found is not None else None) == cause
    if found is not None:
        assert wants_day(RULE, numbers.recent), "what trips is never judged without the day's messages"


@given(
    st.integers(0, 3_000), st.integers(0, 3_000), st.integers(0, 300), st.integers(0, 30), st.integers(0, 20_000),
    st.none() | st.integers(0, 500),
)  # fmt: skip
def test_what_is_off_never_trips_and_asking_less_changes_no_verdict(
    queued: int, sent: int, bounced: int, complained: int, day_sent: int, usual: int | None
) -> None:
    """Whatever the numbers; and what the judge does not want to know would not have changed what it says."""
    recent = _pace(queued=queued, sent=sent, bounced=bounced, complained=complained)
    numbers = Numbers(recent=recent, day_sent=day_sent, usual=usual)
    assert judge(BlastRadius(times=0, bounces=0, complaints=0), numbers) is None
    lazy = Numbers(
        recent=recent,
        day_sent=day_sent if wants_day(RULE, recent) else 0,
        usual=usual if wants_usual(RULE, recent) else None,
    )
    full, asked = judge(RULE, numbers), judge(RULE, lazy)
    assert (full and full.cause) == (asked and asked.cause)


def test_the_usual_is_the_busiest_stretch_or_that_of_the_whole_project() -> None:
    """Its own where it has one; a workflow that is new is held against all others together; before that against nothing."""
    stretches = [
        _pace("cart", 0, queued=10), _pace("cart", 1, queued=30), _pace("win", 1, queued=50), _pace("new", 2, sent=9),
    ]  # fmt: skip
    assert usual_of(stretches, "cart") == 30
    assert usual_of(stretches, "new") == 80
    assert usual_of([], "new") is None


@pytest.mark.parametrize(
    ("kind", "detail", "column"),
    [
        ("send", {"answer": "queued"}, "queued"),
        ("send", {"answer": "held"}, None),
        ("send", {"answer": "suppressed"}, None),
        ("outcome", {"outcome": "bounced"}, "bounced"),
        ("outcome", {"outcome": "complained"}, "complained"),
        ("outcome", {"outcome": "opened"}, None),
        ("outcome", {}, None),
        ("entered", {"answer": "queued"}, None),
    ],
)
def test_what_is_counted(kind: str, detail: dict[str, Any], column: str | None) -> None:
    """Decided messages, bounces and complaints, by five minutes; a decision of no workflow counts as nothing."""
    decision = Decision(at_ms=BUCKET_MS + 7, customer="ana", kind=kind, workflow="cart", detail=detail)
    assert count(decision) == (("cart", BUCKET_MS, column) if column else None)
    assert count(Decision(at_ms=0, customer="ana", kind=kind, detail=detail)) is None


def _policy(text: str) -> tuple[Policy | None, list[str]]:
    loaded = load_files([("workflows/policy.yaml", f"policy: default\n{text}".encode())])
    catalog = loaded.catalog
    return (None if catalog is None else catalog.policy), [str(problem) for problem in loaded.problems]


def test_a_policy_says_all_of_it_and_has_defaults() -> None:
    """Each value reaches the judge; without the section it is watched with the defaults."""
    policy, problems = _policy(
        "blast_radius: {sends: 2.5x, of: 14d, min: 50, bounces: 8%, complaints: off, within: 30m}\n"
        "retention: {log: 90d, journal: 2y, messages: 52w, dead_letters: forever}\n"
    )
    assert not problems
    assert policy is not None
    rule = policy.blast_radius
    assert (rule.times, rule.of.days, rule.least, rule.bounces, rule.complaints) == (2.5, 14, 50, 0.08, 0.0)
    assert rule.within.span_ms == 1_800_000
    assert policy.retention == Retention(log=90, journal=730, messages=364, dead_letters=0)
    plain, _ = _policy("")
    assert plain is not None
    assert plain.blast_radius == BlastRadius()
    assert plain.retention == Retention()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("blast_radius: {sends: 10}", ""),
        ("blast_radius: {sends: 0.5x}", "at least 1x"),
        ("blast_radius: {sends: lots}", "10x"),
        ("blast_radius: {bounces: 0.05}", ""),
        ("blast_radius: {bounces: 0%}", "5%"),
        ("blast_radius: {complaints: 101%}", "0.3%"),
        ("blast_radius: {within: 1m}", "5m to 1d"),
        ("blast_radius: {within: 2d}", "5m to 1d"),
        ("blast_radius: {of: 12h}", "whole days"),
        ("blast_radius: {of: 90d}", "60d"),
        ("blast_radius: {min: 0}", ""),
        ("blast_radius: {size: 3}", "size"),
        ("retention: {log: 12h}", "90d"),
        ("retention: {log: 200y}", "100y"),
        ("retention: {journal: never}", "forever"),
        ("retention: {log: -3d}", "90d"),
        ("retention: {states: 3d}", "states"),
    ],
)
def test_what_is_written_wrong_is_said_with_its_mend(text: str, said: str) -> None:
    """Line and reason, never a traceback, and no catalog."""
    policy, problems = _policy(text)
    assert policy is None or problems
    assert problems
    assert said in " ".join(problems)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    """The three little languages raise ValueError and nothing else, and what they take is in bounds."""
    for parse, most in ((parse_times, 1e6), (parse_share, 1.0), (parse_kept, 36_500)):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert 0 <= value <= most
