"""Small complete projects as users would write them: each is read, rendered and tested as `anlass test` does it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.project.opening import open_rehearsal
from engine.rehearsal.report import failure
from engine.rehearsal.testing import run_case, run_tests

PROJECTS = sorted(path.parent for path in Path(__file__).parent.glob("*/workflows"))


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_the_project_passes_its_own_tests(folder: Path) -> None:
    """Every case of every file; a failure shows both timelines."""
    project = open_rehearsal(folder)
    results = list(run_tests(project.catalog, project.tests, templates=project.templates))
    assert results
    shown = "\n".join(line for result in results if not result.passed for line in failure(result))
    assert not shown, f"\n{shown}"


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_a_line_too_few_or_too_many_is_a_failure(folder: Path) -> None:
    """`expect` is the complete list: a case without one of its lines fails, and so does one with a line more."""
    project = open_rehearsal(folder)
    counted = ("entered", "send", "exited", "completed", "failed")
    for file in project.tests:
        for case in file.cases:
            for index, line in enumerate(case.expect):
                if line.kind in counted:
                    fewer = msgspec.structs.replace(case, expect=case.expect[:index] + case.expect[index + 1 :])
                    about = line.name if line.kind not in ("send", "exited") else line.name.rpartition("/")[0]
                    own = about in ("", file.workflow, *case.others)
                    assert run_case(project.catalog, file, fewer, templates=project.templates).passed is not own
            more = msgspec.structs.replace(case, expect=(*case.expect, case.expect[-1]))
            assert not run_case(project.catalog, file, more, templates=project.templates).passed
