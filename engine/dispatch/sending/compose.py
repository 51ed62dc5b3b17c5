"""From a decided message to what an adapter sends: its links, its rendered content, its headers.

Invariant: the same message gives the same result on every attempt; nothing is sent half-rendered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from channels import guard
from channels.contract import OutgoingMessage, PermanentError
from engine.core.channel import MAIL_CHANNELS, OWN_CHANNELS
from engine.core.consent.tracking import consented
from engine.core.message import names
from engine.core.policy import Tracking
from engine.dispatch.links.tracking import Trails, marked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engine.core.customer import CustomerState
    from engine.core.message import Message
    from engine.core.policy import Policy
    from engine.dispatch.templates.render import Rendered


_NO_RULES = Tracking()


class Renderer(Protocol):
    """What is asked of the templates."""

    def render(self, channel: str, name: str, locale: str, *, context: Mapping[str, object]) -> Rendered:
        """The content of one message. Raises TemplateError."""
        ...


class MessageLinks(Trails, Protocol):
    """Where a message's own links lead."""

    def of(self, message: Message) -> dict[str, str]:
        """`unsubscribe_url`, `preferences_url`, `view_url` and `confirm_url`."""
        ...


class Composed(msgspec.Struct, frozen=True):
    """A message for an adapter, and where its tracked links lead, by their keys: to be stored before it leaves."""

    outgoing: OutgoingMessage
    links: dict[str, str]
    warnings: tuple[str, ...] = ()
    """What its data had that could not be read; the places of it are empty."""


class Composer:
    """Composes messages with one set of templates and links."""

    def __init__(self, renderer: Renderer, links: MessageLinks) -> None:
        """Keeps both; holds nothing else."""
        self._renderer = renderer
        self._links = links

    def content(self, message: Message) -> Rendered:
        """The rendered content alone, for previews and for reading in the browser. Raises TemplateError."""
        context = {**names(message), **self._links.of(message)}
        return self._renderer.render(message.channel, message.template, message.locale, context=context)

    def prepare(self, message: Message, *, policy: Policy, state: CustomerState | None) -> Composed:
        """The whole message as the policy in force has it and the customer's consent allows it. Raises TemplateError."""
        purpose = policy.purposes.get(message.purpose)
        # Agreed to when it was decided, and still: who has withdrawn since is not tracked.
        tracked = (
            message.tracked
            and state is not None
            and consented(state, policy, channel=message.channel, address=message.address)
        )
        # In an SMS every letter costs.
        rules = policy.tracking if message.channel in MAIL_CHANNELS else _NO_RULES
        return self._composed(message, bulk=purpose is None or purpose.consent != "none", rules=rules, tracked=tracked)

    def _composed(self, message: Message, *, bulk: bool, rules: Tracking, tracked: bool) -> Composed:
        links = self._links.of(message)
        rendered = self._renderer.render(
            message.channel, message.template, message.locale, context={**names(message), **links}
        )
        rendered, targets = marked(rendered, message, self._links, rules=rules, tracked=tracked)
        customer = message.context.get("customer", {})
        parts = (customer.get(part) for part in ("first_name", "last_name"))
        outgoing = OutgoingMessage(
            id=message.id,
            channel=message.channel,
            to=rendered.to if rendered.to and message.address == OWN_CHANNELS.get(message.channel) else message.address,
            to_name=_display_name(parts),
            from_=message.sender or rendered.from_,
            reply_to=rendered.reply_to,
            subject=rendered.subject,
            html=rendered.html or None,
            text=rendered.text,
            date_ms=message.decided_ms,
            list_unsubscribe_url=links["unsubscribe_url"] if bulk else None,
            purpose=message.purpose,
            priority=message.priority,
            template=message.template,
            locale=message.locale,
            customer=message.customer,
            data=message.context.get("data", {}),
            deadline_ms=message.deadline_ms,
        )
        return Composed(outgoing, targets, rendered.warnings)


def _display_name(parts: Iterable[object]) -> str:
    """The customer's name beside the address; none where it could not stand in a header, so that the mail still leaves."""
    name = " ".join(part for part in parts if isinstance(part, str) and part)
    try:
        guard.check_value("the name", name)
    except PermanentError:
        return ""
    return name
