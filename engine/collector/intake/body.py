"""Reads what a request carries, with bounds.

Invariant: never more than the bound is kept in memory, whatever the compressed size was or the headers say.
"""

from __future__ import annotations

import asyncio
import zlib

from aiohttp import web

from engine.errors import BadRecord

BODY_BYTES_MAX = 512_000
BODY_SECONDS_MAX = 30.0
"""How long a body may take to arrive: who sends a byte a minute must not hold a connection for ever."""
_WINDOW_BITS = {"": 0, "identity": 0, "gzip": 31, "x-gzip": 31, "deflate": 15}
"""How zlib is told which format it is; 0: not compressed."""


async def read_body(request: web.Request, *, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The body, decompressed. Raises BadRecord when it is too large, or compressed in a way that cannot be read.

    The application is built so that aiohttp leaves the body as it came: by itself it answers in words of its own.
    """
    encoding = request.headers.get("Content-Encoding", "").lower()
    if encoding not in _WINDOW_BITS:
        raise BadRecord("unsupported_media_type", "Content-Encoding must be gzip, deflate or absent.")
    if not request.body_exists:
        return b""
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    bits = _WINDOW_BITS[encoding]
    squeezed = zlib.decompressobj(bits) if bits else None
    pieces: list[bytes] = []
    room = bytes_max
    deadline = asyncio.get_running_loop().time() + BODY_SECONDS_MAX
    while piece := await _piece(request, deadline):
        if squeezed is not None:
            piece = _decompressed(squeezed, piece, room + 1)
        room -= len(piece)
        if room < 0:
            raise _too_large(bytes_max)
        pieces.append(piece)
    if squeezed is not None and not squeezed.eof:
        raise BadRecord("invalid_encoding", f"The {encoding} data ends too early.")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _piece(request: web.Request, deadline: float) -> bytes:
    """What has arrived, waiting for it until `deadline`; empty at the end."""
    try:
        async with asyncio.timeout_at(deadline):
            return await request.content.readany()
    except TimeoutError:
        raise BadRecord("body_too_slow", f"The body did not arrive within {BODY_SECONDS_MAX:.0f} seconds.") from None
    except (ConnectionError, web.RequestPayloadError):
        raise BadRecord("body_incomplete", "The connection ended before the body did.") from None


def _decompressed(squeezed: zlib._Decompress, piece: bytes, bytes_max: int) -> bytes:
    """At most `bytes_max` bytes, so that a bomb never unfolds; what is left over means that there was more."""
    try:
        plain = squeezed.decompress(piece, bytes_max)
    except zlib.error:
        raise BadRecord("invalid_encoding", "The body is not compressed as Content-Encoding says.") from None
    if squeezed.unused_data:
        raise BadRecord("invalid_encoding", "More data follows the end of the compressed body.")
    return plain


def _too_large(bytes_max: int) -> BadRecord:
    return BadRecord("body_too_large", f"The body is larger than {bytes_max} bytes.", mend="Send smaller batches.")
