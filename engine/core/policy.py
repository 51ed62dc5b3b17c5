"""The rules every send is asked against: purposes, caps, quiet hours, bounces.

Invariant: data only; `engine.core.journey.sending` asks it, at the decision and again just before the message leaves.
"""

from __future__ import annotations

import msgspec

from engine.core.policy_values import BlastRadius, Retention
from engine.core.time.schedule import Duration, QuietHours, parse_duration


class Purpose(msgspec.Struct, frozen=True):
    """`consent` is `none` (contract), `opt_in` or `existing_customer`; `double` lists channels needing double opt-in.

    `similar_goods` says which own goods are advertised to existing customers: one of the four conditions of § 7(3) UWG.
    """

    name: str
    consent: str
    double: tuple[str, ...] = ()
    similar_goods: str = ""


class Cap(msgspec.Struct, frozen=True):
    """At most `at_most` messages in `days` calendar days (today and the days before), of a purpose and/or channel ("" = any)."""

    at_most: int
    days: int
    purpose: str = ""
    channel: str = ""
    hold_up_to: Duration | None = None


class QuietRule(msgspec.Struct, frozen=True):
    """When nothing is sent on these channels for these purposes (empty = all). `then` is `hold` or `drop`."""

    hours: QuietHours
    channels: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    then: str = "hold"
    spread: Duration | None = None


class Bounces(msgspec.Struct, frozen=True):
    """What outcomes do to an address: `hard` and `complaint` are `suppress` or `keep`; soft ones add up."""

    hard: str = "suppress"
    soft_after: int = 5
    soft_within: Duration = parse_duration("30d")
    complaint: str = "suppress"


class Tracking(msgspec.Struct, frozen=True):
    """Opens, clicks and campaign parameters. `utm` are names and values, `{workflow}` and the like still in them; `hosts`
    restricts the links that get them (empty: all). `machine` is `label` or `count`: whether what scanners do moves workflows.
    """

    machine: str = "label"
    utm: tuple[tuple[str, str], ...] = ()
    hosts: tuple[str, ...] = ()


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The policy in force. `zone` is the project's time zone name; `unknown` maps purpose → `keep` or `resend`."""

    name: str = "default"
    zone: str = "UTC"
    lateness: Duration = parse_duration("7d")
    purposes: dict[str, Purpose]
    frequency: tuple[Cap, ...] = ()
    quiet: tuple[QuietRule, ...] = ()
    bounces: Bounces = Bounces()
    unknown: dict[str, str] = {}
    tracking: Tracking = Tracking()
    country: str = ""
    """Of telephone numbers that name none, of customers without one: ISO alpha-2."""
    blast_radius: BlastRadius = BlastRadius()
    retention: Retention = Retention()
    address_change_wait: Duration = parse_duration("24h")
    """How long the old address can stop a change of address; see `engine.core.facts.moving`."""
