"""Opens the channels that a project's messages leave by.

Invariant: nothing leaves this machine through a channel that no setting asks for, and nothing looks sent that went nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from channels import registry
from channels.contract import Channel
from channels.recording import Mailbox, MailboxChannel
from engine.core.catalog import Catalog
from engine.core.journey.workflow import Send
from engine.errors import SettingsError
from engine.extras import not_installed
from engine.settings import Settings
from engine.settings.serving import foreign_serves, unserved


def channel_names(catalog: Catalog) -> list[str]:
    """The channels that some version in use sends through, sorted."""
    operations = (op for workflow in catalog.versions.values() for op in workflow.ops.values())
    return sorted({channel for op in operations if isinstance(op, Send) for channel in op.channels})


def open_channels(settings: Settings, names: Iterable[str], mailbox: Mailbox) -> dict[str, Channel]:
    """The channels among these names that messages can leave by: through the adapter that is configured, else into the local
    mailbox; as soon as anything is configured only into that if `[mailbox] channels` says so. The others are left out, and their
    messages fail as `no_channel`. Raises SettingsError.
    """
    names = list(names)
    ready = configured_channels(settings, names)
    missing = unserved(settings, names)
    kept = [name for name in names if name not in ready and name not in missing]
    return {**ready, **{name: MailboxChannel(mailbox, name=name) for name in kept}}


def configured_channels(settings: Settings, names: Iterable[str]) -> dict[str, Channel]:
    """An adapter, not opened, for each of the names that something is set up for. Raises SettingsError."""
    configured: dict[str, Mapping[str, object]] = {}
    adapters: dict[str, str] = {}
    for provider in settings.channel_sections.values():
        if provider.configured:
            url = {"public_url": settings.collector.public_url} if provider.NEEDS_URL else {}
            marks = {"mark_secret": settings.mark_secret()} if provider.NEEDS_MARKS else {}
            configured |= {name: {**provider.adapter(name), **url, **marks} for name in provider.serves}
    for adapter, written in settings.more.items():
        for name in foreign_serves(adapter, written):
            if name in configured:
                raise SettingsError(
                    f"Both [{adapter}] and [{adapters.get(name, name)}] are to serve the channel {name}.",
                    mend="Take it out of one of them.",
                )
            configured[name] = {key: value for key, value in written.items() if key != "serves"}
            adapters[name] = adapter
    channels: dict[str, Channel] = {}
    for name in names:
        if name not in configured:
            continue
        adapter = adapters.get(name, name)
        try:
            channels[name] = registry.load(adapter)(configured[name])
        except (ImportError, ValueError, registry.UnknownChannel) as error:
            cause = error.__cause__ if isinstance(error, registry.UnknownChannel) else error
            missing = not_installed(cause) if isinstance(cause, ImportError) else None
            if missing is not None:  # what Twilio or PDFs need is an extra
                raise missing from error
            if isinstance(error, ImportError):
                raise
            raise SettingsError(str(error), mend=f"Change the settings of [{adapter}].") from error
    return channels
