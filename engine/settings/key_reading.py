"""Puts the secrets of keys in their places, and refuses keys that would not protect anything.

Invariant: what a key is, is known after this or refused with the mend; a secret is never repeated.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from engine.errors import SettingsError
from engine.settings.collecting import CollectorSection
from engine.settings.keys import MEND, KeySection, read_keys, twice, weakness

VARIABLE = "ANLASS_COLLECTOR__KEY_SECRETS__"
WRITTEN_OPENLY = (
    "collector.write_keys stand in anlass.toml, which is shared: set ANLASS_COLLECTOR__WRITE_KEYS, or name a file with"
    " write_keys_file"
)


def with_key_secrets(collector: CollectorSection, project: Path) -> CollectorSection:
    """The section with the keys whole. Raises SettingsError."""
    stray = set(collector.key_secrets) - {key.variable for key in collector.keys}
    if stray:
        name = min(stray)
        raise SettingsError(
            f"{VARIABLE}{name.upper()} is set, and there is no key {name} in [[collector.keys]].",
            mend="Add the key, or leave the variable out.",
        )
    if shared := twice(key.variable for key in collector.keys):
        raise SettingsError(
            f"Two of [[collector.keys]] would read {VARIABLE}{shared.upper()}.", mend="Give them other names."
        )
    keys = tuple(_whole(key, collector, project) for key in collector.keys)
    held: dict[str, object] = {"keys": keys}
    if collector.write_keys_file is not None:
        held["write_keys"] = _old_keys(collector, project / collector.write_keys_file)
    found = collector.model_copy(update=held)
    _check_apart(found)
    return found


def weak_key(collector: CollectorSection) -> SettingsError | None:
    """Why a collector must not start: one of its keys could be guessed."""
    for key in collector.all_keys:
        secret = key.secret.get_secret_value() if key.secret else ""
        for what, value in (("key", key.key), ("secret of the key" if key.kind == "browser" else "key", secret)):
            if value and (why := weakness(value)):
                return SettingsError(
                    f"The {what} {key.name} {why}: whoever guesses it can send events.",
                    mend=MEND.replace("NAME", f"--browser {key.name}" if key.kind == "browser" else key.name),
                )
    return None


def _whole(key: KeySection, collector: CollectorSection, project: Path) -> KeySection:
    told = [key.secret, collector.key_secrets.get(key.variable), key.secret_file]
    if len([one for one in told if one is not None]) > 1:
        raise SettingsError(
            f"The secret of the key {key.name} is set in more than one place.", mend="Keep one of them."
        )
    secret = key.secret or collector.key_secrets.get(key.variable)
    if key.secret_file is not None and not key.revoked:
        secret = SecretStr(_text(project / key.secret_file, f"collector.keys secret_file of {key.name}"))
    if not key.revoked and key.kind == "server" and (secret is None or not secret.get_secret_value()):
        raise SettingsError(
            f"The key {key.name} has no secret.",
            mend=f"Set {VARIABLE}{key.variable.upper()}, or name a file with secret_file.",
        )
    return key.model_copy(update={"secret": secret})


def _old_keys(collector: CollectorSection, path: Path) -> dict[str, str]:
    if collector.write_keys:
        raise SettingsError(
            "collector.write_keys and collector.write_keys_file are both set.", mend="Keep one of them."
        )
    found = read_keys(_text(path, "collector.write_keys_file"))
    if not found:
        raise SettingsError(f"collector.write_keys_file {path} holds no key.", mend=MEND)
    return {f"key{number}": key for number, key in enumerate(found, 1)}


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"{what} {path} cannot be read: {reason}.", mend="Write the key into it.") from error


def _check_apart(collector: CollectorSection) -> None:
    """A word that pages show must not be one that opens more; and it must be known which key was used."""
    owners: dict[str, str] = {}
    for key in collector.all_keys:
        for value in filter(None, (key.key, key.secret.get_secret_value() if key.secret else "")):
            if value in owners:
                raise SettingsError(
                    f"The keys {owners[value]} and {key.name} are the same word."
                    if owners[value] != key.name
                    else f"The browser key {key.name} has its secret as its key, which anybody can read in the page.",
                    mend=MEND,
                )
            owners[value] = key.name
