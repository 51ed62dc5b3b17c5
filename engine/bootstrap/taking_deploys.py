"""The running service's side of `anlass deploy` on the embedded runtime: takes what was handed over and puts it in force.

Invariant: definitions with an error are refused again here, where what was handed over is compiled; catalog and templates change
together, between two records.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import AnlassError, DefinitionError, StorageError
from engine.project.opening import Project, compile_folder
from engine.runtimes.embedded import handovers
from engine.telemetry import Action, get_log

if TYPE_CHECKING:
    from engine.runtimes.embedded import EmbeddedRuntime

LOOK_SECONDS = 0.25
RETRY_SECONDS = 5.0
REFUSED_CHARS_MAX = 10_000
_log = get_log("deploy")


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
