"""What becomes of the demo's text messages: filed where people can read them, some answered with STOP, some not delivered.

Invariant: as of the postbox: a text is counted before it is answered for, and each has the id of our message.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

from channels.contract import OutgoingMessage
from channels.recording import Mailbox
from engine.demo.goods import phone
from engine.demo.telephone import FINE, UNREACHABLE, Mood, PhoneMessage, Telephone

SENDER: Final = "+4930123456"
TIRED: Final = phone(12)
"""Who answers STOP to the first text that can be stopped."""
OFF: Final = phone(13)
"""Whose phone is off."""


class Texts:
    """Reads along at the stand-in. Set `mailbox` before the first text comes."""

    def __init__(self, telephone: Telephone) -> None:
        """Takes over its moods."""
        self.telephone = telephone
        self.mailbox: Mailbox | None = None
        self.received: Counter[str] = Counter()
        self.stopped = 0
        self._answers: set[asyncio.Task[object]] = set()
        telephone.on_text = self._take
        telephone.mood_of = self._mood

    async def close(self) -> None:
        """Ends answers under way, and the stand-in."""
        for task in list(self._answers):
            task.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)
        await self.telephone.stop()

    def _mood(self, form: Mapping[str, str]) -> Mood:
        return UNREACHABLE if form["To"] == OFF else FINE

    def _take(self, taken: PhoneMessage) -> None:
        message = parse_qs(urlsplit(taken.form.get("StatusCallback", "")).query).get("message", [""])[0]
        self.received[message] += 1
        if self.mailbox is not None and message:
            delivery = OutgoingMessage(
                id=message, channel="sms", to=taken.to, from_=taken.sender, text=taken.text, date_ms=taken.created_ms
            )
            self.mailbox.add(delivery)
        if taken.to == TIRED and "/u/" in taken.text and not self.stopped:
            self.stopped += 1
            task: asyncio.Task[object] = asyncio.create_task(self.telephone.says(taken.to, "STOP", to=SENDER))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)
