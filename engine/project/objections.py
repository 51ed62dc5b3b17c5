"""Whether advertising offers a way to end it, in every message: § 7(2) and (3) UWG, Art. 7(3) GDPR, RFC 8058's senders' rules.

Invariant: asked of the templates as they are compiled, layouts included, in every language.
"""

from __future__ import annotations

from engine.core.catalog import Catalog
from engine.core.channel import MAIL_CHANNELS, OWN_CHANNELS
from engine.core.journey.workflow import Send
from engine.core.policy import Purpose
from engine.definition.problem import Problem
from engine.dispatch.templates.template_set import TemplateSet
from engine.dispatch.templates.ways_out import WAYS

_WHOM = {"existing_customer": " to existing customers", "opt_in": " to those who agreed"}


def objections_missing(catalog: Catalog | None, templates: TemplateSet) -> list[Problem]:
    """An error for each template of a purpose that needs consent, or an existing customer, without a link to end it by."""
    if catalog is None:
        return []
    wanted: dict[str, Purpose] = {}
    for workflow in catalog.workflows.values():
        for op in workflow.ops.values():
            if not isinstance(op, Send):
                continue
            rule = catalog.policy.purposes.get(op.purpose or workflow.purpose)
            if rule is None or rule.consent == "none":
                continue
            for channel in (each for each in op.channels if each not in OWN_CHANNELS):
                for template in templates.variants(channel, op.template):
                    if channel in MAIL_CHANNELS:
                        missing = not template.offers_way_out()
                    else:  # what is sent with consent by SMS has its way out put in by the channel
                        missing = rule.consent == "existing_customer" and template.names().isdisjoint(WAYS)
                    if missing:
                        wanted[template.file] = rule
    return [
        Problem(
            f"templates/{file}",
            1,
            1,
            "error",
            "objection",
            f"it is sent as `{rule.name}`{_WHOM.get(rule.consent, '')}, who must be able to end that in every message; "
            "put a link to {{ unsubscribe_url }} into it that is seen, outside of any condition, also into its .txt file",
        )
        for file, rule in sorted(wanted.items())
    ]
