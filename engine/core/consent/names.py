"""Which purposes and channels a consent may be about.

Invariant: one judge for traits, forms, files and operators: the purposes of the policy, and the channels that exist. What
it refuses never reaches the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.channel import CHANNELS
from engine.core.reading.nearest import nearest

if TYPE_CHECKING:
    from engine.core.catalog import Catalog

PROFILE = "profile"
"""What consent to profiling is about, in place of a channel."""
NAME_SHOWN_MAX = 60


def unknown_purpose(catalog: Catalog, purpose: str) -> str:
    """Why that is not a purpose of the policy; "" when it is."""
    if purpose in catalog.policy.purposes:
        return ""
    mend = nearest(purpose[:NAME_SHOWN_MAX], catalog.policy.purposes)
    return f"the policy has no such purpose{mend}"


def unknown_channel(catalog: Catalog, channel: str) -> str:
    """Why that is not a channel; "" when it is."""
    known = {*CHANNELS, PROFILE, *catalog.channels}
    return "" if channel in known else f"there is no such channel{nearest(channel[:NAME_SHOWN_MAX], known)}"
