"""The section of the audit log: the key that its lines are signed with.

Invariant: a key that is set is long enough, and stands in no file that is shared.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from engine.settings.section import Section


class AuditSection(Section):
    """The key need not lie on the machine: it may be given with each command, by whoever works there."""

    key: SecretStr | None = None
    """Several, one a line: the first signs, all verify."""
    key_file: Path | None = None

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Those that verify; none when none is set."""
        return keys_in(self.key.get_secret_value()) if self.key else ()

    @property
    def signing_key(self) -> bytes:
        """The one that signs; b"" when none is set."""
        return next(iter(self.keys), b"")


def keys_in(text: str) -> tuple[bytes, ...]:
    """The keys of a file or a variable."""
    return tuple(line.encode() for line in text.split())
