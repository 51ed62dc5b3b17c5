"""What an older Anlass published goes on to work after an upgrade, though a new file of the same words would be refused."""

from __future__ import annotations

from engine.definition.load import load_files

OLD = [
    ("workflows/policy.yaml", b"policy: default\npurposes:\n  service: {consent: existing_customer}\n"),
    (
        "workflows/hello.yaml",
        b"workflow: hello\npurpose: service\ntrigger: {event: A}\nsteps:\n  - send: {channel: email, template: t}\n",
    ),
]


def test_a_rule_that_came_later_stops_no_worker_and_no_run() -> None:
    """Else those in the middle of a run would lose their version, and workers what they decide by."""
    published = load_files(OLD, channels=None)
    assert published.catalog is not None, published.problems
    assert published.catalog.policy.purposes["service"].similar_goods == ""
    new = load_files(OLD)
    assert [problem.code for problem in new.problems] == ["similar-goods"]
    assert new.catalog is None
