"""The section `[push]`: the key that web push notifications are signed with.

Invariant: without a key nothing is pushed; notifications then go to the local mailbox.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, SecretStr

from engine.settings.section import ChannelSection, listed


class PushSection(ChannelSection):
    """`secret` is the VAPID private key."""

    SERVES: ClassVar[tuple[str, ...]] = ("push",)

    secret: SecretStr | None = None
    secret_file: Path | None = None
    subject: str = ""
    ttl_seconds: Annotated[int, Field(ge=0, le=2_419_200)] = 86_400
    urgency: Literal["very-low", "low", "normal", "high"] = "normal"
    allow_hosts: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()
    timeout_seconds: Annotated[float, Field(gt=0, le=120, allow_inf_nan=False)] = 20.0

    @property
    def configured(self) -> bool:
        """Whether there is a key."""
        return self.secret is not None

    def missing(self) -> str:
        """A contact for the push services."""
        if self.configured and not self.subject:
            return "push.secret is set and push.subject is not. Set ANLASS_PUSH__SUBJECT=mailto:hello@shop.example"
        return ""
