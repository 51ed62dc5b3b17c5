"""What every host of the core has to know about records and effects.

Invariant: nothing here depends on where states and effects are kept.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from engine.core.customer import CustomerState, encode_state
from engine.core.effect import Append, Decision, Dispatch, Effect, Forget, Suppress
from engine.core.message import Message
from engine.core.record import Flush, Timer, encode_record

CUSTOMER_CHARS_MAX = 512
STUCK_TIMER_DELAY_MS = 3_600_000
"""A timer that fails, or does not move its customer, is not asked again before."""


def stuck(before: CustomerState | None, after: CustomerState, timer: Timer, *, due_ms: int | None = None) -> bool:
    """Whether a timer moved nothing of what was pending, so that it must not fire for ever.

    `due_ms` is when the next is due, where the state alone does not say it.

    It is told by the state, not by the time: one that moved and is due again at the same moment simply goes on.
    """
    return (
        0 < (after.next_due_ms if due_ms is None else due_ms) <= timer.due_ms
        and before is not None
        and _pending(before) == _pending(after)
    )


def _pending(state: CustomerState) -> object:
    return state.enrollments, state.held, state.armed, state.segments_due_ms


encode_message = msgspec.msgpack.Encoder().encode
encode_decision = msgspec.msgpack.Encoder().encode


def encode_outcome(state: CustomerState | None, effects: list[Effect]) -> None:
    """Raises when something in here cannot be stored."""
    if state is not None:
        encode_state(state)
    for effect in effects:
        match effect:
            case Dispatch():
                encode_message(effect.message)
            case Decision():
                encode_decision(effect)
            case Append():
                encode_record(effect.record)
            case Suppress() | Forget():
                pass
            case _:
                assert_never(effect)


def flushes(flush: Flush, message: Message, reason: str) -> bool:
    """Whether a message that was tried and waits for its next attempt is to be tried now; `reason` is why it waits."""
    if reason in {"quiet_hours", "workflow_paused"}:
        return False
    return flush.channel in {"", message.channel} and flush.domain in {"", message.address.rpartition("@")[2].lower()}
