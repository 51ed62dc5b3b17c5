"""Files that only their owner may read, and a look at those that others can.

Invariant: what is written here is never readable to others, not even for a moment, and not when the file was there before.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.settings import Settings

WIDE = 0o077
SHOWN_MAX = 3


def write_private(path: Path, data: bytes) -> None:
    """Writes a file for its owner alone. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)
        file.write(data)


def shared_warning(var: Path) -> str:
    """What to say when others on this machine can read what is in the project's `var/`; "" when nobody can."""
    try:
        if not var.is_dir() or not var.stat().st_mode & WIDE:
            return ""  # who cannot enter the folder cannot read what is in it
        found = sorted(path.name for path in var.iterdir() if not path.is_symlink() and path.stat().st_mode & WIDE)
    except OSError:
        return ""
    names = ", ".join(found[:SHOWN_MAX]) + (", …" if len(found) > SHOWN_MAX else "")
    held = f", and so can {names} in it" if found else ""
    return (
        f"warning: {var} (mode {stat.S_IMODE(var.stat().st_mode):04o}) can be entered by others on this machine{held}: it"
        f" holds customers' data. Run: chmod -R go-rwx {var}"
    )


def said_at_start(settings: Settings) -> list[str]:
    """What somebody who starts a process should know of its folder and of its address."""
    from engine.settings import in_clear

    clear = in_clear(settings.collector)
    warnings = [shared_warning(settings.database_path.parent), f"warning: {clear}" if clear is not None else ""]
    warnings += [f"warning: {said}." for said in settings.shared]
    return [warning for warning in warnings if warning]
