"""The section `[webhook]`: endpoints of the shop's own systems, by name.

Invariant: `channels.webhook` judges addresses and secrets; here stands only what may be written, and that something is to sign.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, SecretStr

from engine.settings.section import ChannelSection, Section, listed


def _with_url(value: object) -> object:
    """`crm = "https://…"` is short for a table with a `url`."""
    if isinstance(value, dict):
        return {name: {"url": each} if isinstance(each, str) else each for name, each in value.items()}
    return value


class WebhookEndpoint(Section):
    """One receiver. `dedupes` false: it does not keep the `webhook-id`s it has seen."""

    url: str
    dedupes: bool = True


class WebhookSection(ChannelSection):
    """Where messages of the channel `webhook` are posted to. Without an endpoint they go to the local mailbox."""

    SERVES: ClassVar[tuple[str, ...]] = ("webhook",)

    endpoints: Annotated[dict[str, WebhookEndpoint], BeforeValidator(_with_url)] = Field(default_factory=dict)
    secret: SecretStr | None = None
    secret_file: Path | None = None
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    """Of endpoints that have one of their own, by name; as JSON in the environment."""
    allow_hosts: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()
    """Hosts that may lie in a private network, and be plain http."""
    timeout_seconds: Annotated[float, Field(gt=0, le=120, allow_inf_nan=False)] = 20.0

    @property
    def configured(self) -> bool:
        """Whether there is an endpoint."""
        return bool(self.endpoints)

    def adapter(self, channel: str) -> dict[str, object]:
        """As of every channel; the secrets of single endpoints are opened, too."""
        section: dict[str, Any] = super().adapter(channel)
        if self.secrets:
            section["secrets"] = {name: value.get_secret_value() for name, value in self.secrets.items()}
        return section

    def missing(self) -> str:
        """A secret for each endpoint."""
        if self.secret is None and self.endpoints.keys() - self.secrets.keys():
            return "webhook.endpoints are set and nothing to sign with is. Set ANLASS_WEBHOOK__SECRET=whsec_…"
        return ""

    def explained(self) -> list[str]:
        """Lines for `check --settings`."""
        if not self.configured:
            return ["webhook: no endpoint"]
        return [f"webhook: posts to {', '.join(sorted(self.endpoints))}, signed"]
