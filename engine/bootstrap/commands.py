"""What the command line asks of a project that may be running: where it listens, and to apply records.

Invariant: a record handed over is durable before anything is waited for, and is applied exactly once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from engine.bootstrap.deploying import publish
from engine.bootstrap.parts import open_runtime
from engine.bootstrap.project import open_project
from engine.bootstrap.service import RUNNING_FILE
from engine.core.record import Record
from engine.errors import ServiceUnreachable
from engine.runtimes.embedded import inbox, operators
from engine.runtimes.embedded.store import is_running
from engine.settings import load_settings

TAKEN_SECONDS_MAX = 15.0
POLL_SECONDS = 0.05


def running_url(var: Path) -> str | None:
    """Where the service that uses the folder `var` listens; None when none is running."""
    if not is_running(var):
        return None
    try:
        url = json.loads((var / RUNNING_FILE).read_text("utf-8"))["collector"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is just starting, or another command holds the store
    return url if isinstance(url, str) else None


async def carry_out(folder: Path, records: Sequence[Record]) -> None:
    """Has records applied by the service that runs the project, or else by opening the store (nothing is sent then).

    Returns when they are. Raises NotFound when the project never ran, ServiceUnreachable when the service does not take them.
    """
    var = load_settings(folder).database_path.parent
    if inbox.submit(var, records) and await _taken(var):
        return
    if is_running(var):
        raise ServiceUnreachable(
            "The running service has not taken the command yet.",
            mend="It is kept, and done as soon as the service can.",
        )
    project = open_project(folder, with_templates=False)
    runtime = open_runtime(project)
    await runtime.start()
    try:
        await publish(runtime, project)  # whatever is evaluated on definitions has them on record
        await _taken(var)
        await runtime.idle()
    finally:
        await runtime.stop()


async def _taken(var: Path) -> bool:
    """Whether the inbox was emptied within a few seconds by a process that is alive."""
    for _ in range(int(TAKEN_SECONDS_MAX / POLL_SECONDS)):
        if not operators.waiting(var):
            return True
        if not is_running(var):
            return False
        await asyncio.sleep(POLL_SECONDS)
    return False
