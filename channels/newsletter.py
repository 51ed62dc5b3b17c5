"""The newsletter channel: mail under a name of its own, so that broadcasts have their own templates, consent, rate and sender.

Invariant: a newsletter is built, signed and sent exactly as any other mail is; only the settings it is built from differ.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from channels.email import EmailChannel, EmailSettings

NAME = "newsletter"


def create(settings: Mapping[str, object]) -> EmailChannel:
    """Build the channel; `ValueError` says which setting is wrong and how."""
    try:
        return EmailChannel(msgspec.convert(dict(settings), EmailSettings), name=NAME)
    except msgspec.ValidationError as error:
        raise ValueError(f"The [newsletter] settings cannot be used: {error}.") from None
