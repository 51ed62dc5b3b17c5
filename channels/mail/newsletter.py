"""The newsletter channel: mail under a name of its own, so that broadcasts have their own templates, consent, rate and sender.

Invariant: a newsletter is built, signed and sent exactly as any other mail is; only the settings it is built from differ.
"""

from __future__ import annotations

from collections.abc import Mapping

from channels.mail.email import EmailChannel, EmailSettings
from channels.section import read_section

NAME = "newsletter"


def create(settings: Mapping[str, object]) -> EmailChannel:
    """Build the channel; `ValueError` says which setting is wrong and how."""
    return EmailChannel(read_section(settings, EmailSettings, section="newsletter"), name=NAME)
