"""`anlass check` and the conditions of writing to existing customers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.project.opening import check

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The shipped project, to be spoilt."""
    for part in ("workflows", "templates"):
        shutil.copytree(ROOT / part, tmp_path / part)
    return tmp_path


def test_a_template_without_a_way_to_object_is_refused(project: Path) -> None:
    """Each language for itself, and also where the layout had the link."""
    path = project / "templates" / "email" / "refill-reminder.de.html"
    path.write_text(path.read_text() + "{% block links %}{% endblock %}\n")
    (problem,) = check(project)
    assert (problem.file, problem.code, problem.severity) == (
        "templates/email/refill-reminder.de.html",
        "objection",
        "error",
    )
    assert "unsubscribe_url" in problem.message


def test_a_policy_that_names_no_goods_is_refused(project: Path) -> None:
    """Own similar goods only: the policy has to say which."""
    path = project / "workflows" / "policy.yaml"
    kept = [line for line in path.read_text().splitlines() if "similar_goods" not in line]
    path.write_text("\n".join(kept))
    (problem,) = check(project)
    assert problem.code == "similar-goods"
    assert "similar_goods:" in problem.message


def test_the_shipped_project_is_clean(project: Path) -> None:
    """Every service mail has the link, and the policy its goods."""
    assert check(project) == []


@pytest.mark.parametrize("consent", ["opt_in", "existing_customer, similar_goods: what was bought here", "none"])
def test_every_purpose_that_needs_consent_needs_a_way_out(project: Path, consent: str) -> None:
    """Whatever it is called; what belongs to the contract needs none."""
    policy = project / "workflows" / "policy.yaml"
    policy.write_text(policy.read_text().replace("purposes:\n", f"purposes:\n  product_tips: {{consent: {consent}}}\n"))
    (project / "workflows" / "tips.yaml").write_text(
        "workflow: tips\npurpose: product_tips\ntrigger: {event: Product Viewed}\nreentry: after 1d\nsteps:\n"
        "  - send: {channel: email, template: product-tips}\n"
    )
    (project / "templates" / "email" / "product-tips.html").write_text("---\nsubject: Tips\n---\n<p>Water it.</p>\n")
    found = [problem for problem in check(project) if problem.severity == "error"]
    assert [(each.file, each.code) for each in found] == (
        [] if consent == "none" else [("templates/email/product-tips.html", "objection")]
    )
    assert all("product_tips" in each.message for each in found)


def test_a_text_without_the_link_is_refused(project: Path) -> None:
    """Who reads mail as text has nothing else."""
    (project / "templates" / "email" / "win-back-news.txt").write_text("Hello, we have news.\n")
    (problem,) = (each for each in check(project) if each.severity == "error")
    assert problem.code == "objection"
    assert problem.file.startswith("templates/email/win-back-news")
