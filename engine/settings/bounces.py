"""`[bounces]`: where bounces and complaints come in by mail.

Invariant: with the defaults nothing listens and no mailbox is read.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from engine.settings.section import Port, Section

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MAILBOX_PORTS = {("imap", "implicit"): 993, ("imap", "starttls"): 143, ("imap", "none"): 143}
_MAILBOX_PORTS |= {("pop3", "implicit"): 995, ("pop3", "starttls"): 110, ("pop3", "none"): 110}


def mark_secret(link_secret: bytes) -> str:
    """What return paths are marked with: made from the secret of links, so that there is one secret to keep."""
    return hmac.digest(link_secret, b"anlass.marks", "sha256").hex()


class BouncesSection(Section):
    """Two ways to receive mails that come back: `listen` takes them from a mail server, `mailbox` fetches them from one."""

    listen: Literal["", "lmtp", "smtp"] = ""
    host: str = "127.0.0.1"
    port: Port = 8024
    tls_file: str = ""
    """PEM with certificate and key: STARTTLS is offered."""
    addresses: tuple[str, ...] = ()
    """Addresses that are taken beside the marked ones: of feedback loops, say."""
    mailbox: Literal["", "imap", "pop3"] = ""
    mailbox_host: str = ""
    mailbox_port: Port = 0
    """0: the usual one of protocol and TLS."""
    mailbox_tls: Literal["implicit", "starttls", "none"] = "implicit"
    ca_file: str = ""
    username: str = ""
    password: SecretStr | None = None
    password_file: Path | None = None
    folder: str = "INBOX"
    done_folder: str = ""
    """IMAP: where mails are moved after they were recorded; empty: they are deleted."""
    poll_seconds: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] = 60.0
    pause_after: Annotated[int, Field(ge=1, le=1_000)] = 3
    """Refusals for our own fault within an hour, of so many customers' messages, that pause a workflow."""

    @model_validator(mode="after")
    def _complete(self) -> BouncesSection:
        if self.mailbox and not self.mailbox_host:
            raise ValueError("mailbox needs mailbox_host")
        if self.mailbox and not self.username:
            raise ValueError("mailbox needs username, and the password by ANLASS_BOUNCES__PASSWORD or password_file")
        if self.mailbox and self.mailbox_tls == "none" and self.mailbox_host not in LOOPBACK:
            raise ValueError("mailbox_tls none would send the password in the open; it is for this machine only")
        for address in self.addresses:
            if address.count("@") != 1 or address != address.strip():
                raise ValueError(f"addresses has {address!r}, which is not an address")
        return self

    @property
    def port_of_mailbox(self) -> int:
        """The port to connect to."""
        return self.mailbox_port or _MAILBOX_PORTS.get((self.mailbox, self.mailbox_tls), 0)
