"""`anlass check --database`: which stored rows cannot be read, and mending them.

Invariant: without --mend nothing is written; what is mended is noted in the audit log first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine.bootstrap.project import VERSIONS_MAX, Project, open_project
from engine.clock import SystemClock
from engine.definition.load import load_files
from engine.definition.phone_numbers import with_phone_numbers
from engine.definition.public_holidays import with_public_holidays
from engine.errors import NotFound
from engine.runtimes.embedded import handovers
from engine.runtimes.embedded.examining import examine
from engine.runtimes.embedded.mending import Mended, mend
from engine.runtimes.embedded.store import FILE, connect, translated
from engine.runtimes.rebuild import InForce
from engine.runtimes.unreadable import Finding


def unreadable_rows(var: Path) -> list[Finding]:
    """Every row of the store that cannot be read, whether an engine runs or not. Raises NotFound without a store."""
    if not (var / FILE).exists():
        raise NotFound(f"There is no engine's data in {var}.", mend="Run `anlass run` there first.")
    with translated(), contextlib.closing(connect(var / FILE, read_only=True)) as connection:
        return list(examine(connection))


def mend_rows(folder: Path, *, give_up: bool) -> list[Mended]:
    """Mends what the log allows, and with `give_up` lets go of the rest. Raises StorageBusy while an engine runs."""
    project = open_project(folder, with_templates=False)
    return mend(project.var, _catalogs(project.var, project), give_up=give_up, now_ms=SystemClock().now_ms())


def _catalogs(var: Path, project: Project) -> Sequence[InForce]:
    """What was in force when; a version that does not compile any more is left out, and then the replay does not fit."""
    current = project.catalog
    found: list[InForce] = []
    for each in reversed(handovers.deployed(var, limit=VERSIONS_MAX)):
        if each.catalog == current.id:
            found.append(InForce(each.deployed_ms, current))
            continue
        loaded = load_files([(name, text.encode()) for name, text in each.files.items()], channels=None)
        if loaded.catalog is not None:
            versions = {**current.versions, **loaded.catalog.versions}
            catalog = msgspec.structs.replace(loaded.catalog, versions=versions)
            found.append(InForce(each.deployed_ms, with_phone_numbers(with_public_holidays(catalog))))
    return found or [InForce(0, current)]
