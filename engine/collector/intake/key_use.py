"""Remembers when each key was last used.

Invariant: the file is replaced whole, at most once a minute and at the end, and never goes back: processes that share it keep
what the others wrote. A collector that cannot write it takes events all the same.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

import msgspec

from engine.clock import Clock

FILE = "key-use.json"
WRITE_SECONDS = 60.0
_decoder = msgspec.json.Decoder(dict[str, int])


class KeyUses:
    """Of one process. `file` lies in the project's `var/`."""

    def __init__(self, file: Path, clock: Clock) -> None:
        """Reads nothing yet."""
        self._file = file
        self._clock = clock
        self._used: dict[str, int] = {}
        self._written: float | None = None

    def note(self, name: str) -> None:
        """This key was used now."""
        is_first = name not in self._used
        self._used[name] = self._clock.now_ms()
        now = self._clock.monotonic()
        if is_first or self._written is None or now - self._written >= WRITE_SECONDS:
            self._written = now
            self.flush()

    def flush(self) -> None:
        """Writes what is known."""
        if not self._used:
            return
        draft = self._file.with_name(f"{self._file.name}.{secrets.token_hex(4)}")
        with contextlib.suppress(OSError):
            draft.touch(mode=0o600)
            draft.write_bytes(msgspec.json.encode(_newest(last_uses(self._file), self._used)))
            draft.replace(self._file)


def last_uses(file: Path) -> dict[str, int]:
    """Name of a key → when it was last used."""
    try:
        return _decoder.decode(file.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return {}


def _newest(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}}
