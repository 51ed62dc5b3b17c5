"""Policy and segments documents to `engine.core.policy.Policy` and `engine.core.catalog.Segment`.

Invariant: as in `compile.py`. `transactional` is always among the purposes.
"""

from __future__ import annotations

from engine.core.catalog import Segment
from engine.core.policy import Bounces, Cap, Policy, Purpose, QuietRule
from engine.core.policy_values import BlastRadius, Retention, parse_kept, parse_share, parse_times
from engine.core.time.schedule import DAY_MS, QuietHours, parse_quiet_hours, zone_named
from engine.core.time.zone import UTC
from engine.definition.compile_tracking import compile_tracking
from engine.definition.documents.project import (
    DEFAULT_POLICY,
    BlastRadiusDocument,
    CapDocument,
    PolicyDocument,
    QuietDocument,
    RetentionDocument,
    SegmentsDocument,
)
from engine.definition.expression.parse import OF_CUSTOMER
from engine.definition.phone_numbers import is_country
from engine.definition.problem import Problems, Spot
from engine.definition.site import Path, Site
from engine.definition.yaml.source import Node, Source

TRANSACTIONAL = "transactional"
WITHIN_MS_MIN = 300_000
OF_DAYS_MAX = 60


def default_policy() -> Policy:
    """The policy of a project without one."""
    problems = Problems()
    policy = compile_policy(DEFAULT_POLICY, Site(Source("", Node(Spot(""), {})), problems))
    assert not problems.found, problems.found
    return policy


def compile_policy(document: PolicyDocument, site: Site) -> Policy:
    """The compiled policy; mistakes are added to the site's problems."""
    site.parsed(("zone",), UTC, parse=lambda: zone_named(document.zone), code="zone")
    if document.country and not is_country(document.country):
        message = (
            f"{document.country} is not a country that telephone numbers are known of; write two letters, such as DE"
        )
        site.error(("country",), "country", message=message)
    purposes = {TRANSACTIONAL: Purpose(TRANSACTIONAL, "none")}
    for name, purpose in document.purposes.items():
        purposes[name] = Purpose(name, purpose.consent, tuple(purpose.double), purpose.similar_goods)
        if purpose.consent == "existing_customer" and not purpose.similar_goods.strip():
            site.error(
                ("purposes", name),
                "similar-goods",
                message=f"`{name}` writes to existing customers, which the law allows for own similar goods only; "
                "say which, as in similar_goods: coffee and accessories",
            )
    soft = document.bounces.soft
    return Policy(
        name=document.policy,
        zone=document.zone,
        lateness=site.duration(document.lateness, ("lateness",)),
        address_change_wait=site.duration(document.address_change_wait, ("address_change_wait",)),
        purposes=purposes,
        frequency=tuple(_cap(cap, ("frequency", index), site) for index, cap in enumerate(document.frequency)),
        quiet=tuple(_quiet(rule, ("quiet_hours", index), site) for index, rule in enumerate(document.quiet_hours)),
        bounces=Bounces(
            hard=document.bounces.hard,
            soft_after=soft.suppress_after,
            soft_within=site.duration(soft.within, ("bounces", "soft", "within")),
            complaint=document.bounces.complaint,
        ),
        unknown=dict(document.unknown),
        tracking=compile_tracking(document.tracking, document.purposes, site),
        country=document.country or "",
        blast_radius=_blast_radius(document.blast_radius, site),
        retention=_retention(document.retention, site),
    )


def _blast_radius(document: BlastRadiusDocument, site: Site) -> BlastRadius:
    path: Path = ("blast_radius",)
    within = site.duration(document.within, (*path, "within"))
    if not WITHIN_MS_MIN <= within.span_ms <= DAY_MS:
        site.error((*path, "within"), "duration", message=f"`within` is 5m to 1d, not {document.within}")
    of = site.duration(document.of, (*path, "of"))
    if of.ms or not 1 <= of.days <= OF_DAYS_MAX:
        site.error((*path, "of"), "duration", message=f"`of` is 1d to {OF_DAYS_MAX}d, in whole days, not {document.of}")
    return BlastRadius(
        times=site.parsed((*path, "sends"), 0.0, parse=lambda: parse_times(document.sends), code="wrong-value"),
        of=of,
        least=document.min,
        bounces=site.parsed((*path, "bounces"), 0.0, parse=lambda: parse_share(document.bounces), code="wrong-value"),
        complaints=site.parsed(
            (*path, "complaints"), 0.0, parse=lambda: parse_share(document.complaints), code="wrong-value"
        ),
        within=within,
    )


def _retention(document: RetentionDocument, site: Site) -> Retention:
    def kept(name: str, text: str | None) -> int | None:
        if text is None:
            return None
        return site.parsed(("retention", name), 0, parse=lambda: parse_kept(text), code="duration")

    return Retention(
        log=kept("log", document.log),
        journal=kept("journal", document.journal),
        messages=kept("messages", document.messages),
        dead_letters=kept("dead_letters", document.dead_letters),
    )


def _cap(cap: CapDocument, path: Path, site: Site) -> Cap:
    per = site.duration(cap.per, (*path, "per"))
    if per.ms or per.days < 1:
        site.error(
            (*path, "per"),
            "duration",
            message=f"caps count calendar days: write `per` in whole days, such as 7d, not {cap.per}",
        )
    return Cap(
        at_most=cap.at_most,
        days=per.days,
        purpose=cap.purpose or "",
        channel=cap.channel or "",
        hold_up_to=site.maybe_duration(cap.hold_up_to, (*path, "hold_up_to")),
    )


def _quiet(rule: QuietDocument, path: Path, site: Site) -> QuietRule:
    return QuietRule(
        hours=site.parsed(path, QuietHours(), parse=lambda: parse_quiet_hours(rule.between, rule.days), code="time"),
        channels=tuple(rule.channels),
        purposes=tuple(rule.purposes),
        then=rule.then,
        spread=site.maybe_duration(rule.spread, (*path, "spread")),
    )


def compile_segments(document: SegmentsDocument, site: Site) -> dict[str, Segment]:
    """The compiled segments, in the order written."""
    return {
        name: Segment(name, site.expression(segment.where, ("segments", name, "where"), names=OF_CUSTOMER))
        for name, segment in document.segments.items()
    }
