"""A compiled workflow: its steps as a flat table of operations, each naming the one that follows.

Invariant: nothing in here can fail because of YAML; every step id that is named exists. `next` is the id of the following
operation, or "" for the end of the workflow. The last step inside a `then`, `otherwise`, `branch` or `split` goes on with
what follows its parent; the last step inside a `repeat` goes back to the `repeat`.
"""

from __future__ import annotations

import msgspec

from engine.core.expression.condition import Expression
from engine.core.time.schedule import Duration, When, Window

MINUTE_MS = 60_000


class EventMatch(msgspec.Struct, frozen=True):
    """An event by name, with a condition."""

    name: str
    where: Expression | None = None


class OutcomeMatch(msgspec.Struct, frozen=True):
    """An outcome of a message of this enrollment; `of` is the send's step id, "" for any of its messages."""

    outcome: str
    of: str = ""
    where: Expression | None = None


class SegmentMatch(msgspec.Struct, frozen=True):
    """Entering (or leaving) a segment. A `wait_for` is also satisfied at once when the customer is already in it."""

    name: str
    leave: bool = False
    where: Expression | None = None


Match = EventMatch | OutcomeMatch | SegmentMatch


class DateTrigger(msgspec.Struct, frozen=True):
    """The customer's own date, at a local time. `at` is minutes after midnight."""

    trait: str
    at_minutes: int
    offset: Duration | None
    yearly: bool


class ScheduleTrigger(msgspec.Struct, frozen=True):
    """A broadcast: once (`at`) or recurring (`every`), to the members of `segment` ("" = everyone)."""

    at: When | None
    every: When | None
    segment: str
    customer_zone: bool
    spread_ms: int = 0
    """Over how long the customers' own times are spread, after the start."""
    archive: bool = False
    """Whether its issues have a public page."""

    @property
    def when(self) -> When:
        """`at` or `every`, whichever it has."""
        when = self.at or self.every
        assert when is not None, "a schedule has a time"
        return when


class Trigger(msgspec.Struct, frozen=True):
    """Exactly one of its parts is set; a `manual` trigger has none."""

    matches: tuple[EventMatch | SegmentMatch, ...] = ()
    date: DateTrigger | None = None
    schedule: ScheduleTrigger | None = None


class ExitRule(msgspec.Struct, frozen=True):
    """Ends the enrollment as `reason`, in the middle of any wait."""

    match: Match
    reason: str


class Goal(msgspec.Struct, frozen=True):
    """What counts as success, until `within` after the entry (None: while it runs); `value` is measured."""

    match: Match
    within: Duration | None
    value: Expression | None


class Reentry(msgspec.Struct, frozen=True):
    """`never`, `always`, or `after` a time since the last entry."""

    rule: str
    after: Duration | None = None


class _Op(msgspec.Struct, frozen=True, kw_only=True):
    """What every operation has. `when` false: skip it."""

    id: str
    next: str = ""
    when: Expression | None = None


class Wait(_Op, frozen=True, kw_only=True, tag=True):
    """Exactly one of `duration`, `local`, `until`, `window` is set. `offset` and `at_minutes` belong to `until`."""

    duration: Duration | None = None
    restart_on: tuple[EventMatch, ...] = ()
    local: When | None = None
    until: Expression | None = None
    offset: Duration | None = None
    window: Window | None = None
    at_minutes: int | None = None
    """The time of day that `until` gets when it is a date without one."""
    past_next: str | None = None
    """Where a run goes on for which the moment of `until` has passed (`past: skip`); None: with `next`."""


class Arm(msgspec.Struct, frozen=True):
    """One way a `wait_for` can be satisfied, and where it goes on then."""

    match: Match
    then: str


class WaitFor(_Op, frozen=True, kw_only=True, tag=True):
    """Waits for the first arm that matches; after `timeout` goes on with `otherwise`."""

    arms: tuple[Arm, ...]
    timeout: Duration
    otherwise: str


class SubjectTest(msgspec.Struct, frozen=True):
    """An A/B test of a broadcast's subject: `percent` of the customers get the variants, the rest waits for the winner."""

    subjects: tuple[str, ...]
    percent: int
    after: Duration
    by: str
    """The outcome that counts: `opened` or `clicked`."""


class Send(_Op, frozen=True, kw_only=True, tag=True):
    """Decides one message. `channels` in order of preference; `max_age` already holds the workflow's default."""

    channels: tuple[str, ...]
    template: str
    purpose: str
    to: Expression | None = None
    sender: str = ""
    priority: int = 0
    max_age: Duration | None = None
    quiet_hours: str = ""
    """`hold`, `drop` or `ignore`; empty: as the policy says."""
    fallback_on: tuple[str, ...] = ()
    data: tuple[tuple[str, Expression], ...] = ()
    ab: SubjectTest | None = None


class BranchArm(msgspec.Struct, frozen=True):
    """`condition` is None for `else`."""

    condition: Expression | None
    first: str


class Branch(_Op, frozen=True, kw_only=True, tag=True):
    """The first arm that holds; none: goes on with `next`."""

    arms: tuple[BranchArm, ...]


class Variant(msgspec.Struct, frozen=True):
    """One cohort of a split."""

    name: str
    weight: int
    first: str


class Split(_Op, frozen=True, kw_only=True, tag=True):
    """Sticky random cohort by `name` and customer id."""

    name: str
    variants: tuple[Variant, ...]


class Update(_Op, frozen=True, kw_only=True, tag=True):
    """Sets traits."""

    traits: tuple[tuple[str, Expression], ...]


class Emit(_Op, frozen=True, kw_only=True, tag=True):
    """Raises an event of this customer."""

    event: str
    properties: tuple[tuple[str, Expression], ...]


class Task(_Op, frozen=True, kw_only=True, tag=True):
    """A follow-up for a person."""

    title: Expression
    assignee: str = ""
    due: Duration | None = None
    queue: str = ""


class EnterWorkflow(_Op, frozen=True, kw_only=True, tag=True):
    """Enters another workflow."""

    workflow: str


class Repeat(_Op, frozen=True, kw_only=True, tag=True):
    """A bounded loop: `until` is asked before each round, `every` lies between rounds."""

    times: int
    body: str
    every: Duration | None = None
    until: Expression | None = None


class Exit(_Op, frozen=True, kw_only=True, tag=True):
    """Ends the enrollment as `reason`."""

    reason: str


Op = Wait | WaitFor | Send | Branch | Split | Update | Emit | Task | EnterWorkflow | Repeat | Exit


class Workflow(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a workflow. `version` is the hash of its compiled, normalised document (12 hex digits)."""

    name: str
    version: str
    purpose: str
    trigger: Trigger
    first: str
    """Id of the first step; "" for a workflow without steps."""
    ops: dict[str, Op]
    key: Expression | None = None
    reentry: Reentry = Reentry("always")
    holdout_percent: int = 0
    exits: tuple[ExitRule, ...] = ()
    goal: Goal | None = None
    description: str = ""
    versions: str = ""
    """What a deploy does with people on older versions: `pin`, `migrate` or `end`; "": what the deploy says."""
    step_map: dict[str, str] = {}
    """For `migrate`: step id of an older version → where who stands there goes on. Neither is part of the version."""
