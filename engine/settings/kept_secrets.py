"""Secrets that nobody set: made at first use and kept in a file, one a line.

Invariant: of two processes that start together both read the same one; the file is readable by its owner only.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from engine.errors import SettingsError


def secrets_in(path: Path, *, bytes_min: int) -> tuple[bytes, ...]:
    """The secrets of links in this file; one is made at first use. Raises SettingsError."""
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
        kept = tuple(path.read_bytes().split())
    except OSError as error:
        raise SettingsError(
            f"The secret for links cannot be kept in {path}: {error.strerror}.",
            mend="Set ANLASS_COLLECTOR__SECRET.",
        ) from error
    if not kept or min(map(len, kept)) < bytes_min:
        raise SettingsError(f"{path} is too short.", mend="Delete it; a new one is made.")
    return kept
