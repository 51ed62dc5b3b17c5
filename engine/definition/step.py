"""Steps to a flat table of operations.

Invariant: each operation's `next` is the id of what follows it, also across the end of a `then`, `branch` or `repeat`.
The default id of a step is its path in the document without the verbs: `steps.2.otherwise.0`, `steps.3.any.0.then.1`,
`steps.4.variants.voucher.steps.0`, `steps.5.0.steps.0` (first part of a branch), `steps.5.1.else.0`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypedDict

import msgspec

from engine.core.expression.condition import Expression
from engine.core.journey import workflow as core
from engine.core.time.schedule import Duration, Window, parse_clock, parse_duration, parse_when, parse_window
from engine.definition.documents.workflow import (
    EventDocument,
    MatchDocument,
    StepDocument,
    SubjectTestDocument,
    WaitDocument,
    WaitForDocument,
    WorkflowDocument,
)
from engine.definition.expression.comparison import now_shift
from engine.definition.site import Path, Site, joined

OF_SEGMENT = frozenset({"customer", "enrollment", "now"})
"""What a condition on a segment's change may use: there is no event then."""
_LOCAL_TIME = re.compile(r"\d{1,2}:\d{2}|^\d{4}-", re.ASCII)


class _Common(TypedDict):
    id: str
    next: str
    when: Expression | None


class StepCompiler:
    """Compiles the steps of one workflow into `ops`; `places` says where each was written."""

    def __init__(self, document: WorkflowDocument, site: Site) -> None:
        self.ops: dict[str, core.Op] = {}
        self.places: dict[str, Path] = {}
        self._document = document
        self._site = site

    def sequence(self, steps: Sequence[StepDocument], path: Path, *, prefix: Path, after: str) -> str:
        """Compiles a list of steps that goes on with `after`; the id of the first of them (`after` when there is none)."""
        ids = [step.id or joined((*prefix, index)) for index, step in enumerate(steps)]
        for index, step in enumerate(steps):
            here = (*path, index)
            if ids[index] in self.places:
                line = self._site.spot(self.places[ids[index]]).line
                spot = (*here, "id") if step.id else here
                self._site.error(
                    spot, "duplicate-id", message=f"a step with the id `{ids[index]}` is already on line {line}"
                )
                while ids[index] in self.places:
                    # Kept under a name that nobody can write, so that what is wrong in it is found as well.
                    ids[index] += " "
            self.places[ids[index]] = here
            common: _Common = {
                "id": ids[index],
                "next": ids[index + 1] if index + 1 < len(ids) else after,
                "when": self._site.condition(step.when, (*here, "when")),
            }
            op = self._step(step, common, here, (*prefix, index))
            if isinstance(op, core.Wait) and isinstance(step.wait, WaitDocument) and step.wait.past == "skip":
                behind = _behind(steps[index + 1 :]) + index + 1
                op = msgspec.structs.replace(op, past_next=ids[behind] if behind < len(ids) else after)
            self.ops[ids[index]] = op
        return ids[0] if ids else after

    def match(self, match: MatchDocument | WaitForDocument, path: Path) -> core.Match:
        """An event, an outcome or a segment's change."""
        where = (*path, "where")
        if match.event is not None:
            return core.EventMatch(match.event, self._site.condition(match.where, where))
        if match.outcome is not None:
            return core.OutcomeMatch(match.outcome, match.of or "", self._site.condition(match.where, where))
        assert match.segment is not None
        condition = self._site.condition(match.where, where, names=OF_SEGMENT)
        return core.SegmentMatch(match.segment, match.on == "leave", condition)

    def _step(self, step: StepDocument, common: _Common, path: Path, prefix: Path) -> core.Op:
        """One operation. The verbs with steps below them are compiled by methods of their own."""
        site = self._site
        if step.wait is not None:
            return self._wait(step.wait, common, (*path, "wait"))
        if step.wait_for is not None:
            return self._wait_for(step.wait_for, common, (*path, "wait_for"), prefix)
        if step.send is not None:
            return self._send(step, common, (*path, "send"))
        if step.branch is not None:
            return self._branch(step, common, (*path, "branch"), prefix)
        if step.split is not None:
            return self._split(step, common, (*path, "split"), prefix)
        if step.update is not None:
            return core.Update(**common, traits=site.values(step.update, (*path, "update")))
        if step.emit is not None:
            properties = site.values(step.emit.properties, (*path, "emit", "properties"))
            return core.Emit(**common, event=step.emit.event, properties=properties)
        if step.task is not None:
            title = site.text(step.task.title, (*path, "task", "title"))
            due = site.maybe_duration(step.task.due, (*path, "task", "due"))
            return core.Task(
                **common, title=title, assignee=step.task.assignee or "", due=due, queue=step.task.queue or ""
            )
        if step.enroll is not None:
            return core.EnterWorkflow(**common, workflow=step.enroll)
        if step.repeat is not None:
            return self._repeat(step, common, (*path, "repeat"), prefix)
        assert step.exit is not None, "a verb without a compiler"
        return core.Exit(**common, reason=step.exit)

    def _wait(self, wait: str | WaitDocument, common: _Common, path: Path) -> core.Wait:
        site = self._site
        if isinstance(wait, str):
            return core.Wait(**common, duration=site.duration(wait, path))
        if wait.for_ is not None:
            restarts = wait.restart_on or []
            listed = isinstance(restarts, list)
            events = restarts if isinstance(restarts, list) else [restarts]
            restart_on = tuple(
                self._event(event, (*path, "restart_on", index) if listed else (*path, "restart_on"))
                for index, event in enumerate(events)
            )
            return core.Wait(**common, duration=site.duration(wait.for_, (*path, "for")), restart_on=restart_on)
        if wait.between is not None:
            between, days = wait.between, wait.days
            window = site.parsed((*path, "between"), Window(), parse=lambda: parse_window(between, days), code="time")
            return core.Wait(**common, window=window)
        assert wait.until is not None
        return self._until(wait, wait.until, common, path)

    def _until(self, wait: WaitDocument, until: str, common: _Common, path: Path) -> core.Wait:
        """A local time such as "tuesday 10:00", else an expression that gives a date or time."""
        site = self._site
        try:
            local = parse_when(until)
        except ValueError:
            if _LOCAL_TIME.search(until):
                return core.Wait(**common, local=site.when(until, (*path, "until")))
            offset = None if wait.offset is None else site.duration(wait.offset, (*path, "offset"), signed=True)
            at, minutes = wait.at, None
            if at is not None:
                minutes = site.parsed((*path, "at"), 0, parse=lambda: parse_clock(at), code="time")
            expression = site.expression(until, (*path, "until"))
            shift = now_shift(until)
            if shift is not None and (shift.span_ms + (offset.span_ms if offset else 0)) <= 0:
                message = f"`{until}` with this offset has always passed, so nobody ever waits here"
                site.error((*path, "offset" if offset else "until"), "never-works", message=message)
            return core.Wait(**common, until=expression, offset=offset, at_minutes=minutes)
        for key in ("offset", "at"):
            if getattr(wait, key) is not None:
                message = f"`{key}` belongs to a date of the customer, not to a local time"
                site.error((*path, key), "only-with", message=message)
        if wait.past == "skip" and local.local is None and local.instant_ms is None:
            message = f"`past: skip` belongs to a moment that can have passed; `{until}` always comes again"
            site.error((*path, "past"), "only-with", message=message)
        return core.Wait(**common, local=local)

    def _event(self, event: EventDocument, path: Path) -> core.EventMatch:
        return core.EventMatch(event.event, self._site.condition(event.where, (*path, "where")))

    def _wait_for(self, wait: WaitForDocument, common: _Common, path: Path, prefix: Path) -> core.WaitFor:
        after = common["next"]
        then = self.sequence(wait.then, (*path, "then"), prefix=(*prefix, "then"), after=after)
        arms: list[core.Arm] = []
        if wait.any is None:
            arms.append(core.Arm(self.match(wait, path), then))
        for index, arm in enumerate(wait.any or ()):
            here = (*path, "any", index)
            first = then
            if arm.then is not None:
                first = self.sequence(arm.then, (*here, "then"), prefix=(*prefix, "any", index, "then"), after=after)
            arms.append(core.Arm(self.match(arm, here), first))
        return core.WaitFor(
            **common,
            arms=tuple(arms),
            timeout=self._site.duration(wait.timeout, (*path, "timeout")),
            otherwise=self.sequence(wait.otherwise, (*path, "otherwise"), prefix=(*prefix, "otherwise"), after=after),
        )

    def _send(self, step: StepDocument, common: _Common, path: Path) -> core.Send:
        send, site = step.send, self._site
        assert send is not None
        max_age = site.maybe_duration(send.max_age, (*path, "max_age"))
        if max_age is None and self._document.max_age is not None:
            # A mistake in the workflow's own `max_age` is reported once, by the workflow's compiler.
            max_age = _quietly(self._document.max_age)
        return core.Send(
            **common,
            channels=tuple([send.channel] if isinstance(send.channel, str) else send.channel),
            template=send.template,
            purpose=send.purpose or self._document.purpose,
            to=site.condition(send.to, (*path, "to")),
            sender=send.sender or "",
            priority=send.priority,
            max_age=max_age,
            quiet_hours=send.quiet_hours if "quiet_hours" in send.model_fields_set else "",
            fallback_on=tuple(send.fallback_on),
            data=site.values(send.data, (*path, "data")),
            ab=None if send.ab is None else self._subject_test(send.ab, max_age, (*path, "ab")),
        )

    def _subject_test(self, test: SubjectTestDocument, max_age: Duration | None, path: Path) -> core.SubjectTest:
        """Everything about it that can be said without looking at its template."""
        site, percent = self._site, int(test.test.removesuffix("%"))
        schedule = self._document.trigger.schedule
        if schedule is None:
            message = (
                "`ab` belongs to a broadcast (`trigger: schedule`); elsewhere a `split` has a cohort for each subject"
            )
            site.error(path, "only-with", message=message)
        elif schedule.zone == "customer":
            message = "`ab` needs one clock for all, or the first zone alone would choose; write `zone: project`"
            site.error(path, "only-with", message=message)
        if not 1 <= percent <= 100:  # noqa: PLR2004 - percent
            site.error((*path, "test"), "wrong-value", message=f"`{test.test}` is not a share; write 1% to 100%")
            percent = 100
        if len(set(test.subjects)) < len(test.subjects):
            site.error((*path, "subjects"), "duplicate-variant", message="a variant appears twice in this list")
        after = site.duration(test.after, (*path, "after"))
        spread = None if schedule is None or schedule.spread is None else _quietly(schedule.spread)
        if spread is not None and after.span_ms <= spread.span_ms:
            message = (
                f"the winner is chosen after {after}, while the broadcast is still spread over {spread}; wait longer"
            )
            site.error((*path, "after"), "wrong-value", message=message)
        if max_age is not None and after.span_ms >= max_age.span_ms:
            message = f"who waits for the winner for {after} would be too late: `max_age` is {max_age}"
            site.error((*path, "after"), "wrong-value", message=message)
        return core.SubjectTest(tuple(test.subjects), percent, after, test.by)

    def _branch(self, step: StepDocument, common: _Common, path: Path, prefix: Path) -> core.Branch:
        assert step.branch is not None
        arms = []
        for index, arm in enumerate(step.branch):
            here = (*path, index)
            key = "steps" if arm.otherwise is None else "else"
            steps = arm.otherwise if arm.otherwise is not None else arm.steps
            first = self.sequence(steps or [], (*here, key), prefix=(*prefix, index, key), after=common["next"])
            arms.append(core.BranchArm(self._site.condition(arm.condition, (*here, "if")), first))
            if arm.otherwise is not None and index + 1 < len(step.branch):
                self._site.error(here, "else-last", message="`else` has to be the last part of its branch")
        return core.Branch(**common, arms=tuple(arms))

    def _split(self, step: StepDocument, common: _Common, path: Path, prefix: Path) -> core.Split:
        split = step.split
        assert split is not None
        if not any(variant.weight for variant in split.variants.values()) and not self._site.source.mended:
            self._site.error(
                (*path, "variants"), "weights", message="the weights of a split have to add up to more than 0"
            )
        variants = []
        for name, variant in split.variants.items():
            below: Path = ("variants", name, "steps")
            first = self.sequence(variant.steps, (*path, *below), prefix=(*prefix, *below), after=common["next"])
            variants.append(core.Variant(name, variant.weight, first))
        return core.Split(**common, name=split.name, variants=tuple(variants))

    def _repeat(self, step: StepDocument, common: _Common, path: Path, prefix: Path) -> core.Repeat:
        repeat = step.repeat
        assert repeat is not None
        return core.Repeat(
            **common,
            times=repeat.times,
            body=self.sequence(repeat.steps, (*path, "steps"), prefix=(*prefix, "steps"), after=common["id"]),
            every=self._site.maybe_duration(repeat.every, (*path, "every")),
            until=self._site.condition(repeat.until, (*path, "until")),
        )


def _behind(steps: Sequence[StepDocument]) -> int:
    """How many of the steps behind a wait hang on its moment: those up to the next wait.

    Waits that follow it directly (for the opening hours, say) only refine the moment, unless they name one of their own.
    """
    for index, step in enumerate(steps):
        if step.wait_for is not None:
            return index
        if step.wait is not None:
            refines = all(each.wait is not None for each in steps[:index]) and not _own_moment(step.wait)
            if not refines:
                return index
    return len(steps)


def _own_moment(wait: str | WaitDocument) -> bool:
    """Whether it is a moment by itself, and not one that counts from the step before."""
    if isinstance(wait, str) or wait.until is None:
        return False
    try:
        when = parse_when(wait.until)
    except ValueError:
        return True
    return when.local is not None or when.instant_ms is not None


def _quietly(text: str) -> Duration | None:
    try:
        return parse_duration(text)
    except ValueError:
        return None
