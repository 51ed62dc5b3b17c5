"""A project's folder to a catalog and its tests.

Invariant: all files are read and all their problems reported at once; there is a catalog exactly when none is an error.
Files are told apart by their top-level key (`workflow segments policy tests`), not by their name.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from engine.core.catalog import Catalog, Segment
from engine.core.workflow import Workflow
from engine.definition.assemble import assemble
from engine.definition.case import TestFile, compile_tests
from engine.definition.case_document import TestsDocument
from engine.definition.check import CHANNELS, Project, Templates, check_project
from engine.definition.compile import Compiled, compile_workflow
from engine.definition.compile_policy import compile_policy, compile_segments, default_policy
from engine.definition.document import WorkflowDocument
from engine.definition.problem import Problem, Problems, Spot, nearest
from engine.definition.project_document import PolicyDocument, SegmentsDocument
from engine.definition.site import Site
from engine.definition.source import BYTES_MAX, Source, parse
from engine.definition.validate import validate

FILES_MAX = 2_000
KINDS = ("workflow", "segments", "policy", "tests")
_ENDINGS = (".yaml", ".yml")


class Loaded(msgspec.Struct, frozen=True):
    """What a project's files say. `catalog` is None when one of the `problems` is an error."""

    catalog: Catalog | None
    problems: tuple[Problem, ...]
    tests: tuple[TestFile, ...] = ()


def load_project(
    folder: Path,
    *,
    templates: Templates | None = None,
    channels: Collection[str] = CHANNELS,
    extra_versions: Sequence[Workflow] = (),
) -> Loaded:
    """Reads `folder/workflows`, and never raises for what is in it.

    Without `templates` it is not checked whether those that are sent exist; `channels` are the names that may be sent by;
    `extra_versions` are older workflows that enrollments still run on.
    """
    problems = Problems()
    files: list[tuple[str, bytes]] = []
    for path in _paths(folder, problems):
        name = path.relative_to(folder).as_posix()
        try:
            with path.open("rb") as file:
                files.append((name, file.read(BYTES_MAX + 1)))
        except OSError as error:
            problems.error(Spot(name), "unreadable", message=f"the file cannot be read: {error.strerror}")
    project = _project(files, problems)
    check_project(project, problems, templates=templates, channels=channels)
    return _loaded(project, problems, extra_versions=extra_versions)


def _paths(folder: Path, problems: Problems) -> list[Path]:
    root = folder / "workflows"
    if not root.is_dir():
        problems.error(Spot("workflows"), "no-workflows", message=f"there is no folder `workflows` in {folder}")
        return []
    paths = sorted(path for path in root.rglob("*") if path.suffix in _ENDINGS and path.is_file())
    if len(paths) > FILES_MAX:
        problems.error(
            Spot("workflows"), "too-many", message=f"there are more than {FILES_MAX:,} files; the others were not read"
        )
    return paths[:FILES_MAX]


def load_files(files: Sequence[tuple[str, bytes]], *, extra_versions: Sequence[Workflow] = ()) -> Loaded:
    """The same from (name, content) pairs, as a published project comes; templates are not looked at."""
    problems = Problems()
    project = _project(files, problems)
    check_project(project, problems, templates=None)
    return _loaded(project, problems, extra_versions=extra_versions)


def _project(files: Sequence[tuple[str, bytes]], problems: Problems) -> Project:
    project = Project()
    for file, raw in files:
        source = parse(file, raw, problems=problems)
        if source is not None:
            _take(source, project, problems)
    if project.policy is None:
        project.policy = default_policy()
    return project


def _loaded(
    project: Project,
    problems: Problems,
    *,
    extra_versions: Sequence[Workflow],
) -> Loaded:
    if problems.failed:
        return Loaded(None, problems.sorted())
    assert project.policy is not None
    catalog = assemble(
        [compiled.workflow for compiled in project.workflows.values()],
        project.segments,
        policy=project.policy,
        extra_versions=extra_versions,
    )
    return Loaded(catalog, problems.sorted(), tuple(tests for tests, _ in project.tests))


def _take(source: Source, project: Project, problems: Problems) -> None:
    """Compiles one file into the project."""
    kinds = [kind for kind in KINDS if isinstance(source.data, dict) and kind in source.data]
    site = Site(source, problems)
    if len(kinds) != 1:
        keys = list(source.data) if isinstance(source.data, dict) else []
        mend = "; it has several: move each to its own file" if kinds else nearest(keys[0] if keys else "", KINDS)
        problems.error(
            site.spot(()), "unknown-file", message=f"a file has exactly one of the keys {', '.join(KINDS)}{mend}"
        )
    elif kinds[0] == "workflow":
        _take_workflow(source, site, project)
    elif kinds[0] == "segments":
        document = validate(SegmentsDocument, source, problems=problems)
        segments: dict[str, Segment] = {} if document is None else compile_segments(document, site)
        _remember_segments(source, project)
        for name, segment in segments.items():
            if name in project.segments:
                where = project.segment_sites[name].source.file
                site.error(
                    ("segments", name), "duplicate-id", message=f"the segment `{name}` stands in {where} as well"
                )
            project.segments[name] = segment
            project.segment_sites[name] = site
    elif kinds[0] == "policy":
        policy = validate(PolicyDocument, source, problems=problems)
        if project.policy_site is not None:
            other = project.policy_site.source.file
            site.error((), "duplicate-id", message=f"a project has one policy; there is another in {other}")
        project.policy_site = site
        if policy is not None:
            project.policy = compile_policy(policy, site)
    else:
        tests = validate(TestsDocument, source, problems=problems)
        if tests is not None:
            project.tests.append((compile_tests(tests, site), site))


def _take_workflow(source: Source, site: Site, project: Project) -> None:
    name = source.data["workflow"]
    if isinstance(name, str):
        # Known even when the document is broken, so that one mistake does not cause others elsewhere.
        project.names.add(name)
    document = validate(WorkflowDocument, source, problems=site.problems)
    if document is None:
        return
    compiled: Compiled = compile_workflow(document, site)
    other = project.workflows.get(document.workflow)
    if other is not None:
        where = other.site.source.file
        site.error(
            ("workflow",), "duplicate-id", message=f"the workflow `{document.workflow}` stands in {where} as well"
        )
    project.workflows[document.workflow] = compiled


def _remember_segments(source: Source, project: Project) -> None:
    written = source.data["segments"]
    if isinstance(written, dict):
        project.segment_names.update(str(name) for name in written)
