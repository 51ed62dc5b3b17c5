"""The section `[mailbox]`: which channels are meant for the local mailbox, beside others that really send.

Invariant: a channel is either configured, or in the mailbox because nothing is configured at all, or because it is named here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from engine.settings.section import Section, listed


class MailboxSection(Section):
    """`channels`: their messages go to the local mailbox although other channels are configured. Of a channel that is neither
    configured nor named here they fail as `no_channel`, unless no channel is configured at all. `messages_max`: how many of the
    newest messages it keeps.
    """

    channels: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], BeforeValidator(listed)] = Field(
        default_factory=list
    )
    messages_max: int = Field(default=10_000, ge=1, le=10_000_000)
