"""The section of the newsletter: what differs from the mail of `[email]`.

Invariant: what it does not say is as `[email]` says it; with a `host` of its own nothing of another server's login is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr

from engine.settings.section import Rate, Section, ServerPort


class NewsletterSection(Section):
    """All optional. With `host`, newsletters have a server of their own; otherwise they go where other mail goes.

    `rate_per_second` and `connections` are theirs alone; without both they share those of `[email]`.
    """

    host: str = ""
    port: ServerPort = 25
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    tls: Literal["auto", "none", "starttls", "implicit"] = "auto"
    from_: str = Field(default="", alias="from")
    return_path: str = ""
    rate_per_second: Rate | None = None
    connections: Annotated[int, Field(ge=1, le=500)] | None = None

    LOGIN_ONLY: ClassVar[tuple[str, ...]] = ("port", "username", "password", "tls")
    """Settings of a server that mean nothing without its `host`."""

    @property
    def stray(self) -> str:
        """The first setting of a server that is given without a `host`; "" when none is."""
        given = (name for name in self.LOGIN_ONLY if name in self.model_fields_set)
        return "" if self.host else next(given, "")
