"""The definitions in force, for those who watch, render and show: the catalog, and with it its templates, changed together.

Invariant: whoever looks between two awaits sees a catalog and the templates of the same deploy; what is announced is shown.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from engine.core.catalog import Catalog
from engine.definition.compile_policy import default_policy
from engine.dispatch.templates.render import Rendered
from engine.dispatch.templates.template_set import TemplateSet
from engine.errors import DefinitionError
from engine.runtimes.kafka.definitions import Definitions
from engine.runtimes.kafka.holders import Announcement
from engine.runtimes.kafka.topics import Definition
from engine.telemetry import Action, get_log

NOTHING = Catalog(id="", workflows={}, versions={}, segments={}, policy=default_policy(), interests={})
"""Before the first deploy."""
_log = get_log("current")


class DefinitionFollower:
    """Follows `definitions` from `start` until `stop`, and shows the catalog: for who renders nothing."""

    def __init__(self, definitions: Definitions, announcement: Announcement) -> None:
        self._definitions = definitions
        self._announcement = announcement
        self._task: asyncio.Task[None] | None = None
        self.catalog = NOTHING

    async def start(self) -> None:
        """Returns when what is in force now can be used; at once when nothing was deployed. Raises StorageError."""
        await self._definitions.start()
        if self._definitions.in_force:
            await self._take(self._definitions.in_force)
        self._announcement.start()
        self._task = asyncio.create_task(self._follow(), name="anlass-current")

    async def stop(self) -> None:
        """Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._announcement.stop()
        await self._definitions.stop()

    async def _follow(self) -> None:
        while True:
            newest = await self._definitions.wait_other_than(self.catalog.id)
            await self._take(newest)

    async def _take(self, catalog: str) -> None:
        definition = self._definitions.definition(catalog)
        if definition is not None and await self._definitions.load(catalog):
            await self._show(self._definitions.catalogs[catalog], definition)
            self._announcement.held = self.catalog.id
        # else it is refused: what was in force goes on, and the workers say so as well

    async def _show(self, made: Catalog, definition: Definition) -> None:
        self.catalog = made


class Current(DefinitionFollower):
    """Catalog and templates. `on_change` is awaited before a new catalog is shown. Renders as the composer asks for it."""

    def __init__(
        self,
        definitions: Definitions,
        announcement: Announcement,
        *,
        on_change: Callable[[Catalog], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(definitions, announcement)
        self._on_change = on_change
        self.templates = TemplateSet({}, [])

    def render(self, channel: str, name: str, locale: str, *, context: Mapping[str, object]) -> Rendered:
        """By the templates in force."""
        return self.templates.find(channel, name, locale=locale).render(context)

    async def _show(self, made: Catalog, definition: Definition) -> None:
        try:
            templates = await asyncio.to_thread(load_templates, definition.files, made.policy.zone)
        except DefinitionError as error:
            _log.error(Action.DEFINITION_REFUSED, catalog=made.id, cause=error)
            return
        if self._on_change is not None:
            await self._on_change(made)
        self.catalog, self.templates = made, templates


def load_templates(files: Mapping[str, str], zone: str) -> TemplateSet:
    """The templates among published files. Raises DefinitionError for a name that leads out of the project."""
    with tempfile.TemporaryDirectory(prefix="anlass-templates-") as name:
        folder = Path(name).resolve()
        for file, text in files.items():
            path = folder / file
            if not path.resolve().is_relative_to(folder):
                raise DefinitionError(f"{file} leads out of the project.")
            if file.startswith("templates/"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
        return TemplateSet.load(folder / "templates", zone=zone)
