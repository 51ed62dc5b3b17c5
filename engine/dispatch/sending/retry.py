"""When a message that did not leave is tried again: a pure function of the attempt and the error.

Invariant: the same message, attempt and error give the same delay; nothing is tried after the deadline.
"""

from __future__ import annotations

import hashlib

FIRST_DELAY_MS = 15_000
DELAY_MS_MAX = 3_600_000
DEADLINE_MS = 72 * 3_600_000
"""After this long a message that is refused for the moment counts as bounced softly (RFC 5321, 4.5.4.1 asks for 4-5 days at
most; a campaign's message is stale sooner)."""
RESEND_ATTEMPTS_MAX = 3
"""Attempts at a message whose outcome was unknown, for purposes that allow it."""


def next_attempt_ms(
    message_id: str, attempt: int, *, now_ms: int, first_attempt_ms: int, retry_after_seconds: float | None = None
) -> int | None:
    """When to try again after attempt number `attempt` (from 0) failed for the moment; None: give up.

    Doubles from 15 s to an hour, with ±25 % of jitter drawn from the message id, and not before the provider's own wish.
    """
    assert attempt >= 0, attempt
    delay_ms = min(FIRST_DELAY_MS << min(attempt, 20), DELAY_MS_MAX)
    digest = hashlib.sha256(f"{message_id}:{attempt}".encode()).digest()
    delay_ms += delay_ms * (digest[0] - 128) // 512
    if retry_after_seconds is not None:
        delay_ms = max(delay_ms, min(int(retry_after_seconds * 1000), DEADLINE_MS))
    at_ms = now_ms + delay_ms
    return None if at_ms - first_attempt_ms > DEADLINE_MS else at_ms
