"""The stand-in of Twilio and channels that talk to it, for tests."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from channels.contract import OutgoingMessage
from channels.phone.sms import SmsChannel
from channels.phone.twilio_account import read_settings
from channels.phone.voice import VoiceChannel
from channels.phone.whatsapp import WhatsappChannel
from engine.demo.telephone import ACCOUNT_SID, AUTH_TOKEN, Telephone

NOW_MS = 1_790_000_000_000
NUMBER = "+4915112345678"
SENDER = "+4915735985555"


def section(telephone: Telephone, **changes: Any) -> dict[str, Any]:
    """The section `[sms]` as an adapter gets it."""
    return {
        "account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN, "from": SENDER, "whatsapp_from": SENDER, "voice_from": SENDER,
        "base_url": telephone.base_url, "timeout_seconds": 2.0, **changes,
    }  # fmt: skip


def message(n: int = 1, **changes: Any) -> OutgoingMessage:
    """A text message."""
    fields: dict[str, Any] = {
        "id": hashlib.sha256(str(n).encode()).hexdigest()[:32], "channel": "sms", "to": NUMBER, "text": f"Hello {n}",
        "date_ms": NOW_MS,
    }  # fmt: skip
    return OutgoingMessage(**(fields | changes))


@asynccontextmanager
async def started(telephone: Telephone | None = None) -> AsyncIterator[Telephone]:
    """The stand-in while it runs."""
    telephone = telephone or Telephone(now_ms=lambda: NOW_MS)
    await telephone.start()
    try:
        yield telephone
    finally:
        await telephone.stop()


CHANNELS: dict[str, type[Any]] = {"sms": SmsChannel, "whatsapp": WhatsappChannel, "voice": VoiceChannel}


@asynccontextmanager
async def opened(telephone: Telephone, name: str = "sms", **changes: Any) -> AsyncIterator[Any]:
    """One of the three channels, open."""
    channel = CHANNELS[name](read_settings(section(telephone, **changes)))
    await channel.open()
    try:
        yield channel
    finally:
        await channel.close()
