"""Times as people of the project read them: in its zone, with the offset. Programs get UTC.

Invariant: whatever is wrong with the project, a time is shown; then in UTC, and it says so by its `Z`.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from engine.clock import to_rfc3339
from engine.errors import AnlassError

_UTC = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


class LocalTimes:
    """Writes moments in one zone; None: in UTC."""

    def __init__(self, zone: ZoneInfo | None) -> None:
        """`zone` is the project's."""
        self._zone = zone

    def of(self, at_ms: int) -> str:
        """UTC milliseconds as `2026-03-27 10:00:00+01:00`."""
        return self.within(to_rfc3339(at_ms))

    def within(self, text: str) -> str:
        """The text, with every time in UTC that stands in it written in the zone."""
        return text if self._zone is None else _UTC.sub(self._local, text)

    def _local(self, found: re.Match[str]) -> str:
        at = datetime.fromisoformat(found[0]).astimezone(self._zone)
        return at.isoformat(sep=" ", timespec="seconds")


def local_times(root: Path) -> LocalTimes:
    """Of the project in that folder, by its policy's zone."""
    from engine.definition.load import load_project

    try:
        loaded = load_project(root)
    except (AnlassError, OSError):
        return LocalTimes(None)
    return LocalTimes(None if loaded.catalog is None else ZoneInfo(loaded.catalog.policy.zone))
