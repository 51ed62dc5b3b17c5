"""Reads what a request carries, with bounds.

Invariant: never more than the bound is kept in memory, whatever the compressed size was or the headers say.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable

from aiohttp import web
from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError

from engine.errors import BadRecord

BODY_BYTES_MAX = 512_000
_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})


async def read_body(request: web.Request, *, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The body, decompressed. Raises BadRecord when it is too large, or compressed in a way that cannot be read.

    aiohttp decompresses piece by piece and pauses the sender while we do not read, so a bomb ends at the bound.
    """
    encoding = request.headers.get("Content-Encoding", "").lower()
    if encoding not in _ENCODINGS:
        raise BadRecord("unsupported_media_type", "Content-Encoding must be gzip, deflate or absent.")
    if not request.body_exists:
        return b""
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := await request.content.readany():
            size += len(piece)
            if size > bytes_max:
                raise _too_large(bytes_max)
            pieces.append(piece)
    except (HttpProcessingError, ClientPayloadError) as error:
        raise BadRecord("invalid_encoding", f"The body cannot be read as {encoding or 'HTTP'} data.") from error
    return b"".join(pieces) if len(pieces) != 1 else pieces[0]


def _too_large(bytes_max: int) -> BadRecord:
    return BadRecord("body_too_large", f"The body is larger than {bytes_max} bytes.", mend="Send smaller batches.")


class Gate:
    """Who may send events: everybody when there are no keys, else who knows one."""

    def __init__(self, keys: Iterable[str]) -> None:
        """Keeps hashes, so that looking one up takes as long for a nearly right key as for any other."""
        self._hashes = frozenset(_hash(key) for key in keys)

    def knows(self, key: object) -> bool:
        """Whether this is a write key."""
        return not self._hashes or (isinstance(key, str) and _hash(key) in self._hashes)

    def admits(self, request: web.Request) -> bool:
        """Whether the request's `Authorization` (Basic with the key as user, or Bearer) opens the gate."""
        return not self._hashes or self.knows(_key_of(request.headers.get("Authorization", "")))

    def refused(self) -> BadRecord:
        """What to answer to the others."""
        return BadRecord(
            "unauthorized", "The write key is missing or not known.", mend="Send it as the user name of Basic auth."
        )


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _key_of(authorization: str) -> str | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return user or password
