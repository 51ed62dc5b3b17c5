"""The section `[mailbox]`: which channels are meant for the local mailbox, beside others that really send.

Invariant: a channel is either configured, or in the mailbox because nothing is configured at all, or because it is named here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from engine.settings.section import Section


def _split(value: object) -> object:
    """`a,b`, as an environment variable has it."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class MailboxSettings(Section):
    """`channels`: their messages go to the local mailbox although other channels are configured. Of a channel that is neither
    configured nor named here they fail as `no_channel`, unless no channel is configured at all.
    """

    channels: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], BeforeValidator(_split)] = Field(
        default_factory=list
    )
