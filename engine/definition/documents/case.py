"""The shape of a tests document, as written.

Invariant: as in `document.py`: what is taken is compiled, what is not named is an error.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, Tag, model_validator

from engine.definition.documents.workflow import (
    LIST_MAX,
    Document,
    Form,
    Misfit,
    Name,
    Outcome,
    Prose,
    Text,
    exactly_one,
    only_with,
)

CASES_MAX = 500
LINES_MAX = 1_000

Grants = Annotated[dict[Name, list[Name]], Field(min_length=1)]
Answer = Literal["queued", "held", "suppressed"]
CONSENT = ("consent", "request", "confirm", "withdraw")
HAPPENS = ("event", "identify", *CONSENT, "outcome", "enroll", "winner")
WORDS = ("subject", "contains", "locale")
"""What is asked of a rendered message."""
EXPECTED = (
    "entered", "not_entered", "send", "exited", "completed", "failed", "updated", "emitted", "task", "segment_entered",
    "segment_left",
)  # fmt: skip


class CustomerDocument(Document):
    """The customer of a case."""

    id: Text = "c1"
    traits: dict[Text, Any] = Field(default_factory=dict)
    consent: dict[Name, list[Name]] = Field(default_factory=dict)


class EnrollDocument(Document):
    """A manual entry; default: into the workflow that is tested."""

    workflow: Name | None = None
    properties: dict[Text, Any] = Field(default_factory=dict)


class HappensDocument(Document):
    """One line of the timeline."""

    at: Text
    event: Text | None = None
    properties: dict[Text, Any] = Field(default_factory=dict)
    id: Text | None = None
    time: Text | None = Field(default=None, description="When it happened, for one that arrives late.")
    identify: Annotated[dict[Text, Any], Field(min_length=1)] | None = None
    consent: Grants | None = None
    request: Grants | None = Field(default=None, description="Consent was asked for (double opt-in).")
    confirm: Grants | None = Field(default=None, description="The request was confirmed.")
    withdraw: Grants | None = None
    outcome: Outcome | None = None
    of: Text | None = None
    enroll: EnrollDocument | None = None
    winner: Name | None = Field(default=None, description="Which subject won the test; without it the first wins.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        form = exactly_one(self, HAPPENS, what="a line of the timeline")
        only_with(self, "properties", other="event")
        if form not in ("outcome", "winner"):
            only_with(self, "of", other="outcome")
        elif self.of is None:
            raise Misfit("only-with", f"`{form}` needs `of`: the id of the send", fill="of")
        return self


class ExpectDocument(Document):
    """One line of what is expected."""

    at: Text | None = None
    entered: Name | None = None
    not_entered: Name | None = None
    send: Text | None = None
    exited: Text | None = None
    completed: Name | None = None
    failed: Name | None = None
    updated: Annotated[dict[Text, Any], Field(min_length=1)] | None = None
    emitted: Text | None = None
    task: Text | None = None
    segment_entered: Name | None = None
    segment_left: Name | None = None
    channel: Name | None = None
    template: Name | None = None
    answer: Answer = "queued"
    reason: Text | None = None
    until: Text | None = None
    variant: Name | None = Field(default=None, description="Its subject in a test; who waits for the winner has none.")
    subject: Prose | None = Field(default=None, description="The rendered subject, word for word.")
    contains: (
        Annotated[
            Annotated[Prose, Tag("(text)")]
            | Annotated[list[Prose], Field(min_length=1, max_length=100), Tag("(list)")],
            Form,
        ]
        | None
    ) = Field(default=None, description="Words that appear in the rendered message, in its text or its HTML.")
    locale: Name | None = Field(default=None, description="The language of the template that was rendered.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        form = exactly_one(self, EXPECTED, what="a line of `expect`")
        for key in ("channel", "template", "answer", "until", "variant", *WORDS):
            only_with(self, key, other="send")
        rendered = tuple(key for key in WORDS if key in self.model_fields_set)
        if rendered and self.answer != "queued":
            message = f"`{rendered[0]}` belongs to a message that is queued; one that is {self.answer} is not rendered"
            raise Misfit("only-with", message, key=rendered[0], drop=rendered)
        if form not in ("send", "not_entered", "failed"):
            only_with(self, "reason", other="send")
        return self


class CaseDocument(Document):
    """One case."""

    name: Text
    with_: Annotated[list[Name], Field(max_length=LIST_MAX)] = Field(
        default_factory=list,
        alias="with",
        description="Other workflows that act as well; `expect` is complete for them too.",
    )
    customer: CustomerDocument = CustomerDocument()
    start: Text = "2026-01-05T09:00"
    timeline: Annotated[list[HappensDocument], Field(max_length=LINES_MAX)] = Field(default_factory=list)
    until: Text | None = None
    expect: Annotated[list[ExpectDocument], Field(max_length=LINES_MAX)]
    partial: bool = False


class TestsDocument(Document):
    """The tests of one workflow."""

    __test__ = False  # pytest takes every class whose name begins with Test for one of its own

    tests: Name
    cases: Annotated[list[CaseDocument], Field(min_length=1, max_length=CASES_MAX)]
