"""Settings: `anlass.toml` in the project, then `ANLASS_*` environment variables, which win. Read once, at the start.

Names are `[section] key` in the file and `ANLASS_SECTION__KEY` in the environment. Secrets come by environment or from
a file that a `*_file` setting names (relative to the project), never out of `anlass.toml`.

Invariant: a setting is used, reported as belonging to a part this version does not have, or refused with the name of
the file or variable and the nearest known one. None is dropped in silence.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import secrets
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from engine.errors import SettingsError

__all__ = ["CollectorSettings", "DatabaseSettings", "EmailSettings", "Settings", "explain", "load_settings"]

FILE_NAME = "anlass.toml"
PREFIX = "ANLASS_"
SECRETS = frozenset({"password", "auth_token", "secret", "api_key"})
SECTIONS_LATER = frozenset({"sms", "kafka", "console", "newsletter"})
"""Fixed names of parts that are not in this version: accepted, unread, and reported by `explain`."""
SENDER_ON_LOOPBACK = "Anlass <anlass@localhost>"
_SECRET_BYTES_MIN = 16
_FILE_BYTES_MAX = 1_000_000
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Port = Annotated[int, Field(ge=0, le=65_535)]


def _split_keys(value: object) -> object:
    """`a,b` (as an environment variable has it) and `[a, b]` become `{"key1": "a", "key2": "b"}`."""
    if isinstance(value, str):
        value = [key.strip() for key in value.split(",") if key.strip()]
    if isinstance(value, list):
        return {f"key{number}": key for number, key in enumerate(value, 1)}
    return value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class CollectorSettings(_Section):
    """The HTTP intake. `port` 0 lets the system choose; `secret` signs the links in mails."""

    host: str = ""
    port: Port = 8080
    public_url: str = ""
    write_keys: Annotated[
        dict[str, Annotated[str, Field(min_length=1, max_length=200)]], BeforeValidator(_split_keys)
    ] = {}
    backlog_max: Annotated[int, Field(ge=1)] = 50_000
    secret: SecretStr | None = None
    secret_file: Path | None = None

    @model_validator(mode="after")
    def _closed_without_keys(self) -> CollectorSettings:
        if not self.write_keys and self.host not in {"", *_LOOPBACK}:
            raise ValueError(
                f"host {self.host!r} would let anybody in; set write_keys, or leave host out to listen on 127.0.0.1"
            )
        url = urlsplit(self.public_url)
        if self.public_url and (url.scheme not in {"http", "https"} or not url.netloc or url.query or url.fragment):
            raise ValueError(f"public_url {self.public_url!r} is no web address; write it as https://mail.shop.example")
        return self

    @property
    def bind(self) -> str:
        """The address to listen on: every one with write keys, 127.0.0.1 without, unless `host` says otherwise."""
        return self.host or ("0.0.0.0" if self.write_keys else "127.0.0.1")  # noqa: S104 - only with write keys

    @property
    def base_url(self) -> str:
        """What links to the collector begin with, without a slash at the end."""
        host = f"[{self.bind}]" if ":" in self.bind else self.bind.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")


class EmailSettings(_Section):
    """The SMTP server mail goes to. Without a `host` no mail leaves: it goes to the local mailbox.

    `channels.email` says what each means; the defaults that stand here are what `explain` shows.
    """

    host: str = ""
    port: Port = 25
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    tls: Literal["auto", "none", "starttls", "implicit"] = "auto"
    ca_file: str | None = None
    from_: str = Field(default="", alias="from")
    return_path: str = ""
    connections: Annotated[int, Field(ge=1, le=500)] = 10
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0

    @property
    def configured(self) -> bool:
        """Whether mail is to leave this machine."""
        return bool(self.host)

    def adapter(self) -> dict[str, object]:
        """The section as the email adapter's factory takes it: what was set, with the names of interfaces.md."""
        section: dict[str, object] = self.model_dump(
            by_alias=True, exclude_unset=True, exclude={"password", "password_file"}
        )
        section["from"] = self.from_ or SENDER_ON_LOOPBACK
        if self.password is not None:
            section["password"] = self.password.get_secret_value()
        return section


class DatabaseSettings(_Section):
    """Where the embedded runtime keeps everything: `sqlite:///PATH`, a relative PATH counts from the project."""

    url: str = "sqlite:///var/anlass.db"

    @model_validator(mode="after")
    def _sqlite_only(self) -> DatabaseSettings:
        if not self.url.startswith("sqlite:///") or not self.url.removeprefix("sqlite:///"):
            raise ValueError(f"url {self.url!r} is not understood; write it as sqlite:///var/anlass.db")
        return self


_MODELS: dict[str, type[_Section]] = {
    "collector": CollectorSettings,
    "email": EmailSettings,
    "database": DatabaseSettings,
}


class _Shape(BaseSettings):
    """Tells pydantic-settings which variables there are; never made."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__")

    collector: CollectorSettings
    email: EmailSettings
    database: DatabaseSettings


class _Environment(EnvSettingsSource):
    """A value that should be JSON and is not stays text, so that the field's own check says what is wrong with it."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: object) -> object:
        try:
            decoded: object = super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value
        return decoded


class Settings(BaseModel):
    """All settings of one project. `more` holds the sections of channels that other packages add, as written."""

    model_config = ConfigDict(frozen=True)

    project: Path
    collector: CollectorSettings = CollectorSettings()
    email: EmailSettings = EmailSettings()
    database: DatabaseSettings = DatabaseSettings()
    more: dict[str, dict[str, Any]] = {}
    later: tuple[str, ...] = ()
    """Where settings stand that no part of this version reads."""

    @property
    def database_path(self) -> Path:
        """The SQLite file, absolute."""
        return (self.project / self.database.url.removeprefix("sqlite:///")).resolve()

    def link_secret(self) -> bytes:
        """What signs the links in mails: `collector.secret`, else a random one kept in `var/link-secret` (made at first use).

        Raises SettingsError when it cannot be read or made, or is too short.
        """
        if self.collector.secret:
            return self.collector.secret.get_secret_value().encode()
        path = self.database_path.parent / "link-secret"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                # Written aside and linked into place: of two processes that start together both read the same one.
                draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
                draft.touch(mode=0o600)
                draft.write_text(secrets.token_hex(32), "ascii")
                with contextlib.suppress(FileExistsError):
                    os.link(draft, path)
                draft.unlink()
            secret = path.read_bytes().strip()
        except OSError as error:
            raise SettingsError(
                f"The secret for links cannot be kept in {path}: {error.strerror}.",
                mend="Set ANLASS_COLLECTOR__SECRET.",
            ) from error
        if len(secret) < _SECRET_BYTES_MIN:
            raise SettingsError(f"{path} is too short.", mend="Delete it; a new one is made.")
        return secret


def load_settings(project: Path) -> Settings:
    """The settings of the project in the folder `project`. Raises SettingsError for everything that is wrong."""
    if not project.is_dir():
        raise SettingsError(f"There is no project folder {project}.", mend="Make one with `anlass init DIR`.")
    file = project / FILE_NAME
    document = _read_toml(file)
    foreign = _foreign_channels()
    _check_document(document, file, foreign)
    more, later = _check_environment(foreign)
    for section, values in document.items():
        if section in SECTIONS_LATER:
            later.append(f"[{section}] in {file}")
        elif section in foreign:
            more[section] = {**values, **more.get(section, {})}
    try:
        variables = _Environment(_Shape)()
        sections = {name: _merged(document.get(name), variables.get(name)) for name in _MODELS}
        settings = Settings(project=project, more=more, later=tuple(later), **sections)
    except ValidationError as error:
        raise _explained(error, file) from error
    except SourceError as error:
        raise SettingsError(f"An {PREFIX}* variable cannot be read: {error}.") from error
    return _with_secret_files(settings)


def _merged(written: dict[str, Any] | None, variables: object) -> Any:
    """A section with the environment over the file. Whatever is no section is left for pydantic to refuse."""
    if variables is None:
        return written or {}
    return {**(written or {}), **variables} if isinstance(variables, dict) else variables


def explain(settings: Settings) -> list[str]:
    """One line for each part: how it will work, and what is missing for it to do more. For `anlass check --settings`."""
    collector, email = settings.collector, settings.email
    keys = f"{len(collector.write_keys)} write keys" if collector.write_keys else "no write keys: any key is accepted"
    lines = [f"collector: listens on {collector.bind}:{collector.port}, {keys}"]
    if not collector.write_keys:
        lines.append("collector: to be reached from outside, set ANLASS_COLLECTOR__WRITE_KEYS")
    lines.append(f"collector: links in mails begin with {collector.base_url}")
    if email.configured:
        lines.append(f"email: sends through {email.host}:{email.port} (tls {email.tls})")
        if not email.from_:
            lines.append(
                f"email: no ANLASS_EMAIL__FROM; mail to this machine's own server comes from {SENDER_ON_LOOPBACK}"
            )
        if not collector.base_url.startswith("https://"):
            lines.append("email: one-click unsubscribe needs https; set ANLASS_COLLECTOR__PUBLIC_URL")
    else:
        lines.append("email: no ANLASS_EMAIL__HOST; mail goes to the local mailbox and nothing leaves")
    lines.append(f"database: {settings.database_path}")
    lines += [f"{name}: an adapter of another package; its settings are passed on to it" for name in settings.more]
    lines += [f"{name}: not used by this version" for name in settings.later]
    return lines


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}.") from error
    if len(data) > _FILE_BYTES_MAX:
        raise SettingsError(f"{file} is larger than {_FILE_BYTES_MAX} bytes.")
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{file} is no valid TOML: {error}.") from error


def _foreign_channels() -> frozenset[str]:
    # Read from the packages' metadata only; nothing is imported.
    names = frozenset(entry.name for entry in entry_points(group="anlass.channels"))
    return names - {*_MODELS, "mailbox"} - SECTIONS_LATER


def _keys(section: str) -> list[str]:
    return [field.alias or name for name, field in _MODELS[section].model_fields.items()]


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"Known are: {', '.join(sorted(known))}."


def _variable(section: str, key: str) -> str:
    return f"{PREFIX}{section}__{key}".upper()


def _check_document(document: dict[str, Any], file: Path, foreign: frozenset[str]) -> None:
    """Refuse what the file may not hold: unknown names and secrets."""
    sections = [*_MODELS, *SECTIONS_LATER, *foreign]
    for section, values in document.items():
        if section not in sections:
            raise SettingsError(f"{file}: there is no section [{section}].", mend=_near(section, sections))
        if not isinstance(values, dict):
            raise SettingsError(f"{file}: {section} must be a section.", mend=f"Write it as [{section}].")
        for key in values:
            if key in SECRETS:
                raise SettingsError(
                    f"{file}: {section}.{key} is a secret, and this file is shared.",
                    mend=f"Set {_variable(section, key)}, or name a file with {section}.{key}_file.",
                )
            if section in _MODELS and key not in _keys(section):
                raise SettingsError(f"{file}: [{section}] has no {key}.", mend=_near(key, _keys(section)))


def _check_environment(foreign: frozenset[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Refuse misspelt variables; returns what is set for foreign channels, and what no part of this version reads."""
    known = [_variable(section, key) for section in _MODELS for key in _keys(section)]
    more: dict[str, dict[str, Any]] = {}
    later: list[str] = []
    for name, value in os.environ.items():
        variable = name.upper()
        if not variable.startswith(PREFIX):
            continue
        section, nested, key = variable.removeprefix(PREFIX).lower().partition("__")
        if section in SECTIONS_LATER:
            later.append(name)
        elif section in foreign and nested:
            more.setdefault(section, {})[key] = value
        elif section in _MODELS and (not nested or key.partition("__")[0] in _keys(section)):
            if not nested and not value.lstrip().startswith("{"):
                raise SettingsError(f"{name} names a section, not a setting.", mend=_near(variable, known))
        elif nested or difflib.get_close_matches(variable, known, n=1, cutoff=0.85):
            raise SettingsError(f"There is no setting {name}.", mend=_near(variable, known))
        else:
            later.append(name)
    return more, later


def _explained(error: ValidationError, file: Path) -> SettingsError:
    """The first thing pydantic complains about, in our words and with the name of where it was written."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = [str(part) for part in first["loc"]]
    section, key = [*place, "", ""][:2]
    variable = _variable(section, key) if key else f"{PREFIX}{section.upper()}"
    names = [name for name in os.environ if f"{name}__".upper().startswith(f"{variable}__")]
    where = ", ".join(sorted(names)) or f"{file}: {'.'.join(place)}"
    said = first["msg"].removeprefix("Value error, ").rstrip(".")
    return SettingsError(f"{where}: {said[:1].lower()}{said[1:]}.")


def _with_secret_files(settings: Settings) -> Settings:
    """Put the contents of `*_file` in place of the secrets that they hold."""
    collector, email = settings.collector, settings.email
    secret = _from_file(settings, "collector.secret", value=collector.secret, file=collector.secret_file)
    if secret is not None and len(secret.get_secret_value()) < _SECRET_BYTES_MIN:
        raise SettingsError(
            f"ANLASS_COLLECTOR__SECRET (or its file) is shorter than {_SECRET_BYTES_MIN} characters.",
            mend="Make one with: python3 -c 'import secrets; print(secrets.token_hex(32))'",
        )
    password = _from_file(settings, "email.password", value=email.password, file=email.password_file)
    return settings.model_copy(
        update={
            "collector": collector.model_copy(update={"secret": secret}),
            "email": _check_email(email.model_copy(update={"password": password})),
        }
    )


def _check_email(email: EmailSettings) -> EmailSettings:
    if email.configured and not email.from_ and email.host not in _LOOPBACK:
        raise SettingsError(
            "email.host is set and email.from is not.", mend="Set ANLASS_EMAIL__FROM='Shop <hello@shop.example>'."
        )
    if (email.username is None) != (email.password is None):
        raise SettingsError(
            "email.username and the password are needed together, or neither.",
            mend="Set ANLASS_EMAIL__USERNAME, and ANLASS_EMAIL__PASSWORD or email.password_file.",
        )
    return email


def _from_file(settings: Settings, name: str, *, value: SecretStr | None, file: Path | None) -> SecretStr | None:
    if file is None:
        return value
    if value is not None:
        raise SettingsError(f"{name} and {name}_file are both set.", mend="Keep one of them.")
    path = settings.project / file
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"{name}_file {path} cannot be read: {reason}.") from error
    return SecretStr(text)
