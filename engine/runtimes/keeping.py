"""How long what happened is kept: by the policy where it says so, else by the settings, else as each store does by itself.

Invariant: proof of consent is none of these: the consent ledger is kept apart, and not removed by age alone. 0 days: for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from engine.core.policy_values import Retention

DAY_MS = 86_400_000


class RetentionDays(msgspec.Struct, frozen=True, kw_only=True):
    """Days; 0: for ever."""

    log: int
    journal: int
    messages: int
    dead_letters: int


def kept(said: Retention, *, log: int = 0, journal: int = 0, messages: int = 0, dead_letters: int = 0) -> RetentionDays:
    """What holds: `said` is the policy's, the others are what holds where it says nothing."""
    return RetentionDays(
        log=log if said.log is None else said.log,
        journal=journal if said.journal is None else said.journal,
        messages=messages if said.messages is None else said.messages,
        dead_letters=dead_letters if said.dead_letters is None else said.dead_letters,
    )


def before_ms(days: int, now_ms: int) -> int | None:
    """What is older than this goes; None: nothing does."""
    return now_ms - days * DAY_MS if days else None
