"""Asks a provider whether it has a message whose outcome is unknown, where its channel can ask (`channels.contract.Resolver`).

Invariant: only a receipt changes anything. A provider that does not list a message, or gives no answer, leaves it as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from channels.contract import Channel, ChannelError, OutgoingMessage, Receipt, Resolver, TransientError

ASK_SECONDS_MAX = 120.0


async def before_sending(channel: Channel, outgoing: OutgoingMessage, *, since_ms: int) -> Receipt | None:
    """The receipt of an earlier attempt; None: there was none at `since_ms` (0), or none is known of.

    Raises TransientError when that cannot be asked now: the message may be there, so it must not be sent again.
    """
    if not since_ms or not isinstance(channel, Resolver):
        return None
    try:
        return await channel.resolve(outgoing, since_ms=since_ms)
    except TransientError:
        raise
    except ChannelError as error:
        reason = f"whether an earlier attempt arrived cannot be asked: {error.reason}"
        raise TransientError(reason, code="unresolved") from error


async def afterwards(
    channel: Channel | None, outgoing: OutgoingMessage, *, since_ms: int, pauses_seconds: Sequence[float]
) -> Receipt | None:
    """The receipt, if the provider shows the message within these times: what was just taken is not listed at once."""
    if channel is None or not isinstance(channel, Resolver):
        return None
    for seconds in pauses_seconds:
        await asyncio.sleep(seconds)
        try:
            async with asyncio.timeout(ASK_SECONDS_MAX):
                receipt = await channel.resolve(outgoing, since_ms=since_ms)
        except (ChannelError, TimeoutError):
            continue
        if receipt is not None:
            return receipt
    return None
