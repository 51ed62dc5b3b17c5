"""The stage of a rehearsal: the memory runtime, with every queued message rendered as it would be.

Invariant: a message whose template fails is reported as `suppressed: template_error`, as the dispatcher would settle it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from engine.clock import ManualClock
from engine.core.message import names
from engine.dispatch.templates.template_problem import TemplateError
from engine.runtimes.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.core.catalog import Catalog
    from engine.core.effect import Decision
    from engine.core.message import Message
    from engine.dispatch.templates.render import Rendered
    from engine.dispatch.templates.template_set import TemplateSet

LINKS = {
    "unsubscribe_url": "https://shop.example/u/rehearsal",
    "preferences_url": "https://shop.example/me/rehearsal",
    "view_url": "https://shop.example/view/rehearsal",
    "confirm_url": "https://shop.example/confirm/rehearsal",
    "access_url": "https://shop.example/me/access/rehearsal",
    "agree_url": "https://shop.example/address/agree/rehearsal",
    "stop_url": "https://shop.example/address/stop/rehearsal",
}
_ERRORS_MAX = 200


class Shown(NamedTuple):
    """A rendered message, and the language of its template."""

    message: Rendered
    locale: str


class RehearsalStage:
    """Plays records and reports every decision to `on_decision`, in order. `templates` None: nothing is rendered."""

    def __init__(
        self, catalog: Catalog, *, start_ms: int, templates: TemplateSet | None, on_decision: Callable[[Decision], None]
    ) -> None:
        """An empty stage at that time."""
        # Nobody has to be waited for: a winner comes by the timeline, or it is the first subject when the test is over.
        catalog = msgspec.structs.replace(catalog, winner_wait_ms=0)
        self.memory = Memory(catalog, clock=ManualClock(start_ms))
        self.memory.on_decision = self._decided
        self.memory.on_dispatch = self._dispatched
        self._templates = templates
        self._on_decision = on_decision
        self._failed: dict[str, str] = {}
        self.messages = 0
        self.rendered: dict[str, Shown] = {}
        """Message id → what a customer would read."""

    def _dispatched(self, message: Message) -> None:
        self.messages += 1
        if self._templates is None:
            return
        try:
            template = self._templates.find(message.channel, message.template, locale=message.locale)
            found = template.render({**names(message), **LINKS})
            self.rendered[message.id] = Shown(found, template.locale or template.locale_default)
        except TemplateError as error:
            self._failed[message.id] = str(error)

    def _decided(self, _position: int, decision: Decision) -> None:
        if self._failed and decision.kind == "send" and decision.detail.get("answer") == "queued":
            error = self._failed.pop(decision.detail["message"], None)
            if error is not None:
                detail = {**decision.detail, "answer": "suppressed", "reason": "template_error"}
                why = (*decision.why, error[:_ERRORS_MAX])
                decision = msgspec.structs.replace(decision, detail=detail, why=why)
        self._on_decision(decision)
