"""Whatever comes: the evaluator never raises, never changes what it was given, and always decides the same."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.core.customer import CustomerState, decode_state, encode_state
from engine.core.effect import Append, Effect
from engine.core.evaluate import STATE_BYTES_MAX, evaluate
from engine.core.record import (
    Consent,
    Enroll,
    Event,
    Identify,
    Merge,
    Outcome,
    Recheck,
    Record,
    Retry,
    Timer,
    decode_record,
    encode_record,
)
from tests.core.stage import POLICY, compiled, workflow
from tests.properties import examples

RULES = """
frequency: [{purpose: marketing, at_most: 2, per: 2d, hold_up_to: 3d}]
quiet_hours: [{channels: [sms], between: '20:00-08:00', days: [sunday], spread: 30m}]
"""
SEGMENTS = """
segments:
  buyer: {where: "count('B') >= 1"}
  recent: {where: "sum('B', 'x', within='3d') > 5"}
  gold: {where: customer.tier == 'gold' and not in_segment('recent')}
  old: {where: days_since(customer.born) > 3}
"""
CART = workflow(
    """
    trigger: {event: A, where: event.x is defined}
    key: event.k
    reentry: after 1d
    exit: [{event: B, where: event.k == enrollment.event.k, as: bought}, {segment: recent, as: recent}]
    goal: {event: B, within: 3d, value: event.x}
    max_age: 1d
    """,
    """
    - wait: {for: 1h, restart_on: {event: A}}
    - {send: {channel: [sms, email], template: t, fallback_on: [bounced], data: {x: event.x}}, id: mail}
    - wait_for:
        any: [{outcome: clicked, of: mail, then: [{exit: engaged}]}, {event: C, where: event.x > 1}, {segment: gold}]
        timeout: 1d
        otherwise: [{update: {tier: event.x}}, {emit: {event: C, properties: {x: event.x}}}]
    - wait: {until: customer.born, offset: 2d}
    - split: {name: s, variants: {a: {weight: 1, steps: [{enroll: loop}]}, b: {weight: 1}}}
    """,
    name="cart",
).replace("transactional", "marketing", 1)
LOOP = workflow(
    "trigger: {any: [{event: C}, {segment: gold}, {segment: buyer, on: leave}]}\nholdout: 20%",
    """
    - repeat:
        times: 3
        every: 2d
        until: customer.tier
        steps: [{send: {channel: email, template: t}}, {task: {title: "call {{ customer.tier }}"}}, {update: {n: now}}]
    - wait: {between: "09:00-12:00", days: weekdays}
    """,
    name="loop",
)
DATE = workflow(
    "trigger: {date: {trait: born, at: '09:00', yearly: true}}", "[{update: {tier: \"'gold'\"}}]", name="date"
)
NEWS = workflow("trigger: {schedule: {every: 'monday 09:00', segment: buyer, zone: customer}}", "[]", name="news")
CATALOG = compiled(SEGMENTS, CART, LOOP, DATE, NEWS, policy=POLICY + RULES)
START_MS = 1_772_442_000_000
HOUR_MS = 3_600_000

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["gold", "2026-03-04", "1990-02-29", "Europe/Berlin", "DE", "a@b.example", "+491511", "3", "--02-29"]
    ),
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["x", "k", "tier", "born", "email", "phone", "timezone", "country", "locale", "total"])
properties = st.dictionaries(names | st.text(max_size=5), json_values, max_size=5)
purposes = st.dictionaries(
    st.sampled_from(["marketing", "service"]), st.lists(st.sampled_from(["email", "sms"]), max_size=2), max_size=2
)
consents = st.fixed_dictionaries({}, optional={"consent": purposes | json_values, "consent_withdraw": purposes})
ids = st.sampled_from([f"id{number}" for number in range(40)])
outcomes = st.sampled_from(["sent", "delivered", "bounced", "opened", "clicked", "unsubscribed", "complained", "odd"])


@st.composite
def record(draw: st.DrawFn) -> tuple[int, str, dict[str, Any]]:
    """(milliseconds after the last one, kind, fields)."""
    gap_ms = draw(st.sampled_from([0, 1, HOUR_MS, 5 * HOUR_MS, 30 * HOUR_MS, 200 * HOUR_MS]))
    kind = draw(
        st.sampled_from(["event", "event", "event", "identify", "outcome", "consent", "enroll", "retry", "recheck"])
    )
    fields: dict[str, Any] = {"id": draw(ids)}
    if kind == "event":
        fields |= {"name": draw(st.sampled_from("ABC")), "properties": draw(properties)}
    elif kind == "identify":
        fields |= {"traits": {**draw(properties), **draw(consents)}}
    elif kind == "outcome":
        fields |= {"outcome": draw(outcomes), "step": "mail", "detail": draw(properties)}
    elif kind == "consent":
        action = draw(st.sampled_from(["grant", "request", "confirm", "withdraw"]))
        fields |= {"action": action, "purposes": draw(purposes)}
    elif kind == "enroll":
        fields |= {"workflow": draw(st.sampled_from(["cart", "loop", "news", "none"])), "properties": draw(properties)}
    if kind in ("event", "identify", "outcome", "consent"):
        fields["late_ms"] = draw(st.sampled_from([0, 0, HOUR_MS, 300 * HOUR_MS, -HOUR_MS]))
    return gap_ms, kind, fields


KINDS: dict[str, Any] = {
    "event": Event,
    "identify": Identify,
    "outcome": Outcome,
    "consent": Consent,
    "enroll": Enroll,
    "retry": Retry,
    "recheck": Recheck,
}
History = list[tuple[int, str, dict[str, Any]]]


def play(history: History, *, twice: bool, customer: str = "c1") -> tuple[list[Effect], dict[str, CustomerState]]:
    """Plays it with its timers on one customer; `twice`: every record (but timers) is delivered two times."""
    now_ms = START_MS
    states: dict[str, CustomerState] = {}
    all_effects: list[Effect] = []

    def apply(one: Record) -> None:
        """One record, as a runtime does it: through its stored form, state and all."""
        one = decode_record(encode_record(one))
        before = states.get(one.customer)
        bytes_before = None if before is None else encode_state(before)
        after, effects = evaluate(CATALOG, before, one)
        assert before is None or encode_state(before) == bytes_before, "the state that was given is not changed"
        assert after is not None or before is None
        if after is not None:
            data = encode_state(after)
            assert len(data) <= STATE_BYTES_MAX + 4_096
            states[one.customer] = decode_state(data)
        all_effects.extend(effects)
        for effect in effects:
            if isinstance(effect, Append):
                apply(effect.record)

    def fire(until_ms: int) -> None:
        for _ in range(500):
            state = states.get(customer)
            due_ms = 0 if state is None else state.next_due_ms
            if not due_ms or due_ms > until_ms:
                return
            apply(Timer(customer=customer, at_ms=max(due_ms, now_ms), due_ms=due_ms))
        raise AssertionError("timers come to an end")

    for gap_ms, kind, fields in history:
        fire(now_ms + gap_ms)
        now_ms += gap_ms
        more = dict(fields)
        if "late_ms" in more:
            more["time_ms"] = now_ms - more.pop("late_ms")
        one: Record = KINDS[kind](customer=customer, at_ms=now_ms, **more)
        for _ in range(2 if twice else 1):
            apply(one)
    fire(now_ms + 400 * HOUR_MS)
    return all_effects, states


@settings(
    max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(st.lists(record(), max_size=12))
def test_any_history_is_decided_alike_and_changes_nothing_it_was_given(history: History) -> None:
    """Twice the same decisions, with the same ids; also when every record is delivered twice."""
    effects, states = play(history, twice=False)
    again, states_again = play(history, twice=False)
    doubled, _ = play(history, twice=True)
    assert repr(effects) == repr(again)  # NaN is not equal to itself
    assert {name: encode_state(state) for name, state in states.items()} == {
        name: encode_state(state) for name, state in states_again.items()
    }
    assert repr(effects) == repr(doubled)


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(st.lists(record(), max_size=6), st.lists(record(), max_size=6))
def test_any_two_customers_can_be_merged(left: History, right: History) -> None:
    """Whatever both have been through; what was pending at the one is pending at the other or ended."""
    _, states = play(left, twice=False)
    _, others = play(right, twice=False, customer="old")
    stays, goes = states.get("c1"), others.get("old")
    merge = Merge(customer="old", at_ms=START_MS + 5_000 * HOUR_MS, id="m", into="c1")
    gone, effects = evaluate(CATALOG, goes, merge)
    assert gone is not None
    assert gone.next_due_ms == 0
    (absorb,) = [effect.record for effect in effects if isinstance(effect, Append)]
    joined, _ = evaluate(CATALOG, stays, decode_record(encode_record(absorb)))
    assert joined is not None
    assert encode_state(joined)
    assert not joined.merged_into
