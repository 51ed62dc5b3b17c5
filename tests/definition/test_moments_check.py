"""What `check` says of waits and times that can never work."""

from __future__ import annotations

import pytest

from engine.definition.load import load_files


def _problems(steps: str, trigger: str = "{event: A}") -> list[str]:
    text = f"workflow: w\npurpose: transactional\ntrigger: {trigger}\nsteps:\n  - {steps}\n"
    return [f"{each.code} {each.message}" for each in load_files([("workflows/w.yaml", text.encode())]).problems]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("wait: {until: now}", "never-works `now` with this offset has always passed"),
        ("wait: {until: \"now - '2h'\", offset: 1h}", "never-works"),
        ("wait: {until: now, offset: -1d}", "never-works"),
        ("wait: {until: \"now + 'tomorrow'\"}", "never-works"),
        ("wait: {until: \"date('%d.%m.%Y')\"}", "never-works"),
        (
            "wait: {until: 'tuesday 10:00', past: skip}",
            "only-with `past: skip` belongs to a moment that can have passed",
        ),
        ("wait: {until: '10:00', at: '09:00'}", "only-with `at` belongs to a date of the customer"),
        ("wait: {until: customer.x, at: '25:00'}", "time '25:00' is not a time of day"),
        ("wait: {for: 1h, past: skip}", "only-with `past` belongs to `until`"),
        ("wait: {until: customer.x, past: stop}", "past"),
        ("{exit: x, when: \"now > 'soon'\"}", "never-works"),
    ],
)
def test_what_can_never_work_is_an_error_of_check(steps: str, message: str) -> None:
    """One error each, at its place."""
    (found,) = _problems(steps)
    assert message in found


@pytest.mark.parametrize(
    "steps",
    ["wait: {until: \"now + '2h'\"}", "wait: {until: now, offset: 1d}", "wait: {until: customer.x, at: '9:00', past: skip}",
     "wait: {until: '2026-12-01T09:00', past: skip}", "wait: {until: customer.x, past: go}"],
)  # fmt: skip
def test_what_works_is_no_problem(steps: str) -> None:
    """No false alarm."""
    assert _problems(steps) == []


def test_what_was_published_before_goes_on() -> None:
    """The constant that must fail parks its runs, as it did; its version is what it was."""
    text = b"workflow: w\npurpose: transactional\ntrigger: {event: A}\nsteps:\n  - {exit: x, when: \"now > 'soon'\"}\n"
    loaded = load_files([("workflows/w.yaml", text)], channels=None)
    assert loaded.catalog is not None
    assert loaded.catalog.workflows["w"].ops["steps.0"].when is not None


def test_versions_of_before_keep_their_hash() -> None:
    """What came later counts only where it is used, so that nobody in flight loses their version."""
    head = b"workflow: w\npurpose: transactional\ntrigger: {event: A}\n"
    text = head + b"steps:\n  - wait: {until: customer.x, offset: 1d}\n  - wait: 1h\n"
    catalog = load_files([("workflows/w.yaml", text)]).catalog
    assert catalog is not None
    assert catalog.workflows["w"].version == "07920f6712e9"
