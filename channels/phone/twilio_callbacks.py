"""What Twilio tells us at `/callbacks/twilio/{status,voice,inbound}`: how a message or a call went, and what people answer.

Invariant: nothing is believed before Twilio's signature over the URL and the form was found good. The same report has the same id
whenever it comes; progress that says nothing about the end (`queued`, `ringing`) is taken and forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from twilio.request_validator import RequestValidator
from twilio.twiml.messaging_response import MessagingResponse

from channels.callbacks import CallbackRequest, Forged, Heard, Inbound, Report, UnreadableCallback, Wish
from channels.contract import Verdict
from channels.delivery import DeliveryOutcome
from channels.phone import opt_out
from channels.phone.twilio_account import NUMBER, verdict_of, words_of
from channels.section import read_section

FIELDS_MAX: Final = 200
TEXT_CHARS_MAX: Final = 1_600
_MESSAGE_ID: Final = re.compile(r"[0-9a-f]{32}")
_SID: Final = re.compile(r"[A-Z]{2}[0-9a-f]{32}")
_ON_THE_WAY: Final = frozenset({"accepted", "scheduled", "queued", "sending", "receiving", "received"})
_MESSAGES: Final = {
    "sent": DeliveryOutcome.SENT,
    "delivered": DeliveryOutcome.DELIVERED,
    "read": DeliveryOutcome.DELIVERED,
    "partially_delivered": DeliveryOutcome.DELIVERED,
    "undelivered": DeliveryOutcome.BOUNCED,
    "failed": DeliveryOutcome.BOUNCED,
    "canceled": DeliveryOutcome.FAILED,
}
_CALLS: Final = {
    "completed": DeliveryOutcome.DELIVERED,
    "busy": DeliveryOutcome.BOUNCED,
    "no-answer": DeliveryOutcome.BOUNCED,
    "failed": DeliveryOutcome.BOUNCED,
    "canceled": DeliveryOutcome.FAILED,
}
_CALLS_ON_THE_WAY: Final = frozenset({"queued", "initiated", "ringing", "in-progress", "answered"})
_TOLD_BY_TWILIO: Final[Mapping[str, Wish]] = {"STOP": "stop", "START": "start", "HELP": "help"}


class TwilioCallbackSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`auth_token` is what Twilio signs with; `brand` and `contact` stand in the answers to STOP, START and HELP."""

    auth_token: str
    brand: str = ""
    contact: str = ""
    stop_words: tuple[str, ...] = ()
    """Words of the shop's own that mean STOP, in a text or as the payload of a button."""
    replies: bool = True
    """Answer these words. Off where Twilio's own opt-out handling does."""


class _Form(dict[str, list[str]]):
    """A form as Twilio's validator reads it: one of its ways to ask is `getlist`."""

    def getlist(self, name: str) -> list[str]:
        return self[name]

    def one(self, name: str) -> str:
        """The field's first value, "" when it is not there."""
        return self.get(name, [""])[0]


class TwilioReader:
    """Reads the three kinds of callbacks of one account."""

    def __init__(self, settings: TwilioCallbackSettings) -> None:
        """Raises ValueError without a token."""
        if not settings.auth_token:
            raise ValueError("Twilio's callbacks are checked with the account's token: set ANLASS_SMS__AUTH_TOKEN.")
        self._settings = settings
        self._validator = RequestValidator(settings.auth_token)

    def read(self, request: CallbackRequest) -> Heard:
        form = self._believed(request)
        reader = _READERS.get(request.source)
        if reader is None:
            raise UnreadableCallback(
                f"there is no source {request.source[:40]!r} of Twilio's; available: {', '.join(_READERS)}"
            )
        return reader(self, form, request)

    def _believed(self, request: CallbackRequest) -> _Form:
        signature = request.headers.get("x-twilio-signature", "")
        if not signature:
            raise Forged("the signature is missing")
        if not request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
            raise Forged("it is not a form, and Twilio signs forms")
        form = _Form()
        try:
            pairs = parse_qsl(
                request.body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"
            )
            for name, value in pairs:
                form.setdefault(name, []).append(value)
            believed = self._validator.validate(request.url, form, signature)
        except (ValueError, UnicodeError):
            raise Forged("the form cannot be read") from None
        if not believed:
            raise Forged("the signature is not Twilio's")
        return form

    # ----------------------------------------------------------------------------------------------------------- reports

    def _status(self, form: _Form, request: CallbackRequest) -> Heard:
        status = form.one("MessageStatus") or form.one("SmsStatus")
        sid = form.one("MessageSid") or form.one("SmsSid")
        return _reported(status, sid, form, request, known=(_MESSAGES, _ON_THE_WAY))

    def _call(self, form: _Form, request: CallbackRequest) -> Heard:
        return _reported(form.one("CallStatus"), form.one("CallSid"), form, request, known=(_CALLS, _CALLS_ON_THE_WAY))

    # ----------------------------------------------------------------------------------------------------------- answers

    def _wish(self, text: str, form: _Form) -> Wish:
        """What the words ask for, or the button that was pressed: its payload is the shop's own word for it."""
        pressed = (form.one(name)[:TEXT_CHARS_MAX].replace("_", " ") for name in ("ButtonPayload", "ButtonText"))
        wishes = (opt_out.wish_of(each, own=self._settings.stop_words) for each in (text, *pressed) if each)
        return next((wish for wish in wishes if wish), "")

    def _inbound(self, form: _Form, request: CallbackRequest) -> Heard:
        sid = form.one("MessageSid") or form.one("SmsSid")
        kind, colon, rest = form.one("From").partition(":")
        channel, number = (kind, rest) if colon else ("sms", kind)
        if not _SID.fullmatch(sid) or channel not in {"sms", "whatsapp"} or not NUMBER.fullmatch(number):
            raise UnreadableCallback("an answer without an id, or from no number")
        text = form.one("Body").strip()[:TEXT_CHARS_MAX].replace("\0", "")
        told = form.one("OptOutType").upper()
        wish = _TOLD_BY_TWILIO.get(told) or self._wish(text, form)
        inbound = Inbound(
            id=f"twilio:{sid}",
            channel=channel,
            address=number,
            wish=wish,
            text="" if wish else text,
            at_ms=request.now_ms,
        )
        answer = MessagingResponse()
        if wish and not told and self._settings.replies:  # Twilio has answered already where it tells the kind
            language = opt_out.language_of(text, number)
            answer.message(opt_out.answer(wish, language, brand=self._settings.brand, contact=self._settings.contact))
        return Heard(inbound=(inbound,), body=str(answer).encode(), content_type="text/xml")


_READERS: Final[Mapping[str, Callable[[TwilioReader, _Form, CallbackRequest], Heard]]] = {
    "status": TwilioReader._status,  # noqa: SLF001 - its own
    "voice": TwilioReader._call,  # noqa: SLF001
    "inbound": TwilioReader._inbound,  # noqa: SLF001
}


def _reported(
    status: str,
    sid: str,
    form: _Form,
    request: CallbackRequest,
    *,
    known: tuple[Mapping[str, DeliveryOutcome], frozenset[str]],
) -> Heard:
    ends, on_the_way = known
    if not _SID.fullmatch(sid):
        raise UnreadableCallback("a report without the id of a message or call")
    if status in on_the_way:
        return Heard()
    outcome = ends.get(status)
    if outcome is None:
        raise UnreadableCallback(f"a report of the unknown status {status[:40]!r}")
    message = request.query.get("message", "")
    if message and not _MESSAGE_ID.fullmatch(message):
        raise UnreadableCallback("a report about a message whose id is none of ours")
    code = _number(form.one("ErrorCode"))
    detail: dict[str, str] = {}
    if outcome in {DeliveryOutcome.BOUNCED, DeliveryOutcome.FAILED}:
        outcome, detail = _failure(outcome, status, code)
    return Heard(
        reports=(
            Report(
                id=f"twilio:{sid}:{status}:{code}" if code else f"twilio:{sid}:{status}",
                outcome=outcome, message=message, provider_id=sid, at_ms=request.now_ms, detail=dict(detail),
            ),
        )
    )  # fmt: skip


def _failure(outcome: DeliveryOutcome, status: str, code: int) -> tuple[DeliveryOutcome, dict[str, str]]:
    """What became of it, and why: only what says something about the number is a bounce."""
    verdict = verdict_of(code) if code else Verdict.SOFT
    if verdict is Verdict.OPT_OUT:
        outcome = DeliveryOutcome.UNSUBSCRIBED
    elif verdict in {Verdict.MESSAGE, Verdict.OUR_FAULT} or outcome is DeliveryOutcome.FAILED:
        outcome = DeliveryOutcome.FAILED
        verdict = Verdict.MESSAGE if verdict is Verdict.SOFT else verdict
    reason = words_of(code) or f"Twilio reports {status}"
    return outcome, {"code": str(code) if code else status, "reason": reason, "verdict": str(verdict)}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0  # noqa: PLR2004 - Twilio's have five


def create_callbacks(settings: Mapping[str, object]) -> TwilioReader:
    """Build the reader; `ValueError` says which setting is wrong."""
    return TwilioReader(read_section(settings, TwilioCallbackSettings, section="sms"))
