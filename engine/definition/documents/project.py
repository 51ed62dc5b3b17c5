"""The shape of the policy and segments documents, as written.

Invariant: as in `document.py`: what is taken is compiled, what is not named is an error.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag

from engine.core.channel import by_trait
from engine.definition.documents.workflow import LIST_MAX, Document, Form, Formula, Name, Prose, Span, Text

SEGMENTS_MAX = 500
OWN_GOODS = "own goods like those that the customer bought"
"""What the policy of a project without one declares."""


class SegmentDocument(Document):
    """Customers for whom `where` holds."""

    where: Formula
    description: Prose = ""


class SegmentsDocument(Document):
    """Segments by name."""

    segments: Annotated[dict[Name, SegmentDocument], Field(max_length=SEGMENTS_MAX)]


class PurposeDocument(Document):
    """What consent a purpose needs."""

    consent: Literal["none", "opt_in", "existing_customer"]
    double: list[Name] = Field(default_factory=list)
    similar_goods: Prose = ""


class CapDocument(Document):
    """A frequency cap."""

    purpose: Name | None = None
    channel: Name | None = None
    at_most: Annotated[int, Field(ge=0, le=1_000)]
    per: Span
    hold_up_to: Span | None = None


class QuietDocument(Document):
    """When nothing is sent."""

    channels: list[Name] = Field(default_factory=list)
    purposes: list[Name] = Field(default_factory=list)
    between: Text | None = None
    days: Annotated[Annotated[Text, Tag("(text)")] | Annotated[list[Text], Tag("(list)")], Form] = Field(
        default_factory=list
    )
    then: Literal["hold", "drop"] = "hold"
    spread: Span | None = None


class SoftDocument(Document):
    """When temporary bounces add up to a suppression."""

    suppress_after: Annotated[int, Field(ge=1, le=1_000)] = 5
    within: Span = "30d"


class BouncesDocument(Document):
    """What bounces and complaints do to an address."""

    hard: Literal["suppress", "keep"] = "suppress"
    soft: SoftDocument = SoftDocument()
    complaint: Literal["suppress", "keep"] = "suppress"


class UtmDocument(Document):
    """Campaign parameters for the links of mails. They name no person, so they need nobody's consent."""

    source: Text | None = None
    medium: Text | None = None
    campaign: Text | None = None
    content: Text | None = None
    term: Text | None = None
    hosts: Annotated[list[Text], Field(max_length=LIST_MAX)] = Field(default_factory=list)


class TrackingDocument(Document):
    """What of opens and clicks is recorded of those who agreed to it, and which campaign parameters links carry."""

    default: Literal["off", "on"] = "off"
    machine: Literal["label", "count"] = "label"
    utm: UtmDocument | None = None


class BlastRadiusDocument(Document):
    """When a workflow pauses itself."""

    sends: Text = "10x"
    of: Span = "7d"
    min: Annotated[int, Field(ge=1, le=100_000_000)] = 500
    bounces: Text = "5%"
    complaints: Text = "0.3%"
    within: Span = "1h"


class RetentionDocument(Document):
    """How long what happened is kept."""

    log: Text | None = None
    journal: Text | None = None
    messages: Text | None = None
    dead_letters: Text | None = None


Resend = Literal["keep", "resend"]


def _unknown() -> dict[Name, Resend]:
    return {"marketing": "keep", "transactional": "resend"}


class PolicyDocument(Document):
    """The policy. Only one in a project."""

    policy: Name
    zone: Text = "UTC"
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    lateness: Span = "7d"
    address_change_wait: Span = "24h"
    purposes: Annotated[dict[Name, PurposeDocument], Field(max_length=LIST_MAX)] = Field(
        default_factory=lambda: {
            "marketing": PurposeDocument(consent="opt_in", double=["email"]),
            "service": PurposeDocument(consent="existing_customer", similar_goods=OWN_GOODS),
        }
    )
    frequency: Annotated[list[CapDocument], Field(max_length=LIST_MAX)] = Field(default_factory=list)
    quiet_hours: Annotated[list[QuietDocument], Field(max_length=LIST_MAX)] = Field(default_factory=list)
    bounces: BouncesDocument = BouncesDocument()
    unknown: dict[Name, Resend] = Field(default_factory=_unknown)
    tracking: TrackingDocument = TrackingDocument()
    blast_radius: BlastRadiusDocument = BlastRadiusDocument()
    retention: RetentionDocument = RetentionDocument()


DEFAULT_POLICY = PolicyDocument(
    policy="default",
    quiet_hours=[
        QuietDocument(
            channels=list(by_trait("phone")),
            purposes=["marketing"],
            between="20:00-08:00",
            days=["sunday", "holidays"],
            spread="30m",
        )
    ],
)
"""Of a project without one: consent as the law has it and quiet hours for what rings; no frequency caps, zone UTC."""
