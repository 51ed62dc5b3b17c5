"""Calls by Twilio: the text is read to whoever answers.

Invariant: as of `channels.phone.sms`. A call cannot be searched by what it says: an unknown one is found by number and time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import phonenumbers
from twilio.twiml.voice_response import VoiceResponse

from channels.contract import Capabilities, OutgoingMessage, PermanentError, Receipt, Verdict
from channels.phone.sms import LISTED_MAX, reachable, refuse_features
from channels.phone.twilio_account import NUMBER, TwilioAccount, TwilioSettings, listed_after, read_settings

TEXT_CHARS_MAX: Final = 3_000
"""Of what is read, so that the document stays below the 4,000 that Twilio takes."""
RING_SECONDS: Final = 30
_NEVER: Final = frozenset(
    {
        phonenumbers.PhoneNumberType.PREMIUM_RATE,
        phonenumbers.PhoneNumberType.SHARED_COST,
        phonenumbers.PhoneNumberType.PAGER,
    }
)
_LANGUAGES: Final = {"de": "de-DE", "en": "en-US"}


class VoiceChannel:
    """The adapter, over an account of its own."""

    name = "voice"

    def __init__(self, settings: TwilioSettings) -> None:
        """Raises ValueError, with the mend, for settings that cannot be used."""
        if not settings.voice_from:
            raise ValueError("[sms] has no voice_from: set ANLASS_SMS__VOICE_FROM=+4930123456.")
        self._settings = settings
        self._account = TwilioAccount(settings)

    @property
    def capabilities(self) -> Capabilities:
        """Whether somebody answered is reported if Twilio reaches us."""
        return Capabilities(delivery_reports=bool(self._settings.public_url))

    async def open(self) -> None:
        await self._account.open()

    async def close(self) -> None:
        await self._account.close()

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        request = self._request(delivery)
        async with self._account.asking() as api:
            made = await api.calls.create_async(**request)
            return self._receipt(made)

    async def resolve(self, delivery: OutgoingMessage, *, since_ms: int) -> Receipt | None:
        """Looks through the calls to the number since then."""
        request = self._request(delivery)
        after = listed_after(since_ms)
        async with self._account.asking() as api:
            listed = await api.calls.list_async(to=request["to"], from_=request["from_"], limit=LISTED_MAX)
            found = self._account.unanswered(listed, after)
            return None if found is None else self._receipt(found)

    def _request(self, delivery: OutgoingMessage) -> dict[str, Any]:
        refuse_features(delivery)
        text, sender = delivery.text.strip(), delivery.from_ or self._settings.voice_from
        if not NUMBER.fullmatch(sender):
            raise PermanentError("the sender is not a number", code="sender", address_verdict=Verdict.OUR_FAULT)
        if not text or len(text) > TEXT_CHARS_MAX or any(ord(char) < 0x20 and char not in "\t\n\r" for char in text):  # noqa: PLR2004 - control characters
            raise PermanentError(
                f"the text is empty, holds control characters or has more than {TEXT_CHARS_MAX} characters", code="text",
                address_verdict=Verdict.MESSAGE,
            )  # fmt: skip
        said = VoiceResponse()
        said.say(text, language=self._language(delivery.locale))
        request: dict[str, Any] = {
            "to": reachable(delivery.to, never=_NEVER), "from_": sender, "twiml": str(said), "timeout": RING_SECONDS,
        }  # fmt: skip
        if callback := self._settings.callback("voice", delivery.id):
            request["status_callback"] = callback
        return request

    def _language(self, locale: str) -> str:
        if self._settings.voice_language:
            return self._settings.voice_language
        language, _, region = locale.replace("_", "-").partition("-")
        return f"{language}-{region}" if region else _LANGUAGES.get(language, "en-US")

    def _receipt(self, made: Any) -> Receipt:
        self._account.remember(str(made.sid))
        return Receipt(str(made.sid), str(made.status))


def create(settings: Mapping[str, object]) -> VoiceChannel:
    """Build the channel from the section `[sms]`; `ValueError` says which setting is wrong and how."""
    return VoiceChannel(read_settings(settings))
