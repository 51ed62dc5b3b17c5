"""`anlass explain`: why a customer did, or did not, or would, get what a workflow sends; each condition with its value.

Invariant: pure. The evaluator is asked with copies, nothing is written, and what cannot be known from here is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from engine.core import broadcast, quiet
from engine.core.consent import address_of, permission
from engine.core.effect import Decision, as_line
from engine.core.enrollment import AT_TRIGGER, Cause, Enrollment
from engine.core.entry import next_due
from engine.core.evaluate import evaluate
from engine.core.message import Message
from engine.core.record import Event
from engine.core.run import describe
from engine.core.schedule import rfc3339
from engine.core.turn import Turn
from engine.core.workflow import Branch, EventMatch, Match, Repeat, SegmentMatch, Send, Wait, WaitFor
from engine.definition.parts import Part, parts_of
from engine.errors import ExpressionError

if TYPE_CHECKING:
    from engine.core.catalog import Catalog
    from engine.core.condition import Expression
    from engine.core.customer import CustomerState
    from engine.core.workflow import Op, Workflow

TRIED_ID = "explain"
VALUE_CHARS_MAX = 120

Refusal = Callable[[Message], str]
"""Why a message may not leave because of its address (`engine.core.objection.refusal`, and since when), or ""."""


class Finding(msgspec.Struct, frozen=True):
    """One line. `holds` is yes, no, or None where the line is not a question; `depth` indents it below what it belongs to."""

    section: str
    text: str
    holds: bool | None = None
    value: str = ""
    depth: int = 0


class Explained(msgspec.Struct, frozen=True):
    """All lines in the order of the evaluator's work, and the answer in one sentence."""

    answer: str
    findings: tuple[Finding, ...]


def explain(
    catalog: Catalog,
    state: CustomerState,
    workflow: Workflow,
    *,
    events: Sequence[Event],
    now_ms: int,
    refusal: Refusal = lambda _: "",
) -> Explained:
    """`events` are the newest ones of the customer, newest first; `refusal` knows the suppressed addresses."""
    return _Explainer(catalog, state, workflow, events=events, now_ms=now_ms).explained(refusal)


class _Explainer:
    def __init__(
        self, catalog: Catalog, state: CustomerState, workflow: Workflow, *, events: Sequence[Event], now_ms: int
    ) -> None:
        self._catalog = catalog
        self._state = state
        self._workflow = workflow
        self._events = events
        self._now_ms = now_ms
        self._turn = Turn(catalog, state, Event(customer=state.id, at_ms=now_ms, id=TRIED_ID, name="", time_ms=now_ms))
        self._found: list[Finding] = []
        self._runs = [run for run in state.enrollments if run.workflow == workflow.name]
        self._unsent: list[str] = []

    def explained(self, refusal: Refusal) -> Explained:
        answer = self._entry()
        self._so_far()
        for run in self._runs:
            self._run(run)
        self._steps(refusal)
        if self._unsent:
            answer += f" What would not be sent now: {'; '.join(self._unsent)}."
        return Explained(answer, tuple(self._found))

    def _say(self, section: str, text: str, *, holds: bool | None = None, value: object = "", depth: int = 0) -> None:
        shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if value is None:
            shown = "missing"
        if len(shown) > VALUE_CHARS_MAX:
            shown = shown[: VALUE_CHARS_MAX - 1] + "…"
        self._found.append(Finding(section, text, holds, shown, depth))

    # ------------------------------------------------------------------------------------------------------- entry

    def _entry(self) -> str:
        """What may enter the customer, and what would come of it now; returns the answer in one sentence."""
        name, trigger = self._workflow.name, self._workflow.trigger
        paused = name in self._catalog.paused
        self._say("entry", f"{name} is in force and not paused", holds=not paused)
        if self._catalog.sandbox:
            self._say("entry", "the project is a sandbox: nothing leaves", holds=False)
        for match in trigger.matches:
            if isinstance(match, EventMatch):
                self._event_trigger(match)
            else:
                self._segment_trigger(match)
        if trigger.date is not None or trigger.schedule is not None:
            self._timed_trigger()
        if not trigger.matches and trigger.date is None and trigger.schedule is None:
            self._say("entry", "it is entered by hand, by the API or by another workflow only")
        return self._answer(paused=paused)

    def _event_trigger(self, match: EventMatch) -> None:
        newest = next((event for event in self._events if event.name == match.name), None)
        if newest is None:
            self._say(
                "entry", f"event {match.name!r}: none among the {len(self._events)} newest records of events",
                holds=False,
            )  # fmt: skip
            if match.where is not None:
                self._say("entry", f"where {match.where.text}", depth=1)
            return
        self._say("entry", f"event {match.name!r}: the newest came {rfc3339(newest.time_ms)}", holds=True)
        self._show(Cause(newest.id, newest.name, newest.time_ms, newest.properties))
        self._condition("entry", match.where, None, depth=1)
        if self._workflow.key is not None:
            self._value("entry", "key", self._workflow.key, None, depth=1)
        for decision in self._tried(newest):
            line = as_line(decision)
            said = " ".join(str(line[part]) for part in ("kind", "step", "answer", "reason", "until") if line.get(part))
            keeps_out = decision.kind in ("not_entered", "failed")
            self._say("entry", f"if the same event came now: {said}", holds=False if keeps_out else None, depth=1)

    def _segment_trigger(self, match: SegmentMatch) -> None:
        since_ms = self._state.segments.get(match.name)
        where = "not in it" if since_ms is None else f"in it since {rfc3339(since_ms)}"
        self._say("entry", f"segment {match.name!r} {'left' if match.leave else 'entered'}: the customer is {where}")
        segment = self._catalog.segments.get(match.name)
        if segment is not None:
            self._condition("entry", segment.where, None, depth=1)
        self._condition("entry", match.where, None, depth=1)

    def _timed_trigger(self) -> None:
        due_ms = next_due(self._turn, self._workflow)
        what = "its date" if self._workflow.trigger.date is not None else "its schedule"
        comes = "does not come" if due_ms is None else f"comes next {rfc3339(due_ms)}"
        self._say("entry", f"{what} {comes} for this customer", holds=due_ms is not None)
        date, schedule = self._workflow.trigger.date, self._workflow.trigger.schedule
        if date is not None:
            self._say("entry", f"customer.{date.trait}", value=self._state.traits.get(date.trait), depth=1)
        if schedule is not None and schedule.segment:
            self._say(
                "entry", f"in segment {schedule.segment!r}", holds=schedule.segment in self._state.segments, depth=1
            )
            segment = self._catalog.segments.get(schedule.segment)
            if segment is not None:
                self._condition("entry", segment.where, None, depth=2)

    def _tried(self, event: Event) -> list[Decision]:
        """What the evaluator decides about this workflow for the same event, now."""
        tried = msgspec.structs.replace(event, id=f"{TRIED_ID}:{event.id}", at_ms=self._now_ms, time_ms=self._now_ms)
        _, effects = evaluate(self._catalog, self._state, tried)
        return [
            each for each in effects if isinstance(each, Decision) and each.workflow == self._workflow.name
        ]  # fmt: skip

    def _so_far(self) -> None:
        entries = self._state.entries.get(self._workflow.name)
        if entries is None or not entries.count:
            self._say("entry", "entered so far: never")
            return
        rule = self._workflow.reentry
        after = f" after {rule.after.span_ms // 1_000}s" if rule.after is not None else ""
        times = "once" if entries.count == 1 else f"{entries.count} times"
        self._say("entry", f"entered so far: {times}, last {rfc3339(entries.last_ms)}; re-entry: {rule.rule}{after}")

    def _answer(self, *, paused: bool) -> str:
        name, who = self._workflow.name, self._state.id
        waiting = [run for run in self._runs if run.step != AT_TRIGGER and not run.failed]
        failed = [run for run in self._runs if run.failed]
        if failed:
            return f"{who} is parked in {name}: {failed[0].failed}"
        if waiting:
            run = waiting[0]
            due = f" until {rfc3339(run.due_ms)}" if run.due_ms else ""
            return f"{who} is in {name} and waits at {run.step}{due}."
        if paused:
            return f"{name} is paused: nobody enters it."
        no = self._first_no()
        if no is not None:
            value = f" ({no.value})" if no.value else ""
            return f"{who} is not in {name}. What does not hold: {no.text}{value}."
        return f"{who} is not in {name}; nothing that can be seen from here keeps them out."

    def _first_no(self) -> Finding | None:
        """What keeps them out: the first line that does not hold, and of a compound condition the first part that does not."""
        no: Finding | None = None
        for each in self._found:
            if no is not None and each.depth <= no.depth:
                break
            if each.holds is False and (no is not None or each.depth <= 1):
                no = each
        return no

    # -------------------------------------------------------------------------------------------------------- runs

    def _run(self, run: Enrollment) -> None:
        workflow = self._catalog.versions.get((run.workflow, run.version), self._workflow)
        self._say("run", f"{run.id} (version {run.version}) entered {rfc3339(run.entered_ms)}")
        self._show(run.event)
        if run.holdout:
            self._say("run", "belongs to the control group: measured, never messaged", depth=1)
        if run.failed:
            self._say("run", f"failed at {run.step}: {run.failed}; `anlass retry` lets it move again", depth=1)
        elif run.step in workflow.ops:
            self._waits(workflow.ops[run.step], run)
        for rule in workflow.exits:
            self._say("run", f"leaves as {rule.reason!r} at {describe(rule.match)}", depth=1)
        if workflow.goal is not None:
            reached = f"reached {rfc3339(run.goal_ms)}" if run.goal_ms else "not reached yet"
            self._say("run", f"goal, {describe(workflow.goal.match)}: {reached}", depth=1)

    def _waits(self, op: Op, run: Enrollment) -> None:
        until = f" until {rfc3339(run.due_ms)}" if run.due_ms else ""
        self._say("run", f"waits at {op.id}{until}", depth=1)
        matches: Sequence[Match] = ()
        if isinstance(op, WaitFor):
            matches = tuple(arm.match for arm in op.arms)
        elif isinstance(op, Wait):
            matches = op.restart_on
        for match in matches:
            word = "goes on at" if isinstance(op, WaitFor) else "starts again at"
            self._say("run", f"{word} {describe(match)}", depth=2)

    # ------------------------------------------------------------------------------------------------------- steps

    def _steps(self, refusal: Refusal) -> None:
        """Conditions and sends of the version in force, as things are now, seen from the newest run or the newest trigger."""
        run = self._runs[-1] if self._runs else self._imagined()
        if run is None:
            self._turn.show_event(id="", name="", time_ms=0, properties={})
        else:
            self._show(run.event)
        for op in self._workflow.ops.values():
            self._condition("steps", op.when, run, label=f"{op.id}: when")
            if isinstance(op, Branch):
                for arm in op.arms:
                    self._condition("steps", arm.condition, run, label=f"{op.id}: if")
            elif isinstance(op, Repeat):
                self._condition("steps", op.until, run, label=f"{op.id}: until")
            elif isinstance(op, Send):
                self._send(op, refusal)

    def _imagined(self) -> Enrollment | None:
        """The run that the newest trigger event would have begun."""
        names = {match.name for match in self._workflow.trigger.matches if isinstance(match, EventMatch)}
        newest = next((event for event in self._events if event.name in names), None)
        if newest is None:
            return None
        cause = Cause(newest.id, newest.name, newest.time_ms, newest.properties)
        return Enrollment(
            id="",
            workflow=self._workflow.name,
            version=self._workflow.version,
            key="",
            entered_ms=newest.at_ms,
            event=cause,
        )

    def _send(self, op: Send, refusal: Refusal) -> None:
        self._say("steps", f"{op.id}: send {op.template} ({op.purpose})")
        refused: list[str] = []
        for channel in op.channels:
            if op.to is not None:
                self._say("steps", f"{channel}: to {op.to.text}, told when it is sent", depth=1)
                continue
            message = self._message(op, channel)
            allowed = permission(
                self._state, self._catalog.policy, purpose=op.purpose, channel=channel, address=message.address
            )
            no = allowed.reason or refusal(message)
            self._say("steps", f"{channel} may be used", holds=not no, value=no or allowed.basis, depth=1)
            if no:
                refused.append(f"{channel} {no}")
            else:
                self._moment(message)
        if refused and len(refused) == len(op.channels):
            self._unsent.append(f"{op.id} ({', '.join(refused)})")

    def _message(self, op: Send, channel: str) -> Message:
        return Message(
            id=TRIED_ID, customer=self._state.id, enrollment="", workflow=self._workflow.name,
            version=self._workflow.version, step=op.id, channel=channel, address=address_of(self._state, channel),
            template=op.template, purpose=op.purpose, decided_ms=self._now_ms, due_ms=self._now_ms,
            priority=op.priority, quiet_hours=op.quiet_hours,
        )  # fmt: skip

    def _moment(self, message: Message) -> None:
        if broadcast.holds(self._catalog, self._workflow.name):
            self._say("steps", "may leave now", holds=False, value="the newsletter is paused", depth=2)
            return
        verdict = quiet.when_allowed(
            self._catalog, self._state, message, now_ms=self._now_ms, zone=self._turn.zone
        )  # fmt: skip
        later = f"{verdict.why} until {rfc3339(verdict.at_ms)}" if verdict.at_ms > self._now_ms else ""
        self._say(
            "steps", "may leave now by quiet hours and caps", holds=not (verdict.refused or later),
            value=verdict.refused or later, depth=2,
        )  # fmt: skip

    # -------------------------------------------------------------------------------------------------- conditions

    def _show(self, cause: Cause) -> None:
        self._turn.show_cause(cause)

    def _condition(
        self,
        section: str,
        condition: Expression | None,
        run: Enrollment | None,
        *,
        depth: int = 0,
        label: str = "where",
    ) -> None:
        if condition is None:
            return
        self._turn.scope.enrollment = run
        for level, text, holds, value in _asked(parts_of(condition.text), self._turn):
            shown = f"{label} {text}" if not level else text
            self._say(section, shown, holds=holds, value=value, depth=depth + level)

    def _value(self, section: str, label: str, expression: Expression, run: Enrollment | None, *, depth: int) -> None:
        self._turn.scope.enrollment = run
        value, error = _value(expression, self._turn)
        self._say(section, f"{label} {expression.text}", value=error or value, depth=depth)


def _asked(part: Part, turn: Turn, level: int = 0) -> Iterator[tuple[int, str, bool, str]]:
    """The part and what it consists of: depth, text, whether it holds, and the values that were looked at."""
    value, error = _value(part.expression, turn)
    shown = [error] if error else []
    for text, operand in part.operands:
        seen, broken = _value(operand, turn)
        shown.append(f"{text} is {broken or ('missing' if seen is None else msgspec.json.encode(seen).decode())}")
    yield level, part.text, bool(value) and not error, "; ".join(shown)
    for each in part.parts:
        yield from _asked(each, turn, level + 1)


def _value(expression: Expression, turn: Turn) -> tuple[Any, str]:
    try:
        return expression.value(turn.scope), ""
    except ExpressionError as error:
        return None, f"cannot be asked: {error}"
