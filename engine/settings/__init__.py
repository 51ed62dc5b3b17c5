"""Settings: `anlass.toml` in the project, then `ANLASS_*` environment variables, which win. Read once, at the start.

Names are `[section] key` in the file and `ANLASS_SECTION__KEY` in the environment. Secrets come by environment or from
a file that a `*_file` setting names (relative to the project), never out of `anlass.toml`.

Invariant: a setting is used, reported as belonging to a part this version does not have, or refused with the name of
the file or variable and the nearest known one. None is dropped in silence.
"""

from engine.settings.collecting import CollectorSection
from engine.settings.console import ConsoleSection
from engine.settings.explaining import explain
from engine.settings.exposure import in_clear, open_door
from engine.settings.key_reading import weak_key
from engine.settings.keys import KeySection
from engine.settings.mailbox import MailboxSection
from engine.settings.phone import SmsSection
from engine.settings.reading import load_settings
from engine.settings.sections import DatabaseSection, EmailSection, KafkaSection, Settings

__all__ = [
    "CollectorSection",
    "ConsoleSection",
    "DatabaseSection",
    "EmailSection",
    "KafkaSection",
    "KeySection",
    "MailboxSection",
    "Settings",
    "SmsSection",
    "explain",
    "in_clear",
    "load_settings",
    "open_door",
    "weak_key",
]
