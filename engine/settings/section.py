"""What every section of the settings is made of: the base classes, and the types with their bounds.

Invariant: it knows no section; a module of its own may hold each of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

SECRETS = frozenset({"password", "auth_token", "secret", "secrets", "api_key", "key_secrets", "audit.key"})
"""Settings that never stand in anlass.toml: only in the environment, or in the file that `NAME_file` names."""
RATE_MIN = 0.001
DAYS_MAX = 36_500

Port = Annotated[int, Field(ge=0, le=65_535)]
ServerPort = Annotated[int, Field(ge=1, le=65_535)]
"""Of a server that is called: there, 0 is not "any free one"."""
Days = Annotated[int, Field(ge=0, le=DAYS_MAX)]


def _rate(per_second: float) -> float:
    if 0 < per_second < RATE_MIN:
        raise ValueError(f"{per_second:g} is slower than {RATE_MIN:g} messages a second; 0 means no limit")
    return per_second


Rate = Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False), AfterValidator(_rate)]
"""Messages per second; 0: no limit."""


def listed(value: object) -> object:
    """`a,b`, as an environment variable has a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Section(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ChannelSection(Section):
    """A section that configures a provider. `SERVES` names the channels that go through it; each gets an adapter of its own."""

    SERVES: ClassVar[tuple[str, ...]] = ()
    NEEDS_URL: ClassVar[bool] = False
    """Whether the adapter is told where this service is reached from outside (`public_url`), for its callbacks."""
    NEEDS_MARKS: ClassVar[bool] = False
    """Whether the adapter is told the secret that return paths are marked with (`mark_secret`)."""
    NOT_THE_ADAPTERS: ClassVar[frozenset[str]] = frozenset()
    """Settings that another part of Anlass reads; the adapter does not get them."""

    rate_per_second: Rate = 0.0
    """Messages to the provider."""
    connections: Annotated[int, Field(ge=1, le=500)] = 10
    """Calls of the provider under way at once."""

    @property
    def domain_limits(self) -> tuple[int, float]:
        """Calls at once (0: as the dispatcher shares them out) and messages a second (0: no limit) to one destination domain."""
        return 0, 0.0

    @property
    def configured(self) -> bool:
        """Whether something is to leave this machine through it."""
        raise NotImplementedError

    @property
    def serves(self) -> tuple[str, ...]:
        """Those of the channels that have what they need; the others go to the local mailbox."""
        return self.SERVES

    def adapter(self, channel: str) -> dict[str, object]:
        """What the adapter's factory gets for one of the channels: what was set, with the names of interfaces.md."""
        ours = {
            name for name in type(self).model_fields if name.endswith("_file") and name.removesuffix("_file") in SECRETS
        }
        ours |= {"rate_per_second"} | self.NOT_THE_ADAPTERS
        section: dict[str, object] = self.model_dump(by_alias=True, exclude_unset=True, exclude=ours)
        return {name: _plain(value) for name, value in section.items()}

    def missing(self) -> str:
        """What is not set and has to be, with what is: a sentence and its mend, as "… . …"; "" when nothing is."""
        return ""


def _plain(value: object) -> object:
    """As adapters take it: they know no pydantic, and a path is a text in their settings."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value


class CallbackSection(Section):
    """A section that holds what the callbacks of providers are checked with."""

    def callbacks(self, public_url: str) -> dict[str, dict[str, object]]:
        """Provider, as in the path `/callbacks/PROVIDER/…` → what its reader's factory gets; none whose secret is not set."""
        raise NotImplementedError
