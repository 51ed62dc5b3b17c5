"""Tests that speak of other workflows and of the words of a mail: what is named has to exist, and what differs is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.definition.load import load_files
from engine.project.opening import open_rehearsal
from engine.rehearsal.report import failure
from engine.rehearsal.testing import CaseResult, run_tests

ONE = """workflow: one
purpose: transactional
trigger: {event: A}
steps:
  - {send: {channel: email, template: t}, id: mail}
  - emit: {event: B}
"""
TWO = """workflow: two
purpose: transactional
trigger: {event: B}
exit: [{event: C, as: stop/over}]
steps:
  - wait: 1h
  - {send: {channel: email, template: t}, id: later}
  - wait: 1d
"""
HEAD = "tests: one\ncases:\n  - name: n\n"
TIMELINE = (
    "    customer: {id: a, traits: {email: a@example.com, locale: de-AT}}\n    timeline: [{at: 0s, event: A}MORE]\n"
)


def _problems(case: str) -> list[str]:
    files = [("workflows/one.yaml", ONE), ("workflows/two.yaml", TWO), ("workflows/one.test.yaml", HEAD + case)]
    return [each.message for each in load_files([(name, text.encode()) for name, text in files]).problems]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("    expect: [{send: two/lter}]\n", "the step `lter` is not defined; did you mean `later`?"),
        ("    expect: [{send: tow/later}]\n", "the workflow `tow` is not defined; did you mean `two`?"),
        ("    expect: [{exited: two/stop}]\n", "the reason `stop` is not defined; did you mean `stop/over`?"),
        ("    expect: [{exited: tow/stop}]\n", "the workflow `tow` is not defined; did you mean `two`?"),
        ("    with: [tow]\n    expect: []\n", "the workflow `tow` is not defined; did you mean `two`?"),
        (
            "    timeline: [{at: 0s, outcome: clicked, of: two/lter}]\n    expect: []\n",
            "the step `lter` is not defined",
        ),
        ("    expect: [{send: mail, answer: held, subject: x}]\n", "`subject` belongs to a message that is queued"),
        ("    expect: [{entered: one, contains: x}]\n", "`contains` belongs to `send`"),
    ],
)
def test_what_a_test_names_has_to_exist(case: str, message: str) -> None:
    """With the nearest name."""
    (found,) = _problems(case)
    assert message.replace("`", "") in found.replace("`", "")


def test_what_is_right_is_no_problem() -> None:
    """A reason may have a slash of its own."""
    lines = "send: two/later, locale: de", "exited: two/stop/over", "exited: two/merged", "send: one/mail"
    expect = ", ".join(f"{{{line}}}" for line in lines)
    assert _problems(f"    with: [two]\n    expect: [{expect}]\n") == []


def _played(folder: Path, expect: str, *, others: str = "", more: str = "") -> CaseResult:
    (folder / "workflows").mkdir(exist_ok=True)
    (folder / "templates" / "email").mkdir(parents=True, exist_ok=True)
    mail = "---\nsubject: Grüß dich\n---\n<p>Heute &amp; <b>morgen</b></p>\n"
    (folder / "templates/email/t.de.html").write_text(mail, "utf-8")
    (folder / "templates/email/t.html").write_text("---\nsubject: Hello\n---\n<p>Today</p>\n", "utf-8")
    timeline = TIMELINE.replace("MORE", more)
    tests = f"{HEAD}{others}{timeline}    expect:\n{expect}"
    for name, text in (("one", ONE), ("two", TWO), ("one.test", tests)):
        (folder / f"workflows/{name}.yaml").write_text(text, "utf-8")
    project = open_rehearsal(folder)
    (result,) = run_tests(project.catalog, project.tests, templates=project.templates)
    return result


OWN = "      - {entered: one}\n      - {send: mail}\n      - {completed: one}\n"
OTHERS = "      - {at: 0s, entered: two}\n      - {at: 1h, send: two/later}\n"


def test_workflows_act_together_and_their_lines_are_complete(tmp_path: Path) -> None:
    """Without `with` the other one does not act; with it each of its lines counts."""
    assert _played(tmp_path, OWN).passed
    both = "    with: [two]\n"
    assert _played(tmp_path, f"{OWN}{OTHERS}      - {{completed: two}}\n", others=both).passed
    assert not _played(tmp_path, OWN + OTHERS, others=both).passed
    exited = f"{OWN}{OTHERS}      - {{at: 2h, exited: two/stop/over}}\n"
    assert _played(tmp_path, exited, others=both, more=", {at: 2h, event: C}").passed
    assert _played(
        tmp_path, OWN + "      - {at: 1h, send: two/later}\n"
    ).passed  # who is named acts, and need not be complete
    assert not _played(tmp_path, OWN + "      - {at: 1h, send: later}\n").passed


def test_the_words_of_a_mail_are_compared_and_what_differs_is_said(tmp_path: Path) -> None:
    """The line itself is right, so the two timelines alone would not show it."""
    right = "{send: mail, subject: Grüß dich, locale: de, contains: [Heute & morgen, morgen, Grüß]}"
    assert _played(tmp_path, OWN.replace("{send: mail}", right)).passed
    wrong = "{send: mail, subject: Hello, locale: en, contains: Today}"
    result = _played(tmp_path, OWN.replace("{send: mail}", wrong))
    assert not result.passed
    said = [line for line in failure(result) if "send mail:" in line]
    assert [line.partition("send mail: ")[2] for line in said] == [
        "the subject is 'Grüß dich', not 'Hello'", "the language is de, not en", "it does not contain 'Today'",
    ]  # fmt: skip
