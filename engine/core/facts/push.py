"""Browsers' push subscriptions: several devices of one customer, kept in the trait `push`.

Invariant: the address of a push message is the JSON of the subscriptions that may be pushed to, the same for the same trait;
one that its service called gone is left out from then on, while the others go on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container

    from engine.core.record import Event
    from engine.core.turn import Turn

CHANNEL = "push"
GONE = "Push Gone"
"""Raised by the channel: `endpoints` are no more."""
DEVICES_MAX = 10
ENDPOINT_CHARS_MAX = 1_000
KEY_CHARS_MAX = 200


def subscriptions(value: object) -> list[dict[str, Any]]:
    """The subscriptions in a trait: one, a list, or the JSON of either, as `PushSubscription.toJSON` gives it; newest last.

    What is none is left out; of more than `DEVICES_MAX` the last ones count.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    listed = value if isinstance(value, list) else [value]
    found = {each["endpoint"]: each for each in map(_clean, listed) if each is not None}
    return list(found.values())[-DEVICES_MAX:]


def address(value: object, suppressed: Container[str] = ()) -> str:
    """What a push message is addressed to; "" when there is no device left."""
    left = [each for each in subscriptions(value) if f"{CHANNEL}:{each['endpoint']}" not in suppressed]
    return json.dumps(left, separators=(",", ":"), sort_keys=True) if left else ""


def forget(turn: Turn, event: Event) -> None:
    """Nothing more goes to these devices."""
    endpoints = event.properties.get("endpoints")
    known = turn.state.suppressed
    for endpoint in endpoints if isinstance(endpoints, list) else ():
        key = f"{CHANNEL}:{endpoint}"
        if isinstance(endpoint, str) and len(endpoint) <= ENDPOINT_CHARS_MAX and key not in known:
            known = {**known, key: "gone"}
            turn.decide("suppressed_address", channel=CHANNEL, reason="gone")
    turn.state.suppressed = known


def _clean(value: object) -> dict[str, Any] | None:
    if not isinstance(value, dict) or not isinstance(value.get("keys"), dict):
        return None
    endpoint, auth, key = value.get("endpoint"), value["keys"].get("auth"), value["keys"].get("p256dh")
    texts = (endpoint, auth, key)
    if not all(isinstance(text, str) and text and text.isascii() and text.isprintable() for text in texts):
        return None
    assert isinstance(endpoint, str)
    if not endpoint.startswith("https://") and not endpoint.startswith("http://"):
        return None
    if len(endpoint) > ENDPOINT_CHARS_MAX or len(str(auth)) > KEY_CHARS_MAX or len(str(key)) > KEY_CHARS_MAX:
        return None
    return {"endpoint": endpoint, "keys": {"auth": auth, "p256dh": key}}
