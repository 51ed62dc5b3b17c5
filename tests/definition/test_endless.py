"""Workflows that lead back to themselves: what is endless is an error, with the way; what is bounded is not."""

from __future__ import annotations

import pytest

from engine.core.record import Event
from engine.definition.load import load_files
from tests.core.stage import Play

SEND = "{send: {channel: email, template: t}}"
SEGMENTS = (
    "segments:\n  gold: {where: customer.tier == 'gold'}\n  rich: {where: customer.points > 5 and customer.tier}\n"
)


def _workflow(name: str, trigger: str, *steps: str, head: str = "") -> tuple[str, bytes]:
    body = "".join(f"  - {step}\n" for step in steps)
    text = f"workflow: {name}\npurpose: transactional\ntrigger: {trigger}\n{head}steps:\n{body}"
    return f"workflows/{name}.yaml", text.encode()


def _found(*files: tuple[str, bytes]) -> list[str]:
    loaded = load_files([("workflows/segments.yaml", SEGMENTS.encode()), *files])
    return [str(problem) for problem in loaded.problems]


ENDLESS = {
    "itself": [_workflow("a", "{event: X}", "wait: 1m", SEND, "emit: {event: X}")],
    "at once": [_workflow("a", "{event: X}", SEND, "emit: {event: X}")],
    "by way of another": [
        _workflow("a", "{event: X}", SEND, "emit: {event: Y}"),
        _workflow("b", "{any: [{event: Z}, {event: Y}]}", "wait: 5h", "emit: {event: X}"),
    ],
    "by enrolling each other": [
        _workflow("a", "{manual: true}", SEND, "enroll: b"),
        _workflow("b", "{manual: true}", "wait: 10m", "enroll: a"),
    ],
    "by a segment, there and back": [
        _workflow("a", "{segment: gold}", SEND, "wait: 1h", "update: {tier: \"'silver'\"}"),
        _workflow("b", "{segment: gold, on: leave}", "wait: 1h", "update: {tier: \"'gold'\"}"),
    ],
    "where the condition is always met": [
        _workflow("a", "{event: X, where: event.n >= 3}", SEND, "emit: {event: X, properties: {n: 4}}")
    ],
    "in every branch": [
        _workflow(
            "a", "{event: X}", SEND,
            "branch: [{if: customer.y, steps: [{emit: {event: X}}]}, {else: [{emit: {event: X}}]}]", "emit: {event: X}",
        )
    ],
    "in every branch, and nowhere else": [
        _workflow(
            "a", "{event: X}", SEND,
            "branch: [{if: customer.y, steps: [{emit: {event: X}}]}, {else: [{wait: 1h}, {emit: {event: X}}]}]",
        )
    ],
    "where a shorter way meets somebody who is still in it": [
        _workflow("a", "{event: X}", SEND, "emit: {event: Y}", "wait: 1h", "emit: {event: X}"),
        _workflow("b", "{event: Y}", "emit: {event: X}"),
    ],
    "who does nothing": [
        _workflow("a", "{event: X}", SEND, "wait_for: {outcome: clicked, timeout: 2h, otherwise: [{emit: {event: X}}]}")
    ],
    "with a short re-entry": [
        _workflow("a", "{event: X}", SEND, "emit: {event: X}", head="reentry: after 1h\n"),
    ],
    "in rounds": [
        _workflow("a", "{event: X}", f"repeat: {{times: 3, every: 1h, steps: [{SEND}]}}", "emit: {event: X}"),
    ],
    "for a cohort": [
        _workflow(
            "a", "{event: X}", SEND,
            "split: {name: s, variants: {p: {weight: 1, steps: [{emit: {event: X}}]}, q: {weight: 1}}}",
        )
    ],
    "a window is open": [_workflow("a", "{event: X}", "wait: {between: '08:00-20:00'}", SEND, "emit: {event: X}")],
}  # fmt: skip


@pytest.mark.parametrize("name", ENDLESS)
def test_what_is_endless_is_an_error_with_the_way(name: str) -> None:
    """Each hop with its file and line."""
    errors = [each for each in _found(*ENDLESS[name]) if ": endless this leads back" in each]
    assert len(errors) == 1, errors
    assert "(workflows/a.yaml:" in errors[0]
    assert "`a`" in errors[0]


BOUNDED = {
    "a day": [_workflow("a", "{event: X}", "wait: 1d", SEND, "emit: {event: X}")],
    "a day in all": [
        _workflow("a", "{event: X}", "wait: 12h", SEND, "emit: {event: Y}"),
        _workflow("b", "{event: Y}", "wait: 12h", "emit: {event: X}"),
    ],
    "never again": [_workflow("a", "{event: X}", SEND, "emit: {event: X}", head="reentry: never\n")],
    "after a week": [_workflow("a", "{event: X}", SEND, "emit: {event: X}", head="reentry: after 7d\n")],
    "still in it": [_workflow("a", "{event: X}", SEND, "emit: {event: X}", "wait: 1h")],
    "itself enrolled": [_workflow("a", "{manual: true}", SEND, "enroll: a")],
    "still in it, whichever way": [
        _workflow("a", "{event: X}", SEND, "emit: {event: Y}", "emit: {event: X}", "wait: 1h"),
        _workflow("b", "{event: Y}", "emit: {event: X}"),
    ],
    "itself enrolled under one key": [_workflow("a", "{manual: true}", SEND, "enroll: a", head="key: event.cart_id\n")],
    "no message": [_workflow("a", "{event: X}", "wait: 1m", "emit: {event: X}")],
    "the next morning": [_workflow("a", "{event: X}", "wait: {until: '09:00'}", SEND, "emit: {event: X}")],
    "tomorrow": [_workflow("a", "{event: X}", "wait: {until: \"now + '1d'\"}", SEND, "emit: {event: X}")],
    "an act": [
        _workflow(
            "a", "{event: X}", SEND,
            "wait_for: {outcome: clicked, timeout: 1h, then: [{emit: {event: X}}], otherwise: [{exit: no}]}",
        )
    ],
    "rounds of days": [
        _workflow("a", "{event: X}", f"repeat: {{times: 3, every: 1d, steps: [{SEND}]}}", "emit: {event: X}"),
    ],
    "the condition is never met": [
        _workflow("a", "{event: X, where: event.n >= 3}", SEND, "emit: {event: X, properties: {n: 1}}"),
    ],
    "one way only": [_workflow("a", "{segment: gold}", SEND, "update: {tier: \"'silver'\"}")],
    "another segment": [_workflow("a", "{segment: gold}", SEND, "update: {greeted: true}")],
    "never reached": [_workflow("a", "{event: X}", SEND, "exit: done", "emit: {event: X}")],
}  # fmt: skip


@pytest.mark.parametrize("name", BOUNDED)
def test_what_is_bounded_is_no_problem(name: str) -> None:
    """No false alarm."""
    assert [each for each in _found(*BOUNDED[name]) if "endless" in each] == []


@pytest.mark.parametrize(
    "files",
    [
        [_workflow("a", "{event: X, where: customer.y}", SEND, "emit: {event: X}")],
        [_workflow("a", "{manual: true}", SEND, "wait: 10m", "enroll: a", head="key: now\n")],
        [_workflow("a", "{event: X}", SEND, "{emit: {event: X}, when: event.n < 3}")],
        [_workflow("a", "{event: X}", SEND, "branch: [{if: event.n < 3, steps: [{emit: {event: X}}]}]")],
        [_workflow("a", "{event: X, where: event.n < 3}", SEND, "emit: {event: X, properties: {n: event.n + 1}}")],
    ],
)
def test_what_hangs_on_a_condition_is_a_warning(files: list[tuple[str, bytes]]) -> None:
    """It may end."""
    found = [each for each in _found(*files) if "endless" in each]
    assert len(found) == 1
    assert "endless warning: unless a condition ends it" in found[0]


def test_the_way_is_told_hop_by_hop() -> None:
    """As it is walked."""
    (error,) = [each for each in _found(*ENDLESS["by way of another"]) if "endless" in each]
    assert error == (
        "workflows/a.yaml:6:5: endless this leads back to itself and sends every 5h00m: `a` emits `Y` (workflows/a.yaml:6), "
        "which enters `b` (workflows/b.yaml:3), then `b` emits `X` (workflows/b.yaml:6), which enters `a` "
        "(workflows/a.yaml:3); put a pause of a day into it, or `reentry`"
    )


def test_what_was_published_before_goes_on_and_the_hop_limit_holds() -> None:
    """A worker does not stop for it; events that lead to each other at once end after ten."""
    files = ENDLESS["at once"]
    assert load_files(files).catalog is None
    published = load_files(files, channels=None)
    assert published.catalog is not None
    play = Play()
    play.memory.catalog = published.catalog
    play.memory.step(Event(customer="c1", at_ms=play.start_ms, id="e", name="X", time_ms=play.start_ms))
    assert len(play.lines("entered")) == 11
    assert [one["reason"].split(":")[0] for one in play.details("failed")] == ["emit limit"]
