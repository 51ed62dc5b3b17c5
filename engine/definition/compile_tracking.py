"""The policy's `tracking` to `engine.core.policy.Tracking`: campaign parameters, and what is refused about opens and clicks.

Invariant: nothing that is written here can track somebody who did not agree, or name a person in a link.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.core import utm
from engine.core.consent.tracking import PURPOSE
from engine.core.policy import Tracking
from engine.definition.documents.project import PurposeDocument, TrackingDocument
from engine.definition.site import Site


def compile_tracking(document: TrackingDocument, purposes: Mapping[str, PurposeDocument], site: Site) -> Tracking:
    """The compiled rules; mistakes are added to the site's problems."""
    if PURPOSE in purposes and purposes[PURPOSE].consent != "opt_in":
        site.error(
            ("purposes", PURPOSE, "consent"),
            "wrong-value",
            message="opens and clicks are recorded only with the customer's own consent; write `consent: opt_in`",
        )
    if document.default == "on":
        site.error(
            ("tracking", "default"),
            "wrong-value",
            message="nobody may be tracked without a consent of their own, so there is no `on`; write `default: off` and offer"
            " the purpose `tracking`",
        )
    written = document.utm
    if written is None:
        return Tracking(document.machine)
    found = []
    for name in utm.NAMES:
        value: str | None = getattr(written, name)
        if value is None:
            continue
        word = utm.unknown_placeholder(value)
        if word:
            known = ", ".join(f"`{{{each}}}`" for each in utm.PLACEHOLDERS)
            site.error(
                ("tracking", "utm", name),
                "wrong-value",
                message=f"`{{{word}}}` is not known here; available: {known}, none of which names a person",
            )
        found.append((f"utm_{name}", value))
    hosts = tuple(host.lower().strip(".") for host in written.hosts)
    for index, host in enumerate(hosts):
        if "/" in host or ":" in host or not host:
            site.error(
                ("tracking", "utm", "hosts", index),
                "wrong-value",
                message="a host is written as shop.example, without https:// or a path",
            )
    return Tracking(document.machine, tuple(found), hosts)
