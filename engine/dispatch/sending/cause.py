"""Which event led to a message, read from the message alone, so that dispatcher and worker find the same.

Invariant: the answer is a function of the message; it changes nothing.
"""

from __future__ import annotations

from typing import Any

from engine.core.message import Message
from engine.tracing import TraceCause


def cause_of(message: Message) -> TraceCause:
    """The event that led to it: the one that a wait ended with, else the trigger's.

    It came `later` when it was decided neither with an event of its own nor in the moment of the entry.
    """
    context = message.context
    enrollment: dict[str, Any] = context.get("enrollment", {})
    event: dict[str, Any] | None = context.get("event")
    if event is not None:
        return TraceCause(message.id, str(event.get("id", "")), later=False)
    later = enrollment.get("entered_at", "") != context.get("now", "")
    return TraceCause(message.id, str(enrollment.get("event", {}).get("id", "")), later=later)
