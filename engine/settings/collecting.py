"""`[collector]`: where events come in and links of mails lead, and who may send.

Invariant: with the defaults nobody but this machine is let in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from engine.settings.console import Networks
from engine.settings.keys import KeySection, twice
from engine.settings.section import Port, Section

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _split_keys(value: object) -> object:
    """`a,b` (as an environment variable has it) and `[a, b]` become `{"key1": "a", "key2": "b"}`."""
    if isinstance(value, str):
        value = [key.strip() for key in value.split(",") if key.strip()]
    if isinstance(value, list):
        return {f"key{number}": key for number, key in enumerate(value, 1)}
    return value


class CollectorSection(Section):
    """The HTTP intake. `port` 0 lets the system choose; `secret` signs the links in mails."""

    host: str = ""
    port: Port = 8080
    public_url: str = ""
    write_keys: Annotated[
        dict[str, Annotated[str, Field(min_length=1, max_length=200)]], BeforeValidator(_split_keys)
    ] = Field(default_factory=dict)
    """Server keys by the old way of writing them: without a kind, and taken from pages of anybody."""
    write_keys_file: Path | None = None
    keys: tuple[KeySection, ...] = ()
    key_secrets: dict[str, SecretStr] = Field(default_factory=dict)
    """Name of a key → its secret: what `ANLASS_COLLECTOR__KEY_SECRETS__NAME` sets."""
    backlog_max: Annotated[int, Field(ge=1)] = 50_000
    trusted_proxies: Networks = ()
    """The networks whose `X-Forwarded-For` is believed."""
    connections_max: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Connections that are open at once; fewer where the system allows this process fewer files."""
    head_seconds: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] = 10.0
    """How long a request's head may take to arrive."""
    secret: SecretStr | None = None
    secret_file: Path | None = None
    secrets: SecretStr | None = None
    """Several, with commas or blanks between them: the first signs, all verify; `secret`, if it is set, verifies as well."""
    secrets_file: Path | None = None

    @model_validator(mode="after")
    def _closed_without_keys(self) -> CollectorSection:
        if again := twice((*self.write_keys, *(key.name for key in self.keys))):
            raise ValueError(f"two keys are called {again!r}; give each a name of its own")
        if self.keyless and self.host not in {"", *LOOPBACK}:
            raise ValueError(
                f"host {self.host!r} would let anybody in; set write_keys or keys, or leave host out to listen on 127.0.0.1"
            )
        url = urlsplit(self.public_url)
        if self.public_url and (url.scheme not in {"http", "https"} or not url.netloc or url.query or url.fragment):
            raise ValueError(
                f"public_url {self.public_url!r} is not a web address; write it as https://mail.shop.example"
            )
        return self

    @property
    def keyless(self) -> bool:
        """Whether events are taken without a key, from this machine's own programs. Keys that are all revoked let nobody in."""
        return not self.write_keys and not self.write_keys_file and not self.keys

    @property
    def all_keys(self) -> tuple[KeySection, ...]:
        """Those that are in force, `write_keys` first."""
        old = (KeySection.model_construct(name=name, secret=SecretStr(key)) for name, key in self.write_keys.items())
        return (*old, *(key for key in self.keys if not key.revoked))

    @property
    def server_key(self) -> str:
        """What a program of ours may send events with; "" when there is none."""
        return next((key.sent for key in self.all_keys if key.kind == "server" and not key.events), "")

    @property
    def bind(self) -> str:
        """The address to listen on: every one with write keys, 127.0.0.1 without, unless `host` says otherwise."""
        return self.host or ("127.0.0.1" if self.keyless else "0.0.0.0")  # noqa: S104 - only with write keys

    @property
    def link_secrets(self) -> tuple[bytes, ...]:
        """`secrets`, then `secret`; nothing when neither is set."""
        several = self.secrets.get_secret_value().replace(",", " ").split() if self.secrets else []
        lines = self.secret.get_secret_value().splitlines() if self.secret else []  # a file may hold several
        return tuple(dict.fromkeys(each.strip().encode() for each in (*several, *lines) if each.strip()))

    @property
    def base_url(self) -> str:
        """What links to the collector begin with, without a slash at the end."""
        host = f"[{self.bind}]" if ":" in self.bind else self.bind.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")
