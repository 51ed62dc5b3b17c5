"""The section `[sms]`: the account at Twilio that text messages, WhatsApp and calls go through.

Invariant: without an `account_sid` nothing leaves; the token stands in no file of the project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from engine.settings.section import CallbackSection, ChannelSection


def _account(sid: str) -> str:
    if sid and not (sid.startswith("AC") and len(sid) == 34):  # noqa: PLR2004 - Twilio's ids
        raise ValueError("account_sid is not one of Twilio's; copy it from the console, it begins with AC")
    return sid


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if url and (parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment):
        raise ValueError(f"base_url {url!r} is not a web address; leave it out, or write it as http://127.0.0.1:4010")
    return url


class SmsSection(ChannelSection, CallbackSection):
    """`channels.phone.twilio_account` says what each means for sending; answers to STOP and HELP have `brand` and `contact`."""

    SERVES: ClassVar[tuple[str, ...]] = ("sms", "whatsapp", "voice")
    NEEDS_URL: ClassVar[bool] = True
    NOT_THE_ADAPTERS: ClassVar[frozenset[str]] = frozenset(
        {"brand", "contact", "opt_out_replies", "stop_words"}
    )  # the callbacks'

    account_sid: Annotated[str, AfterValidator(_account)] = ""
    auth_token: SecretStr | None = None
    auth_token_file: Path | None = None
    from_: str = Field(default="", alias="from")
    messaging_service: str = ""
    whatsapp_from: str = ""
    whatsapp_templates: dict[str, Annotated[str, Field(pattern=r"^HX[0-9a-f]{32}$")]] = Field(default_factory=dict)
    voice_from: str = ""
    voice_language: Annotated[str, Field(pattern=r"^([a-z]{2,3}(-[A-Z]{2})?)?$")] = ""
    base_url: Annotated[str, AfterValidator(_web_address)] = ""
    timeout_seconds: Annotated[float, Field(gt=0, le=120, allow_inf_nan=False)] = 20.0
    transliterate: bool = False
    opt_out_link: Literal["auto", "always", "never"] = "auto"
    segments_max: Annotated[int, Field(ge=1, le=10)] = 10
    brand: Annotated[str, Field(max_length=40)] = ""
    contact: Annotated[str, Field(max_length=100)] = ""
    opt_out_replies: bool = True
    stop_words: Annotated[tuple[Annotated[str, Field(min_length=2, max_length=40)], ...], Field(max_length=100)] = ()

    @property
    def configured(self) -> bool:
        """Whether anything is to leave this machine through the account."""
        return bool(self.account_sid)

    @property
    def serves(self) -> tuple[str, ...]:
        """Those that have a sender."""
        return tuple(channel for channel, sender in self.senders.items() if sender)

    @property
    def senders(self) -> dict[str, str]:
        """Channel → who its messages come from, "" for one without."""
        texts = self.from_ or self.messaging_service
        return {"sms": texts, "whatsapp": self.whatsapp_from, "voice": self.voice_from}

    def callbacks(self, public_url: str) -> dict[str, dict[str, object]]:
        """What Twilio's reports and people's answers are checked with."""
        if self.auth_token is None:
            return {}
        token = self.auth_token.get_secret_value()
        return {
            "twilio": {
                "auth_token": token, "brand": self.brand, "contact": self.contact, "replies": self.opt_out_replies,
                "stop_words": self.stop_words,
            }
        }  # fmt: skip

    def missing(self) -> str:
        """The token, the account, or every sender."""
        if self.configured and self.auth_token is None:
            return "sms.account_sid is set and the token is not. Set ANLASS_SMS__AUTH_TOKEN, or sms.auth_token_file."
        if self.auth_token is not None and not self.configured:
            return "There is a token for Twilio and no account. Set ANLASS_SMS__ACCOUNT_SID."
        if self.configured and not (self.from_ or self.messaging_service or self.whatsapp_from or self.voice_from):
            return "sms.account_sid is set and no sender is. Set ANLASS_SMS__FROM or ANLASS_SMS__MESSAGING_SERVICE."
        return ""


def explain_phone(sms: SmsSection, *, public_url: str) -> list[str]:
    """How texts and calls will leave, and what is heard of them."""
    if not sms.configured:
        return ["sms: no ANLASS_SMS__ACCOUNT_SID: texts, WhatsApp and calls have no provider"]
    where = sms.base_url or "Twilio"
    ready = ", ".join(f"{channel} from {sender}" for channel, sender in sms.senders.items() if sender)
    lines = [f"sms: through {where}, {ready}; {sms.connections} under way at once"]
    without = [channel for channel, sender in sms.senders.items() if not sender]
    lines += [f"sms: no sender for {channel}" for channel in without]
    if public_url:
        base = public_url.rstrip("/")
        lines.append(f"sms: enter {base}/callbacks/twilio/inbound for incoming messages in Twilio's console")
    else:
        lines.append("sms: without ANLASS_COLLECTOR__PUBLIC_URL nothing is heard of deliveries, nor of STOP")
    return lines
