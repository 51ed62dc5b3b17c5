"""Finds channel adapters by name: the built-in ones and those other packages add as ``anlass.channels`` entry points.

Invariant: a name either yields a factory or an error that says what is known; nothing is imported before it is asked
for.
"""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import EntryPoint, entry_points

from channels.callbacks import CallbackFactory
from channels.contract import ChannelFactory

GROUP = "anlass.channels"

# The adapters that ship with Anlass, as a package would name its own; no other package can take these names.
BUILT_IN: dict[str, str] = {
    "email": "channels.mail.email:create",
    "mailbox": "channels.recording:create",
    "sms": "channels.phone.sms:create",
    "voice": "channels.phone.voice:create",
    "print": "channels.letters:create",
    "push": "channels.web_push:create",
    "task": "channels.task:create",
    "webhook": "channels.webhook:create",
    "whatsapp": "channels.phone.whatsapp:create",
    "newsletter": "channels.mail.newsletter:create",
}


# Who reads the callbacks of which provider; the name is the one in the path `/callbacks/PROVIDER/…`.
CALLBACKS: dict[str, str] = {
    "ses": "channels.callbacks.ses:create",
    "sendgrid": "channels.callbacks.sendgrid:create",
    "mailgun": "channels.callbacks.mailgun:create",
    "postmark": "channels.callbacks.postmark:create",
    "twilio": "channels.phone.twilio_callbacks:create_callbacks",
}


class UnknownChannel(LookupError):
    """No adapter has this name, or the one that has it cannot be imported."""


def known() -> list[str]:
    """Return the names of all adapters that could be loaded, sorted."""
    return sorted(_entries())


def foreign() -> list[str]:
    """Return the names that other packages add, sorted; they are read from the packages' metadata, and nothing is imported."""
    return sorted(_entries().keys() - BUILT_IN.keys())


def load(name: str) -> ChannelFactory:
    """Return the factory of the adapter `name`; `UnknownChannel` says which names there are, the nearest one first."""
    entries = _entries()
    entry = entries.get(name)
    if entry is not None:
        return _loaded(entry)
    names = sorted(entries)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"available: {', '.join(names)}."
    message = (
        f"There is no channel adapter {name!r}; {hint} A package adds one through the entry-point group {GROUP!r}."
    )
    raise UnknownChannel(message)


def _entries() -> dict[str, EntryPoint]:
    """Every adapter by name; the built-in ones are entries like any other, and there without being installed."""
    of_packages = {entry.name: entry for entry in entry_points(group=GROUP)}
    built_in = {name: EntryPoint(name, target, GROUP) for name, target in BUILT_IN.items()}
    return of_packages | built_in


def load_callbacks(provider: str) -> CallbackFactory:
    """Return the factory of the reader for this provider's callbacks. `KeyError` when there is none."""
    module, _, attribute = CALLBACKS[provider].partition(":")
    factory: CallbackFactory = getattr(importlib.import_module(module), attribute)
    return factory


def _loaded(entry: EntryPoint) -> ChannelFactory:
    try:
        factory = entry.load()
    except Exception as error:
        # Whatever a foreign module raises while it is imported, the operator has to know whose it is.
        message = f"The channel adapter {entry.name!r} ({entry.value}) cannot be imported: {error}"
        raise UnknownChannel(message) from error
    if not callable(factory):
        message = f"The channel adapter {entry.name!r} ({entry.value}) must be callable with its settings."
        raise UnknownChannel(message)
    loaded: ChannelFactory = factory
    return loaded
