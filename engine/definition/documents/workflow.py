"""The shape of a workflow document, as written: one pydantic model per mapping.

Invariant: what a model takes is compiled (`compile.py`), and what it does not name is an error. Values that have a syntax of
their own (durations, expressions, local times) are text here; their compiler checks them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
STEPS_MAX = 500
LIST_MAX = 100
SUBJECTS_MAX = 5

Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=NAME_PATTERN)]
"""An id: letters, digits, `-`, `_`, `.`."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""The name of an event, a trait, a reason."""
Prose = Annotated[str, StringConstraints(max_length=4_000)]
Span = Annotated[
    str, StringConstraints(min_length=2, max_length=40), Field(description="A duration: 90s 15m 2h 3d 2w.")
]
Formula = Annotated[
    str, StringConstraints(min_length=1, max_length=2_000), Field(description="An expression: event.total >= 30")
]
Scalar = str | int | float | bool | None
"""Text is an expression, other scalars stand for themselves."""
Values = Annotated[dict[Text, Scalar], Field(max_length=LIST_MAX)]

Outcome = Literal[
    "sent", "failed", "delivered", "deferred", "bounced", "undelivered", "complained", "opened", "clicked", "replied",
    "unsubscribed",
]  # fmt: skip


def _form(value: Any) -> str:
    """Which form of a value with several was written: `text`, `list` or `mapping` (also for what is none of them)."""
    inner = "(list)" if isinstance(value, list | tuple) else "(mapping)"
    return "(text)" if isinstance(value, str | int | float) else inner


Form = Discriminator(_form)


class Misfit(ValueError):
    """Keys that do not go together; `code` is the problem's, `key` the one that it is about, if it is one.

    Without the keys `drop`, or with a key `fill` put in, they would: so the rest can be checked. `lacks`: a key is not there.
    """

    def __init__(
        self, code: str, message: str, *, key: str = "", drop: tuple[str, ...] = (), fill: str = "", lacks: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.key = key
        self.drop = drop
        self.fill = fill
        self.lacks = lacks or bool(fill)


class Document(BaseModel):
    """What all mappings share: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _nothing_empty(cls, value: Any) -> Any:
        """A key without a value is a mistake: `where:` with nothing behind it must not mean "always"."""
        if isinstance(value, dict):
            for key, inner in value.items():
                if inner is None:
                    raise Misfit(
                        "empty-key", f"`{key}` is empty; give it a value or take it out", key=str(key), drop=(str(key),)
                    )
        return value


def exactly_one(model: Document, names: tuple[str, ...], *, what: str) -> str:
    """The one of these keys that was written."""
    keys = {name: (type(model).model_fields[name].alias or name) for name in names}
    given = [name for name in names if name in model.model_fields_set]
    if len(given) != 1:
        listed = ", ".join(keys.values())
        found = " and ".join(keys[name] for name in given) or "none"
        message = f"{what} has exactly one of {listed}; here: {found}"
        fill = "" if given else keys[names[0]]
        raise Misfit("exactly-one", message, drop=tuple(keys[name] for name in given[1:]), fill=fill)
    return given[0]


def only_with(model: Document, key: str, *, other: str) -> None:
    """Refuses `key` without `other`."""
    if key in model.model_fields_set and other not in model.model_fields_set:
        alias = type(model).model_fields[key].alias or key
        raise Misfit("only-with", f"`{alias}` belongs to `{other}`", key=alias, drop=(alias,), lacks=True)


class MatchDocument(Document):
    """Something that happens: an event, an outcome of a message, entering or leaving a segment."""

    event: Text | None = None
    outcome: Outcome | None = None
    segment: Name | None = None
    of: Text | None = Field(
        default=None, description="The id of the send whose outcome it is; default: any of this run."
    )
    on: Literal["enter", "leave"] = "enter"
    where: Formula | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, ("event", "outcome", "segment"), what="what happens")
        only_with(self, "of", other="outcome")
        only_with(self, "on", other="segment")
        return self


class EventDocument(Document):
    """An event, with a condition."""

    event: Text
    where: Formula | None = None


class TriggerMatchDocument(Document):
    """An event or a segment that enters the customer."""

    event: Text | None = None
    segment: Name | None = None
    on: Literal["enter", "leave"] = "enter"
    where: Formula | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, ("event", "segment"), what="each of `any`")
        only_with(self, "on", other="segment")
        return self


class DateDocument(Document):
    """The customer's own date."""

    trait: Text
    at: Text = "09:00"
    offset: Span | None = None
    yearly: bool = False


class ScheduleDocument(Document):
    """A broadcast: once or recurring."""

    at: Text | None = None
    every: Text | None = None
    segment: Name | None = None
    zone: Literal["customer", "project"] = "project"
    spread: Span | None = Field(
        default=None, description="Over how long it is spread after its start: 2h. At most a day."
    )
    archive: bool = Field(default=False, description="Whether its issues have a public page.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, ("at", "every"), what="a schedule")
        return self


class TriggerDocument(Document):
    """When a customer enters: exactly one form."""

    event: Text | None = None
    where: Formula | None = None
    any: Annotated[list[TriggerMatchDocument], Field(min_length=1, max_length=LIST_MAX)] | None = None
    segment: Name | None = None
    on: Literal["enter", "leave"] = "enter"
    date: DateDocument | None = None
    schedule: ScheduleDocument | None = None
    manual: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        form = exactly_one(self, ("event", "any", "segment", "date", "schedule", "manual"), what="a trigger")
        only_with(self, "on", other="segment")
        if form not in ("event", "segment"):
            only_with(self, "where", other="event")
        return self


class ExitRuleDocument(MatchDocument):
    """Ends the run in the middle of any wait."""

    reason: Text | None = Field(default=None, alias="as", description="The reason; default: what happened.")


class GoalDocument(MatchDocument):
    """What counts as success."""

    within: Span | None = None
    value: Formula | None = None


class WaitDocument(Document):
    """Pause: for a time, until a time, or until a window is open."""

    for_: Span | None = Field(default=None, alias="for")
    restart_on: (
        Annotated[
            Annotated[EventDocument, Tag("(mapping)")] | Annotated[list[EventDocument], Tag("(list)")],
            Discriminator(lambda value: "(list)" if isinstance(value, list) else "(mapping)"),
        ]
        | None
    ) = None
    until: Formula | None = None
    offset: Span | None = None
    at: Text | None = Field(default=None, description='The time of day for a date that has none: "10:00".')
    past: Literal["skip", "go"] = Field(default="go", description="What has passed: go on, or skip to the next wait.")
    between: Text | None = None
    days: Annotated[Annotated[Text, Tag("(text)")] | Annotated[list[Text], Tag("(list)")], Form] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, ("for_", "until", "between"), what="a wait")
        if "for_" not in self.model_fields_set and "restart_on" in self.model_fields_set:
            raise Misfit("only-with", "`restart_on` belongs to `for`", drop=("restart_on",), lacks=True)
        for key, other in (("offset", "until"), ("at", "until"), ("past", "until"), ("days", "between")):
            only_with(self, key, other=other)
        return self


class ArmDocument(MatchDocument):
    """One of several things to wait for, and what follows it."""

    then: Annotated[list[StepDocument], Field(max_length=STEPS_MAX)] | None = None


class WaitForDocument(Document):
    """Pause until it happens (`then`) or the timeout passes (`otherwise`)."""

    event: Text | None = None
    outcome: Outcome | None = None
    segment: Name | None = None
    any: Annotated[list[ArmDocument], Field(min_length=1, max_length=LIST_MAX)] | None = None
    of: Text | None = None
    on: Literal["enter", "leave"] = "enter"
    where: Formula | None = None
    timeout: Span
    then: Annotated[list[StepDocument], Field(max_length=STEPS_MAX)] = []
    otherwise: Annotated[list[StepDocument], Field(max_length=STEPS_MAX)] = []

    @model_validator(mode="after")
    def _one(self) -> Self:
        form = exactly_one(self, ("event", "outcome", "segment", "any"), what="a wait_for")
        only_with(self, "of", other="outcome")
        only_with(self, "on", other="segment")
        if form == "any" and "where" in self.model_fields_set:
            raise Misfit("only-with", "`where` belongs to each of `any`", drop=("where",))
        return self


class SubjectTestDocument(Document):
    """A/B: some customers get different subjects, the rest gets the one that won."""

    subjects: Annotated[list[Name], Field(min_length=2, max_length=SUBJECTS_MAX)]
    test: Annotated[str, StringConstraints(pattern=r"^\d{1,3}%$", max_length=4)] = "20%"
    after: Span
    by: Literal["opened", "clicked"] = "clicked"


class SendDocument(Document):
    """Decide one message."""

    channel: Annotated[
        Annotated[Name, Tag("(text)")] | Annotated[list[Name], Field(min_length=1, max_length=10), Tag("(list)")], Form
    ]
    template: Name
    to: Formula | None = None
    sender: Text | None = Field(default=None, alias="from")
    purpose: Name | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    max_age: Span | None = None
    quiet_hours: Literal["hold", "drop", "ignore"] = "hold"
    fallback_on: Annotated[list[Literal["bounced", "failed", "undelivered"]], Field(max_length=3)] = []
    data: Values = {}
    ab: SubjectTestDocument | None = Field(default=None, description="A test of subjects, in a `schedule` workflow.")


class BranchArmDocument(Document):
    """`if` with `steps`, or `else` as the last."""

    condition: Formula | None = Field(default=None, alias="if")
    steps: Annotated[list[StepDocument], Field(max_length=STEPS_MAX)] | None = None
    otherwise: Annotated[list[StepDocument], Field(max_length=STEPS_MAX)] | None = Field(default=None, alias="else")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if exactly_one(self, ("condition", "otherwise"), what="each part of a branch") == "condition":
            if self.steps is None:
                raise Misfit("only-with", "`if` needs `steps`", fill="steps")
        elif self.steps is not None:
            message = "`steps` belongs to `if`; the steps of `else` stand right below it"
            raise Misfit("only-with", message, drop=("steps",))
        return self


class VariantDocument(Document):
    """One cohort."""

    weight: Annotated[int, Field(ge=0, le=1_000_000)]
    steps: Annotated[list[StepDocument], Field(max_length=STEPS_MAX)] = []


class SplitDocument(Document):
    """Sticky random cohorts."""

    name: Text
    variants: Annotated[dict[Name, VariantDocument], Field(min_length=1, max_length=LIST_MAX)]


class EmitDocument(Document):
    """A new event of this customer."""

    event: Text
    properties: Values = {}


class TaskDocument(Document):
    """A follow-up for a person."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
    assignee: Text | None = None
    due: Span | None = None
    queue: Text | None = None


class RepeatDocument(Document):
    """A bounded loop."""

    times: Annotated[int, Field(ge=1, le=1_000)]
    every: Span | None = None
    until: Formula | None = None
    steps: Annotated[list[StepDocument], Field(min_length=1, max_length=STEPS_MAX)]


VERBS = ("wait", "wait_for", "send", "branch", "split", "update", "emit", "task", "enroll", "repeat", "exit")


class StepDocument(Document):
    """One step: a mapping with one verb."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [verb]} for verb in VERBS]})

    id: Name | None = None
    when: Formula | None = None
    note: Prose | None = None
    wait: Annotated[Annotated[Span, Tag("(text)")] | Annotated[WaitDocument, Tag("(mapping)")], Form] | None = None
    wait_for: WaitForDocument | None = None
    send: SendDocument | None = None
    branch: Annotated[list[BranchArmDocument], Field(min_length=1, max_length=LIST_MAX)] | None = None
    split: SplitDocument | None = None
    update: Annotated[dict[Text, Scalar], Field(min_length=1, max_length=LIST_MAX)] | None = None
    emit: EmitDocument | None = None
    task: TaskDocument | None = None
    enroll: Name | None = None
    repeat: RepeatDocument | None = None
    exit: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        exactly_one(self, VERBS, what="a step")
        return self


class WorkflowDocument(Document):
    """One workflow."""

    workflow: Name
    description: Prose = ""
    purpose: Name = "marketing"
    trigger: TriggerDocument
    key: Formula | None = None
    reentry: Annotated[str, StringConstraints(pattern=r"^(never|always|after .+)$", max_length=40)] = "always"
    holdout: Annotated[str, StringConstraints(pattern=r"^\d{1,3}%$", max_length=4)] | None = None
    exit: Annotated[list[ExitRuleDocument], Field(max_length=LIST_MAX)] = []
    goal: GoalDocument | None = None
    max_age: Span | None = None
    versions: Literal["pin", "migrate", "end"] | None = None
    map: Annotated[dict[Text, Text], Field(max_length=LIST_MAX)] = {}
    steps: Annotated[list[StepDocument], Field(max_length=STEPS_MAX)]


_RECURSIVE = (
    ArmDocument, WaitForDocument, BranchArmDocument, VariantDocument, SplitDocument, RepeatDocument, StepDocument,
)  # fmt: skip
for _model in _RECURSIVE:
    _model.model_rebuild()
