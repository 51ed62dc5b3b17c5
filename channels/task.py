"""The task channel: a message becomes a follow-up for a person of the shop, where nothing else reached the customer, say.

Invariant: it leaves nothing and stores nothing; its receipt asks the engine for the event `Task Opened`, whose id follows from
the message's, so that a repetition opens nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from channels import guard
from channels.contract import Capabilities, OutgoingMessage, Receipt, TransientError, Unsupported
from channels.section import read_section

DEFAULT = "default"
"""What a message is addressed to when neither its step nor its template names a person or a queue."""
OPENED = "Task Opened"
TITLE_CHARS_MAX = 200
NOTE_CHARS_MAX = 2_000


class TaskSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`queue` takes what names none; a task is due `due_hours` after its message was decided (0: without a date)."""

    queue: str = ""
    due_hours: Annotated[float, Meta(ge=0, le=24 * 366)] = 24.0
    connections: int = 10


class TaskChannel:
    """Opens tasks; the contract is `channels.contract.Channel`."""

    capabilities = Capabilities(idempotent=True)

    def __init__(self, settings: TaskSettings, *, name: str = "task") -> None:
        self.name = name
        self._settings = settings
        self._open = False

    async def open(self) -> None:
        """Opens tasks from now on."""
        self._open = True

    async def close(self) -> None:
        """Opens no more. Idempotent."""
        self._open = False

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        """The first line of the text is the title, the rest a note; `to` is a queue, or with an @ in it a person."""
        if not self._open:
            raise TransientError("the channel is not open", code="closed")
        if delivery.html is not None or delivery.subject or delivery.headers:
            raise Unsupported("anything but text")
        guard.check_value("the queue or person", delivery.to)
        return Receipt(delivery.id, "a task was opened", event=OPENED, properties=self._properties(delivery))

    def _properties(self, delivery: OutgoingMessage) -> dict[str, Any]:
        title, _, note = delivery.text.strip().partition("\n")
        to = "" if delivery.to == DEFAULT else delivery.to
        properties = {
            "task": delivery.id,
            "title": title.strip()[:TITLE_CHARS_MAX] or delivery.template,
            "note": note.strip()[:NOTE_CHARS_MAX],
            "assignee": to if "@" in to else "",
            "queue": self._settings.queue if "@" in to or not to else to,
        }
        if self._settings.due_hours:
            due = datetime.fromtimestamp(delivery.date_ms / 1000 + self._settings.due_hours * 3_600, UTC)
            properties["due"] = due.isoformat(timespec="seconds").replace("+00:00", "Z")
        return {name: value for name, value in properties.items() if value}


def create(settings: Mapping[str, object]) -> TaskChannel:
    """Build the channel from its section of the settings; `ValueError` says which setting is wrong and how."""
    return TaskChannel(read_section(settings, TaskSettings, section="task"))
