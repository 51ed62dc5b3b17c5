"""Suppressed addresses of a cluster, listed and changed by operators: the topic `suppressions`, one partition, compacted.

Invariant: what is written here every dispatcher reads; a change is acknowledged when the call returns.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.core.journey.duplicates import CLAIM
from engine.errors import SettingsError
from engine.runtimes.kafka.intake.outlet import Outlet, Row
from engine.runtimes.kafka.operating.looking import whole
from engine.runtimes.kafka.topics import Suppressed, Topics, decode_suppressed, encode_suppressed
from engine.runtimes.suppression import SuppressionEntry

CHUNK_ROWS = 1_000
FINGERPRINT_KEY = b"fingerprint of the secret"
KEY_BYTES = 32
"""Of a keyed hash: other keys are not addresses."""


async def listed(bootstrap: str, topics: Topics) -> list[SuppressionEntry]:
    """Everything that is suppressed, oldest first. Raises ServiceUnreachable."""
    found: dict[bytes, SuppressionEntry] = {}
    for key, value in await read_all(bootstrap, topics):
        if len(key) != KEY_BYTES:
            continue
        found.pop(key, None)
        if value:
            found[key] = _entry(key, value)
    found = {key: each for key, each in found.items() if each.kind != CLAIM}
    return sorted(found.values(), key=lambda each: (each.since_ms, each.hash))


async def write(bootstrap: str, topics: Topics, entries: Sequence[SuppressionEntry], *, gone: bool = False) -> None:
    """Puts entries on the topic, or takes them out. Raises ServiceUnreachable."""
    outlet = Outlet(bootstrap, client="anlass-suppression")
    await outlet.start()
    try:
        for at in range(0, len(entries), CHUNK_ROWS):
            rows: list[Row] = [_row(each, gone=gone) for each in entries[at : at + CHUNK_ROWS]]
            await outlet.append(topics.suppressions, 0, rows)
    finally:
        await outlet.stop()


async def check_secret(bootstrap: str, topics: Topics, fingerprint: str, *, accept_loss: bool) -> None:
    """Whether the hashes on the topic were made with the secret of this fingerprint; the first start writes it there.

    Raises SettingsError when they were made with another one, ServiceUnreachable.
    """
    known, hashes = "", False
    for key, value in await read_all(bootstrap, topics):
        if key == FINGERPRINT_KEY and value:
            known = _entry(key, value).reason
        hashes = hashes or (len(key) == KEY_BYTES and bool(value))
    if known == fingerprint:
        return
    if known and hashes and not accept_loss:
        raise SettingsError(
            f"The addresses on {topics.suppressions} were suppressed with another secret: none of them would be recognised.",
            mend="Set ANLASS_KAFKA__SECRET to the secret that ANLASS_COLLECTOR__SECRET was before, or, if it is gone for good,"
            " start once with --accept-loss: whoever was suppressed is then written to again.",
        )
    outlet = Outlet(bootstrap, client="anlass-suppression")
    await outlet.start()
    try:
        value = encode_suppressed(Suppressed("fingerprint", fingerprint, 0))
        await outlet.append(topics.suppressions, 0, [(FINGERPRINT_KEY, value, ())])
    finally:
        await outlet.stop()


async def read_all(bootstrap: str, topics: Topics) -> list[tuple[bytes, bytes | None]]:
    """The topic's records, in their order. Raises ServiceUnreachable."""
    what = "the suppressed addresses"
    records = await whole(bootstrap, topics.suppressions, client="anlass-suppression", what=what)
    return [(each.key, each.value) for each in records if each.key]


def _row(entry: SuppressionEntry, *, gone: bool) -> Row:
    value = None if gone else encode_suppressed(Suppressed(entry.kind, entry.reason, entry.since_ms))
    return bytes.fromhex(entry.hash), value, ()


def _entry(key: bytes, value: bytes) -> SuppressionEntry:
    try:
        said = decode_suppressed(value)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return SuppressionEntry(hash=key.hex(), kind="email", reason="suppressed", since_ms=0)
    return SuppressionEntry(hash=key.hex(), kind=said.channel, reason=said.reason, since_ms=said.at_ms)
