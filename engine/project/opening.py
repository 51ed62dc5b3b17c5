"""Opens a project: its settings, definitions and templates, and the versions that were published before.

Invariant: everything that is wrong is reported at once, and nothing is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from channels import registry
from engine.clock import SystemClock
from engine.core.catalog import Catalog
from engine.core.channel import CHANNELS, template_channel
from engine.core.journey.workflow import Workflow
from engine.definition.case import TestFile
from engine.definition.doubts.silence import UNUSED, silenced
from engine.definition.load import Loaded, load_files, load_project
from engine.definition.phone_numbers import with_phone_numbers
from engine.definition.problem import Problem
from engine.definition.public_holidays import with_public_holidays
from engine.dispatch.templates.archive import broadcast_problems
from engine.dispatch.templates.template_set import TemplateSet
from engine.dispatch.templates.text_cost import dear_texts
from engine.errors import DefinitionError, SettingsError
from engine.project.channels import channel_names, configured_channels
from engine.project.channels_missing import channels_not_set_up, mails_cut_short, outcomes_never_heard
from engine.project.doubting import doubts, project_texts
from engine.project.objections import objections_missing
from engine.runtimes.embedded import inbox
from engine.runtimes.embedded.store import FILE
from engine.settings import Settings, load_settings

VERSIONS_MAX = 200
"""Published projects that a start compiles again, so that enrollments in flight finish on the version they started with."""
_TEMPLATE_FILE = re.compile(r"(?P<name>[a-z0-9][a-z0-9_-]*)(?:\.[A-Za-z0-9_-]+)?\.(?:html|txt)")


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project as it stands on the disk: its settings, and its definitions when they have no error."""

    settings: Settings
    catalog: Catalog
    templates: TemplateSet
    sources: dict[str, str]
    """The definitions' files by name, as they are published."""
    warnings: tuple[str, ...] = ()

    @property
    def var(self) -> Path:
        """Where the store and everything else that is written lies."""
        return self.settings.database_path.parent


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """What tests and simulations need of a project; nothing of it touches a store."""

    catalog: Catalog
    templates: TemplateSet
    tests: tuple[TestFile, ...]

    @property
    def untested(self) -> list[str]:
        """Workflows without a test."""
        return sorted(self.catalog.workflows.keys() - {file.workflow for file in self.tests})


class TemplateNames:
    """What the checker asks about templates, answered from the names of the files: compiling them takes seconds."""

    def __init__(self, folder: Path) -> None:
        self._names: set[tuple[str, str]] = set()
        for path in folder.glob("*/*"):
            match = _TEMPLATE_FILE.fullmatch(path.name)
            if match is not None:
                self._names.add((path.parent.name, match["name"]))

    def has(self, channel: str, name: str) -> bool:
        """Whether there is a template of that name for that channel (or one that the channel falls back to)."""
        return bool({(channel, name), (template_channel(channel), name)} & self._names)


def check(folder: Path) -> list[Problem]:
    """Everything that is wrong with the definitions and the templates of a project, in the order of files and lines."""
    loaded, templates = _read(folder)
    missing = objections_missing(loaded.catalog, templates)
    found = [*loaded.problems, *_template_problems(loaded, templates), *missing, *_dear_texts(folder)]
    found += _channel_problems(loaded.catalog, templates, folder)
    texts = project_texts(folder)
    if loaded.project is None:  # with errors nothing is doubted, so that no comment can be said to silence nothing
        silent = [problem for problem in silenced(found, texts) if problem.code != UNUSED]
        return sorted(set(silent))
    found += doubts(loaded.project, texts, folder=folder, now_ms=SystemClock().now_ms())
    return sorted(set(silenced(set(found), texts)))


def _channel_problems(catalog: Catalog | None, templates: TemplateSet, folder: Path) -> list[Problem]:
    """What messages cannot do with the channels as they are set up."""
    settings, sources = load_settings(folder), read_sources(folder)
    found = channels_not_set_up(catalog, sources, settings)
    try:
        adapters = configured_channels(settings, [] if catalog is None else channel_names(catalog))
    except SettingsError:  # `check --settings` and each start speak of it
        return found
    found += outcomes_never_heard(catalog, sources, adapters)
    return found if catalog is None else found + mails_cut_short(catalog, templates, adapters)


def open_project(folder: Path, *, with_templates: bool = True) -> Project:
    """Reads settings, definitions and templates. Raises SettingsError, or DefinitionError with every problem.

    `with_templates` False leaves the templates out, for those who send nothing: compiling them takes seconds.
    """
    settings = load_settings(folder)
    if settings.database_path.name != FILE:
        raise SettingsError(
            f"The database cannot be called {settings.database_path.name}.", mend=f"Let database.url end in /{FILE}."
        )
    return compile_folder(folder, settings, with_templates=with_templates)


def compile_folder(folder: Path, settings: Settings, *, with_templates: bool = True) -> Project:
    """The project with the definitions and templates of `folder` and these settings. Raises DefinitionError."""
    sources = read_sources(folder)
    earlier = _earlier_versions(settings.database_path.parent, sources)
    loaded, templates = _read(folder, earlier, with_templates=with_templates)
    catalog, warnings = _usable(folder, loaded, templates)
    return Project(
        settings=settings,
        catalog=with_phone_numbers(with_public_holidays(catalog)),
        templates=templates,
        sources=sources,
        warnings=warnings,
    )


def open_rehearsal(folder: Path, *, with_templates: bool = True) -> Rehearsal:
    """Reads definitions, tests and templates. Raises DefinitionError with every problem of workflows, segments, policy and tests.

    A template that is missing or broken stops nothing here: only what needs it fails, with its problem.
    """
    loaded, templates = _read(folder, with_templates=with_templates, asked=False)
    catalog = with_phone_numbers(with_public_holidays(_catalog(folder, loaded, loaded.problems)))
    return Rehearsal(catalog=catalog, templates=templates, tests=loaded.tests)


def _usable(folder: Path, loaded: Loaded, templates: TemplateSet) -> tuple[Catalog, tuple[str, ...]]:
    """The catalog and the warnings of a project without errors."""
    found = [*loaded.problems, *_template_problems(loaded, templates), *objections_missing(loaded.catalog, templates)]
    return _catalog(folder, loaded, found), tuple(str(problem) for problem in sorted(found))


def _catalog(folder: Path, loaded: Loaded, found: Iterable[Problem]) -> Catalog:
    errors = [problem for problem in sorted(found) if problem.severity == "error"]
    if loaded.catalog is None or errors:
        noun = "error" if len(errors) == 1 else "errors"
        raise DefinitionError(f"The project in {folder} has {len(errors)} {noun}.", problems=errors)
    return loaded.catalog


def read_sources(folder: Path) -> dict[str, str]:
    """The definitions' files by name relative to the project, without the tests beside them."""
    paths = sorted(path for path in (folder / "workflows").rglob("*") if path.suffix in {".yaml", ".yml"})
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8", errors="replace")
        for path in paths
        if not path.stem.endswith(".test") and path.is_file()
    }


def _read(
    folder: Path, earlier: Iterable[Workflow] = (), *, with_templates: bool = True, asked: bool = True
) -> tuple[Loaded, TemplateSet]:
    """`asked`: whether it is a mistake to send a template that is not there."""
    root = folder / "templates"
    channels = [*CHANNELS, *registry.foreign()]
    names = TemplateNames(root) if asked else None
    loaded = load_project(folder, templates=names, channels=channels, extra_versions=tuple(earlier))
    if not with_templates:
        return loaded, TemplateSet({}, [])
    zone = loaded.catalog.policy.zone if loaded.catalog is not None else "UTC"
    return loaded, TemplateSet.load(root, zone=zone)


def _template_problems(loaded: Loaded, templates: TemplateSet) -> list[Problem]:
    found = templates.check()
    if loaded.catalog is not None:
        found += broadcast_problems(loaded.catalog, templates)
    return [Problem(f"templates/{one.file}", one.line, one.column, "error", one.code, one.message) for one in found]


def _dear_texts(folder: Path) -> list[Problem]:
    return [
        Problem(f"templates/{found.file}", found.line, found.column, "warning", found.code, found.message)
        for found in dear_texts(folder / "templates")
    ]


def _earlier_versions(var: Path, sources: Mapping[str, str]) -> list[Workflow]:
    """The workflows of projects that were published before: somebody may still be on one of them."""
    versions: dict[tuple[str, str], Workflow] = {}
    for _, files in inbox.stored_sources(var)[:VERSIONS_MAX]:
        if files == sources:
            continue
        loaded = load_files([(name, text.encode()) for name, text in files.items()], channels=None)
        if loaded.catalog is not None:  # a newer Anlass may refuse what an older one took
            versions.update(loaded.catalog.versions)
    return list(versions.values())
