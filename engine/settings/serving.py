"""Which channels the settings set up, and what becomes of messages by the others.

Invariant: the local mailbox takes a channel without a provider only where nothing is set up at all, or where it is asked for by
name: in a shop that really sends, a message that went nowhere must not look sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.core.channel import KINDS
from engine.errors import SettingsError
from engine.settings.sections import Settings

_ON_THIS_MACHINE = frozenset(kind.name for kind in KINDS.values() if kind.adapter == "always there")
"""Channels that send nothing anywhere."""
_BY_OTHERS = tuple(kind.name for kind in KINDS.values() if kind.adapter == "of a package")
"""Channels of the language that only another package's adapter can serve."""


def unserved(settings: Settings, names: Iterable[str]) -> list[str]:
    """Those of the channels that nothing is set up for, in a project that really sends by others. Raises SettingsError."""
    served = _served(settings)
    if not served - _ON_THIS_MACHINE:
        return []
    return [name for name in names if name not in served and name not in settings.mailbox.channels]


def _served(settings: Settings) -> set[str]:
    ours = {name for provider in settings.channel_sections.values() if provider.configured for name in provider.serves}
    return ours.union(*(foreign_serves(adapter, written) for adapter, written in settings.more.items()))


def explain_serving(settings: Settings) -> list[str]:
    """Lines for `check --settings`: what becomes of messages by channels without a provider."""
    served = _served(settings)
    known = dict.fromkeys(name for section in settings.channel_sections.values() for name in section.SERVES)
    without = [name for name in (*known, *_BY_OTHERS) if name not in served]
    failing = unserved(settings, without)
    lines = []
    if failing:
        lines.append(
            f"not set up: {', '.join(failing)}; their messages fail as no_channel. To keep them in the local mailbox, set "
            f"ANLASS_MAILBOX__CHANNELS={','.join(failing)}"
        )
    elif without and not settings.mailbox.channels:
        lines.append(f"not set up: {', '.join(without)}; their messages go to the local mailbox and nothing leaves")
    if settings.mailbox.channels:
        lines.append(f"mailbox: takes {', '.join(settings.mailbox.channels)}; nothing of these leaves this machine")
    return lines


def foreign_serves(adapter: str, section: Mapping[str, object]) -> tuple[str, ...]:
    """The channels that another package's adapter serves: those in its `serves` (`a,b` in the environment), else its own name."""
    serves = section.get("serves", adapter)
    listed = serves.split(",") if isinstance(serves, str) else serves
    if not isinstance(listed, list) or not listed or not all(isinstance(name, str) and name.strip() for name in listed):
        raise SettingsError(
            f"{adapter}.serves is not a list of channels.", mend='Write it as serves = ["email", "newsletter"].'
        )
    return tuple(name.strip() for name in listed)
