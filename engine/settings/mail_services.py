"""`[ses]`, `[sendgrid]`, `[mailgun]`, `[postmark]`: what the webhooks of mail services are checked with.

Invariant: with the defaults no webhook is believed.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from engine.settings.section import CallbackSection


class SesSection(CallbackSection):
    """Amazon SES by SNS. `topics` are the only ones whose notifications are believed."""

    topics: tuple[str, ...] = ()
    certificates_file: str = ""
    """PEM of signing certificates, where they are not to be fetched from Amazon."""

    def callbacks(self, public_url: str) -> dict[str, dict[str, object]]:
        if not self.topics:
            return {}
        return {"ses": {"topics": self.topics, "certificates_file": self.certificates_file}}


class SendgridSection(CallbackSection):
    """SendGrid's signed event webhook; the key is its public one."""

    public_key: str = ""

    def callbacks(self, public_url: str) -> dict[str, dict[str, object]]:
        return {"sendgrid": {"public_key": self.public_key}} if self.public_key else {}


class MailgunSection(CallbackSection):
    """Mailgun's webhooks; `secret` is the "HTTP webhook signing key"."""

    secret: SecretStr | None = None
    secret_file: Path | None = None

    def callbacks(self, public_url: str) -> dict[str, dict[str, object]]:
        return {"mailgun": {"secret": self.secret.get_secret_value()}} if self.secret else {}


class PostmarkSection(CallbackSection):
    """Postmark's webhooks, which have no signature: the login stands in the webhook's URL."""

    username: str = "postmark"
    password: SecretStr | None = None
    password_file: Path | None = None

    def callbacks(self, public_url: str) -> dict[str, dict[str, object]]:
        if self.password is None:
            return {}
        return {"postmark": {"username": self.username, "password": self.password.get_secret_value()}}
