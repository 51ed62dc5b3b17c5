"""WhatsApp by Twilio: the same resource as a text message, with `whatsapp:` before the numbers and approved templates.

Invariant: as of `channels.phone.sms`. WhatsApp takes free text only within 24 hours of a customer's answer; anything else needs
an approved template, named in `whatsapp_templates`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import phonenumbers

from channels.contract import OutgoingMessage, PermanentError, Verdict
from channels.phone.sms import TEXT_CHARS_MAX, SmsChannel, reachable
from channels.phone.twilio_account import TwilioSettings, read_settings

_NEVER: Final = frozenset(
    {
        phonenumbers.PhoneNumberType.PREMIUM_RATE,
        phonenumbers.PhoneNumberType.SHARED_COST,
        phonenumbers.PhoneNumberType.VOICEMAIL,
        phonenumbers.PhoneNumberType.PAGER,
    }
)


class WhatsappChannel(SmsChannel):
    """The adapter. Its sender is always a number, so it can be answered and carries no link to unsubscribe of its own accord."""

    name = "whatsapp"
    PREFIX = "whatsapp:"

    @property
    def _settings_from(self) -> str:
        return self._settings.whatsapp_from

    def _sender_of(self, settings: TwilioSettings) -> str:
        if not settings.whatsapp_from:
            raise ValueError("[sms] has no whatsapp_from: set ANLASS_SMS__WHATSAPP_FROM=+4915112345678.")
        return settings.whatsapp_from

    def _to(self, delivery: OutgoingMessage) -> str:
        return reachable(delivery.to, never=_NEVER)

    def _content(self, delivery: OutgoingMessage) -> dict[str, Any]:
        approved = self._settings.whatsapp_templates.get(delivery.template)
        if approved is not None:
            variables = {name: _said(value) for name, value in sorted(delivery.data.items())}
            content: dict[str, Any] = {"content_sid": approved}
            if variables:
                content["content_variables"] = json.dumps(variables, ensure_ascii=False)
            return content
        text = self.text_of(delivery)
        if len(text) > TEXT_CHARS_MAX:
            raise PermanentError(
                f"the text has more than {TEXT_CHARS_MAX} characters", code="too_long", address_verdict=Verdict.MESSAGE
            )
        return {"body": text}

    def _said(self, delivery: OutgoingMessage) -> str:
        return "an approved template" if delivery.template in self._settings.whatsapp_templates else "free text"


def _said(value: object) -> str:
    """A variable of a template is text, whatever the step's `data` has."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def create(settings: Mapping[str, object]) -> WhatsappChannel:
    """Build the channel from the section `[sms]`; `ValueError` says which setting is wrong and how."""
    return WhatsappChannel(read_settings(settings))
