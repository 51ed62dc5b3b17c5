"""A project's folder to a catalog and its tests.

Invariant: all files are read and all their problems reported at once; there is a catalog exactly when none is an error.
Files are told apart by their top-level key (`workflow segments policy tests`), not by their name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from engine.core.catalog import Catalog
from engine.core.channel import CHANNELS
from engine.core.journey.workflow import Workflow
from engine.definition.assemble import assemble
from engine.definition.case import TestFile, compile_tests
from engine.definition.check import ProjectDraft, Templates, check_project
from engine.definition.compile import Compiled, compile_workflow
from engine.definition.compile_policy import compile_policy, compile_segments, default_policy
from engine.definition.documents.case import TestsDocument
from engine.definition.documents.project import PolicyDocument, SegmentsDocument
from engine.definition.documents.workflow import WorkflowDocument
from engine.definition.problem import Problem, Problems, Spot, nearest
from engine.definition.site import Site
from engine.definition.yaml.mend import close, renamed
from engine.definition.yaml.source import BYTES_MAX, Source, parse
from engine.definition.yaml.validate import validate

FILES_MAX = 2_000
KINDS = ("workflow", "segments", "policy", "tests")
_ENDINGS = (".yaml", ".yml")
NEWER_RULES = frozenset({"similar-goods", "never-works", "endless"})
"""Codes of rules that are younger than what some project has published: it stays in force until its files are mended."""
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Loaded(msgspec.Struct, frozen=True):
    """What a project's files say. `catalog` is None when one of the `problems` is an error."""

    catalog: Catalog | None
    problems: tuple[Problem, ...]
    tests: tuple[TestFile, ...] = ()
    project: ProjectDraft | None = None
    """Where each thing was written, for who wants to say more about it; None when there is no catalog."""


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
        if not path.is_file():  # opening a pipe would wait for ever
            mend = "the file cannot be read: it is a broken link, or not a file; remove it"
            problems.error(Spot(name), "unreadable", message=mend)
            continue
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
    paths = sorted(path for path in root.rglob("*") if path.suffix in _ENDINGS and not path.is_dir())
    if len(paths) > FILES_MAX:
        problems.error(
            Spot("workflows"), "too-many", message=f"there are more than {FILES_MAX:,} files; the others were not read"
        )
    return paths[:FILES_MAX]


def load_files(
    files: Sequence[tuple[str, bytes]],
    *,
    extra_versions: Sequence[Workflow] = (),
    channels: Collection[str] | None = CHANNELS,
) -> Loaded:
    """The same from (name, content) pairs, as a published project comes; templates are not looked at.

    `channels` None: it is in force already, or was. Any channels will do, because whoever published it had the packages that add
    them; and a rule that is newer than it does not make a worker stop for a project that an older Anlass took.
    """
    problems = Problems()
    project = _project(files, problems)
    check_project(project, problems, templates=None, channels=channels)
    if channels is None:
        problems.found = [each for each in problems.found if each.code not in NEWER_RULES]
    return _loaded(project, problems, extra_versions=extra_versions)


def _project(files: Sequence[tuple[str, bytes]], problems: Problems) -> ProjectDraft:
    project = ProjectDraft()
    for file, raw in files:
        source = parse(file, raw, problems=problems)
        if source is None:
            _remember_unread(file, raw, project)
        else:
            _take(source, project, problems)
    if project.policy is None:
        project.policy = default_policy()
    return project


def _loaded(
    project: ProjectDraft,
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
    return Loaded(catalog, problems.sorted(), tuple(tests for tests, _ in project.tests), project)


def _take(source: Source, project: ProjectDraft, problems: Problems) -> None:
    """Compiles one file into the project."""
    keys = list(source.data) if isinstance(source.data, dict) else []
    kinds = [kind for kind in KINDS if kind in keys]
    if len(kinds) != 1:
        mend = "; it has several: move each to its own file" if kinds else nearest(keys[0] if keys else "", KINDS)
        problems.error(
            source.spot(()), "unknown-file", message=f"a file has exactly one of the keys {', '.join(KINDS)}{mend}"
        )
        slips = {key: kind for key in keys if (kind := close(key, KINDS))}
        if kinds or not slips:
            project.lost.update(source.words())
            return
        slip, kind = next(iter(slips.items()))
        source, kinds = renamed(source, slip, kind), [kind]
    take = {"workflow": _take_workflow, "segments": _take_segments, "policy": _take_policy, "tests": _take_tests}
    take[kinds[0]](source, project, problems)


def _take_workflow(source: Source, project: ProjectDraft, problems: Problems) -> None:
    name = source.data["workflow"]
    # Known even when the document is broken, so that one mistake does not cause others elsewhere.
    project.names.update({name if isinstance(name, str) else "", PurePosixPath(source.file).stem} - {""})
    document, taken = validate(WorkflowDocument, source, problems=problems)
    if document is None or taken is None:
        project.lost.update(source.words())
        return
    site = Site(taken, problems)
    compiled: Compiled = compile_workflow(document, site)
    other = project.workflows.get(document.workflow)
    if other is not None:
        where = other.site.source.file
        site.error(
            ("workflow",), "duplicate-id", message=f"the workflow `{document.workflow}` stands in {where} as well"
        )
    project.workflows[document.workflow] = compiled
    project.written.append(compiled)


def _take_segments(source: Source, project: ProjectDraft, problems: Problems) -> None:
    written = source.data["segments"]
    if isinstance(written, dict):
        project.segment_names.update(str(name) for name in written)
    document, taken = validate(SegmentsDocument, source, problems=problems)
    if document is None or taken is None:
        project.lost.update(source.words())
        return
    project.lost.update(taken.lost)
    site = Site(taken, problems)
    for name, segment in compile_segments(document, site).items():
        if name in project.segments:
            where = project.segment_sites[name].source.file
            site.error(("segments", name), "duplicate-id", message=f"the segment `{name}` stands in {where} as well")
        project.segments[name] = segment
        project.segment_sites[name] = site


def _take_policy(source: Source, project: ProjectDraft, problems: Problems) -> None:
    document, taken = validate(PolicyDocument, source, problems=problems)
    site = Site(source if taken is None else taken, problems)
    if project.policy_site is not None:
        other = project.policy_site.source.file
        site.error((), "duplicate-id", message=f"a project has one policy; there is another in {other}")
    project.policy_site = site
    project.lost.update(source.words() if taken is None else taken.lost)
    if document is not None:
        project.policy = compile_policy(document, site)


def _take_tests(source: Source, project: ProjectDraft, problems: Problems) -> None:
    document, taken = validate(TestsDocument, source, problems=problems)
    if document is not None and taken is not None:
        site = Site(taken, problems)
        project.tests.append((compile_tests(document, site), site))


def _remember_unread(file: str, raw: bytes, project: ProjectDraft) -> None:
    """What a file that is not YAML may define is not missed elsewhere: its words count as defined, and its name as a workflow."""
    text = raw[:BYTES_MAX].decode("utf-8", "replace")
    project.lost.update(_WORD.findall(text))
    project.names.add(PurePosixPath(file).stem.removesuffix(".test"))
