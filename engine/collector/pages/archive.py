"""The public archive of newsletters: a list of issues, and each one as it reads for nobody in particular.

Invariant: nothing of any customer can be on these pages: they are made from the template and the workflow alone. Only an issue
that somebody has got is there, so that nobody reads a newsletter before it goes out.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from engine.collector.pages.page import foreign, page
from engine.collector.pages.texts import TEXTS, language
from engine.core.time.schedule import local_datetime, zone_named
from engine.dispatch.templates import archive
from engine.dispatch.templates.template_problem import TemplateError
from engine.errors import ExpressionError, StorageError
from engine.runtimes.base import Query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.clock import Clock
    from engine.collector.intake.segment import Handler
    from engine.core.journey.workflow import Workflow
    from engine.dispatch.templates.render import Rendered
    from engine.runtimes.base import Front

LOOKED_AT = 100
DAY_MS = 86_400_000


class Render(Protocol):
    """The templates in force."""

    def __call__(self, channel: str, name: str, locale: str, *, context: Mapping[str, object]) -> Rendered:
        """The content of one message. Raises TemplateError."""


class ArchivePages:
    """The handlers."""

    def __init__(self, runtime: Front, clock: Clock, *, render: Render) -> None:
        self._runtime = runtime
        self._clock = clock
        self._render = render
        self._first: dict[str, tuple[int, str]] = {}  # workflow → when somebody first got it, and which issue

    def routes(self) -> list[web.RouteDef]:
        """The list and the issues."""
        return [
            web.get("/archive", _for_people(self.index)),
            web.get("/archive/{workflow}/{issue}", _for_people(self.issue)),
        ]

    async def index(self, request: web.Request) -> web.StreamResponse:
        """All issues of all newsletters with an archive, the newest first."""
        lang = _language(request)
        zone = zone_named(self._runtime.catalog.policy.zone)
        found = []
        for workflow in archive.archived(self._runtime.catalog):
            for issue in await self._issues(workflow):
                content = await self._content(workflow, issue, lang)
                if content is not None:
                    found.append((issue.start_ms, issue, content))
        found.sort(key=lambda item: (-item[0], item[1].workflow))
        rows = [
            {
                "path": f"/archive/{issue.workflow}/{issue.name}",
                "day": f"{local_datetime(start_ms, zone):%d.%m.%Y}"
                if lang == "de"
                else f"{local_datetime(start_ms, zone):%Y-%m-%d}",
                "subject": content.subject,
                "preheader": content.preheader,
            }
            for start_ms, issue, content in found[: archive.ISSUES_MAX]
        ]
        return page("archive", lang=lang, texts=TEXTS[lang], rows=rows)

    async def issue(self, request: web.Request) -> web.StreamResponse:
        """One issue, shut in like every message."""
        lang = _language(request)
        name, wanted = request.match_info["workflow"], request.match_info["issue"]
        workflow = next((each for each in archive.archived(self._runtime.catalog) if each.name == name), None)
        issue = None
        if workflow is not None:
            issue = next((each for each in await self._issues(workflow) if each.name == wanted), None)
        content = None if workflow is None or issue is None else await self._content(workflow, issue, lang)
        if content is None:
            texts = TEXTS[lang]
            return page("notice", status=404, lang=lang, title=texts["broken_title"], text=texts["archive_missing"])
        plain = f"<!doctype html><meta charset=utf-8><pre>{html.escape(content.text)}</pre>"
        return foreign(content.html or plain)

    async def _issues(self, workflow: Workflow) -> list[archive.Issue]:
        """Those that somebody has got."""
        first = self._first.get(workflow.name)
        if first is None:
            query = Query(workflow=workflow.name, kinds=("entered",), limit=LOOKED_AT, oldest_first=True)
            lines = [line for _, line in await self._runtime.decisions(query) if line.detail.get("issue")]
            if not lines:
                return []
            first = self._first[workflow.name] = lines[0].at_ms, lines[0].detail["issue"]
        schedule = workflow.trigger.schedule
        since_ms = first[0] - 2 * DAY_MS - (schedule.spread_ms if schedule is not None else 0)
        catalog, now_ms = self._runtime.catalog, self._clock.now_ms()
        newest = Query(workflow=workflow.name, kinds=("entered",), limit=LOOKED_AT)
        last = max((line.detail.get("issue", "") for _, line in await self._runtime.decisions(newest)), default="")
        found = archive.issues(catalog, workflow, since_ms=since_ms, now_ms=now_ms)
        return [issue for issue in found if first[1] <= issue.name <= last]

    async def _content(self, workflow: Workflow, issue: archive.Issue, lang: str) -> Rendered | None:
        """None when it cannot be rendered for nobody in particular, which `anlass check` tells before a deploy."""
        send = archive.mail_of(workflow)
        if send is None:
            return None
        won = ""
        if send.ab is not None:
            query = Query(workflow=workflow.name, kinds=("winner",), limit=LOOKED_AT)
            lines = (line for _, line in await self._runtime.decisions(query) if line.detail["issue"] == issue.name)
            won = next((line.detail["variant"] for line in lines if line.step == send.id), "")
        try:
            message = archive.for_nobody(self._runtime.catalog, workflow, send, issue=issue, won=won)
            return self._render(message.channel, message.template, lang, context=archive.context_of(message))
        except (TemplateError, ExpressionError):
            return None


def _language(request: web.Request) -> str:
    return language(request.headers.get("Accept-Language", ""))


def _for_people(handler: Handler) -> Handler:
    async def friendly(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except StorageError:
            texts = TEXTS[_language(request)]
            return page(
                "notice", status=503, lang=_language(request), title=texts["later_title"], text=texts["archive_later"]
            )

    return friendly
