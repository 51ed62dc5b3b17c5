"""What a failed case shows: what came near, values, times in one zone; and a template that is missing fails only who needs it."""

from __future__ import annotations

from pathlib import Path

from engine.project.opening import open_rehearsal
from engine.rehearsal.report import failure
from engine.rehearsal.testing import run_case

_SENDS = (
    "workflow: {name}\npurpose: transactional\ntrigger: {{event: M}}\nsteps:\n"
    "  - send: {{channel: email, template: {template}}}\n    id: s\n"
)
WORKFLOWS = {
    "upd": "workflow: upd\npurpose: transactional\ntrigger: {event: X}\nsteps:\n  - update: {points: 601}\n  - wait: 1d\n",
    "m": _SENDS.format(name="m", template="nowhere"),
    "b": _SENDS.format(name="b", template="broken"),
}
CASE = """tests: {workflow}
cases:
  - name: case
    customer: {{traits: {{email: a@example.com}}}}
    start: 2026-07-01T09:00
    {partial}timeline: [{{at: 0s, event: {event}}}]
    expect: [{expect}]
"""


def _shown(folder: Path, workflow: str, expect: str, *, partial: bool = True, event: str = "X") -> str:
    """How the case reads when it fails; nothing when it passes."""
    (folder / "workflows").mkdir(exist_ok=True)
    (folder / "templates/email").mkdir(parents=True, exist_ok=True)
    (folder / "templates/email/broken.html").write_text("---\nsubject: x\n---\n{{ x | nofilter }}\n")
    (folder / "workflows/policy.yaml").write_text(
        "policy: default\nzone: Europe/Berlin\npurposes: {transactional: {consent: none}}\n"
    )
    for name, text in WORKFLOWS.items():
        (folder / f"workflows/{name}.yaml").write_text(text)
    case = CASE.format(workflow=workflow, expect=expect, partial="partial: true\n    " if partial else "", event=event)
    (folder / f"workflows/{workflow}.test.yaml").write_text(case)
    project = open_rehearsal(folder)
    [file] = project.tests
    result = run_case(project.catalog, file, file.cases[0], templates=project.templates)
    return "" if result.passed else "\n".join(failure(result))


def test_an_update_shows_the_values(tmp_path: Path) -> None:
    """Both the values that were expected and those that came are shown."""
    shown = _shown(tmp_path, "upd", "{updated: {points: 600}}")
    assert "updated: points: 600" in shown
    assert "updated: points: 601" in shown
    whole = "{entered: upd}, {updated: {points: 600}}, {at: 1d, completed: upd}"
    assert "updated: points: 601" in _shown(tmp_path, "upd", whole, partial=False)


def test_a_partial_case_that_passes_shows_nothing(tmp_path: Path) -> None:
    """A partial case is as lenient as before."""
    assert _shown(tmp_path, "upd", "{updated: {points: 601}}") == ""


def test_a_partial_case_shows_what_happened_instead(tmp_path: Path) -> None:
    """What is of the same kind, and what the workflow did, stand beside what was missed."""
    shown = _shown(tmp_path, "upd", "{at: 2d, completed: upd}")
    assert "1d (Thu 02 Jul 09:00:00) completed: upd" in shown
    assert "entered: upd" in _shown(tmp_path, "upd", "{emitted: Y}")


def test_expected_times_are_shown_where_the_customer_is(tmp_path: Path) -> None:
    """Both columns use one zone, whichever the time was written in."""
    for written in ("2026-07-02T06:00+00:00", "2026-07-02T08:00"):
        shown = _shown(tmp_path, "upd", f"{{at: '{written}', completed: upd}}")
        assert "(Thu 02 Jul 08:00:00) completed: upd" in shown


def test_a_template_that_is_missing_or_broken_fails_who_needs_it(tmp_path: Path) -> None:
    """Others run; who needs it fails with its problem."""
    assert _shown(tmp_path, "upd", "{completed: upd}") == ""
    (tmp_path / "workflows/upd.test.yaml").unlink()
    assert "there is no template 'email/nowhere'" in _shown(tmp_path, "m", "{send: s}", event="M")
    (tmp_path / "workflows/m.test.yaml").unlink()
    assert "unknown filter 'nofilter'" in _shown(tmp_path, "b", "{send: s}", event="M")
