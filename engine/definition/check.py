"""Checks across the documents of a project: whatever one names, another has to define.

Invariant: a project that passes has no dangling name: step ids, segments, workflows, purposes, channels, templates and the
subjects of tests all exist. Problems are about what was written, at the place where it was written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Protocol

from engine.core.catalog import Segment
from engine.core.channel import CHANNELS, TEMPLATE_OPTIONAL
from engine.core.journey import workflow as core
from engine.core.policy import Policy
from engine.definition.assemble import asked_segments
from engine.definition.case import Expected, Happens, TestFile, split_name
from engine.definition.circles import find_circles
from engine.definition.compile import Compiled
from engine.definition.documents.case import CONSENT
from engine.definition.problem import Problems, nearest
from engine.definition.site import Path, Site

_UNNAMED = "steps."
"""How the default id of a step begins."""
_ABOUT_WORKFLOWS = ("entered", "not_entered", "completed", "failed")
_ABOUT_SEGMENTS = ("segment_entered", "segment_left")


class Templates(Protocol):
    """What is asked about templates."""

    def has(self, channel: str, name: str) -> bool:
        """Whether there is a template of that name for that channel (or one that the channel falls back to)."""


class ProjectDraft:
    """What the files of a project say, while it is put together."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.workflows: dict[str, Compiled] = {}
        self.segment_names: set[str] = set()
        self.segments: dict[str, Segment] = {}
        self.segment_sites: dict[str, Site] = {}
        self.policy: Policy | None = None
        self.policy_site: Site | None = None
        self.tests: list[tuple[TestFile, Site]] = []
        self.written: list[Compiled] = []
        """All workflows, also those whose id another one has."""
        self.lost: set[str] = set()
        """Words in what could not be read or is wrong: what they name may be defined there."""


def check_project(
    project: ProjectDraft,
    problems: Problems,
    *,
    templates: Templates | None,
    channels: Collection[str] | None = CHANNELS,
) -> None:
    """Adds what is wrong to the problems. `channels` are those that exist; None: who published it knew them."""
    assert project.policy is not None
    checker = _Checker(project, project.policy, templates=templates, channels=channels)
    for compiled in project.written:
        checker.workflow(compiled)
        if not compiled.site.problems.failed_in(compiled.site.source.file):
            _unreachable(compiled, problems)
    checker.segments()
    whole = {name: each for name, each in project.workflows.items() if not problems.failed_in(each.site.source.file)}
    find_circles(whole, project.segments, problems)
    if project.policy_site is not None:
        checker.policy_document(project.policy_site)
    for tests, site in project.tests:
        checker.tests(tests, site)


class _Checker:
    """Looks names up in one project."""

    def __init__(
        self, project: ProjectDraft, policy: Policy, *, templates: Templates | None, channels: Collection[str] | None
    ) -> None:
        self._project = project
        self._policy = policy
        self._templates = templates
        self._channels = channels

    def _known(self, site: Site, path: Path, name: str, *, kind: str, names: Iterable[str]) -> bool:
        known = list(names)
        if name in known or (kind != "channel" and name in self._project.lost):
            return True
        mend = nearest(name, known) or (f"; no {kind} is defined" if not known else "")
        site.error(path, f"unknown-{kind}", message=f"the {kind} `{name}` is not defined{mend}")
        return False

    def _segment(self, site: Site, path: Path, name: str) -> None:
        self._known(site, path, name, kind="segment", names=self._project.segment_names)

    def _purpose(self, site: Site, path: Path, name: str) -> None:
        self._known(site, path, name, kind="purpose", names=self._policy.purposes)

    def _channel(self, site: Site, path: Path, name: str) -> bool:
        if self._channels is None:
            return True
        return self._known(site, path, name, kind="channel", names=self._channels)

    def _workflow_name(self, site: Site, path: Path, name: str) -> bool:
        return self._known(site, path, name, kind="workflow", names=self._project.names)

    # ---------------------------------------------------------------------------------------------------- workflows

    def workflow(self, compiled: Compiled) -> None:
        """One workflow's names."""
        workflow, site = compiled.workflow, compiled.site
        stem = PurePosixPath(site.source.file).stem
        if workflow.name != stem:
            site.error(
                ("workflow",), "file-name", message=f"the id `{workflow.name}` has to equal the file's name, `{stem}`"
            )
        self._purpose(site, ("purpose",), workflow.purpose)
        self._asked(site)
        for match, path in matches_of(compiled):
            if isinstance(match, core.SegmentMatch):
                self._segment(site, (*path, "segment"), match.name)
            elif isinstance(match, core.OutcomeMatch) and match.of:
                self._send_step(site, (*path, "of"), match.of, compiled)
        if workflow.trigger.schedule is not None and workflow.trigger.schedule.segment:
            self._segment(site, ("trigger", "schedule", "segment"), workflow.trigger.schedule.segment)
        for step, op in workflow.ops.items():
            path = compiled.places[step]
            if isinstance(op, core.Send):
                self._send(site, (*path, "send"), op, inherited=workflow.purpose)
            elif isinstance(op, core.EnterWorkflow):
                self._workflow_name(site, (*path, "enroll"), op.workflow)

    def _asked(self, site: Site) -> None:
        """The segments that a file's expressions ask about."""
        for expression, path in site.expressions:
            for name in expression.segments:
                if name != "*":
                    self._segment(site, path, name)

    def _send_step(self, site: Site, path: Path, id: str, compiled: Compiled) -> None:
        ops = compiled.workflow.ops
        sends = [op.id for op in ops.values() if isinstance(op, core.Send)]
        if id not in sends and self._in_doubt(id, [compiled]):
            return
        if id in ops and id not in sends:
            site.error(path, "unknown-step", message=f"`{id}` is not a send; only a message has outcomes")
        else:
            self._known(site, path, id, kind="step", names=sends)

    def _in_doubt(self, id: str, written: Iterable[Compiled]) -> bool:
        """Whether mistakes elsewhere may be the only reason that there is no send of that id."""
        for compiled in written:
            source, place = compiled.site.source, compiled.places.get(id)
            if source.mended and (id in source.lost or id.startswith(_UNNAMED) or (place and source.altered(place))):
                return True
        return id.startswith(_UNNAMED) and bool(self._project.lost)

    def _send(self, site: Site, path: Path, send: core.Send, *, inherited: str) -> None:
        if send.purpose != inherited:
            self._purpose(site, (*path, "purpose"), send.purpose)
        for index, channel in enumerate(send.channels):
            here: Path = (*path, "channel", index)
            if not self._channel(site, here, channel) or self._templates is None or channel in TEMPLATE_OPTIONAL:
                continue
            if not self._templates.has(channel, send.template):
                message = (
                    f"there is no template `{send.template}` for {channel}; write templates/{channel}/{send.template}"
                )
                site.error((*path, "template"), "unknown-template", message=message)
        if len(set(send.channels)) < len(send.channels):
            site.error((*path, "channel"), "duplicate-channel", message="a channel appears twice in this list")
        if send.fallback_on and len(send.channels) == 1 and not site.source.mended:
            message = "`fallback_on` has no channel to fall back to; list several in `channel`"
            site.warning((*path, "fallback_on"), "no-fallback", message=message)

    # ------------------------------------------------------------------------------------------- segments and policy

    def segments(self) -> None:
        """Names in segments, and segments that ask about themselves."""
        segments, sites = self._project.segments, self._project.segment_sites
        for site in {id(site): site for site in sites.values()}.values():
            self._asked(site)
        settled: set[str] = set()
        waiting = {name: asked_segments(segment, segments) for name, segment in segments.items()}
        while ready := [name for name, asked in waiting.items() if asked <= settled]:
            settled.update(ready)
            for name in ready:
                del waiting[name]
        for name in sorted(waiting):
            asked = ", ".join(f"`{other}`" for other in sorted(waiting[name] - settled))
            message = f"the segment `{name}` asks about {asked}, which lead back to it; break the circle"
            sites[name].error(("segments", name, "where"), "segment-cycle", message=message)

    def policy_document(self, site: Site) -> None:
        """Names in the policy."""
        policy = self._policy
        for name, purpose in policy.purposes.items():
            for index, channel in enumerate(purpose.double):
                self._channel(site, ("purposes", name, "double", index), channel)
        for index, cap in enumerate(policy.frequency):
            if cap.purpose:
                self._purpose(site, ("frequency", index, "purpose"), cap.purpose)
            if cap.channel:
                self._channel(site, ("frequency", index, "channel"), cap.channel)
        for index, rule in enumerate(policy.quiet):
            for at, channel in enumerate(rule.channels):
                self._channel(site, ("quiet_hours", index, "channels", at), channel)
            for at, name in enumerate(rule.purposes):
                self._purpose(site, ("quiet_hours", index, "purposes", at), name)
        if "unknown" in site.source.data:
            for name in policy.unknown:
                self._purpose(site, ("unknown", name), name)

    # -------------------------------------------------------------------------------------------------------- tests

    def tests(self, tests: TestFile, site: Site) -> None:
        """Names in tests."""
        self._workflow_name(site, ("tests",), tests.workflow)
        tested = self._project.workflows.get(tests.workflow)
        for index, case in enumerate(tests.cases):
            path: Path = ("cases", index)
            self._consent(site, (*path, "customer", "consent"), case.consent)
            for at, name in enumerate(case.others):
                self._workflow_name(site, (*path, "with", at), name)
            for at, line in enumerate(case.timeline):
                here = (*path, "timeline", at)
                if line.kind in CONSENT:
                    self._consent(site, (*here, line.kind), line.values)
                elif line.kind == "enroll" and line.name:
                    self._workflow_name(site, (*here, "enroll", "workflow"), line.name)
                elif line.kind in ("outcome", "winner"):
                    self._happening(site, here, line, tested)
            for at, expected in enumerate(case.expect):
                self._expected(site, (*path, "expect", at), expected, tested)

    def _happening(self, site: Site, path: Path, line: Happens, tested: Compiled | None) -> None:
        """What happens to a message of the workflow that is tested, or of `WORKFLOW/STEP`."""
        workflow, step = split_name(line.of)
        if workflow:
            if not self._workflow_name(site, (*path, "of"), workflow):
                return
            tested = self._project.workflows.get(workflow)
        if tested is None:
            return
        self._send_step(site, (*path, "of"), step, tested)
        if line.kind == "winner":
            self._variant(site, (*path, "winner"), line.name, op=tested.workflow.ops.get(step))

    def _variant(self, site: Site, path: Path, name: str, *, op: core.Op | None) -> None:
        if isinstance(op, core.Send):
            self._known(site, path, name, kind="variant", names=() if op.ab is None else op.ab.subjects)

    def _consent(self, site: Site, path: Path, consent: dict[str, list[str]]) -> None:
        for purpose, channels in consent.items():
            self._purpose(site, (*path, purpose), purpose)
            for index, channel in enumerate(channels):
                self._channel(site, (*path, purpose, index), channel)

    def _expected(self, site: Site, path: Path, expected: Expected, tested: Compiled | None) -> None:
        here = (*path, expected.kind)
        if expected.channel is not None:
            self._channel(site, (*path, "channel"), expected.channel)
        if expected.kind in _ABOUT_WORKFLOWS:
            self._workflow_name(site, here, expected.name)
        elif expected.kind in _ABOUT_SEGMENTS:
            self._segment(site, here, expected.name)
        elif expected.kind in ("send", "exited") and split_name(expected.name)[0]:
            self._of_another(site, here, expected, tested)
        elif expected.kind == "send":
            sends = [
                op.id
                for compiled in self._project.written
                for op in compiled.workflow.ops.values()
                if isinstance(op, core.Send)
            ]
            if expected.name in sends or not self._in_doubt(expected.name, self._project.written):
                self._known(site, here, expected.name, kind="step", names=sends)

    def _of_another(self, site: Site, path: Path, expected: Expected, tested: Compiled | None) -> None:
        """`WORKFLOW/STEP` and `WORKFLOW/REASON`. A reason may have a `/` of its own."""
        workflow, name = split_name(expected.name)
        if expected.kind == "exited" and tested is not None and expected.name in _reasons(tested):
            return
        if not self._workflow_name(site, path, workflow):
            return
        compiled = self._project.workflows.get(workflow)
        if compiled is None:
            return
        if expected.kind == "send":
            self._send_step(site, path, name, compiled)
        else:
            self._known(site, path, name, kind="reason", names=_reasons(compiled))


def _reasons(compiled: Compiled) -> list[str]:
    """Why a run of the workflow can end before its end."""
    workflow = compiled.workflow
    exits = [op.reason for op in workflow.ops.values() if isinstance(op, core.Exit)]
    return [*exits, *(rule.reason for rule in workflow.exits), "merged", "superseded"]


def matches_of(compiled: Compiled) -> Iterator[tuple[core.Match, Path]]:
    """What the workflow reacts to, and where each was written."""
    workflow = compiled.workflow
    listed = "any" in compiled.site.source.data["trigger"]
    for index, match in enumerate(workflow.trigger.matches):
        yield match, ("trigger", "any", index) if listed else ("trigger",)
    for index, rule in enumerate(workflow.exits):
        yield rule.match, ("exit", index)
    if workflow.goal is not None:
        yield workflow.goal.match, ("goal",)
    for step, op in workflow.ops.items():
        if isinstance(op, core.WaitFor):
            # A `wait_for` without `any` has one arm; the step "any" of its path is passed over then.
            for index, arm in enumerate(op.arms):
                yield arm.match, (*compiled.places[step], "wait_for", "any", index)


def _unreachable(compiled: Compiled, problems: Problems) -> None:
    """Warns of steps that no run can come to: of the first of each stretch."""
    ops = compiled.workflow.ops
    reached: set[str] = set()
    waiting = [compiled.workflow.first]
    while waiting:
        step = waiting.pop()
        if step and step not in reached:
            reached.add(step)
            waiting += _successors(ops[step])
    lost = [step for step in ops if step not in reached]
    led_to = {after for step in lost for after in _successors(ops[step])}
    for step in lost:
        if step not in led_to:
            spot = compiled.site.spot(compiled.places[step])
            problems.warning(
                spot, "unreachable", message=f"no run can come to the step `{step}`: what comes before it always ends"
            )


def _successors(op: core.Op) -> list[str]:
    after = [op.next] if op.when is not None else []
    match op:
        case core.WaitFor():
            return [*after, op.otherwise, *(arm.then for arm in op.arms)]
        case core.Branch():
            otherwise = [] if any(arm.condition is None for arm in op.arms) else [op.next]
            return [*after, *otherwise, *(arm.first for arm in op.arms)]
        case core.Split():
            return [*after, *(variant.first for variant in op.variants)]
        case core.Repeat():
            return [op.next, op.body]
        case core.Exit():
            return after
        case _:
            return [op.next]
