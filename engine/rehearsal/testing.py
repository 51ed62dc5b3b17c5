"""Runs the `*.test.yaml` of a project: each case in virtual time, and what happened held against what was expected.

Invariant: a case plays the workflow it tests and those it enters (or names), with the project's policy and segments; other
workflows cannot disturb it. Its `expect` is complete for entries, sends, exits, completions and failures of that workflow and
of those under `with`.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from engine.clock import from_rfc3339
from engine.core.journey.workflow import EnterWorkflow
from engine.core.record import Consent, Enroll, Event, Identify, Outcome, Record, Winner
from engine.core.time.schedule import add, parse_duration, zone_named, zone_of
from engine.definition.assemble import assemble
from engine.definition.case import split_name
from engine.rehearsal.stage import RehearsalStage, Shown

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from engine.core.catalog import Catalog
    from engine.core.effect import Decision
    from engine.definition.case import Expected, Happens, Range, TestCase, TestFile
    from engine.dispatch.templates.template_set import TemplateSet

COMPLETE = ("entered", "send", "exited", "completed", "failed")
_YEAR = parse_duration("365d")
_ACTIONS = {"consent": "grant", "withdraw": "withdraw", "request": "request", "confirm": "confirm"}
_SUBJECTS = {
    "entered": "workflow", "not_entered": "workflow", "completed": "workflow", "failed": "workflow", "send": "step",
    "exited": "reason", "emitted": "event", "task": "title", "segment_entered": "segment", "segment_left": "segment",
}  # fmt: skip


class CaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one case. It passed when nothing is missing and nothing unexpected happened."""

    file: str
    line: int
    workflow: str
    case: str
    start_ms: int
    zone: str
    decisions: tuple[Decision, ...]
    pairs: tuple[tuple[Expected | None, Decision | None], ...]
    """In order of time: what was expected beside what happened; None where one has no counterpart."""
    notes: tuple[str, ...] = ()
    """Where a message was sent as expected and reads differently."""

    @property
    def passed(self) -> bool:
        """Whether every line has its counterpart, and every message its words."""
        return not self.notes and all(expected is not None and actual is not None for expected, actual in self.pairs)


def run_tests(catalog: Catalog, files: Sequence[TestFile], *, templates: TemplateSet | None) -> Iterator[CaseResult]:
    """Runs every case of every file, in order."""
    for file in files:
        for case in file.cases:
            yield run_case(catalog, file, case, templates=templates)


def run_case(catalog: Catalog, file: TestFile, case: TestCase, *, templates: TemplateSet | None) -> CaseResult:
    """Plays one case until nothing is pending, at most until its `until` (a year by default)."""
    project_zone = zone_named(catalog.policy.zone)
    zone = zone_of(case.traits, project_zone)
    start_ms = case.start.at_ms(0, project_zone)
    decisions: list[Decision] = []
    stage = RehearsalStage(
        _isolated(catalog, file.workflow, case), start_ms=start_ms, templates=templates, on_decision=decisions.append
    )
    until_ms = add(start_ms, _YEAR, zone) if case.until is None else case.until.at_ms(start_ms, zone)
    records = sorted(_records(file.workflow, case, start_ms, zone), key=lambda record: record.at_ms)
    stage.memory.play(record for record in records if record.at_ms <= until_ms)
    stage.memory.run_until(until_ms)
    pairs = _compare(file.workflow, case, decisions, start_ms, zone)
    return CaseResult(
        file=file.file,
        line=case.line,
        workflow=file.workflow,
        case=case.name,
        start_ms=start_ms,
        zone=zone.key,
        decisions=tuple(decisions),
        pairs=pairs,
        notes=tuple(_misread(pairs, stage.rendered)),
    )


def _isolated(catalog: Catalog, workflow: str, case: TestCase) -> Catalog:
    """The catalog with only the workflows that belong to the case."""
    names, found = [workflow, *case.others], set()
    names += [expected.name for expected in case.expect if _SUBJECTS.get(expected.kind) == "workflow"]
    names += [split_name(expected.name)[0] for expected in case.expect if expected.kind in ("send", "exited")]
    names += [line.name for line in case.timeline if line.kind == "enroll"]
    names += [split_name(line.of)[0] for line in case.timeline if line.of]
    while names:
        name = names.pop()
        if name in found or name not in catalog.workflows:
            continue
        found.add(name)
        operations = catalog.workflows[name].ops.values()
        names += [op.workflow for op in operations if isinstance(op, EnterWorkflow)]
    kept = [catalog.workflows[name] for name in sorted(found)]
    isolated = assemble(kept, catalog.segments, policy=catalog.policy)
    return msgspec.structs.replace(isolated, holidays=catalog.holidays)


def _records(workflow: str, case: TestCase, start_ms: int, zone: ZoneInfo) -> Iterator[Record]:
    """The customer's first appearance and the timeline."""
    traits: dict[str, Any] = dict(case.traits)
    if case.consent:
        traits["consent"] = case.consent
    yield Identify(customer=case.customer, at_ms=start_ms, id="start", time_ms=start_ms, traits=traits)
    for index, line in enumerate(case.timeline):
        yield _record(workflow, case.customer, index, line, start_ms=start_ms, zone=zone)


def _record(workflow: str, customer: str, index: int, line: Happens, *, start_ms: int, zone: ZoneInfo) -> Record:
    at_ms = line.at.at_ms(start_ms, zone)
    time_ms = at_ms if line.time is None else line.time.at_ms(start_ms, zone)
    base: dict[str, Any] = {"customer": customer, "at_ms": at_ms, "id": line.id or f"line-{index}"}
    if line.kind == "event":
        return Event(**base, name=line.name, time_ms=time_ms, properties=line.values)
    if line.kind == "identify":
        return Identify(**base, time_ms=time_ms, traits=line.values)
    if line.kind in ("outcome", "winner"):
        other, step = split_name(line.of)
        of: dict[str, Any] = {"workflow": other or workflow, "step": step}
        if line.kind == "outcome":
            return Outcome(**base, time_ms=time_ms, outcome=line.name, **of)
        return Winner(**(base | {"customer": ""}), variant=line.name, **of)
    if line.kind == "enroll":
        return Enroll(**base, workflow=line.name or workflow, properties=line.values)
    return Consent(**base, time_ms=time_ms, action=_ACTIONS[line.kind], purposes=line.values, source="test")


def _compare(
    workflow: str, case: TestCase, decisions: list[Decision], start_ms: int, zone: ZoneInfo
) -> tuple[tuple[Expected | None, Decision | None], ...]:
    """Pairs each expected line with the first decision that fits and is not taken; the rest stands alone."""
    taken: set[int] = set()
    pairs: list[tuple[int, Expected | None, Decision | None]] = []
    for expected in case.expect:
        for index, decision in enumerate(decisions):
            if index not in taken and _fits(workflow, expected, decision, start_ms=start_ms, zone=zone):
                taken.add(index)
                pairs.append((decision.at_ms, expected, decision))
                break
        else:
            at_ms = start_ms if expected.at is None else expected.at.first.at_ms(start_ms, zone)
            pairs.append((at_ms, expected, None))
    missing = {expected.kind for _, expected, actual in pairs if expected is not None and actual is None}
    pairs += [
        (decision.at_ms, None, decision)
        for index, decision in enumerate(decisions)
        if index not in taken and _tells(decision, case, missing, own=decision.workflow in (workflow, *case.others))
    ]
    pairs.sort(key=lambda pair: pair[0])
    return tuple((expected, actual) for _, expected, actual in pairs)


def _tells(decision: Decision, case: TestCase, missing: set[str], *, own: bool) -> bool:
    """Whether a decision that nothing expected is shown: as a mistake, or because it may be what was missed."""
    if decision.kind in missing:
        return True
    return own and decision.kind in COMPLETE and bool(missing or not case.partial)


def _fits(workflow: str, expected: Expected, decision: Decision, *, start_ms: int, zone: ZoneInfo) -> bool:
    """Whether the decision is what was expected."""
    if decision.kind != expected.kind:
        return False
    if not _within(expected.at, decision.at_ms, start_ms, zone):
        return False
    detail = decision.detail
    if expected.kind == "updated":
        updated = detail.get("traits", {})
        return all(name in updated and updated[name] == value for name, value in expected.values.items())
    subject = subject_of(decision)
    own = expected.kind not in ("send", "exited") or decision.workflow == workflow
    if not (own and subject == expected.name) and f"{decision.workflow}/{subject}" != expected.name:
        return False
    if expected.kind == "send" and detail.get("answer") != expected.answer:
        return False
    wanted = {
        "channel": expected.channel,
        "template": expected.template,
        "reason": expected.reason,
        "variant": expected.variant,
    }
    if any(value is not None and detail.get(name) != value for name, value in wanted.items()):
        return False
    until = detail.get("until")
    return expected.until is None or (
        until is not None and _within(expected.until, from_rfc3339(until), start_ms, zone)
    )


def _misread(
    pairs: tuple[tuple[Expected | None, Decision | None], ...], rendered: Mapping[str, Shown]
) -> Iterator[str]:
    """What is not as expected in the messages that were sent as expected."""
    for expected, actual in pairs:
        if expected is None or actual is None or not expected.words:
            continue
        place = f"line {expected.line}: send {expected.name}"
        shown = rendered.get(actual.detail.get("message", ""))
        if shown is None:
            yield f"{place}: nothing was rendered"
            continue
        message = shown.message
        if expected.subject is not None and message.subject != expected.subject:
            yield f"{place}: the subject is {message.subject!r}, not {expected.subject!r}"
        if expected.locale is not None and shown.locale != expected.locale:
            yield f"{place}: the language is {shown.locale}, not {expected.locale}"
        text = _flat(message.subject, message.preheader, message.text, message.html, html.unescape(message.html))
        yield from (
            f"{place}: it does not contain {words!r}" for words in expected.contains if _flat(words) not in text
        )


def _flat(*parts: str) -> str:
    """Line breaks and runs of spaces do not matter, as nobody sees them."""
    return " ".join(" ".join(part.split()) for part in parts)


def subject_of(decision: Decision) -> str:
    """What an `expect` line of this kind names: a workflow, a step, a reason, an event, a title or a segment."""
    field = _SUBJECTS.get(decision.kind, "")
    value = getattr(decision, field, None) or decision.detail.get(field, "")
    return str(value)


def _within(expected: Range | None, at_ms: int, start_ms: int, zone: ZoneInfo) -> bool:
    if expected is None:
        return True
    return expected.first.at_ms(start_ms, zone) <= at_ms <= expected.last.at_ms(start_ms, zone)
