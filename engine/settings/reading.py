"""Reads the settings of a project: the file, the environment over it, and the files that hold secrets.

Invariant: whatever is wrong is a SettingsError that names the file or the variable; a secret is never repeated.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from channels import registry
from engine.errors import SettingsError
from engine.settings.key_reading import VARIABLE, WRITTEN_OPENLY, with_key_secrets
from engine.settings.keys import KeySection
from engine.settings.section import SECRETS
from engine.settings.sections import MODELS, SECRET_BYTES_MIN, Settings

FILE_NAME = "anlass.toml"
PREFIX = "ANLASS_"
SHORT = {"kafka": "bootstrap"}
"""Sections whose bare variable (`ANLASS_KAFKA=host:port`) stands for one setting."""
NO_SETTINGS = frozenset({"ANLASS_OPERATOR"})
"""Variables that the command line reads by itself: who works with it."""
_FILE_BYTES_MAX = 1_000_000


class _Prefixed(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__")


# Tells pydantic-settings which variables there are; never made.
_Shape = create_model("_Shape", __base__=_Prefixed, **{name: (model, ...) for name, model in MODELS.items()})  # type: ignore[call-overload]


class _Environment(EnvSettingsSource):
    """A value that should be JSON and is not stays text, so that the field's own check says what is wrong with it."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: object) -> object:
        try:
            decoded: object = super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value
        return decoded


def load_settings(project: Path) -> Settings:
    """The settings of the project in the folder `project`. Raises SettingsError for everything that is wrong."""
    if not project.is_dir():
        raise SettingsError(f"There is no project folder {project}.", mend="Make one with `anlass init DIR`.")
    file = project / FILE_NAME
    document = _read_toml(file)
    foreign = frozenset(registry.foreign()) - MODELS.keys()
    _check_document(document, file, foreign)
    more, later = _check_environment(foreign)
    for section, values in document.items():
        if section in foreign:
            more[section] = {**values, **more.get(section, {})}
    try:
        variables = _variables()
        sections = {name: _merged(document.get(name), variables.get(name)) for name in MODELS}
        settings = Settings(project=project, more=more, later=tuple(later), **sections)
        if document.get("collector", {}).get("write_keys"):
            settings = settings.model_copy(update={"shared": (WRITTEN_OPENLY,)})
    except ValidationError as error:
        raise _explained(error, file) from error
    except SourceError as error:
        raise SettingsError(f"An {PREFIX}* variable cannot be read: {error}.") from error
    return _with_secret_files(settings)


def _variables() -> dict[str, Any]:
    """What the environment sets, by section. `ANLASS_KAFKA=host:port` stands for a setting of it; the long variable wins."""
    source = _Environment(_Shape)
    short = {f"{PREFIX}{section}".lower(): section for section in SHORT}
    found = {name.lower(): value or "" for name, value in source.env_vars.items() if name.lower() in short}
    found = {name: value for name, value in found.items() if not value.lstrip().startswith("{")}
    source.env_vars = {name: value for name, value in source.env_vars.items() if name.lower() not in found}
    variables = source()
    for name, value in found.items():
        section = short[name]
        variables[section] = {SHORT[section]: value, **variables.get(section, {})}
    return variables


def _merged(written: dict[str, Any] | None, variables: object) -> Any:
    """A section with the environment over the file. Whatever is not a section is left for pydantic to refuse."""
    if variables is None:
        return written or {}
    return {**(written or {}), **variables} if isinstance(variables, dict) else variables


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
        raise SettingsError(f"{file} is not valid TOML: {error}.") from error


def _keys(section: str) -> list[str]:
    return [field.alias or name for name, field in MODELS[section].model_fields.items()]


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else f"Available: {', '.join(sorted(known))}."


def _variable(section: str, key: str) -> str:
    return f"{PREFIX}{section}__{key}".upper()


def _check_document(document: dict[str, Any], file: Path, foreign: frozenset[str]) -> None:
    """Refuse what the file may not hold: unknown names and secrets."""
    sections = [*MODELS, *foreign]
    for section, values in document.items():
        if section not in sections:
            raise SettingsError(f"{file}: there is no section [{section}].", mend=_near(section, sections))
        if not isinstance(values, dict):
            raise SettingsError(f"{file}: {section} must be a section.", mend=f"Write it as [{section}].")
        if section == "collector":
            _check_keys(values, file)
        for key in values:
            if not SECRETS.isdisjoint({key, f"{section}.{key}"}):
                raise SettingsError(
                    f"{file}: {section}.{key} is a secret, and this file is shared.",
                    mend=f"Set {_variable(section, key)}, or name a file with {section}.{key}_file.",
                )
            if section in MODELS and key not in _keys(section):
                raise SettingsError(f"{file}: [{section}] has no {key}.", mend=_near(key, _keys(section)))


def _check_keys(values: dict[str, Any], file: Path) -> None:
    """Refuse secrets and unknown names in `[[collector.keys]]`."""
    keys = values.get("keys", [])
    if "key_secrets" in values or not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise SettingsError(
            f"{file}: keys are written as [[collector.keys]], each with a name, and their secrets never stand here.",
            mend=f"Set {VARIABLE}NAME, or name a file with secret_file.",
        )
    known = list(KeySection.model_fields)
    for key in keys:
        if "secret" in key:
            name = str(key.get("name", "NAME")).upper().replace("-", "_")
            raise SettingsError(
                f"{file}: collector.keys.secret is a secret, and this file is shared.",
                mend=f"Set {VARIABLE}{name}, or name a file with secret_file.",
            )
        for word in key:
            if word not in known:
                raise SettingsError(f"{file}: [[collector.keys]] has no {word}.", mend=_near(word, known))


def _check_environment(foreign: frozenset[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Refuse misspelt variables; returns what is set for foreign channels, and what no part of this version reads."""
    known = [_variable(section, key) for section in MODELS for key in _keys(section)]
    more: dict[str, dict[str, Any]] = {}
    later: list[str] = []
    for name, value in os.environ.items():
        variable = name.upper()
        if not variable.startswith(PREFIX) or variable in NO_SETTINGS:
            continue
        section, nested, key = variable.removeprefix(PREFIX).lower().partition("__")
        if section in foreign and nested:
            more.setdefault(section, {})[key] = value
        elif section in MODELS and (not nested or key.partition("__")[0] in _keys(section)):
            if not nested and section not in SHORT and not value.lstrip().startswith("{"):
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
    """Put the contents of `*_file` in place of the secrets that they hold, and check whether a channel lacks something."""
    changed = {name: _with_secrets(settings, name) for name in MODELS}
    if any(len(secret) < SECRET_BYTES_MIN for secret in changed["collector"].link_secrets):
        name = "ANLASS_COLLECTOR__SECRETS" if changed["collector"].secrets else "ANLASS_COLLECTOR__SECRET"
        raise SettingsError(
            f"{name} (or its file) holds a secret that is shorter than {SECRET_BYTES_MIN} characters.",
            mend="Make one with: python3 -c 'import secrets; print(secrets.token_hex(32))'",
        )
    remembered = changed["kafka"].secret
    if remembered is not None and len(remembered.get_secret_value()) < SECRET_BYTES_MIN:
        raise SettingsError(
            f"ANLASS_KAFKA__SECRET (or its file) is shorter than {SECRET_BYTES_MIN} characters.",
            mend="Set it to the secret that ANLASS_COLLECTOR__SECRET was when the cluster began, or make one like it.",
        )
    if any(len(key) < SECRET_BYTES_MIN for key in changed["audit"].keys):
        raise SettingsError(
            f"ANLASS_AUDIT__KEY (or its file) holds a key that is shorter than {SECRET_BYTES_MIN} characters.",
            mend="Make one with: python3 -c 'import secrets; print(secrets.token_hex(32))'",
        )
    changed["collector"] = with_key_secrets(changed["collector"], settings.project)
    settings = settings.model_copy(update=changed)
    if stray := settings.newsletter.stray:
        raise SettingsError(
            f"newsletter.{stray} belongs to a server of its own, and newsletter.host is not set.",
            mend="Set ANLASS_NEWSLETTER__HOST, or leave it out: newsletters go where [email] goes.",
        )
    for section in settings.channel_sections.values():
        if missing := section.missing():
            sentence, _, mend = missing.partition(". ")
            raise SettingsError(f"{sentence}.", mend=mend)
    return settings


def _with_secrets(settings: Settings, name: str) -> Any:
    """The section with every secret that a file holds, and with whole paths."""
    section = getattr(settings, name)
    held: dict[str, Any] = {
        key: _from_file(settings, f"{name}.{key}", value=getattr(section, key), file=getattr(section, f"{key}_file"))
        for key in MODELS[name].model_fields
        if not SECRETS.isdisjoint({key, f"{name}.{key}"}) and getattr(section, f"{key}_file", None) is not None
    }
    files = {key: value for key in MODELS[name].model_fields if isinstance(value := getattr(section, key), Path)}
    # A relative path counts from the project, wherever the command is given.
    held |= {key: settings.project / file for key, file in files.items()}
    return section.model_copy(update=held)


def _from_file(settings: Settings, name: str, *, value: SecretStr | None, file: Path | None) -> SecretStr | None:
    if file is None:
        return value
    if value is not None:
        raise SettingsError(f"{name} and {name}_file are both set.", mend="Keep one of them.")
    path = settings.project / file
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"{name}_file {path} cannot be read: {reason}.") from error
    return SecretStr(text)
