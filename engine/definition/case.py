"""Compiled tests: what the test runner plays and what it expects.

Invariant: every time in here can be resolved; which step and workflow ids exist has been checked.
"""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from engine.core.time.schedule import ZERO, Duration, add, parse_duration, parse_when, resolve_local
from engine.definition.documents.case import (
    CONSENT,
    EXPECTED,
    HAPPENS,
    CaseDocument,
    ExpectDocument,
    HappensDocument,
    TestsDocument,
)
from engine.definition.site import Path, Site


class Moment(msgspec.Struct, frozen=True):
    """A duration after the start, a local time, or an instant: exactly one is set."""

    offset: Duration | None = None
    local: dt.datetime | None = None
    instant_ms: int | None = None

    def at_ms(self, start_ms: int, zone: ZoneInfo) -> int:
        """The instant, for a case that starts then, with a customer in that zone."""
        if self.offset is not None:
            return add(start_ms, self.offset, zone)
        if self.local is not None:
            return resolve_local(self.local, zone)
        assert self.instant_ms is not None
        return self.instant_ms


class Range(msgspec.Struct, frozen=True):
    """From the first to the last moment, both included."""

    first: Moment
    last: Moment


class Happens(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the timeline. `kind` is one of `event identify consent request confirm withdraw outcome enroll winner`.

    `name` is the event, the outcome, the variant that won or the workflow ("" = the one tested); `values` the properties, the
    traits or {purpose: [channel, …]}; `of` the step id of an outcome or a test; `time` when it happened, if that is not `at`.
    """

    at: Moment
    kind: str
    line: int
    name: str = ""
    values: dict[str, Any] = {}
    id: str = ""
    of: str = ""
    time: Moment | None = None


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `expect`. `kind` is a kind of decision; `name` the workflow, step, reason, event, title or segment.

    A step, reason, event or title of another workflow is written `WORKFLOW/NAME`.
    `values` are the traits of `updated`. Of the other fields, those that are set are compared.
    """

    kind: str
    line: int
    name: str = ""
    at: Range | None = None
    values: dict[str, Any] = {}
    channel: str | None = None
    template: str | None = None
    answer: str = "queued"
    reason: str | None = None
    until: Range | None = None
    variant: str | None = None
    subject: str | None = None
    contains: tuple[str, ...] = ()
    locale: str | None = None

    @property
    def words(self) -> bool:
        """Whether anything is asked of the rendered message."""
        return self.subject is not None or bool(self.contains) or self.locale is not None


class TestCase(msgspec.Struct, frozen=True, kw_only=True):
    """One case. `until` None: until nothing is pending, at most a year."""

    __test__ = False

    name: str
    line: int
    customer: str
    traits: dict[str, Any]
    consent: dict[str, list[str]]
    start: Moment
    timeline: tuple[Happens, ...]
    expect: tuple[Expected, ...]
    until: Moment | None = None
    partial: bool = False
    others: tuple[str, ...] = ()
    """Workflows that act beside the one that is tested, and for which `expect` is complete as well."""


class TestFile(msgspec.Struct, frozen=True):
    """The tests of one workflow."""

    __test__ = False

    file: str
    workflow: str
    cases: tuple[TestCase, ...]


def split_name(name: str) -> tuple[str, str]:
    """`WORKFLOW/NAME` as (workflow, name); without a workflow as ("", name)."""
    workflow, slash, rest = name.partition("/")
    return (workflow, rest) if slash and workflow and rest else ("", name)


def compile_tests(document: TestsDocument, site: Site) -> TestFile:
    """The compiled tests; mistakes are added to the site's problems."""
    cases = tuple(_case(case, ("cases", index), site) for index, case in enumerate(document.cases))
    return TestFile(site.source.file, document.tests, cases)


def _case(case: CaseDocument, path: Path, site: Site) -> TestCase:
    start = _moment(case.start, (*path, "start"), site)
    if start.offset is not None:
        site.error((*path, "start"), "time", message="`start` is an instant, such as 2026-03-27T10:00+01:00")
    return TestCase(
        name=case.name,
        line=site.spot(path).line,
        customer=case.customer.id,
        traits=case.customer.traits,
        consent=case.customer.consent,
        start=start,
        timeline=tuple(_happens(line, (*path, "timeline", index), site) for index, line in enumerate(case.timeline)),
        expect=tuple(_expected(line, (*path, "expect", index), site) for index, line in enumerate(case.expect)),
        until=None if case.until is None else _moment(case.until, (*path, "until"), site),
        partial=case.partial,
        others=tuple(case.with_),
    )


def _happens(line: HappensDocument, path: Path, site: Site) -> Happens:
    kind = next(kind for kind in HAPPENS if kind in line.model_fields_set)
    values: dict[str, Any] = line.properties
    name = line.event or line.outcome or line.winner or ""
    if line.enroll is not None:
        name, values = line.enroll.workflow or "", line.enroll.properties
    elif kind in ("identify", *CONSENT):
        values = getattr(line, kind)
    return Happens(
        at=_moment(line.at, (*path, "at"), site),
        kind=kind,
        line=site.spot(path).line,
        name=name,
        values=values,
        id=line.id or "",
        of=line.of or "",
        time=None if line.time is None else _moment(line.time, (*path, "time"), site, signed=True),
    )


def _expected(line: ExpectDocument, path: Path, site: Site) -> Expected:
    kind = next(kind for kind in EXPECTED if kind in line.model_fields_set)
    subject = getattr(line, kind)
    return Expected(
        kind=kind,
        line=site.spot(path).line,
        name=subject if isinstance(subject, str) else "",
        at=_range(line.at, (*path, "at"), site),
        values=subject if isinstance(subject, dict) else {},
        channel=line.channel,
        template=line.template,
        answer=line.answer,
        reason=line.reason,
        until=_range(line.until, (*path, "until"), site),
        variant=line.variant,
        subject=line.subject,
        contains=(line.contains,) if isinstance(line.contains, str) else tuple(line.contains or ()),
        locale=line.locale,
    )


def _range(text: str | None, path: Path, site: Site) -> Range | None:
    if text is None:
        return None
    first, dots, last = text.partition("..")
    begin = _moment(first.strip(), path, site)
    return Range(begin, _moment(last.strip(), path, site) if dots else begin)


def _moment(text: str, path: Path, site: Site, *, signed: bool = False) -> Moment:
    try:
        offset = parse_duration(text)
    except ValueError:
        offset = None
    if offset is not None:
        if offset.span_ms < 0 and not signed:
            site.error(path, "time", message=f"`{text}` lies before the start")
        return Moment(offset=offset)
    try:
        when = parse_when(text)
    except ValueError:
        when = None
    if when is None or (when.local is None and when.instant_ms is None):
        site.error(
            path,
            "time",
            message=f"`{text}` is not a time; write a duration after the start, such as 30m, or 2026-03-27T10:00+01:00",
        )
        return Moment(offset=ZERO)
    return Moment(local=when.local, instant_ms=when.instant_ms)
