"""Whether messages to existing customers offer to object, as § 7(3) UWG asks of every one of them.

Invariant: asked of the templates as they are compiled, layouts included, in every language.
"""

from __future__ import annotations

from engine.core.catalog import Catalog
from engine.core.consent import OWN_CHANNELS
from engine.core.workflow import Send
from engine.definition.problem import Problem
from engine.dispatch.templates import TemplateSet

WAYS = ("unsubscribe_url", "preferences_url")


def objections_missing(catalog: Catalog | None, templates: TemplateSet) -> list[Problem]:
    """An error for each template that is sent to existing customers and has no link to object by."""
    if catalog is None:
        return []
    wanted: dict[str, str] = {}
    for workflow in catalog.workflows.values():
        for op in workflow.ops.values():
            if not isinstance(op, Send):
                continue
            rule = catalog.policy.purposes.get(op.purpose or workflow.purpose)
            if rule is None or rule.consent != "existing_customer":
                continue
            for channel in (each for each in op.channels if each not in OWN_CHANNELS):
                for template in templates.variants(channel, op.template):
                    if template.names().isdisjoint(WAYS):
                        wanted[template.file] = rule.name
    return [
        Problem(
            f"templates/{file}",
            1,
            1,
            "error",
            "objection",
            f"it is sent as `{purpose}` to existing customers, who must be able to object in every message; "
            "put a link to {{ unsubscribe_url }} into it",
        )
        for file, purpose in sorted(wanted.items())
    ]
