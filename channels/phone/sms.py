"""Text messages by Twilio: one `Messages` resource each, from a number, a name, or a messaging service.

Invariant: the same message gives the same body on every attempt, so that a listing can be searched for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import phonenumbers

from channels.contract import Capabilities, OutgoingMessage, PermanentError, Receipt, Unsupported, Verdict
from channels.phone import gsm, opt_out
from channels.phone.twilio_account import (
    ALPHANUMERIC,
    NUMBER,
    SHORT_CODE,
    TwilioAccount,
    TwilioSettings,
    listed_after,
    read_settings,
    refused,
)

TEXT_CHARS_MAX: Final = 1_600
LISTED_MAX: Final = 200
_FAILED: Final = frozenset({"failed", "undelivered", "canceled"})
_NO_TEXTS: Final = frozenset(
    {
        phonenumbers.PhoneNumberType.FIXED_LINE,
        phonenumbers.PhoneNumberType.PREMIUM_RATE,
        phonenumbers.PhoneNumberType.SHARED_COST,
        phonenumbers.PhoneNumberType.TOLL_FREE,
        phonenumbers.PhoneNumberType.UAN,
        phonenumbers.PhoneNumberType.VOICEMAIL,
        phonenumbers.PhoneNumberType.PAGER,
    }
)


class SmsChannel:
    """The adapter, over an account of its own."""

    name = "sms"
    PREFIX = ""
    """Before numbers, as Twilio writes the kind of an address: `whatsapp:`."""

    def __init__(self, settings: TwilioSettings) -> None:
        """Raises ValueError, with the mend, for settings that cannot be used."""
        if not self._sender_of(settings):
            raise ValueError("[sms] has no sender: set ANLASS_SMS__FROM, or ANLASS_SMS__MESSAGING_SERVICE.")
        self._settings = settings
        self._account = TwilioAccount(settings)

    @property
    def capabilities(self) -> Capabilities:
        """Reports come back if Twilio reaches us; answers only to a sender that is a number."""
        heard = bool(self._settings.public_url)
        return Capabilities(two_way=heard and not self._one_way(""), delivery_reports=heard)

    async def open(self) -> None:
        await self._account.open()

    async def close(self) -> None:
        await self._account.close()

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        request = self._request(delivery)
        async with self._account.asking() as api:
            made = await api.messages.create_async(**request)
            return self._receipt(made, delivery)

    async def resolve(self, delivery: OutgoingMessage, *, since_ms: int) -> Receipt | None:
        """Looks through what was sent to the number since then, for this text."""
        request = self._request(delivery)
        after = listed_after(since_ms)
        async with self._account.asking() as api:
            # By the day it was sent, which a message that still waits has not: so then without.
            for narrowed in ({"date_sent_after": after}, {}):
                listed = await api.messages.list_async(to=request["to"], limit=LISTED_MAX, **narrowed)
                found = self._account.unanswered([one for one in listed if _says(one, request)], after)
                if found is not None:
                    return self._receipt(found, delivery)
        return None

    # ------------------------------------------------------------------------------------------------------------ request

    def _request(self, delivery: OutgoingMessage) -> dict[str, Any]:
        """The parameters of the resource. Raises PermanentError for what cannot be sent."""
        refuse_features(delivery)
        request: dict[str, Any] = {"to": self.PREFIX + self._to(delivery)}
        sender = delivery.from_ or self._settings_from
        if sender:
            if not any(form.fullmatch(sender) for form in (NUMBER, ALPHANUMERIC, SHORT_CODE)):
                raise PermanentError(
                    "the sender is neither a number nor a name of at most 11 letters", code="sender",
                    address_verdict=Verdict.OUR_FAULT,
                )  # fmt: skip
            request["from_"] = self.PREFIX + sender
        if self._settings.messaging_service and not self.PREFIX:
            request["messaging_service_sid"] = self._settings.messaging_service
        request |= self._content(delivery)
        if callback := self._settings.callback("status", delivery.id):
            request["status_callback"] = callback
        return request

    def _content(self, delivery: OutgoingMessage) -> dict[str, Any]:
        text = self.text_of(delivery)
        size = gsm.size_of(text)
        if size.segments > self._settings.segments_max or len(text) > TEXT_CHARS_MAX:
            raise PermanentError(
                f"the text takes {size}, and {self._settings.segments_max} are allowed", code="too_long",
                address_verdict=Verdict.MESSAGE,
            )  # fmt: skip
        return {"body": text}

    def text_of(self, delivery: OutgoingMessage) -> str:
        """The text as it leaves: with a link to unsubscribe where nobody can answer, in GSM-7 if asked for."""
        text, rule = delivery.text.strip(), self._settings.opt_out_link
        if "\0" in text or not text:
            raise PermanentError("the text is empty or holds a NUL", code="text", address_verdict=Verdict.MESSAGE)
        if rule == "always" or (rule == "auto" and self._one_way(delivery.from_)):
            text = opt_out.with_link(text, delivery.list_unsubscribe_url or "", delivery.locale)
        return gsm.transliterated(text) if self._settings.transliterate else text

    def _to(self, delivery: OutgoingMessage) -> str:
        return reachable(delivery.to, never=_NO_TEXTS)

    @property
    def _settings_from(self) -> str:
        return self._settings.from_

    def _sender_of(self, settings: TwilioSettings) -> str:
        return settings.from_ or settings.messaging_service

    def _one_way(self, sender: str) -> bool:
        sender = sender or self._settings_from
        return bool(sender) and ALPHANUMERIC.fullmatch(sender) is not None

    # ------------------------------------------------------------------------------------------------------------- answer

    def _receipt(self, made: Any, delivery: OutgoingMessage) -> Receipt:
        """The receipt for a resource. Raises the error that an answer of failure means."""
        sid = str(made.sid)
        self._account.remember(sid)
        if made.status in _FAILED and made.error_code:
            raise refused(400, int(made.error_code), str(made.error_message or ""))
        return Receipt(sid, f"{made.status}, {self._said(delivery)}")

    def _said(self, delivery: OutgoingMessage) -> str:
        return str(gsm.size_of(self.text_of(delivery)))


def _says(one: Any, request: Mapping[str, Any]) -> bool:
    """Whether what Twilio lists has the text that is looked for; of an approved template only the number is known."""
    return "body" not in request or (one.body or "").rstrip() == request["body"].rstrip()


def refuse_features(delivery: OutgoingMessage) -> None:
    """Raises Unsupported for what a text or a call has not."""
    for feature, wanted in (
        ("HTML", delivery.html),
        ("a subject", delivery.subject),
        ("a reply address", delivery.reply_to),
        ("headers", delivery.headers),
    ):
        if wanted:
            raise Unsupported(feature)


def reachable(number: str, *, never: frozenset[int]) -> str:
    """The number, if it is one in international form and of a kind that can be reached so. Raises PermanentError."""
    reason = ""
    if NUMBER.fullmatch(number):
        try:
            parsed = phonenumbers.parse(number, None)
        except phonenumbers.NumberParseException:
            reason = "the number belongs to no country"
        else:
            if phonenumbers.number_type(parsed) in never:
                reason = "the number is of a kind that cannot be reached so"
            elif not phonenumbers.is_possible_number(parsed):
                reason = "the number is too long or too short"
    else:
        reason = "the number is not in international form, such as +4915112345678"
    if reason:
        raise PermanentError(reason, code="number", address_verdict=Verdict.SUPPRESS)
    return number


def create(settings: Mapping[str, object]) -> SmsChannel:
    """Build the channel from the section `[sms]`; `ValueError` says which setting is wrong and how."""
    return SmsChannel(read_settings(settings))
