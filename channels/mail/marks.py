"""The address that bounces of one message go to (VERP), which nobody but us can make, and the mark that names it in a header.

Invariant: `read` returns a message's id only for a text that `mark` made with the same secret, in whatever case it comes back.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

LOCAL_CHARS_MAX = 64
MARK_CHARS = 49
"""32 hex digits of the id, a dash, 16 characters of base32: 80 bits of the code."""
HEADER = "X-Anlass-Id"
"""The header of our mails that holds the mark: reports that quote headers name the message with it."""
PLACE = "{id}"
SECRET_BYTES_MIN = 16
_CODE_BYTES = 10
_MARK = re.compile(r"(?<![0-9a-z])([0-9a-f]{32})-([a-z2-7]{16})(?![0-9a-z])", re.IGNORECASE)
_MARKS_TRIED_MAX = 20


class Marks:
    """Makes and reads marks. `secret` stays the same as long as bounces of what was sent with it may come back."""

    def __init__(self, secret: bytes) -> None:
        """Derives a key that is used for nothing else."""
        assert len(secret) >= SECRET_BYTES_MIN, "a short secret can be guessed"
        self._key = hmac.digest(secret, b"anlass.return-path", "sha256")

    def mark(self, message: str) -> str:
        """The id with its code: letters, digits and a dash, fit for the local part of an address."""
        return f"{message}-{self._code(message)}"

    def read(self, text: str) -> str:
        """The id in the first mark in the text that is ours, or ""."""
        for number, found in enumerate(_MARK.finditer(text)):
            if number == _MARKS_TRIED_MAX:
                break
            message, code = found[1].lower(), found[2].lower()
            if hmac.compare_digest(code, self._code(message)):
                return message
        return ""

    def _code(self, message: str) -> str:
        digest = hmac.digest(self._key, message.encode(), hashlib.sha256)
        return base64.b32encode(digest[:_CODE_BYTES]).decode().lower()


def local_part_chars(return_path: str) -> int:
    """How long the local part will be once `{id}` stands for a mark."""
    return len(return_path.rpartition("@")[0].replace(PLACE, "x" * MARK_CHARS))
