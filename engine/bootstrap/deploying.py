"""`anlass deploy` on the embedded runtime, both sides: the command plans and hands over, the running service puts in force.

Invariant: definitions with an error are refused before anything is written, and again by the service, which compiles what it
was handed; there, catalog and templates change together, between two records.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from engine.bootstrap.project import Project, compile_folder, open_project
from engine.clock import SystemClock
from engine.core.deployment import WorkflowPlan, plan_deploy, templates_of_pinned
from engine.definition.load import load_files
from engine.errors import AnlassError, DefinitionError, ServiceUnreachable, StorageError
from engine.runtimes.embedded import handovers
from engine.runtimes.embedded.store import is_running
from engine.telemetry import Action, get_log

if TYPE_CHECKING:
    from engine.core.catalog import Catalog
    from engine.dispatch.templates import TemplateSet
    from engine.runtimes.embedded import EmbeddedRuntime

TAKEN_SECONDS_MAX = 60.0
POLL_SECONDS = 0.1
LOOK_SECONDS = 0.25
RETRY_SECONDS = 5.0
REFUSED_CHARS_MAX = 10_000
TEMPLATES = "templates/"
_log = get_log("deploy")


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A deploy that could be done: the project without errors, what becomes of whom, and what to look at first."""

    project: Project
    files: dict[str, str]
    versions: str
    plans: tuple[WorkflowPlan, ...]
    warnings: tuple[str, ...]
    first: bool
    """Whether nothing was ever put in force here."""

    @property
    def stuck(self) -> list[str]:
        """A sentence for each group that would have to move and cannot."""
        return [
            f"{plan.workflow}: {group.people} at step {group.step} of version {group.version} cannot move: "
            f"that step does not wait in the new version. Name it in `map:`, as in `map: {{{group.step}: STEP}}`."
            for plan in self.plans
            for group in plan.stuck
        ]


Status = Literal["in_force", "at_next_start", "never_run"]


def prepare(
    folder: Path, *, versions: str, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Prepared:
    """Checks and compiles the project, counts people in flight, plans. Writes nothing.

    Raises DefinitionError with every problem, SettingsError, StorageError.
    """
    project = open_project(folder)
    newest = handovers.deployed(project.var, limit=1)
    before: dict[str, str] = {}
    if newest:
        loaded = load_files([(name, text.encode()) for name, text in newest[0].files.items()], channels=None)
        if loaded.catalog is not None:
            before = {name: workflow.version for name, workflow in loaded.catalog.workflows.items()}
    counts = handovers.count_in_flight(project.var, progress=progress)
    plans = plan_deploy(project.catalog, before, counts, versions=versions)
    gone = gone_templates(project.templates, project.catalog, plans)
    return Prepared(
        project=project,
        files={**project.sources, **template_files(folder)},
        versions=versions,
        plans=plans,
        warnings=(*project.warnings, *gone),
        first=not newest,
    )


def gone_templates(templates: TemplateSet, catalog: Catalog, plans: Sequence[WorkflowPlan]) -> list[str]:
    """A warning for each template that people who stay on an older version may still need, and that is gone."""
    return [
        f"People on {version} of {workflow} may still be sent the template {channel}/{template}, which no longer exists."
        for workflow, version, channel, template in templates_of_pinned(catalog, plans)
        if template not in templates.names(channel)
    ]


def template_files(folder: Path) -> dict[str, str]:
    """The templates by name; a project without errors has no file in there that is not text."""
    root = folder / "templates"
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path.name[0] != ".")
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8-sig") for path in paths}


async def hand_over(prepared: Prepared) -> Status:
    """Has the running engine put it in force; without one, the next that starts will, if the files are still the same.

    Raises DefinitionError when somebody could not move, or with the engine's reason when it refuses; ServiceUnreachable when
    it does not take it within a minute.
    """
    if prepared.stuck:
        raise DefinitionError("Nothing was deployed.", problems=prepared.stuck)
    var = prepared.project.var
    number = handovers.hand_over(var, prepared.files, versions=prepared.versions, handed_ms=SystemClock().now_ms())
    if number is None:
        return "never_run"
    for _ in range(int(TAKEN_SECONDS_MAX / POLL_SECONDS)):
        running = is_running(var)  # asked first: what it answered before it ended counts
        answer = handovers.answer_of(var, number)
        if answer is not None:
            if answer.problem:
                raise DefinitionError(f"The running engine did not take it: {answer.problem}")
            return "in_force"
        if not running:
            return "at_next_start"
        await asyncio.sleep(POLL_SECONDS)
    raise ServiceUnreachable(
        f"The running engine has not taken the deploy within {TAKEN_SECONDS_MAX:.0f} seconds.",
        mend="It is kept, and will be taken as soon as the engine gets to it; see its log.",
    )


# ------------------------------------------------------------------------------------------------------ in the service


async def publish(runtime: EmbeddedRuntime, project: Project) -> None:
    """At a start: puts what is on the disk in force, and on record when it is new, so that later starts can finish what began
    on it. A deploy that was handed over meanwhile says what becomes of people in flight, if it was of the same files.
    """
    handed = runtime.handed_over()
    if handed is not None and _definitions(handed.files) != project.sources:
        runtime.refuse_handover(
            handed.number, "the files were changed before the engine was started; those are in force"
        )
        handed = None
    newest = next(iter(handovers.deployed(project.var, limit=1)), None)
    same = newest is not None and (newest.files, newest.catalog) == (project.sources, project.catalog.id)
    if handed is not None:
        await runtime.deploy(project.catalog, sources=project.sources, versions=handed.versions, handover=handed.number)
    elif not same:
        await runtime.deploy(project.catalog, sources=project.sources)
    _log.info(Action.CATALOG_LOADED, catalog=project.catalog.id)


def _definitions(files: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in files.items() if not name.startswith(TEMPLATES)}


async def take_deploys(
    runtime: EmbeddedRuntime,
    current: Callable[[], Project],
    *,
    switch: Callable[[Project, handovers.DeployHandover], Awaitable[None]],
) -> None:
    """Runs beside the service: takes what is handed over, compiles it with all checks, and has `switch` put it in force.

    `current` is the project in force. What cannot be used is answered with the reason, and what is in force stays.
    """
    seen = -1
    while True:
        wait_seconds = LOOK_SECONDS
        try:
            version = runtime.data_version
            handed = runtime.handed_over() if version != seen else None
            if handed is not None:
                await _take(runtime, handed, current(), switch=switch)
            seen = version
        except Exception as error:  # noqa: BLE001 - a full disk, say: it is tried again, and the service goes on meanwhile
            _log.error(Action.COMPANION_FAILED, companion="deploys", cause=error)
            wait_seconds = RETRY_SECONDS
        await asyncio.sleep(wait_seconds)


async def _take(
    runtime: EmbeddedRuntime,
    handed: handovers.DeployHandover,
    current: Project,
    *,
    switch: Callable[[Project, handovers.DeployHandover], Awaitable[None]],
) -> None:
    try:
        # In a thread: compiling templates takes seconds, and events go on coming.
        project = await asyncio.to_thread(_compile, handed.files, current)
        await switch(project, handed)
    except StorageError:
        raise
    except AnlassError as error:
        _log.error(Action.DEFINITION_REFUSED, deploy=handed.number, cause=error)
        runtime.refuse_handover(handed.number, str(error)[:REFUSED_CHARS_MAX])
        return
    _log.info(Action.CATALOG_LOADED, catalog=project.catalog.id)


def _compile(files: Mapping[str, str], current: Project) -> Project:
    """The project of these files, as the loader reads a folder. Raises DefinitionError with every problem."""
    with tempfile.TemporaryDirectory(prefix="anlass-deploy-") as name:
        folder = Path(name)
        for file, text in files.items():
            path = folder / file
            if not path.resolve().is_relative_to(folder.resolve()):
                raise DefinitionError(f"{file} leads out of the project.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        return compile_folder(folder, current.settings)
