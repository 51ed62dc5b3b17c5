"""`anlass check` and the conditions of writing to existing customers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.bootstrap.project import check

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
