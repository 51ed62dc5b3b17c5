"""Subjects of a test, and issues of a broadcast for nobody in particular."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.clock import from_rfc3339
from engine.core.catalog import Catalog
from engine.definition.load import load_files
from engine.dispatch.templates import archive
from engine.dispatch.templates.template_set import TemplateSet

POLICY = b"policy: default\nzone: Europe/Berlin\npurposes: {marketing: {consent: opt_in}}\n"
FRONT = "---\nsubject: First\nsubject_b: Second {{ customer.first_name | default('you') }}\n---\n"
CONTEXT = {"customer": {"id": "c1"}, "event": {}, "enrollment": {}, "data": {}, "now": ""}


def catalog_of(schedule: str = "every: 'monday 09:00', archive: true", *, more: str = "", data: str = "") -> Catalog:
    send = f"{{channel: newsletter, template: issue{more}{data}}}"
    text = f"workflow: news\ntrigger: {{schedule: {{{schedule}}}}}\nsteps:\n  - send: {send}\n    id: mail\n"
    loaded = load_files([("workflows/policy.yaml", POLICY), ("workflows/news.yaml", text.encode())])
    assert loaded.catalog is not None, loaded.problems
    return loaded.catalog


def templates_of(folder: Path, **texts: str) -> TemplateSet:
    (folder / "newsletter").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / "newsletter" / (name.replace("_", ".") + ".html")).write_text(text)
    return TemplateSet.load(folder, zone="Europe/Berlin")


AB = ", ab: {subjects: [a, b], after: 4h}"


@pytest.mark.parametrize(("variant", "subject"), [("", "First"), ("a", "First"), ("b", "Second you"), ("zz", "First")])
def test_the_variant_chooses_the_subject(tmp_path: Path, variant: str, subject: str) -> None:
    """The body is the same; one without a subject of its own has the plain one."""
    template = templates_of(tmp_path, issue=FRONT + "<p>{{ subject }}</p>").find("newsletter", "issue")
    rendered = template.render({**CONTEXT, "variant": variant})
    assert rendered.subject == subject
    assert f"<p>{subject}</p>" in rendered.html
    assert template.render_fully({**CONTEXT, "variant": variant}) == rendered


def test_a_tested_subject_that_is_not_written_is_found(tmp_path: Path) -> None:
    """In every language, at the file that lacks it."""
    plain = "---\nsubject: Nur eins\n---\n<p>Hallo</p>"
    templates = templates_of(tmp_path, issue=FRONT + "<p>Hi</p>", issue_de=plain)
    problems = archive.broadcast_problems(catalog_of(more=AB), templates)
    assert [(problem.file, problem.code) for problem in problems] == [("newsletter/issue.de.html", "missing_subject")]
    assert "add a line `subject_b: …`" in problems[0].message


@pytest.mark.parametrize("key", ["subject_", "subject_ä", "subject b", "subjects_b"])
def test_a_strange_key_is_still_refused(tmp_path: Path, key: str) -> None:
    """Only the name of a variant may follow."""
    templates = templates_of(tmp_path, issue=f"---\nsubject: A\n'{key}': B\n---\n<p>Hi</p>")
    assert [problem.code for problem in templates.check()] == ["front_matter"]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<p>Hi {{ customer.first_name }}</p>", "first_name"),
        ("<p>{{ event.cart_id }}</p>", "cart_id"),
        ("<p>{{ customer.id }}</p>", "id"),
    ],
)
def test_a_page_that_needs_somebody_is_found(tmp_path: Path, body: str, fault: str) -> None:
    """`archive: true` promises a page for nobody in particular."""
    templates = templates_of(tmp_path, issue="---\nsubject: A\n---\n" + body)
    (problem,) = archive.broadcast_problems(catalog_of(), templates)
    assert (problem.file, problem.code) == ("newsletter/issue.html", "archive")
    assert fault in problem.message
    assert "default(" in problem.message
    assert archive.broadcast_problems(catalog_of("every: 'monday 09:00'"), templates) == []


def test_data_that_asks_for_a_customer_is_missing_on_the_page(tmp_path: Path) -> None:
    """What a step computes of a customer has no value there; the check says so."""
    templates = templates_of(tmp_path, issue="---\nsubject: A\n---\n<p>{{ data.name }}</p>")
    data = ", data: {name: customer.first_name}"
    assert [problem.code for problem in archive.broadcast_problems(catalog_of(data=data), templates)] == ["archive"]
    fixed = ", data: {name: \"'all of you'\"}"
    assert archive.broadcast_problems(catalog_of(data=fixed), templates) == []


def test_a_page_has_nothing_of_anybody_and_the_subject_that_won(tmp_path: Path) -> None:
    """Links of a customer's own lead nowhere."""
    catalog = catalog_of(more=AB)
    templates = templates_of(
        tmp_path, issue=FRONT + "<p>{{ now | date('long') }}</p><a href='{{ unsubscribe_url }}'>x</a>"
    )
    workflow = catalog.workflows["news"]
    send = archive.mail_of(workflow)
    assert send is not None
    since, now = from_rfc3339("2026-03-01T00:00:00Z"), from_rfc3339("2026-03-17T00:00:00Z")
    found = archive.issues(catalog, workflow, since_ms=since, now_ms=now)
    assert [issue.name for issue in found] == ["2026-03-16-0900", "2026-03-09-0900", "2026-03-02-0900"]
    message = archive.for_nobody(catalog, workflow, send, issue=found[0])
    page = archive.render(templates.find("newsletter", "issue"), message)
    assert page.subject == "First"
    assert "March 16, 2026" in page.html
    assert 'href="#"' in page.html.replace("'", '"')
